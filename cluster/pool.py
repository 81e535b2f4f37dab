"""Pools: who computes the batches of one or several studies. The same rows give the same numbers on any of them."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import pandas as pd

from cluster.config import ComputeConfig
from cluster.ray_cluster import look
from cluster.worker import Task, Worker, from_arrow, to_arrow
from kernels import load_strategy

CHUNK = 16_384  # configurations at most in one chunk: seconds of one core, milliseconds of a GPU
SMALLEST_CHUNK = 256  # below, a chunk costs more to send than to compute
TELL_SECONDS = 0.5  # a pool of one process tells its progress about so often

Progress = Callable[[int], None]  # called with the number of configurations just finished


class PoolError(RuntimeError):
    """The workers cannot finish a chunk; the study can be resumed once the cause is gone."""


class Pool(Protocol):
    """What computes. `workers` processes, each given the same tasks (one per study) once.

    `submit` a batch of each task, take the `result` that is ready first, submit that task's next batch: the workers have
    work as long as any task has. A task has one batch in the pool at a time, since its next one depends on the last.
    """

    @property
    def workers(self) -> int:
        """How many processes compute."""
        ...

    @property
    def where(self) -> str:
        """What they are, for a reader."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a batch has been submitted whose result has not been taken."""
        ...

    def submit(self, task: int, configurations: pd.DataFrame) -> None:
        """Hand over a batch of the task of that number. Returns at once."""
        ...

    def result(self, progress: Progress) -> tuple[int, pd.DataFrame]:
        """Wait for a batch to be done: its task, and the metrics of every configuration in the batch's order.

        `PoolError` where the workers cannot finish it.
        """
        ...

    def close(self) -> None:
        """End the workers."""
        ...


def chunks(rows: int, workers: int) -> Iterator[slice]:
    """Cut `rows` configurations into chunks: some for every worker, none too small to be worth sending.

    >>> [c.stop - c.start for c in chunks(1000, 1)], [c.stop - c.start for c in chunks(40_000, 2)]
    ([1000], [5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000])
    """
    each = max(SMALLEST_CHUNK, min(CHUNK, -(-rows // (4 * workers)))) if workers > 1 else CHUNK
    for start in range(0, rows, each):
        yield slice(start, min(rows, start + each))


def joined(parts: Sequence[pd.DataFrame], task: Task) -> pd.DataFrame:
    """The metrics of a task's chunks as one table; of none, a table without rows."""
    if parts:
        return pd.concat(parts, ignore_index=True)
    metrics = load_strategy(task.strategy, task.code).metrics
    return pd.DataFrame({name: pd.Series(dtype=np.float64) for name in metrics} | {"status": pd.Series(dtype="str")})


class LocalPool:
    """This process, with all its cores: one batch after another, in the order they were submitted."""

    workers = 1
    where = "this process"

    def __init__(self, tasks: Sequence[Task], threads: int | None = None) -> None:
        self._tasks, self._worker = tasks, Worker(threads, *tasks)
        self._waiting: deque[tuple[int, pd.DataFrame]] = deque()

    @property
    def busy(self) -> bool:
        """Whether a batch is waiting."""
        return bool(self._waiting)

    def submit(self, task: int, configurations: pd.DataFrame) -> None:
        """Hand over a batch of that task."""
        self._waiting.append((task, configurations))

    def result(self, progress: Progress) -> tuple[int, pd.DataFrame]:
        """Backtest the batch that has waited longest."""
        task, configurations = self._waiting.popleft()
        done: list[pd.DataFrame] = []
        first, rows = 0, SMALLEST_CHUNK
        while first < len(configurations):
            began = time.perf_counter()
            done.append(from_arrow(self._worker.run(task, to_arrow(configurations.iloc[first : first + rows]))))
            progress(len(done[-1]))
            first += rows
            if time.perf_counter() - began < TELL_SECONDS:
                rows = min(2 * rows, CHUNK)
        return task, joined(done, self._tasks[task])

    def close(self) -> None:
        """Nothing to end."""


def open_pool(tasks: Sequence[Task], compute: ComputeConfig) -> Pool:
    """The pool that a study file asks for; `auto` is Ray where an address or several workers are named, else this process.

    InputError where no cluster answers at `compute.address`.
    """
    kind = compute.pool
    if kind == "auto":
        kind = "ray" if compute.address or (compute.workers or 1) > 1 else "local"
    if kind == "local":
        return LocalPool(tasks)
    from cluster.ray_pool import RayPool  # here, since it leans on this module

    gpus = int(tasks[0].backend == "cuda")
    if compute.address:
        workers, threads = look(compute.address).share(compute.workers, gpus=bool(gpus))
    else:
        workers = compute.workers or (_gpus() if gpus else 1)
        threads = max(1, cores() // workers)
    return RayPool(tasks, workers=workers, gpus=gpus, threads=threads, address=compute.address)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> int:
    import cupy

    return int(cupy.cuda.runtime.getDeviceCount())
