"""Pools: who computes a batch of configurations together. The same rows give the same numbers on any of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import pandas as pd

from cluster.config import ComputeConfig
from cluster.worker import Task, Worker, from_arrow, to_arrow
from kernels import METRICS

CHUNK = 16_384  # configurations at most in one chunk: seconds of one core, milliseconds of a GPU
SMALLEST_CHUNK = 256  # below, a chunk costs more to send than to compute
TELL_SECONDS = 0.5  # a pool of one process tells its progress about so often

Progress = Callable[[int], None]  # called with the number of configurations just finished


class PoolError(RuntimeError):
    """The workers cannot finish a chunk; the study can be resumed once the cause is gone."""


class Pool(Protocol):
    """What computes. `workers` processes, each running `backend`."""

    @property
    def workers(self) -> int:
        """How many processes compute."""
        ...

    @property
    def where(self) -> str:
        """What they are, for a reader."""
        ...

    def backtest(self, configurations: pd.DataFrame, progress: Progress) -> pd.DataFrame:
        """Metrics of every configuration, in its order."""
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


def joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The metrics of chunks as one table; of none, a table without rows."""
    empty = pd.DataFrame({name: pd.Series(dtype=np.float64) for name in METRICS} | {"status": pd.Series(dtype="str")})
    return pd.concat(parts, ignore_index=True) if parts else empty


class LocalPool:
    """This process, with all its cores."""

    workers = 1
    where = "this process"

    def __init__(self, task: Task, threads: int | None = None) -> None:
        self._worker = Worker(task, threads)

    def backtest(self, configurations: pd.DataFrame, progress: Progress) -> pd.DataFrame:
        """Metrics of every configuration, in its order."""
        done: list[pd.DataFrame] = []
        first, rows = 0, SMALLEST_CHUNK
        while first < len(configurations):
            began = time.perf_counter()
            done.append(from_arrow(self._worker.run(to_arrow(configurations.iloc[first : first + rows]))))
            progress(len(done[-1]))
            first += rows
            if time.perf_counter() - began < TELL_SECONDS:
                rows = min(2 * rows, CHUNK)
        return joined(done)

    def close(self) -> None:
        """Nothing to end."""


def open_pool(task: Task, compute: ComputeConfig) -> Pool:
    """The pool a study asks for; `auto` is Ray where an address or several workers are named, else this process.

    InputError where no cluster answers at `compute.address`.
    """
    kind = compute.pool
    if kind == "auto":
        kind = "ray" if compute.address or (compute.workers or 1) > 1 else "local"
    if kind == "local":
        return LocalPool(task)
    from cluster.ray_pool import RayPool  # here, since it leans on this module

    workers = compute.workers or (_gpus() if task.backend == "cuda" else 1)
    threads = max(1, cores() // workers)
    return RayPool(task, workers=workers, gpus=int(task.backend == "cuda"), threads=threads, address=compute.address)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> int:
    import cupy

    return int(cupy.cuda.runtime.getDeviceCount())
