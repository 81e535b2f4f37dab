"""A fleet in virtual time: workers that come late or never, nodes that die, chunks that kill, all drawn from one seed.

Rows are numbers, those of a stream made of its trials', and the metrics of a row are `value(row)`, so that a mix-up
shows. Lists stand in for tables and files, which the pool only cuts and joins; that it does so rightly with real ones is
tested elsewhere (test_pool.py, test_streams.py).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from referee import Referee

from cluster.dispatch import Answer, Chunk, Done, Lost, Raised, Ready
from cluster.worker import Inquiry
from search.points import Part

NETWORK_SECONDS = 0.05  # the longest that an answer takes, so that answers overtake each other
HORIZON = 20_000.0  # a history that takes longer than this never ends
ROWS = 1000  # more than a batch or a stream has; rows of several differ by multiples of it
STREAMS = 4  # batches there are at most, so that a stream has no row in common with any
FASTEST = 30.0  # rows per second
OVERHEAD = 0.003  # seconds that a chunk costs beside its rows


@dataclass(frozen=True)
class Regime:
    """What goes wrong, and how often. Times are means in seconds; shares are of 1."""

    workers: int = 3
    nodes: int = 2
    slots: int = 3  # workers that a node has room for
    broken: int = 0  # nodes on which no worker survives its start
    spread: float = 10.0  # the fastest worker is so many times as fast as the slowest
    start: float = 1.0
    never: float = 0.0  # share of workers that do not come
    stillborn: float = 0.0  # share of workers that die while they start
    unfit: float = 0.0  # share of workers that raise while they start
    crashes: float = 0.0  # a worker, per second of computing
    node_life: float = 0.0  # 0: for ever
    node_back: float = 5.0
    node_gone: float = 0.0  # share of dead nodes that never come back
    lost: float = 0.0  # share of results that do not arrive
    hangs: float = 0.0  # share of chunks whose worker hangs
    late: float = 0.0  # share of workers given up that are heard of nevertheless
    busy: float = 0.0  # share of the driver's waits that begin late
    poison: dict[str, int] = field(default_factory=dict)  # rows that kill, raise, hang, or kill now and then


class Rows(list[int]):
    """Rows of a batch, cut as a table is."""

    @property
    def iloc(self) -> Rows:
        return self

    def __getitem__(self, part: Any) -> Any:
        return Rows(super().__getitem__(part))


class Found(list[int]):
    """What a survey found of some rows: each of them, so that one that is missing or doubled shows."""


class Told(list[Answer]):
    """Answers that the referee hears one by one, as the pool takes them."""

    def __init__(self, answers: Sequence[Answer], referee: Referee, now: float) -> None:
        super().__init__(answers)
        self._referee, self._now = referee, now

    def __iter__(self) -> Iterator[Answer]:
        for answer in super().__iter__():
            self._referee.told(answer, self._now)
            yield answer


def trials(task: int, first: int, end: int) -> Rows:
    """The rows of a task's trials, by their numbers."""
    return Rows(ROWS * (STREAMS + task) + number for number in range(first, end))


def value(row: int) -> int:
    """What a row's metrics are, wherever it is computed."""
    return row * 7919 % 104_729


@dataclass
class _Node:
    room: int
    broken: bool = False
    alive: bool = True


@dataclass
class _Worker:
    """A process. It may live on after the pool has given it up, and be dead before the pool hears of it."""

    number: int
    speed: float  # rows per second
    node: _Node | None = None
    alive: bool = True
    mute: bool = False  # nothing is heard of it any more
    chunks: deque[tuple[Chunk, Rows | Inquiry | None]] = field(default_factory=deque)


