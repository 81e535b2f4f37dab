"""Pools: who computes the batches of one or several studies. The same rows give the same numbers on any of them."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from cluster.chunks import Speeds
from cluster.config import ComputeConfig
from cluster.ray_cluster import look
from cluster.worker import Task, Worker, from_arrow, to_arrow
from kernels import load_strategy

EVENTS = ("workers_lost", "chunks_retried", "chunks_quarantined")  # named as what is counted


@dataclass(frozen=True)
class Event:
    """What went wrong and was dealt with: one of `EVENTS`, in words; the task and the configurations it concerns."""

    kind: str
    text: str
    task: int | None = None  # None: all of them
    configurations: pd.DataFrame | None = None  # those of a quarantined chunk


class Watch(Protocol):
    """Who is told how a pool gets on."""

    def advanced(self, configurations: int) -> None:
        """So many more configurations are done."""

    def happened(self, event: Event) -> None:
        """Something was lost, and what became of it."""


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
    def ready(self) -> int:
        """How many of them stand ready."""
        ...

    @property
    def where(self) -> str:
        """What they are, for a reader."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a batch has been submitted whose result has not been taken."""
        ...

    @property
    def under_way(self) -> int:
        """How many configurations have been submitted and are not done."""
        ...

    def submit(self, task: int, configurations: pd.DataFrame) -> None:
        """Hand over a batch of the task of that number. Returns at once."""
        ...

    def result(self, watch: Watch) -> tuple[int, pd.DataFrame]:
        """Wait for a batch to be done: its task, and the metrics of every configuration in the batch's order.

        `PoolError` where the workers cannot finish it.
        """
        ...

    def close(self) -> None:
        """End the workers."""
        ...


def joined(parts: Sequence[pd.DataFrame], task: Task) -> pd.DataFrame:
    """The metrics of a task's chunks as one table; of none, a table without rows."""
    if parts:
        return pd.concat(parts, ignore_index=True)
    metrics = load_strategy(task.strategy, task.code).metrics
    return pd.DataFrame({name: pd.Series(dtype=np.float64) for name in metrics} | {"status": pd.Series(dtype="str")})


def quarantined(task: Task, rows: int) -> pd.DataFrame:
    """The metrics of configurations that could not be computed: none, and a status that says so."""
    metrics = load_strategy(task.strategy, task.code).metrics
    return pd.DataFrame({name: np.full(rows, np.nan) for name in metrics} | {"status": ["quarantined"] * rows})


def chunk_name(tasks: Sequence[Task], task: int, first: int, rows: int) -> str:
    """A chunk in words: its rows of the batch, and the tickers of its task where there are several."""
    return f"chunk {first}-{first + rows - 1}{_of(tasks, task)}"


def nothing_computed(tasks: Sequence[Task], task: int, rows: int, error: str) -> str:
    """Why a study cannot go on: each chunk of a batch was quarantined."""
    return f"nothing could be computed of a batch of {rows:,} configurations{_of(tasks, task)}: {error}"


def _of(tasks: Sequence[Task], task: int) -> str:
    return f" of {', '.join(tasks[task].market.tickers)}" if len(tasks) > 1 else ""


class LocalPool:
    """This process, with all its cores: one batch after another, in the order they were submitted."""

    workers = ready = 1
    where = "this process"

    def __init__(self, tasks: Sequence[Task], threads: int | None = None) -> None:
        self._tasks, self._worker = tasks, Worker(threads, *tasks)
        self._waiting: deque[tuple[int, pd.DataFrame]] = deque()
        self._speeds = Speeds()
        self.under_way = 0

    @property
    def busy(self) -> bool:
        """Whether a batch is waiting."""
        return bool(self._waiting)

    def submit(self, task: int, configurations: pd.DataFrame) -> None:
        """Hand over a batch of that task."""
        self._waiting.append((task, configurations))
        self.under_way += len(configurations)

    def result(self, watch: Watch) -> tuple[int, pd.DataFrame]:
        """Backtest the batch that has waited longest."""
        task, configurations = self._waiting.popleft()
        done: list[pd.DataFrame] = []
        errors: list[Exception] = []
        first = 0
        while first < len(configurations):
            left = len(configurations) - first
            rows = configurations.iloc[first : first + self._speeds.rows(0, task, left, workers=1)]
            began = time.perf_counter()
            try:
                done.append(from_arrow(self._worker.run(task, to_arrow(rows))))
            except Exception as error:
                text = f"raised {type(error).__name__}: {error}"
                told = f"{chunk_name(self._tasks, task, first, len(rows))} quarantined: {text}"
                watch.happened(Event("chunks_quarantined", told, task, rows))
                done.append(quarantined(self._tasks[task], len(rows)))
                errors.append(error)
                if len(errors) == len(done) and first + len(rows) == len(configurations):
                    raise PoolError(nothing_computed(self._tasks, task, len(configurations), text)) from error
            self._speeds.measured(0, task, len(rows), time.perf_counter() - began)
            self.under_way -= len(rows)
            watch.advanced(len(rows))
            first += len(rows)
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
    from cluster.dispatch import Limits, WorkerPool  # here, since they lean on this module
    from cluster.ray_fleet import RayFleet

    gpus = int(tasks[0].backend == "cuda")
    if compute.address:
        workers, threads = look(compute.address).share(compute.workers, gpus=bool(gpus))
    else:
        workers = compute.workers or (_gpus() if gpus else 1)
        threads = max(1, cores() // workers)
    fleet = RayFleet(tasks, workers=workers, gpus=gpus, threads=threads, address=compute.address)
    limits = Limits(compute.chunk_seconds, compute.stall_seconds, compute.start_seconds)
    return WorkerPool(tasks, fleet, workers, limits)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> int:
    import cupy

    return int(cupy.cuda.runtime.getDeviceCount())
