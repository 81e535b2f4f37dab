"""Pools: who computes the batches of one or several studies. The same rows give the same numbers on any of them."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import pandas as pd
import pyarrow as pa

from cluster.chunks import Speeds
from cluster.config import ComputeConfig
from cluster.ray_cluster import look
from cluster.work import Answer, Batch, Hope, Result, Stream, Survey, Work, chunk_name
from cluster.work import PoolError as PoolError  # callers know a pool, not what it does
from cluster.worker import Inquiry, Task, Terms, Worker

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


class Pool(Protocol):
    """What computes. `workers` processes, each given the same tasks (one per study) once.

    `submit` a batch of each task, take the `result` that is ready first, submit that task's next batch: the workers have
    work as long as any task has. A task has one batch in the pool at a time, since its next one depends on the last.
    Where a study's points are known beforehand, `stream` hands over all its trials at once, as numbers: no worker waits
    for a batch to end, and each part of the results comes when it is done. When a study's trials are all told, a `survey`
    looks at its configurations once more, for what needs every bar of them.
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
    def use(self) -> Mapping[str, float]:
        """How much of a cluster is in use, by name, as looked at some seconds ago; nothing where there is none."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a batch has been submitted whose result has not been taken."""
        ...

    @property
    def under_way(self) -> int:
        """How many configurations are not done and will be, whatever is withdrawn."""
        ...

    def submit(self, task: int, configurations: pd.DataFrame) -> None:
        """Hand over a batch of the task of that number. Returns at once."""
        ...

    def stream(self, task: int, trials: Sequence[range], most: int) -> None:
        """Hand over trials of the task of that number, to be computed in parts of at most `most`. Returns at once."""
        ...

    def survey(self, task: int, terms: Terms, rows: Sequence[range] | pd.DataFrame) -> None:
        """Hand over configurations of that task to be held against a baseline: trials by their numbers, where points are
        known beforehand, else rows. Returns at once."""
        ...

    def withdraw(self) -> None:
        """Take back what of streams and surveys no worker has yet, so that what is under way is the last."""
        ...

    def result(self, watch: Watch) -> tuple[int, Result]:
        """Wait for a batch, a part of a stream or a survey to be done: its task, and what came out.

        Of a batch the metrics of every configuration, in its order; parts come in whatever order they are done.
        `PoolError` where the workers cannot finish it.
        """
        ...

    def close(self) -> None:
        """End the workers."""
        ...


class LocalPool:
    """This process, with all its cores: one batch after another in the order they were submitted, streams in turns."""

    workers = ready = 1
    where = "this process"
    use: Mapping[str, float] = MappingProxyType({})

    def __init__(self, tasks: Sequence[Task], threads: int | None = None) -> None:
        self._tasks, self._worker = tasks, Worker(threads, *tasks)
        self._waiting: deque[tuple[int, Work]] = deque()
        self._speeds, self._hope = Speeds(), Hope()

    @property
    def under_way(self) -> int:
        """Configurations that are not done and will be, whatever is withdrawn."""
        return sum(work.under_way for _, work in list(self._waiting))

    @property
    def busy(self) -> bool:
        """Whether a batch is waiting, or trials of a stream."""
        return bool(self._waiting)

    def submit(self, task: int, configurations: pd.DataFrame) -> None:
        """Hand over a batch of that task."""
        self._waiting.append((task, Batch(self._tasks, task, self._hope, configurations)))

    def stream(self, task: int, trials: Sequence[range], most: int) -> None:
        """Hand over trials of that task."""
        if any(trials):
            self._waiting.append((task, Stream(self._tasks, task, self._hope, trials, most)))

    def survey(self, task: int, terms: Terms, rows: Sequence[range] | pd.DataFrame) -> None:
        """Hand over configurations of that task to be looked at once more."""
        self._waiting.append((task, Survey(self._tasks, task, self._hope, terms, rows)))

    def withdraw(self) -> None:
        """Take back what is left of streams and surveys."""
        for _, work in self._waiting:
            if isinstance(work, Stream | Survey):
                work.withdraw()
        self._waiting = deque((task, work) for task, work in self._waiting if not work.over)

    def result(self, watch: Watch) -> tuple[int, Result]:
        """Backtest the batch, the next part of the stream, or the survey that has waited longest."""
        task, work = self._waiting[0]
        while not work.ready:
            self._compute(task, work, watch)
        result = work.take()
        self._waiting.popleft()
        if not work.over:
            self._waiting.append((task, work))
        return task, result

    def _compute(self, task: int, work: Work, watch: Watch) -> None:
        """The next chunk."""
        first, end = work.cut(self._speeds.rows(0, task, work.left, workers=1))
        began = time.perf_counter()
        try:
            answer = self._answer(task, first, end, work.sent(first, end))
        except Exception as error:
            text = f"raised {type(error).__name__}: {error}"
            told = f"{chunk_name(self._tasks, task, first, end - first)} quarantined: {text}"
            watch.happened(Event("chunks_quarantined", told, task, work.configurations(first, end)))
            work.fail(first, end, text)
        else:
            work.keep(first, end, answer)
        self._speeds.measured(0, task, end - first, time.perf_counter() - began)
        if work.counts:
            watch.advanced(end - first)

    def _answer(self, task: int, first: int, end: int, sent: pa.Table | Inquiry | None) -> Answer:
        if isinstance(sent, Inquiry):
            return self._worker.survey(task, first, end, sent)[0]
        return self._worker.part(task, first, end) if sent is None else self._worker.run(task, sent)

    def close(self) -> None:
        """Nothing to end."""


def open_pool(tasks: Sequence[Task], compute: ComputeConfig) -> Pool:
    """The pool that a study file asks for, one worker per device where it names no number; `auto` is Ray where there is an
    address, or more than one worker, else this process.

    InputError where no cluster answers at `compute.address`.
    """
    gpus = int(tasks[0].backend == "cuda")
    workers = compute.workers or (_gpus() if gpus and not compute.address else 1)
    kind = compute.pool
    if kind == "auto":
        kind = "ray" if compute.address or workers > 1 else "local"
    if kind == "local":
        return LocalPool(tasks)
    from cluster.dispatch import Limits, WorkerPool  # here, since they lean on this module
    from cluster.ray_fleet import RayFleet

    threads = max(1, cores() // workers)
    if compute.address:
        workers, threads = look(compute.address).share(compute.workers, gpus=bool(gpus))
    fleet = RayFleet(tasks, workers=workers, gpus=gpus, threads=threads, address=compute.address)
    limits = Limits(compute.chunk_seconds, compute.stall_seconds, compute.start_seconds)
    return WorkerPool(tasks, fleet, workers, limits)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> int:
    import cupy

    return int(cupy.cuda.runtime.getDeviceCount())
