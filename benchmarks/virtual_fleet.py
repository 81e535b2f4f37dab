"""A fleet in virtual time: workers of given speeds, and a driver whose own time is charged to the clock."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cluster.commits import AT_ONCE
from cluster.dispatch import Answer, Chunk, Done, Ready, WorkerPool
from cluster.pool import Event
from search.points import Part

NOTHING = pa.py_buffer(b"")
NOISE = 0.05  # standard deviation of a chunk's time, as a share of it


@dataclass(frozen=True)
class Costs:
    """Seconds of the driver's one thread: per chunk (sent, received, dispatched), per row of a part, per answer still out
    each time it waits. Of its disk: per part, per row. Then seconds of an empty chunk there and back, bytes per row, and
    bytes per second of the driver's link."""

    chunk: float = 0.0
    row: float = 0.0
    asked: float = 0.0
    part: float = 0.0
    part_row: float = 0.0
    latency: float = 0.0
    size: float = 0.0
    link: float = float("inf")


class VirtualFleet:
    """Workers that compute a row in `seconds[i]` each. `driver`, `link`, `disk` and `workers` say how long each was busy."""

    where = "virtual time"

    def __init__(self, seconds: Sequence[float], costs: Costs, seed: int = 0) -> None:
        self._seconds, self._costs = seconds, costs
        self._random = np.random.default_rng(seed)
        self._now = 0.0
        self._count = 0
        self._free: list[float] = []  # when a worker has done all it has
        self._coming: list[tuple[float, int, Answer, bool]] = []  # whether it is at the driver by then
        self._order = itertools.count()
        self._link_free = 0.0
        self._disk_free: deque[float] = deque([0.0])  # when each of the last parts was on it
        self.driver = self.link = self.disk = self.workers = 0.0
        self.last: list[float] = []  # when each worker ended its last chunk
        self.sent, self.longest = 0, 0.0  # chunks, and seconds of the longest

    def now(self) -> float:
        return self._now

    def start(self) -> int:
        worker = self._count
        self._count += 1
        self._free.append(0.0)
        self.last.append(0.0)
        self._happens(0.0, Ready(worker), there=True)
        return worker

    def send(self, worker: int, chunk: Chunk, rows: pa.Table | None) -> None:
        """The worker begins when it has received the chunk and done those before."""
        count = chunk.end - chunk.first
        takes = count * self._seconds[worker] * max(0.5, 1.0 + NOISE * self._random.standard_normal())
        done = max(self._free[worker], self._now + self._costs.latency / 2) + takes
        self._free[worker] = self.last[worker] = done
        self.workers += takes
        self.sent += 1
        self.longest = max(self.longest, takes)
        self._happens(done, Done(worker, chunk, Part(chunk.first, count, NOTHING, "", takes), takes), there=False)

    def end(self, worker: int) -> None: ...

    def wait(self, seconds: float) -> Sequence[Answer]:
        """Everything that has arrived, as soon as anything has, at the driver's expense."""
        self._charge(self._costs.asked * len(self._coming))
        deadline, answers = self._now + seconds, list[Answer]()
        while self._coming and self._coming[0][0] <= (self._now if answers else deadline):
            when, _, answer, there = heapq.heappop(self._coming)
            self._now = max(self._now, when)
            if there:
                answers.append(answer)
            elif isinstance(answer, Done):
                self._travels(when, answer)
        if not answers:
            self._now = deadline
        for answer in answers:
            if isinstance(answer, Done):
                self._charge(self._costs.chunk + self._costs.row * (answer.chunk.end - answer.chunk.first))
        return answers

    def commit(self, rows: int) -> None:
        """A part goes to the disk while the driver goes on, unless as many as it may hold are under way."""
        takes = self._costs.part + self._costs.part_row * rows
        self.disk += takes
        self._disk_free.append(max(self._disk_free[-1], self._now) + takes)
        if len(self._disk_free) > AT_ONCE:
            self._now = max(self._now, self._disk_free.popleft())

    @property
    def written(self) -> float:
        """When the last part was on the disk."""
        return self._disk_free[-1]

    def use(self) -> dict[str, float]:
        return {}

    def state(self) -> str:
        return f"{self._count} virtual workers"

    def close(self) -> None: ...

    def _travels(self, when: float, done: Done) -> None:
        """A part goes over the driver's one link, after those before it, whatever the driver does."""
        takes = (done.chunk.end - done.chunk.first) * self._costs.size / self._costs.link
        self._link_free = max(self._link_free, when) + takes
        self.link += takes
        self._happens(self._link_free + self._costs.latency / 2, done, there=True)

    def _happens(self, when: float, answer: Answer, *, there: bool) -> None:
        heapq.heappush(self._coming, (when, next(self._order), answer, there))

    def _charge(self, seconds: float) -> None:
        self._now += seconds
        self.driver += seconds


class Silent:
    """A watch that says nothing; nothing goes wrong here."""

    def advanced(self, configurations: int) -> None: ...

    def happened(self, event: Event) -> None:
        raise AssertionError(event.text)


def seconds_to_run(fleet: VirtualFleet, configurations: int, watch: Silent | None = None, most: int = 262_144) -> float:
    """Virtual seconds that the real `WorkerPool` takes for a study of so many configurations on all the fleet's workers."""
    pool = WorkerPool([], fleet, len(fleet._seconds))
    pool.stream(0, [range(configurations)], most)
    done = 0
    while pool.busy:
        _, part = pool.result(watch or Silent())
        assert isinstance(part, Part)
        fleet.commit(part.rows)
        done += part.rows
    assert done == configurations
    return max(fleet.now(), fleet.written)
