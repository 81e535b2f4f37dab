"""What a task has in a pool: a batch, whose results come back together, a stream, whose results come part by part, or a
survey, of which one result is kept."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa

from cluster.worker import Inquiry, Task, Terms, from_arrow, to_arrow
from search.periods import is_kept
from search.points import Part
from search.reality_check import Excess, merged

HOPELESS = 10  # chunks of a task in a row that could not be computed: then the strategy or the market is broken


class PoolError(RuntimeError):
    """The workers cannot finish a chunk; the study can be resumed once the cause is gone."""


class Surveyed(NamedTuple):
    """What a survey found. `left_out` configurations could not be computed; where all could not, there is no excess.

    It is not `whole` where some were withdrawn.
    """

    excess: Excess | None
    left_out: int
    whole: bool


Answer: TypeAlias = pa.Table | Part | Excess  # of a worker, for a chunk: of a batch, of a stream, of a survey
Result: TypeAlias = pd.DataFrame | Part | Surveyed  # of a pool


class Work(Protocol):
    """Rows that are cut into chunks, first come first served."""

    @property
    def left(self) -> int:
        """Rows that are in no chunk yet."""
        ...

    @property
    def counts(self) -> bool:
        """Whether its rows are among the configurations that a run has to do."""
        ...

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

    def sent(self, first: int, end: int) -> pa.Table | Inquiry | None:
        """What a worker must be sent of a chunk beside its numbers."""
        ...

    def keep(self, first: int, end: int, answer: Answer) -> None:
        """A chunk has been computed."""
        ...

    def fail(self, first: int, end: int, error: str) -> None:
        """A chunk cannot be computed."""
        ...

    def take(self) -> Result:
        """What is ready; `PoolError` where nothing of it could be computed."""
        ...


class Hope:
    """Which tasks can be computed: not one of which nothing could be, nor one of which `HOPELESS` chunks in a row could not."""

    def __init__(self) -> None:
        self._computed: set[int] = set()
        self._failed: Counter[int] = Counter()  # in a row

    def computed(self, task: int) -> None:
        """A chunk of that task was."""
        self._computed.add(task)
        self._failed[task] = 0

    def failed(self, task: int) -> None:
        """A chunk of that task was quarantined."""
        self._failed[task] += 1

    def lost(self, task: int, *, over: bool) -> bool:
        """Whether to give that task up; `over`: nothing of the work at hand is left."""
        return self._failed[task] >= HOPELESS or (over and self._failed[task] > 0 and task not in self._computed)


class _Numbers:
    """Rows by their numbers, cut into chunks of at most `most`: so many are in no chunk yet, so many are not done."""

    def __init__(self, rows: Sequence[range], most: int) -> None:
        self._open, self._most = deque(filter(len, rows)), most
        self.left = self.missing = sum(map(len, rows))

    @property
    def under_way(self) -> int:
        """What is in chunks."""
        return self.missing - self.left

    def withdraw(self) -> int:
        """Give up the rows that are in no chunk yet, which were so many."""
        given_up = self.left
        self._open.clear()
        self.missing -= self.left
        self.left = 0
        return given_up

    def cut(self, rows: int) -> tuple[int, int]:
        """The next chunk."""
        numbers = self._open.popleft()
        chunk = numbers[: min(rows, self._most)]
        if rest := numbers[len(chunk) :]:
            self._open.appendleft(rest)
        self.left -= len(chunk)
        return chunk.start, chunk.stop


class Batch:
    """Configurations handed over together: their metrics come back as one table, in their order."""

    counts = True

    def __init__(self, tasks: Sequence[Task], task: int, hope: Hope, configurations: pd.DataFrame) -> None:
        self._tasks, self._task, self._hope, self._configurations = tasks, task, hope, configurations
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

    def keep(self, first: int, end: int, answer: Answer) -> None:
        """A chunk has been computed."""
        assert isinstance(answer, pa.Table)
        self._hope.computed(self._task)
        self._enter(first, from_arrow(answer))

    def fail(self, first: int, end: int, error: str) -> None:
        """A chunk cannot be computed."""
        self._errors.append(error)
        self._hope.failed(self._task)
        self._enter(first, quarantined(self._tasks[self._task], end - first))

    def take(self) -> pd.DataFrame:
        """The metrics of all rows."""
        self._taken = True
        if self._errors and len(self._errors) == len(self._done) and self._hope.lost(self._task, over=True):
            raise PoolError(_nothing_of(self._tasks, self._task, len(self._configurations), self._errors[-1]))
        return _joined([self._done[first] for first in sorted(self._done)], self._tasks[self._task])

    def _enter(self, first: int, metrics: pd.DataFrame) -> None:
        assert first not in self._done
        self._done[first] = metrics
        self._missing -= len(metrics)


class Stream:
    """Trials that any worker makes from their numbers: each chunk of them comes back as a part of the results.

    Parts that could not be computed wait until one could be, or all have been tried: where the task is given up, they are
    not kept.
    """

    counts = True

    def __init__(self, tasks: Sequence[Task], task: int, hope: Hope, trials: Sequence[range], most: int) -> None:
        self._tasks, self._task, self._hope = tasks, task, hope
        self._numbers = _Numbers(trials, most)
        self._parts: deque[Part] = deque()
        self._failed: list[Part] = []
        self._error = ""  # the last

    @property
    def ready(self) -> bool:
        """Whether there is something to take."""
        return bool(self._parts) or (bool(self._failed) and not self._numbers.missing) or self._lost

    @property
    def left(self) -> int:
        """Trials that are in no chunk yet."""
        return self._numbers.left

    @property
    def over(self) -> bool:
        """Whether everything has been taken."""
        return not (self._numbers.missing or self._parts or self._failed)

    @property
    def under_way(self) -> int:
        """What is in chunks."""
        return self._numbers.under_way

    def withdraw(self) -> None:
        """Give up the trials that are in no chunk yet."""
        self._numbers.withdraw()

    def cut(self, rows: int) -> tuple[int, int]:
        """The next chunk."""
        return self._numbers.cut(rows)

    def configurations(self, first: int, end: int) -> pd.DataFrame:
        """The rows of a chunk."""
        task = self._tasks[self._task]
        assert task.points is not None
        return task.points.configurations(task.rule, first, end)

    def sent(self, first: int, end: int) -> pa.Table | None:
        """Nothing: the numbers say it."""
        return None

    def keep(self, first: int, end: int, answer: Answer) -> None:
        """A chunk has been computed."""
        assert isinstance(answer, Part)
        self._hope.computed(self._task)
        self._numbers.missing -= answer.rows
        self._parts += [*self._failed, answer]
        self._failed.clear()

    def fail(self, first: int, end: int, error: str) -> None:
        """A chunk cannot be computed."""
        task = self._tasks[self._task]
        assert task.points is not None
        nothing = quarantined(task, end - first)
        part = task.points.part(task.rule, first, self.configurations(first, end), nothing)
        self._error = error
        self._hope.failed(self._task)
        self._numbers.missing -= part.rows
        self._failed.append(part)

    def take(self) -> Part:
        """The next part."""
        if self._parts:
            return self._parts.popleft()
        if self._lost:
            rows = sum(part.rows for part in self._failed)
            raise PoolError(_nothing_of(self._tasks, self._task, rows, self._error))
        return self._failed.pop()

    @property
    def _lost(self) -> bool:
        return bool(self._failed) and self._hope.lost(self._task, over=not self._numbers.missing)


class Survey:
    """Configurations looked at once more, in chunks: of all of them only the largest excess over the baseline is kept.

    They are trials that any worker makes from their numbers, or the rows of a table. A chunk that cannot be computed is
    left out, and where `HOPELESS` in a row cannot, all that is left: no trial is lost by that.
    """

    counts = False

    def __init__(
        self, tasks: Sequence[Task], task: int, hope: Hope, terms: Terms, rows: Sequence[range] | pd.DataFrame
    ) -> None:
        self._tasks, self._task, self._hope, self._terms = tasks, task, hope, terms
        self._table = rows if isinstance(rows, pd.DataFrame) else None
        numbers = [range(len(rows))] if isinstance(rows, pd.DataFrame) else rows
        self._numbers = _Numbers(numbers, sum(map(len, numbers)))
        self._excess: Excess | None = None
        self._left_out = 0
        self._whole, self._taken = True, False

    @property
    def left(self) -> int:
        """Configurations that are in no chunk yet."""
        return self._numbers.left

    @property
    def ready(self) -> bool:
        """Whether there is something to take."""
        return not self._numbers.missing and not self._taken

    @property
    def over(self) -> bool:
        """Whether everything has been taken."""
        return self._taken

    @property
    def under_way(self) -> int:
        """What is in chunks."""
        return self._numbers.under_way

    def withdraw(self) -> None:
        """Give up the configurations that are in no chunk yet."""
        if self._numbers.withdraw():
            self._whole = False

    def cut(self, rows: int) -> tuple[int, int]:
        """The next chunk."""
        return self._numbers.cut(rows)

    def configurations(self, first: int, end: int) -> pd.DataFrame:
        """The rows of a chunk."""
        if self._table is not None:
            return self._table.iloc[first:end]
        task = self._tasks[self._task]
        assert task.points is not None
        return task.points.configurations(task.rule, first, end)

    def sent(self, first: int, end: int) -> Inquiry:
        """The terms, and the rows of a chunk where their numbers do not say them."""
        return Inquiry(self._terms, None if self._table is None else to_arrow(self._table.iloc[first:end]))

    def keep(self, first: int, end: int, answer: Answer) -> None:
        """A chunk has been computed."""
        assert isinstance(answer, Excess)
        self._hope.computed(self._task)
        self._excess = merged([answer] if self._excess is None else [self._excess, answer])
        self._numbers.missing -= end - first

    def fail(self, first: int, end: int, error: str) -> None:
        """A chunk cannot be computed."""
        self._hope.failed(self._task)
        self._left_out += end - first
        self._numbers.missing -= end - first
        if self._hope.lost(self._task, over=False):
            self._left_out += self._numbers.withdraw()

    def take(self) -> Surveyed:
        """What was found of all of them."""
        self._taken = True
        return Surveyed(self._excess, self._left_out, self._whole)


def quarantined(task: Task, rows: int) -> pd.DataFrame:
    """What is said of configurations that could not be computed: no metrics, and a status that says so."""
    nothing = {name: np.full(rows, np.nan, np.float32 if is_kept(name) else np.float64) for name in task.columns}
    return pd.DataFrame(nothing | {"status": ["quarantined"] * rows})


def chunk_name(tasks: Sequence[Task], task: int, first: int, rows: int) -> str:
    """A chunk in words: its rows of the batch or its trials, and the tickers of its task where there are several."""
    return f"chunk {first}-{first + rows - 1}{_of(tasks, task)}"


def _joined(parts: Sequence[pd.DataFrame], task: Task) -> pd.DataFrame:
    """The metrics of a task's chunks as one table; of none, a table without rows."""
    if parts:
        return pd.concat(parts, ignore_index=True)
    metrics = {name: pd.Series(dtype=np.float64) for name in task.columns}
    return pd.DataFrame(metrics | {"status": pd.Series(dtype="str")})


def _nothing_of(tasks: Sequence[Task], task: int, rows: int, error: str) -> str:
    """Why a study cannot go on: each chunk was quarantined."""
    return f"nothing could be computed of a batch of {rows:,} configurations{_of(tasks, task)}: {error}"


def _of(tasks: Sequence[Task], task: int) -> str:
    return f" of {', '.join(tasks[task].market.tickers)}" if len(tasks) > 1 else ""
