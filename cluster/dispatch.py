"""Which worker runs which chunk, and what becomes of a chunk whose worker is lost. What starts workers is a fleet.

A chunk is pure, so running it twice is harmless; its result is kept once. Blame:

- a node that dies or is taken away, a call or a result that is lost charge nobody: the chunks run again;
- a worker that dies, or takes longer than the deadline, makes every chunk it had a suspect: suspects run alone;
- a chunk that loses its worker `ALONE` times alone, `ATTEMPTS` times in all, or that raises, is quarantined: the study
  goes on without it and says so.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import pandas as pd
import pyarrow as pa

from cluster.chunks import Speeds
from cluster.pool import Event, PoolError, Watch
from cluster.work import Answer as Made
from cluster.work import Batch, Hope, Result, Stream, Survey, Work, chunk_name
from cluster.worker import Inquiry, Task, Terms

IN_FLIGHT = 2  # chunks sent to one worker: one runs while the next one travels
ALONE = 3  # workers that a chunk may take with it while nothing else runs there
ATTEMPTS = 20  # workers that it may lose for any reason at all
OFTEN = 10  # of those, after which it runs alone: it may only stand behind one that hangs on nodes that die
STILLBORN = 3  # workers per place that may die while they start, one after another, before it is left alone a while
LOOK_SECONDS = 1.0  # between two looks at deadlines
USE_SECONDS = 5.0  # between two looks at how much of the cluster is in use


class Chunk(NamedTuple):
    """Rows `first` .. `end - 1` of the batch that a task has in the pool; of its stream, trials; of a survey either."""

    task: int
    first: int
    end: int


class Ready(NamedTuple):
    """A worker stands ready."""

    worker: int


class Done(NamedTuple):
    """A worker has computed a chunk, in so many seconds by its own clock: the driver may hear of several at once."""

    worker: int
    chunk: Chunk
    answer: Made  # metrics, a part of a stream, or what a survey found
    seconds: float


class Raised(NamedTuple):
    """A chunk raised an exception; its worker goes on."""

    worker: int
    chunk: Chunk
    error: str


class Lost(NamedTuple):
    """A worker is gone, with all it had. `blameless`: its node is; `unfit`: it raised while it started."""

    worker: int
    error: str
    blameless: bool = False
    unfit: bool = False


Answer = Ready | Done | Raised | Lost


class Fleet(Protocol):
    """What starts workers and carries chunks: Ray, or a simulation. It never retries. Times are seconds of its clock."""

    where: str  # what the workers are, for a reader

    def now(self) -> float:
        """The time."""
        ...

    def start(self) -> int:
        """Begin a worker; its number, which no other gets. `Ready` or `Lost` follows, perhaps never."""
        ...

    def send(self, worker: int, chunk: Chunk, rows: pa.Table | Inquiry | None) -> None:
        """Hand a chunk to a worker; without rows it makes them itself. `Done`, `Raised` or `Lost` follows, or nothing."""
        ...

    def end(self, worker: int) -> None:
        """End a worker, whatever it does; nothing is heard of it any more."""
        ...

    def wait(self, seconds: float) -> Sequence[Answer]:
        """What has happened, as soon as anything has; nothing after so many seconds."""
        ...

    def state(self) -> str:
        """What there is to compute on, in words."""
        ...

    def use(self) -> Mapping[str, float]:
        """How much of it is in use, by name."""
        ...

    def close(self) -> None:
        """End everything."""
        ...


@dataclass(frozen=True)
class Limits:
    """Seconds after which a chunk's worker, the pool, a first worker's start count as lost."""

    chunk: float = 600.0
    stall: float = 120.0
    start: float = 300.0


@dataclass
class _Worker:
    """A worker as its pool sees it. `since`: when it began to start, or what it does now."""

    since: float
    ready: bool = False
    chunks: deque[Chunk] = field(default_factory=deque)  # in the order they were sent


class WorkerPool:
    """Workers that may be lost at any time; they keep no state, so any of them may be replaced.

    A worker takes part from when it stands ready, so that a node that is slow to come, or never comes again, holds
    nobody up. Chunks of all tasks stand in one queue, so no worker waits while any task has work.
    """

    def __init__(self, tasks: Sequence[Task], fleet: Fleet, workers: int, limits: Limits | None = None) -> None:
        self.workers, self.where = workers, fleet.where
        self._tasks, self._fleet, self._limits = tasks, fleet, limits or Limits()
        self._crew: dict[int, _Worker] = {}
        self._room: list[dict[int, None]] = [{} for _ in range(IN_FLIGHT)]  # ready workers by the chunks they have
        self._ready = 0
        self._stillborn = 0  # workers that died while they started, since the last one that did not
        self._ever_ready = False
        self._work: dict[int, Work] = {}  # by task
        self._again: deque[Chunk] = deque()  # lost through no fault of theirs
        self._suspects: deque[Chunk] = deque()
        self._alone: set[Chunk] = set()  # suspects, until they are done
        self._charges: Counter[Chunk] = Counter()
        self._attempts: Counter[Chunk] = Counter()
        self._speeds, self._hope = Speeds(), Hope()
        self.use: Mapping[str, float] = {}
        self._used = -USE_SECONDS  # when it was looked at
        self._heard = self._looked = self._left_alone = fleet.now()
        for _ in range(workers):
            self._start()

    @property
    def busy(self) -> bool:
        """Whether a batch has been submitted whose result has not been taken, or trials."""
        return any(not work.over for work in self._work.values())

    @property
    def ready(self) -> int:
        """Workers that stand ready."""
        return self._ready

    @property
    def under_way(self) -> int:
        """Configurations that are not done and will be, whatever is withdrawn."""
        return sum(work.under_way for work in list(self._work.values()))

    def submit(self, task: int, configurations: pd.DataFrame) -> None:
        """Hand over a batch of the task of that number; it queues behind those of other tasks."""
        self._enter(task, Batch(self._tasks, task, self._hope, configurations))

    def stream(self, task: int, trials: Sequence[range], most: int) -> None:
        """Hand over trials of the task of that number, to be computed in parts of at most `most`; they queue too."""
        self._enter(task, Stream(self._tasks, task, self._hope, trials, most))

    def survey(self, task: int, terms: Terms, rows: Sequence[range] | pd.DataFrame) -> None:
        """Hand over configurations to be looked at once more: trials by their numbers, or rows."""
        self._enter(task, Survey(self._tasks, task, self._hope, terms, rows))

    def withdraw(self) -> None:
        """Take back what of streams and surveys no worker has yet."""
        for work in self._work.values():
            if isinstance(work, Stream | Survey):
                work.withdraw()

    def result(self, watch: Watch) -> tuple[int, Result]:
        """Wait for a batch, a part of a stream or a survey to be done: its task, and what came out."""
        while (task := next((task for task, work in self._work.items() if work.ready), None)) is None:
            self._send(watch)
            for answer in self._fleet.wait(LOOK_SECONDS):
                self._take(answer, watch)
            self._look(watch)
        work = self._work[task]
        result = work.take()
        if work.over:
            del self._work[task]
        return task, result

    def close(self) -> None:
        """End the workers."""
        self._fleet.close()

    # ---- sending

    def _enter(self, task: int, work: Work) -> None:
        self._work[task] = work
        self._heard = self._fleet.now()

    def _send(self, watch: Watch) -> None:
        """Chunks to the workers that have room for them, the emptiest first.

        A suspect goes to a worker that has nothing, which then gets nothing else; while one waits, nobody is sent a
        second chunk, so that a worker is free soon.
        """
        for load, workers in enumerate(self._room):
            for number in list(workers):
                if load and self._suspects:
                    return
                if self._suspects:
                    chunk: Chunk | None = self._suspects.popleft()
                else:
                    chunk = self._again.popleft() if self._again else self._cut(number)
                if chunk is None:
                    return
                self._hand(number, chunk)

    def _cut(self, number: int) -> Chunk | None:
        """The next chunk of the tasks, which take turns, of as many rows as suits the worker."""
        for task, work in self._work.items():
            if work.left:
                self._work[task] = self._work.pop(task)
                return Chunk(task, *work.cut(self._speeds.rows(number, task, work.left, max(1, self._ready))))
        return None

    def _hand(self, number: int, chunk: Chunk) -> None:
        worker = self._crew[number]
        if not worker.chunks:
            worker.since = self._fleet.now()
        self._place(number, -1)
        worker.chunks.append(chunk)
        self._place(number, +1)
        self._fleet.send(number, chunk, self._work[chunk.task].sent(chunk.first, chunk.end))

    def _place(self, number: int, there: int) -> None:
        """Take a worker off the list of those that have room, or put it there."""
        worker = self._crew[number]
        load = len(worker.chunks)
        if not worker.ready or load >= IN_FLIGHT or (load and worker.chunks[0] in self._alone):
            return
        if there > 0:
            self._room[load][number] = None
        else:
            self._room[load].pop(number, None)

    # ---- what happens

    def _take(self, answer: Answer, watch: Watch) -> None:
        if answer.worker not in self._crew:  # it was given up before this was heard
            return
        match answer:
            case Ready(number):
                self._admit(number)
            case Done(number, chunk, made, seconds):
                self._speeds.measured(number, chunk.task, chunk.end - chunk.first, seconds)
                self._work[chunk.task].keep(chunk.first, chunk.end, made)
                self._settled(chunk, watch)
                self._freed(number, chunk)
            case Raised(number, chunk, error):
                self._quarantine(chunk, error, watch)
                self._freed(number, chunk)
            case Lost(number, error, blameless, unfit):
                self._lose(number, error, watch, blameless=blameless, unfit=unfit)

    def _admit(self, number: int) -> None:
        self._crew[number].ready = True
        self._ready += 1
        self._stillborn, self._ever_ready = 0, True
        self._heard = self._fleet.now()
        self._place(number, +1)

    def _freed(self, number: int, chunk: Chunk) -> None:
        """A worker is done with a chunk, one way or another, and goes on with its next."""
        worker = self._crew[number]
        self._place(number, -1)
        worker.chunks.remove(chunk)
        self._place(number, +1)
        worker.since = self._heard = self._fleet.now()

    def _settled(self, chunk: Chunk, watch: Watch) -> None:
        """A chunk has come to its end, one way or another."""
        for charged in (self._charges, self._attempts):
            charged.pop(chunk, None)
        self._alone.discard(chunk)
        if self._work[chunk.task].counts:
            watch.advanced(chunk.end - chunk.first)

    def _lose(self, number: int, error: str, watch: Watch, *, blameless: bool, unfit: bool = False) -> None:
        """A worker is gone: start another, and run again what it had."""
        worker = self._give_up(number)
        if worker.ready:
            self._heard = self._fleet.now()  # another has time to start, however long this one took
            self._stillborn = 0
        else:
            self._stillborn += not blameless
        hopeless = self._stillborn >= STILLBORN * self.workers
        if (unfit and not self._ever_ready) or (hopeless and not self._ready):
            raise PoolError(f"a worker could not start: {error}")
        watch.happened(Event("workers_lost", f"worker {number} lost: {error}"))
        if hopeless:  # the others go on without it, and it is tried again later
            self._left_alone = self._fleet.now()
        else:
            self._start()
        for chunk in reversed(worker.chunks):
            self._attempts[chunk] += 1
            self._charges[chunk] += not blameless and chunk in self._alone
            if self._charges[chunk] >= ALONE or self._attempts[chunk] >= ATTEMPTS:
                self._quarantine(chunk, error, watch)
                continue
            watch.happened(Event("chunks_retried", f"{self._told(chunk)} runs again: {error}", chunk.task))
            if not blameless or self._attempts[chunk] >= OFTEN:
                self._alone.add(chunk)
            (self._suspects if chunk in self._alone else self._again).appendleft(chunk)

    def _quarantine(self, chunk: Chunk, error: str, watch: Watch) -> None:
        work = self._work[chunk.task]
        rows = work.configurations(chunk.first, chunk.end)
        watch.happened(Event("chunks_quarantined", f"{self._told(chunk)} quarantined: {error}", chunk.task, rows))
        work.fail(chunk.first, chunk.end, error)
        self._settled(chunk, watch)

    def _told(self, chunk: Chunk) -> str:
        return chunk_name(self._tasks, chunk.task, chunk.first, chunk.end - chunk.first)

    # ---- workers

    def _start(self) -> None:
        self._crew[self._fleet.start()] = _Worker(self._fleet.now())

    def _give_up(self, number: int) -> _Worker:
        self._place(number, -1)
        worker = self._crew.pop(number)
        self._ready -= worker.ready
        self._speeds.forget(number)
        self._fleet.end(number)
        return worker

    def _look(self, watch: Watch) -> None:
        """Now and then: workers that take too long, and a pool that has none."""
        now = self._fleet.now()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        if now - self._used >= USE_SECONDS:
            self._used, self.use = now, {"ray_workers": float(self._ready), **self._fleet.use()}
        for number, worker in list(self._crew.items()):
            waited = now - worker.since
            if worker.chunks and waited > self._limits.chunk:
                late = f"{self._told(worker.chunks[0])} was not done after {self._limits.chunk:g} s"
                self._lose(number, late, watch, blameless=False)
            elif not worker.ready and waited > self._limits.start and self._ready:
                self._give_up(number)  # stuck, or without a node: asked for anew
                self._start()
        if now - self._left_alone > self._limits.start:
            while len(self._crew) < self.workers:
                self._start()
        limit = self._limits.stall if self._ever_ready else self._limits.start
        if not self._ready and now - self._heard > limit:
            left = len(self._again) + len(self._suspects)
            rest = sum(work.left for work in self._work.values())
            raise PoolError(
                f"no chunk finished for {limit:g} s; {self._fleet.state()}; 0 of {self.workers} workers ready, "
                f"{left} chunks and {rest:,} configurations beside them left"
            )
