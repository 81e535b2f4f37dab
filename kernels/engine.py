"""Backtests: a market, a strategy and configurations in; metrics and block statistics out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kernels.account import Costs
from kernels.backends import choose
from kernels.backends.numpy import walk
from kernels.blocks import Blocks, BlockStatistics, Kept, sums_of
from kernels.errors import InputError
from kernels.launch import Backend, Launch
from kernels.limit_stage import applied
from kernels.market import FloatArray, Market
from kernels.market_calendar import DateArray
from kernels.metrics import OverPaths, aggregate
from kernels.option_market import OptionMarket
from kernels.planes import PlaneStore, encode
from kernels.program import Carried, Program
from kernels.risk_settings import Limits
from kernels.strategy import Strategy

BANK_BYTES = 512 * 2**20  # slices of banks of one launch
FEW = 512  # configurations whose launch is too short to be worth a kernel of its own
LARGER = 4  # times the bytes that a launch may return, where that fills the lanes a backend runs side by side

Configurations = pd.DataFrame | Mapping[str, Any] | Iterable[Mapping[str, Any]]
Keep = Callable[[BlockStatistics], pd.DataFrame]


@dataclass(frozen=True)
class Backtest:
    """C configurations backtested.

    `metrics` has one row per configuration (index as given), one column per metric, and `status`. `statistics` are the
    block statistics, for metrics of other sets of bars: `kernels.metrics.metrics(statistics, bars_per_year, chosen)`.
    """

    metrics: pd.DataFrame
    statistics: BlockStatistics
    backend: str


@dataclass(frozen=True)
class Paths:
    """Bar by bar results of a few configurations. T' = T - 1: the first bar has no return."""

    timestamps: DateArray  # (T',)
    returns: FloatArray  # (T', C) of the portfolio
    equity: FloatArray  # (T', C) compounded growth of 1
    drawdown: FloatArray  # (T', C) equity / running peak - 1, not positive
    values: FloatArray  # (T', A, C) of each account; of a book of options, per option owed


