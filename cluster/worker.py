"""One worker: a process that owns a device, or a share of the cores, and computes for every study of a run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pandas as pd
import pyarrow as pa

from kernels import Costs, Market, Strategy, load_strategy
from kernels.backends import choose
from kernels.engine import Engine
from kernels.metrics import OverPaths
from kernels.option_market import OptionMarket
from search.periods import Periods
from search.points import Part, Points


@dataclass(frozen=True)
class Task:
    """One study, as every worker is given it once. `code` is the text of a user's own strategy file, or None."""

    market: Market | OptionMarket
    strategy: str
    code: str | None
    costs: Costs
    backend: str
    precision: str
    off: frozenset[str] = field(default_factory=frozenset)
    over_paths: OverPaths = "median"
    points: Points | None = None  # where the study's points are known beforehand
    periods: Periods | None = None  # of a market of one history

    @property
    def rule(self) -> Strategy:
        """The strategy."""
        return load_strategy(self.strategy, self.code)

    @property
    def columns(self) -> tuple[str, ...]:
        """What a worker says of a configuration, beside its status."""
        return (*self.rule.metrics, *(self.periods.columns if self.periods else ()))

    def metrics(self, engine: Engine, configurations: pd.DataFrame) -> pd.DataFrame:
        """`columns` and `status` of every configuration, by this task's engine."""
        return engine.metrics(configurations, self.periods.keep if self.periods else None)

    def engine(self, threads: int | None = None) -> Engine:
        """The engine that runs this task in this process."""
        backend = choose(self.backend, self.precision, threads=threads).backend
        return Engine(self.market, self.rule, self.costs, backend, self.off, self.over_paths)


class Worker:
    """Chunks of configurations in, their metrics out, both as Arrow tables; or numbers of trials in, a part of the
    study's results out: then the driver has nothing to do per configuration but to keep the file.

    It keeps nothing between chunks but speed. It holds every task, and makes a task's engine when the first chunk of it comes.
    """

    def __init__(self, threads: int | None, *tasks: Task) -> None:
        self._threads, self._tasks = threads, tasks
        self._engines: dict[int, Engine] = {}

    def run(self, task: int, chunk: pa.Table) -> pa.Table:
        """Metrics of every configuration of a chunk of that task, in its order."""
        if task not in self._engines:
            self._engines[task] = self._tasks[task].engine(self._threads)
        return to_arrow(self._tasks[task].metrics(self._engines[task], from_arrow(chunk)))

    def timed(self, task: int, chunk: pa.Table) -> tuple[pa.Table, float]:
        """The same, and the seconds it took here."""
        began = time.perf_counter()
        metrics = self.run(task, chunk)
        return metrics, time.perf_counter() - began

    def part(self, task: int, first: int, end: int) -> Part:
        """Trials `first` .. `end - 1` of that task: points made, backtested, scored and written."""
        points, rule = self._tasks[task].points, self._tasks[task].rule
        assert points is not None
        rows = points.configurations(rule, first, end)
        metrics, seconds = self.timed(task, to_arrow(rows))
        return points.part(rule, first, rows, from_arrow(metrics))._replace(seconds=seconds)


def to_arrow(frame: pd.DataFrame) -> pa.Table:
    """A table of configurations or metrics as Arrow, without its index."""
    return pa.Table.from_pandas(frame, preserve_index=False)


def from_arrow(table: pa.Table) -> pd.DataFrame:
    """The same table back."""
    frame: pd.DataFrame = table.to_pandas()
    return frame
