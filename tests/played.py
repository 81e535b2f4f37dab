"""What a history asks of a pool: batches, streams and surveys of rows that are numbers, and what must come of each."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

from referee import Referee
from simulated_fleet import ROWS, Rows, trials, value

from cluster.dispatch import Chunk
from cluster.worker import Terms
from search.points import Part


class Points:
    """Makes a task's trials from their numbers, as `search.points.Points` does; lists stand in for tables and files."""

    def __init__(self, task: int) -> None:
        self._task = task

    def configurations(self, _: object, first: int, end: int) -> Rows:
        return trials(self._task, first, end)

    def part(self, _: object, first: int, rows: Rows, metrics: Any) -> Part:
        assert len(rows) == len(metrics)
        return Part(first, len(rows), metrics, sha256="")


TASKS = [
    SimpleNamespace(market=SimpleNamespace(tickers=[ticker]), rule=None, points=Points(task))
    for task, ticker in enumerate(("NEAR", "FAR"))
]


def wanted(rows: Rows, chunk: Chunk, condemned: list[Chunk]) -> list[Any]:
    """What must come of a chunk of those rows."""
    return ["quarantined"] * len(rows) if chunk in condemned else [value(row) for row in rows]


class PlayedBatch:
    """Rows in any order; no two batches have one in common."""

    def __init__(self, task: int, number: int, size: int, random: Random) -> None:
        first = ROWS * (2 * task + number)
        self._task, self._rows = task, Rows(random.sample(range(first, first + size), size))

    def hand_over(self, pool: Any, referee: Referee, now: float) -> None:
        referee.submitted(self._task, [range(len(self._rows))], now)
        pool.submit(self._task, self._rows)

    def rows(self, chunk: Chunk) -> Rows:
        return self._rows[chunk.first : chunk.end]

    def came(self, metrics: Any, referee: Referee) -> None:
        """All of it, in its order."""
        work = referee.works[self._task]
        chunks = sorted(work.ended)
        expected = [each for chunk in chunks for each in wanted(self.rows(chunk), chunk, work.condemned)]
        assert metrics == expected, "rows are missing, doubled, mixed up, or wrongly quarantined"
        assert sum(map(len, map(self.rows, chunks))) == len(self._rows), "a batch came before it was done"

    def over(self, _: Referee) -> bool:
        """It comes whole."""
        return True

    def complete(self, referee: Referee) -> None:
        assert not referee.works[self._task].left, "a batch was left out"


class PlayedStream:
    """Trials by their numbers, in one range or, as of a resumed study, with gaps."""

    def __init__(self, task: int, size: int, random: Random) -> None:
        self._task, self._most = task, random.choice((2, 10, ROWS))
        ends = sorted({size, *(random.randint(1, size) for _ in range(random.choice((0, 0, 3)) if size else 0))})
        starts = [0, *(end + random.randint(1, 20) for end in ends[:-1])]
        self._trials = [range(start, end) for start, end in zip(starts, ends, strict=True) if start < end]
        self._came: list[Chunk] = []

    def hand_over(self, pool: Any, referee: Referee, now: float) -> None:
        referee.submitted(self._task, self._trials, now, self._most)
        pool.stream(self._task, self._trials, self._most)

    def rows(self, chunk: Chunk) -> Rows:
        return trials(self._task, chunk.first, chunk.end)

    def came(self, part: Any, referee: Referee) -> None:
        """A part, which is a chunk that has ended and did not come before."""
        chunk = Chunk(self._task, part.first, part.first + part.rows)
        assert chunk in referee.works[self._task].ended, "a part that no worker was sent, or that is not done"
        assert chunk not in self._came, "a part came twice"
        expected = wanted(self.rows(chunk), chunk, referee.works[self._task].condemned)
        assert part.file == expected, "trials are mixed up, or wrongly quarantined"
        self._came.append(chunk)

    def over(self, referee: Referee) -> bool:
        """Whether all of it has come."""
        came = sum(chunk.end - chunk.first for chunk in self._came)
        return came + referee.works[self._task].withdrawn == sum(map(len, self._trials))

    def complete(self, referee: Referee) -> None:
        """Every trial came, but those that were withdrawn from no chunk."""
        numbers = sorted(number for chunk in self._came for number in range(chunk.first, chunk.end))
        due = [number for each in self._trials for number in each]
        assert numbers == due[: len(due) - referee.works[self._task].withdrawn], "trials are missing or doubled"


class PlayedSurvey:
    """Trials by their numbers, with gaps, or rows in any order: each found once, but those that are left out."""

    def __init__(self, task: int, size: int, random: Random) -> None:
        self._task, self._table = task, None
        if random.random() < 0.5:
            first = ROWS * (2 * task)
            self._table = Rows(random.sample(range(first, first + size), size))
            self._numbers = [range(size)]
        else:
            middle = random.randint(0, size)
            self._numbers = [range(middle), range(middle + 7, size + 7)]

    def hand_over(self, pool: Any, referee: Referee, now: float) -> None:
        referee.submitted(self._task, self._numbers, now, ROWS, survey=True)
        pool.survey(self._task, Terms(None, 10, 1.0, 0), self._numbers if self._table is None else self._table)

    def rows(self, chunk: Chunk) -> Rows:
        return (
            trials(self._task, chunk.first, chunk.end) if self._table is None else self._table[chunk.first : chunk.end]
        )

    def came(self, surveyed: Any, referee: Referee) -> None:
        work = referee.works[self._task]
        assert not work.left, "a survey came before it was done"
        assert not work.under_way, "a survey came before it was done"
        computed = [chunk for chunk in work.ended if chunk not in work.condemned]
        expected = sorted(value(row) for chunk in computed for row in self.rows(chunk))
        assert sorted(surveyed.excess or []) == expected, "configurations were looked at twice, or not at all"
        left_out = sum(chunk.end - chunk.first for chunk in work.condemned) + work.given_up
        assert surveyed.left_out == left_out, "more or less was left out than is said"
        assert surveyed.whole == (not work.withdrawn), "what was withdrawn passes for whole"

    def over(self, _: Referee) -> bool:
        """It comes whole."""
        return True

    def complete(self, referee: Referee) -> None:
        """Its one result has come, or there was nothing of it."""