class SimulatedFleet:
    """What a `cluster.dispatch.Fleet` promises, and nothing more. `poisoned`: the kind of a row that is."""

    where = "simulated workers"

    def __init__(self, regime: Regime, random: Random, poisoned: dict[int, str], referee: Referee) -> None:
        self._regime, self._random, self._poisoned, self._referee = regime, random, poisoned, referee
        self._time = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._heard: list[Answer] = []
        self._workers: dict[int, _Worker] = {}
        self._homeless: deque[_Worker] = deque()
        self._nodes = [_Node(regime.slots, number < regime.broken) for number in range(regime.nodes)]
        for node in self._nodes:
            self._doom(node)

    def now(self) -> float:
        return self._time

    def start(self) -> int:
        number = len(self._workers) + 1
        worker = _Worker(number, FASTEST * self._regime.spread ** -self._random.random())
        self._workers[number] = worker
        self._homeless.append(worker)
        self._house()
        self._referee.started(number, self._time)
        return number

    def send(self, worker: int, chunk: Chunk, rows: Rows | Inquiry | None) -> None:
        self._referee.sent(worker, chunk, self._time)
        process = self._workers[worker]
        process.chunks.append((chunk, rows))
        if process.alive and len(process.chunks) == 1:
            self._compute(process)

    def end(self, worker: int) -> None:
        self._referee.ended(worker, self._time)
        process = self._workers[worker]
        if self._random.random() >= self._regime.late:
            process.mute = True
            self._kill(process)

    def wait(self, seconds: float) -> Sequence[Answer]:
        self._referee.waits(self._time)
        assert self._time < HORIZON, "the pool never ends"
        if self._random.random() < self._regime.busy:  # the driver was busy elsewhere
            self._run(self._time + 4.0 * seconds * self._random.random())
        until = self._time + seconds
        while not self._heard and self._events and self._events[0][0] <= until:
            self._step()
        if not self._heard:
            self._time = until
        answers, self._heard = self._heard, []
        turns = {answer.worker: self._random.random() for answer in answers}
        answers.sort(key=lambda answer: turns[answer.worker])  # each worker's in the order they came
        return Told(answers, self._referee, self._time)

    def use(self) -> dict[str, float]:
        return {}

    def state(self) -> str:
        return f"{sum(node.alive for node in self._nodes)} nodes alive"

    def close(self) -> None:
        self._events.clear()

    # ---- time

    def _after(self, seconds: float, action: Callable[..., None], *about: Any) -> None:
        self._count += 1
        heapq.heappush(self._events, (self._time + seconds, self._count, action, about))

    def _step(self) -> None:
        self._time, _, action, about = heapq.heappop(self._events)
        action(*about)

    def _run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self._step()
        self._time = until

    def _some(self, mean: float) -> float:
        return self._random.expovariate(1.0 / mean)

    def _say(self, worker: _Worker, answer: Answer) -> None:
        self._after(NETWORK_SECONDS * self._random.random(), self._arrive, worker, answer)

    def _arrive(self, worker: _Worker, answer: Answer) -> None:
        if not worker.mute:
            self._heard.append(answer)

    # ---- nodes

    def _doom(self, node: _Node) -> None:
        if self._regime.node_life:
            self._after(self._some(self._regime.node_life), self._node_dies, node)

    def _node_dies(self, node: _Node) -> None:
        node.alive = False
        for worker in self._workers.values():
            if worker.node is node:
                self._die(worker, "its node died", blameless=True)
        if self._random.random() >= self._regime.node_gone:
            self._after(self._some(self._regime.node_back), self._node_returns, node)

    def _node_returns(self, node: _Node) -> None:
        node.alive = True
        self._doom(node)
        self._house()

    def _house(self) -> None:
        """Workers onto nodes that have room, where they start to start."""
        while self._homeless and (there := [node for node in self._nodes if node.alive and node.room]):
            worker, node = self._homeless.popleft(), self._random.choice(there)
            if worker.alive:
                worker.node = node
                node.room -= 1
                self._start_to_start(worker, node)

    def _start_to_start(self, worker: _Worker, node: _Node) -> None:
        regime, fate = self._regime, self._random.random()
        for share, begun in (
            (float(node.broken) or regime.stillborn, self._stillborn),
            (regime.unfit, self._unfit),
            (1.0 - regime.stillborn - regime.unfit - regime.never, self._begin),
        ):
            if fate < share:
                self._after(self._some(regime.start), begun, worker)
                return
            fate -= share

    # ---- workers

    def _begin(self, worker: _Worker) -> None:
        if worker.alive:
            self._say(worker, Ready(worker.number))

    def _stillborn(self, worker: _Worker) -> None:
        self._die(worker, "it died while it started")

    def _unfit(self, worker: _Worker) -> None:
        self._die(worker, "No module named 'kernels'", unfit=True)

    def _die(self, worker: _Worker, error: str, *, blameless: bool = False, unfit: bool = False) -> None:
        if worker.alive:
            self._kill(worker)
            self._say(worker, Lost(worker.number, error, blameless, unfit))

    def _kill(self, worker: _Worker) -> None:
        if worker.alive:
            worker.alive = False
            if worker.node:
                worker.node.room += 1
                worker.node = None
                self._after(0.0, self._house)

    def _compute(self, worker: _Worker) -> None:
        """Begin the chunk that a worker has had longest, and decide how it ends."""
        chunk, sent = worker.chunks[0]
        inside = sent.rows if isinstance(sent, Inquiry) else sent
        rows: Rows = trials(*chunk) if inside is None else inside
        seconds = OVERHEAD + len(rows) / worker.speed
        regime, random = self._regime, self._random
        kinds = {self._poisoned[row % ROWS] for row in rows if row % ROWS in self._poisoned}
        crash = self._some(1.0 / regime.crashes) if regime.crashes else seconds
        if crash < seconds:
            self._after(crash, self._die, worker, "its process died")
        elif "hangs" in kinds or random.random() < regime.hangs:
            pass
        elif "kills" in kinds or ("sometimes" in kinds and random.random() < 0.5):
            self._after(seconds * random.random(), self._die, worker, "its process died")
        elif "raises" in kinds:
            self._after(seconds, self._finish, worker, Raised(worker.number, chunk, "raised ZeroDivisionError: 0"))
        elif random.random() < regime.lost:
            lost = Lost(worker.number, "its result did not arrive", blameless=True)
            self._after(seconds, self._finish, worker, lost)
        else:
            metrics: Any = [value(row) for row in rows]
            made = metrics if sent is not None else Part(chunk.first, len(rows), metrics, sha256="")
            made = Found(metrics) if isinstance(sent, Inquiry) else made
            self._after(seconds, self._finish, worker, Done(worker.number, chunk, made, seconds))

    def _finish(self, worker: _Worker, answer: Answer) -> None:
        if worker.alive:
            worker.chunks.popleft()
            self._say(worker, answer)
            if worker.chunks:
                self._compute(worker)
