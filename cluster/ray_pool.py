"""Workers on a Ray cluster. Ray starts them and carries the chunks; what is lost, this module runs again."""

from __future__ import annotations

import contextlib
import importlib
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from cluster.pool import PoolError, Progress, chunks, joined
from cluster.ray_session import last_line, reason, start_ray
from cluster.worker import Task, Worker, from_arrow, to_arrow

IN_FLIGHT = 2  # chunks sent to one worker: one runs while the next one travels
ATTEMPTS = 3  # how often a chunk may lose its worker, or a worker die while it starts, before the study stops
START_SECONDS = 300.0  # for a first worker to stand ready: Ray waits for ever for cores that no node has


@dataclass
class _Batch:
    """Configurations of one task on their way through the workers, chunk by chunk."""

    configurations: pd.DataFrame
    chunks: list[slice]
    done: dict[int, pd.DataFrame] = field(default_factory=dict)  # by chunk, whatever order they came in

    @property
    def complete(self) -> bool:
        return len(self.done) == len(self.chunks)


class _Chunk(NamedTuple):
    """One chunk of the batch that a task has in the pool."""

    task: int
    number: int


class RayPool:
    """Ray actors, each owning one GPU or a share of the cores. They keep no state, so any of them may be replaced.

    Ray itself never retries: this loop does, since a chunk is pure and running it twice is harmless. A worker takes
    part from when it stands ready, so that a node that is slow to come, or never comes again, holds nobody up. Chunks of
    all tasks stand in one queue, so no worker waits while any task has work.
    """

    def __init__(self, tasks: Sequence[Task], *, workers: int, gpus: int, threads: int, address: str | None) -> None:
        ray: Any = importlib.import_module("ray")  # only now: a study in this process never needs it
        self.workers = workers
        self.where = f"{workers} Ray worker{'s' * (workers > 1)}{f' at {address}' if address else ''}"
        self._ray = ray
        self._started_here = not ray.is_initialized()
        if self._started_here:
            start_ray(ray, address, workers, gpus, threads)
        self._names = [f" of {', '.join(task.market.tickers)}" if len(tasks) > 1 else "" for task in tasks]
        self._given, self._threads = tasks, threads
        self._tasks = [ray.put(task) for task in tasks]
        self._actor: Any = ray.remote(Worker).options(
            num_gpus=gpus, num_cpus=threads, max_restarts=0, max_task_retries=0
        )
        self._share = f"{gpus} GPU and {threads} cores" if gpus else f"{threads} cores"
        self._actors: dict[int, Any] = {}
        self._starting: dict[Any, int] = {}  # what Ray answers with when a worker stands ready
        self._ready: set[int] = set()
        self._stillborn = 0  # workers that died while they started, since the last one that did not
        self._batches: dict[int, _Batch] = {}  # by task
        self._waiting: deque[_Chunk] = deque()
        self._flying: dict[Any, tuple[_Chunk, int]] = {}  # what Ray will answer with: (chunk, worker)
        self._lost: Counter[_Chunk] = Counter()
        for number in range(workers):
            self._start(number)

    @property
    def busy(self) -> bool:
        """Whether a batch has been submitted whose result has not been taken."""
        return bool(self._batches)

    def submit(self, task: int, configurations: pd.DataFrame) -> None:
        """Hand over a batch of the task of that number; its chunks queue behind those of other tasks."""
        batch = self._batches[task] = _Batch(configurations, list(chunks(len(configurations), self.workers)))
        self._waiting += [_Chunk(task, number) for number in range(len(batch.chunks))]

    def result(self, progress: Progress) -> tuple[int, pd.DataFrame]:
        """Wait for a batch to be done: its task, and the metrics of every configuration in the batch's order."""
        while True:
            for task, batch in self._batches.items():
                if batch.complete:
                    del self._batches[task]
                    return task, joined([batch.done[n] for n in range(len(batch.chunks))], self._given[task])
            self._send()
            self._receive(progress)

    def _send(self) -> None:
        """Chunks to the workers that have room for them, the emptiest first."""
        load = Counter(worker for _, worker in self._flying.values())
        places = sorted((n, worker) for worker in self._ready for n in range(load[worker], IN_FLIGHT))
        for _, worker in places[: len(self._waiting)]:
            chunk = self._waiting.popleft()
            batch = self._batches[chunk.task]
            rows = to_arrow(batch.configurations.iloc[batch.chunks[chunk.number]])
            self._flying[self._actors[worker].run.remote(chunk.task, rows)] = (chunk, worker)

    def _receive(self, progress: Progress) -> None:
        """Wait for one answer: a worker stands ready, a chunk is done, or something is lost and starts again."""
        ray = self._ray
        answers, _ = ray.wait([*self._starting, *self._flying], timeout=None if self._flying else START_SECONDS)
        if not answers:
            raise self._nobody()
        if answers[0] in self._starting:
            self._admit(answers[0])
            return
        chunk, worker = self._flying.pop(answers[0])
        try:
            metrics = from_arrow(ray.get(answers[0]))
        except ray.exceptions.RayTaskError as error:  # first: it is also an instance of what the chunk raised
            raise PoolError(f"{self._told(chunk)} raised {reason(error)}") from error
        except ray.exceptions.RayError as error:  # the worker, its node or its result is gone
            self._lost[chunk] += 1
            if self._lost[chunk] >= ATTEMPTS:
                raise PoolError(f"{self._told(chunk)} lost its worker {ATTEMPTS} times: {reason(error)}") from error
            self._replace(worker, chunk)
        else:
            self._batches[chunk.task].done[chunk.number] = metrics
            self._lost.pop(chunk, None)
            progress(len(metrics))

    def _replace(self, worker: int, lost: _Chunk) -> None:
        """Start a worker anew; what the old one had is sent again, before all else."""
        self._waiting.extendleft(chunk for chunk, at in self._flying.values() if at == worker)
        self._waiting.appendleft(lost)
        self._flying = {answer: pair for answer, pair in self._flying.items() if pair[1] != worker}
        self._ready.remove(worker)
        self._start(worker)

    def _told(self, chunk: _Chunk) -> str:
        return f"chunk {chunk.number} of {len(self._batches[chunk.task].chunks)}{self._names[chunk.task]}"

    def close(self) -> None:
        """End the workers, and the cluster where it was started for them."""
        for number in self._actors:
            self._end(number)
        if self._started_here:
            self._ray.shutdown()

    def _start(self, number: int) -> None:
        """Begin a worker, in the place of one that is gone."""
        self._end(number)
        self._actors[number] = self._actor.remote(self._threads, *self._tasks)
        self._starting[self._actors[number].__ray_ready__.remote()] = number

    def _end(self, number: int) -> None:
        with contextlib.suppress(Exception):  # there was none, or it is gone already
            self._ray.kill(self._actors[number])

    def _admit(self, answer: Any) -> None:
        """A worker stands ready, or died on the way there."""
        number = self._starting.pop(answer)
        try:
            self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            self._stillborn += 1
            if getattr(error, "actor_init_failed", False) or self._stillborn >= ATTEMPTS * self.workers:
                raise PoolError(f"a worker could not start: {last_line(error)}") from error
            self._start(number)
        else:
            self._stillborn = 0
            self._ready.add(number)

    def _nobody(self) -> PoolError:
        there = self._ray.cluster_resources()
        return PoolError(
            f"no worker started in {START_SECONDS:.0f} s: each needs {self._share}, the cluster has "
            f"{there.get('GPU', 0):g} GPU and {there.get('CPU', 0):g} cores in all, perhaps in use; free some, or set "
            "compute.workers"
        )