@dataclass
class Engine:
    """One market, strategy and cost model, ready to run any number of chunks: planes and kernels are kept between them.

    `off` names the optional parameters that are None in every configuration to come; the kernel then leaves them out.
    Metrics are computed on each scenario's path and then aggregated `over_paths`. `limits` are part of the environment, as
    costs are: the rule asks them at each bar. `searched` names the parameters that differ between the configurations of a
    study: a few of them then run in the kernel that all of them have, which takes longer to compile than they to run.
    """

    market: Market | OptionMarket
    strategy: Strategy
    costs: Costs
    backend: Backend
    off: frozenset[str] = frozenset()
    over_paths: OverPaths = "median"
    limits: Limits | None = None
    searched: frozenset[str] = frozenset()
    blocks: Blocks = field(init=False)
    _store: PlaneStore = field(init=False)

    def __post_init__(self) -> None:
        self.blocks = Blocks.monthly(self.market)
        self.limits = applied(self.limits, self.strategy, self.market)
        self._store = PlaneStore(self.market, self.strategy, self.costs, self.limits)

    def charging(self, costs: Costs) -> Engine:
        """The same engine at other costs of the same fill, on which alone planes depend: they are shared."""
        if costs.fill != self.costs.fill:
            raise ValueError(f"fill {costs.fill} needs an engine of its own, this one has planes for {self.costs.fill}")
        other = copy(self)
        other.costs = costs
        return other

    def run(self, configurations: pd.DataFrame) -> Backtest:
        """Backtest every row and keep its block statistics: F * B * S * C * 8 bytes."""
        S, C = self.market.n_scenarios, len(configurations)
        values = np.empty((len(sums_of(self.strategy.account)), len(self.blocks), S, C))
        frames = []
        for rows, part in self.stream(configurations):
            values[..., rows] = part.values.reshape(*values.shape[:3], len(rows))  # noqa: PD011 - an array
            frames.append(self._rows_of_metrics(rows, part))
        frame = pd.concat(frames).sort_index().set_axis(configurations.index)
        statistics = self._statistics(values.reshape(*values.shape[:2], S * C))
        return Backtest(frame, statistics, self.backend.name)

    def metrics(self, configurations: pd.DataFrame, also: Keep | None = None) -> pd.DataFrame:
        """Only the metrics of every row: block statistics are dropped launch by launch, so memory stays flat in C.

        `also` makes further columns of the block statistics, (C, columns) of a launch.

        One launch is measured while the next one runs: both leave Python's lock alone.
        """
        frames: list[pd.DataFrame] = []
        with ThreadPoolExecutor(1, "hedgegrid-metrics") as beside:
            measuring: Future[pd.DataFrame] | None = None
            for rows, part in self.stream(configurations):
                if measuring:
                    frames.append(measuring.result())
                measuring = beside.submit(self._rows_of_metrics, rows, part, also)
            assert measuring is not None
            frames.append(measuring.result())
        return pd.concat(frames).sort_index().set_axis(configurations.index)

    def stream(self, configurations: pd.DataFrame) -> Iterator[tuple[NDArray[np.int64], BlockStatistics]]:
        """Row numbers and block statistics, launch by launch."""
        for rows, launch in self._launches(encode(self.strategy, configurations), self.blocks):
            yield rows, self._statistics(self.backend.run(launch, self.blocks))

    def bars(self, configuration: pd.DataFrame) -> BlockStatistics:
        """Every bar of one row on every scenario as a block of its own: F * T * S * 8 bytes."""
        if len(configuration) != 1:
            raise ValueError(f"bars: one configuration is needed, got {len(configuration)}")
        blocks = Blocks.bars_of(self.market)
        ((_, launch),) = self._launches(encode(self.strategy, configuration), blocks)
        return BlockStatistics(blocks, self.backend.run(launch, blocks), self.strategy.account)

    def returns(self, configurations: pd.DataFrame) -> FloatArray:
        """The return of every bar of every row on a market of one history: (T', C), T' = T - 1."""
        found = np.empty((self.market.n_bars - 1, len(configurations)))
        for rows, part in self.returns_by_launch(configurations):
            found[:, rows] = part
        return found

    def returns_by_launch(self, configurations: pd.DataFrame) -> Iterator[tuple[NDArray[np.int64], FloatArray]]:
        """Row numbers and their returns (T', n), launch by launch: 8 bytes for a bar and configuration."""
        if self.market.n_scenarios > 1:
            raise ValueError(f"returns: a market of one history is needed, this one has {self.market.n_scenarios}")
        blocks = Blocks.bars_of(self.market)
        for rows, launch in self._launches(encode(self.strategy, configurations), blocks, kept="returns"):
            yield rows, self.backend.run(launch, blocks)[0]

    def _statistics(self, values: FloatArray) -> BlockStatistics:
        return BlockStatistics(self.blocks, values, self.strategy.account)

    def _rows_of_metrics(
        self, rows: NDArray[np.int64], statistics: BlockStatistics, also: Keep | None = None
    ) -> pd.DataFrame:
        frame = self._metrics(statistics)
        return (frame if also is None else pd.concat([frame, also(statistics)], axis="columns")).set_axis(rows)

    def _metrics(self, statistics: BlockStatistics) -> pd.DataFrame:
        return aggregate(statistics, self.market.bars_per_year, self.market.n_scenarios, self.over_paths)

    def paths(self, configurations: pd.DataFrame, scenario: int = 0) -> Paths:
        """Run a few rows bar by bar on one scenario with the NumPy backend, for figures."""
        T, A, C = self.market.n_bars, self.market.n_assets, len(configurations)
        values, growth = np.empty((T, A, C)), np.empty((T, C))
        for rows, t, planes, carried in self.walk(configurations, scenario):
            values[t][:, rows] = self.strategy.account.value(carried.account, planes)
            growth[t][rows] = carried.sums.growth
        equity = growth[1:]
        previous = np.concatenate([np.ones((1, C)), equity[:-1]])
        peak = np.maximum.accumulate(equity, axis=0)
        return Paths(self.market.timestamps[1:], equity / previous - 1.0, equity, equity / peak - 1.0, values[1:])

    def walk(
        self, configurations: pd.DataFrame, scenario: int = 0
    ) -> Iterator[tuple[NDArray[np.int64], int, dict[str, FloatArray], Carried]]:
        """Rows, bar, planes of that bar (A, 1), and what the rows carry out of it, bar by bar of one scenario, on NumPy.

        `sums` are those since the first bar that has a return.
        """
        whole = Blocks(np.array([1, self.market.n_bars]), self.market.timestamps)
        for rows, launch in self._launches(encode(self.strategy, configurations), whole):
            for t, carried in walk(launch, whole, scenario):
                yield rows, t, {n: a[scenario, t][:, None] for n, a in launch.shared.items() if a.ndim == 3}, carried

    def _launches(
        self, parameters: dict[str, FloatArray], blocks: Blocks, kept: Kept = "sums"
    ) -> Iterator[tuple[NDArray[np.int64], Launch]]:
        """Slices of the configurations, sorted by the slices of the banks they read, that fit the memory limits."""
        self.strategy.check_market(self.market, parameters)  # a winner is tried at costs that nobody would choose
        program = Program(self.strategy, self.market.n_assets, self.off, self.costs.free, kept, self.limits)
        numbers = {n: v for n, v in parameters.items() if n not in self.off}
        wrong = [n for n in self.off if (parameters[n] != self.strategy.parameter(n).off).any()]
        if wrong:
            raise ValueError(f"parameters {wrong} were declared off for this engine, but a configuration sets them")
        C = len(next(iter(parameters.values())))
        keys = list(dict.fromkeys(k for plane in self._store.banks for k in plane.keys))
        order = np.lexsort([numbers[k] for k in reversed(keys)]) if keys else np.arange(C)
        slice_bytes = 8 * self.market.n_scenarios * self.market.n_bars * self.market.n_assets
        planes = sum(len(plane.names(self.market.n_assets)) for plane in self._store.banks)
        most_slices = max(1, BANK_BYTES // slice_bytes // max(1, planes))
        each = 8 * len(program.sums) * len(blocks) * self.market.n_scenarios
        most = max(1, self.backend.output_bytes // each)
        lanes = self.backend.lanes
        most = most // lanes * lanes or min(lanes, LARGER * most)
        searched = frozenset(
            name
            for plane in self._store.banks
            if self.searched.intersection(plane.keys)
            for name in plane.names(self.market.n_assets)
        )
        table = np.stack([numbers[k][order] for k in keys], axis=1) if keys else np.empty((C, 0))
        first = 0
        while first < C:
            last = min(C, first + most)
            last = _within(table, first, last, most_slices)
            rows = order[first:last]
            chosen = {n: v[rows] for n, v in numbers.items()}
            banks = self._store.read_by(chosen)
            gathered = searched if len(rows) <= FEW else frozenset()
            yield rows, Launch(program, chosen, self.costs.fractions, self._store.shared, banks, gathered)
            self._store.forget(BANK_BYTES)
            first = last


def _within(table: FloatArray, first: int, last: int, most: int) -> int:
    """The largest end <= last for which no column of table[first:end] has more than `most` distinct values."""
    for column in table[first:last].T:
        _, where_first = np.unique(column, return_index=True)
        if len(where_first) > most:
            last = min(last, first + int(np.sort(where_first)[most]))
    return last


def backtest(
    market: Market | OptionMarket,
    strategy: Strategy,
    configurations: Configurations,
    *,
    costs: Costs | None = None,
    backend: str = "auto",
    precision: str = "float64",
    limits: Limits | None = None,
) -> Backtest:
    """Backtest every configuration of a strategy on a market.

    Parameters
    ----------
    configurations
        A DataFrame, a mapping of columns, or rows as mappings: C rows of parameter values. A missing parameter takes its
        default, None (NaN in a column) switches an optional one off.
    costs
        Fees, slippage and the fill price; `Costs()` by default.
    backend
        `numpy`, `numba`, `cuda`, or `auto`: the fastest that works here.
    precision
        `float64`, or `mixed` (float32 state, float64 sums) on the compiled backends.
    limits
        Risk limits that the rule asks before it orders (`Strategy.limited`); None, or limits not `enabled`, for none.

    Raises
    ------
    InputError
        A parameter is unknown or out of its range, the market lacks what the costs need, or the rule asks no limits.
    """
    table = _frame(strategy, configurations)
    chosen, off = choose(backend, precision).backend, switched_off(strategy, table)
    engine = Engine(market, strategy, costs or Costs(), chosen, off, limits=limits)
    strategy.check_market(market, encode(strategy, table), engine.costs)
    return engine.run(table)


def paths(
    market: Market | OptionMarket,
    strategy: Strategy,
    configurations: Configurations,
    *,
    costs: Costs | None = None,
    scenario: int = 0,
    limits: Limits | None = None,
) -> Paths:
    """Bar by bar returns, equity and drawdown of a few configurations on one scenario (see `backtest`)."""
    table = _frame(strategy, configurations)
    chosen, off = choose("numpy").backend, switched_off(strategy, table)
    return Engine(market, strategy, costs or Costs(), chosen, off, limits=limits).paths(table, scenario)


def switched_off(strategy: Strategy, configurations: pd.DataFrame) -> frozenset[str]:
    """The optional parameters that are None in every row (or by default, where there is no column)."""
    return frozenset(
        p.name
        for p in strategy.parameters
        if p.optional and (configurations[p.name].isna().all() if p.name in configurations else p.default is None)
    )


def _frame(strategy: Strategy, configurations: Configurations) -> pd.DataFrame:
    if isinstance(configurations, pd.DataFrame):
        return configurations
    if not isinstance(configurations, Mapping):
        defaults = {p.name: p.default for p in strategy.parameters}
        return pd.DataFrame([{**defaults, **row} for row in configurations])
    try:
        return pd.DataFrame(dict(configurations))
    except ValueError as error:
        raise InputError(f"configurations: columns of equal length are needed ({error})") from None
