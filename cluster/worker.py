"""One worker: a process that owns a device, or a share of the cores, and computes for every study of a run."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from kernels import Costs, Market, Strategy, load_strategy
from kernels.backends import choose
from kernels.engine import Engine
from kernels.metrics import OverPaths
from kernels.option_market import OptionMarket
from kernels.risk_settings import Limits
from search.exact_check import Check, Replicates
from search.periods import Periods
from search.points import Part, Points
from search.reality_check import Excess, merged


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
    limits: Limits | None = None
    searched: frozenset[str] = frozenset()  # parameters

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
        settings = (self.off, self.over_paths, self.limits, self.searched)
        return Engine(self.market, self.rule, self.costs, backend, *settings)


@dataclass(frozen=True)
class Terms:
    """Of a reality check, what every worker must know. They decide its numbers, with the study's own task."""

    baseline: str | None  # a row of parameters as JSON; None is cash
    replicates: int
    block_length: float  # mean, bars
    seed: int

    @property
    def row(self) -> pd.DataFrame | None:
        """The baseline's configuration."""
        return None if self.baseline is None else pd.DataFrame([json.loads(self.baseline)])


class Inquiry(NamedTuple):
    """What a worker is sent of a chunk of a survey: its rows, or None where it makes them from their numbers."""

    terms: Terms
    rows: pa.Table | None


class Worker:
    """Chunks of configurations in, their metrics out, both as Arrow tables; or numbers of trials in, a part of the
    study's results out: then the driver has nothing to do per configuration but to keep the file.

    It keeps nothing between chunks but speed. It holds every task, and makes a task's engine when the first chunk of it comes.
    """

    def __init__(self, threads: int | None, *tasks: Task) -> None:
        self._threads, self._tasks = threads, tasks
        self._engines: dict[int, Engine] = {}
        self._checks: dict[tuple[int, Terms], Check] = {}

    def run(self, task: int, chunk: pa.Table) -> pa.Table:
        """Metrics of every configuration of a chunk of that task, in its order."""
        return to_arrow(self._tasks[task].metrics(self._engine(task), from_arrow(chunk)))

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

    def survey(self, task: int, first: int, end: int, inquiry: Inquiry) -> tuple[Excess, float]:
        """The largest excess of a chunk over the baseline, and the seconds it took here; launch after launch, so that
        memory stays flat."""
        check = self._check(task, inquiry.terms)
        began = time.perf_counter()
        if inquiry.rows is None:
            points = self._tasks[task].points
            assert points is not None
            rows = points.configurations(self._tasks[task].rule, first, end)
        else:
            rows = from_arrow(inquiry.rows)
        threads = self._threads or len(os.sched_getaffinity(0))
        found: list[Excess] = []
        with ThreadPoolExecutor(1, "hedgegrid-survey-beside") as beside:
            looking: Future[Excess] | None = None  # one launch is looked at while the next one runs
            for _, returns in self._engine(task).returns_by_launch(rows):
                if looking:
                    found.append(looking.result())
                looking = beside.submit(check.of, returns, threads)
            assert looking is not None
            found.append(looking.result())
        return merged(found), time.perf_counter() - began

    def _engine(self, task: int) -> Engine:
        if task not in self._engines:
            self._engines[task] = self._tasks[task].engine(self._threads)
        return self._engines[task]

    def _check(self, task: int, terms: Terms) -> Check:
        """What configurations are held against: made once."""
        if (task, terms) not in self._checks:
            bars, row = self._tasks[task].market.n_bars - 1, terms.row
            drawn = Replicates.drawn(bars, terms.block_length, terms.replicates, terms.seed)
            baseline = np.zeros(bars) if row is None else self._engine(task).returns(row)[:, 0]
            self._checks[task, terms] = Check(drawn, baseline)
        return self._checks[task, terms]


def to_arrow(frame: pd.DataFrame) -> pa.Table:
    """A table of configurations or metrics as Arrow, without its index."""
    return pa.Table.from_pandas(frame, preserve_index=False)


def from_arrow(table: pa.Table) -> pd.DataFrame:
    """The same table back."""
    frame: pd.DataFrame = table.to_pandas()
    return frame
