"""What a task has in a pool: a batch, whose results come back together, or a stream, whose results come part by part."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from cluster.worker import Task, from_arrow, to_arrow
from search.points import Part

HOPELESS = 10  # first parts of a stream that could not be computed: then the strategy or the market is broken


class PoolError(RuntimeError):
    """The workers cannot finish a chunk; the study can be resumed once the cause is gone."""


class Work(Protocol):
    """Rows that are cut into chunks, first come first served. `left`: how many are in no chunk yet."""

    left: int

    @property
    def ready(self) -> bool:
        """Whether there is something to take."""
        ...

    @property
    def over(self) -> bool:
        """Whether everything has been taken."""
        ...

    @property
    def under_way(self) -> int:
        """Rows that will be computed, whatever is withdrawn, and are not yet."""
        ...

    def cut(self, rows: int) -> tuple[int, int]:
        """The next chunk, of so many rows or fewer: its first row, and the one after its last."""
        ...

    def configurations(self, first: int, end: int) -> pd.DataFrame:
        """The rows of a chunk."""
        ...

    def sent(self, first: int, end: int) -> pa.Table | None:
        """What a worker must be sent of a chunk beside its numbers."""
        ...

    def keep(self, first: int, end: int, answer: pa.Table | Part) -> None:
        """A chunk has been computed."""
        ...

    def fail(self, first: int, end: int, error: str) -> None:
        """A chunk cannot be computed."""
        ...

    def take(self) -> pd.DataFrame | Part:
        """What is ready; `PoolError` where nothing of it could be computed."""
        ...


class Batch:
    """Configurations handed over together: their metrics come back as one table, in their order."""

    def __init__(self, tasks: Sequence[Task], task: int, configurations: pd.DataFrame) -> None:
        self._tasks, self._task, self._configurations = tasks, task, configurations
        self.left = self._missing = len(configurations)
        self._done: dict[int, pd.DataFrame] = {}  # by first row, whatever order they came in
        self._errors: list[str] = []
        self._taken = False

    @property
    def ready(self) -> bool:
        """Whether there is something to take."""
        return not self._missing and not self._taken

    @property
    def over(self) -> bool:
        """Whether everything has been taken."""
        return self._taken

    @property
    def under_way(self) -> int:
        """All that is missing: a batch comes back whole."""
        return self._missing

    def cut(self, rows: int) -> tuple[int, int]:
        """The next chunk."""
        first = len(self._configurations) - self.left
        self.left -= rows
        return first, first + rows

    def configurations(self, first: int, end: int) -> pd.DataFrame:
        """The rows of a chunk."""
        return self._configurations.iloc[first:end]

    def sent(self, first: int, end: int) -> pa.Table | None:
        """The rows of a chunk."""
        return to_arrow(self.configurations(first, end))

    def keep(self, first: int, end: int, answer: pa.Table | Part) -> None:
        """A chunk has been computed."""
        assert isinstance(answer, pa.Table)
        self._enter(first, from_arrow(answer))

    def fail(self, first: int, end: int, error: str) -> None:
        """A chunk cannot be computed."""
        self._errors.append(error)
        self._enter(first, quarantined(self._tasks[self._task], end - first))

    def take(self) -> pd.DataFrame:
        """The metrics of all rows."""
        self._taken = True
        if self._errors and len(self._errors) == len(self._done):
            raise PoolError(_nothing_of(self._tasks, self._task, len(self._configurations), self._errors[-1]))
        return _joined([self._done[first] for first in sorted(self._done)], self._tasks[self._task])

    def _enter(self, first: int, metrics: pd.DataFrame) -> None:
        assert first not in self._done
        self._done[first] = metrics
        self._missing -= len(metrics)


class Stream:
    """Trials that any worker makes from their numbers: each chunk of them comes back as a part of the results.

    Parts that could not be computed wait until one could: if none can, nothing of the study is kept.
    """

    def __init__(self, tasks: Sequence[Task], task: int, trials: Sequence[range], most: int) -> None:
        self._tasks, self._task, self._most = tasks, task, most
        self._open = deque(trials)
        self.left = self._missing = sum(map(len, trials))
        self._parts: deque[Part] = deque()
        self._failed: list[Part] = []
        self._errors: list[str] = []
        self._any = False  # has been computed

    @property
    def ready(self) -> bool:
        """Whether there is something to take."""
        return bool(self._parts) or self._hopeless

    @property
    def over(self) -> bool:
        """Whether everything has been taken."""
        return not (self._missing or self._parts or self._failed)

    @property
    def under_way(self) -> int:
        """What is in chunks."""
        return self._missing - self.left

    def withdraw(self) -> None:
        """Give up the trials that are in no chunk yet."""
        self._open.clear()
        self._missing -= self.left
        self.left = 0

    def cut(self, rows: int) -> tuple[int, int]:
        """The next chunk."""
        trials = self._open.popleft()
        chunk = trials[: min(rows, self._most)]
        if rest := trials[len(chunk) :]:
            self._open.appendleft(rest)
        self.left -= len(chunk)
        return chunk.start, chunk.stop

    def configurations(self, first: int, end: int) -> pd.DataFrame:
        """The rows of a chunk."""
        task = self._tasks[self._task]
        assert task.points is not None
        return task.points.configurations(task.rule, first, end)

    def sent(self, first: int, end: int) -> pa.Table | None:
        """Nothing: the numbers say it."""
        return None

    def keep(self, first: int, end: int, answer: pa.Table | Part) -> None:
        """A chunk has been computed."""
        assert isinstance(answer, Part)
        self._any = True
        self._missing -= answer.rows
        self._parts.extend([*self._failed, answer])
        self._failed.clear()

    def fail(self, first: int, end: int, error: str) -> None:
        """A chunk cannot be computed."""
        task = self._tasks[self._task]
        assert task.points is not None
        nothing = quarantined(task, end - first)
        part = task.points.part(task.rule, first, self.configurations(first, end), nothing)
        self._errors.append(error)
        self._missing -= part.rows
        (self._parts if self._any else self._failed).append(part)

    def take(self) -> Part:
        """The next part."""
        if self._hopeless:
            rows = sum(part.rows for part in self._failed)
            raise PoolError(_nothing_of(self._tasks, self._task, rows, self._errors[-1]))
        return self._parts.popleft()

    @property
    def _hopeless(self) -> bool:
        return not self._any and (len(self._failed) >= HOPELESS or (bool(self._failed) and not self._missing))


def quarantined(task: Task, rows: int) -> pd.DataFrame:
    """The metrics of configurations that could not be computed: none, and a status that says so."""
    return pd.DataFrame(
        {name: np.full(rows, np.nan) for name in task.rule.metrics} | {"status": ["quarantined"] * rows}
    )


def chunk_name(tasks: Sequence[Task], task: int, first: int, rows: int) -> str:
    """A chunk in words: its rows of the batch or its trials, and the tickers of its task where there are several."""
    return f"chunk {first}-{first + rows - 1}{_of(tasks, task)}"


def _joined(parts: Sequence[pd.DataFrame], task: Task) -> pd.DataFrame:
    """The metrics of a task's chunks as one table; of none, a table without rows."""
    if parts:
        return pd.concat(parts, ignore_index=True)
    metrics = {name: pd.Series(dtype=np.float64) for name in task.rule.metrics}
    return pd.DataFrame(metrics | {"status": pd.Series(dtype="str")})


def _nothing_of(tasks: Sequence[Task], task: int, rows: int, error: str) -> str:
    """Why a study cannot go on: each chunk was quarantined."""
    return f"nothing could be computed of a batch of {rows:,} configurations{_of(tasks, task)}: {error}"


def _of(tasks: Sequence[Task], task: int) -> str:
    return f" of {', '.join(tasks[task].market.tickers)}" if len(tasks) > 1 else ""
