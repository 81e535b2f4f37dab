"""What a desk asks of a winner before it trades it: dearer trading, paths it has not seen, its neighbours, its worst paths."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cluster import sources
from cluster.option_config import PathsSection
from cluster.plan import Plan
from cluster.worker import Task
from kernels.account import Costs
from kernels.blocks import BlockStatistics
from kernels.engine import Engine, switched_off
from kernels.market import Market
from kernels.metrics import metrics
from kernels.option_market import OptionMarket
from search.study import Study

MULTIPLES = (1.0, 2.0, 3.0)  # of the costs
MOST = 64.0  # multiple of the costs up to which a break-even is looked for
EXACT = 0.005  # share of the break-even to which it is found
CLOSE = 0.01  # a score so much lower is as good


@dataclass(frozen=True)
class Neighbours:
    """The configurations tried that score within `CLOSE` of the best, and the values they have."""

    count: int
    tried: int
    ranges: dict[str, tuple[float, float]]  # of each searched number
    choices: dict[str, tuple[str, ...]]  # of each searched word, and `off`


@dataclass(frozen=True)
class Winner:
    """The best configuration of a study, examined.

    `stress` and `unseen` have metrics, score, targets_met and margins by their names; `stress` has a row per multiple of
    the costs. `unseen` is of paths of another stream, None where the market has one history only; `unseen_baselines` has
    the baselines there, index: labels. `break_even` is the
    multiple of the costs at which the total return is nothing: 0 where it loses without costs, infinity where no multiple
    up to `most` takes all. `bars` and `unseen_bars` are its statistics bar by bar, on every path.
    """

    configuration: pd.DataFrame  # one row
    stress: pd.DataFrame
    break_even: float
    neighbours: Neighbours
    bars: BlockStatistics
    unseen: pd.Series | None
    unseen_baselines: pd.DataFrame | None
    unseen_bars: BlockStatistics | None


def examine(plan: Plan, study: Study, best: pd.DataFrame, baselines: pd.DataFrame) -> Winner:
    """Everything about the first row of `best`, a study's best trials; the baselines' index: labels."""
    names = [p.name for p in plan.strategy.parameters]
    configuration = best.iloc[:1][names].reset_index(drop=True)
    engine = engine_for(plan, configuration)

    def at(multiple: float) -> pd.DataFrame:
        return engine.charging(plan.costs.times(multiple)).metrics(configuration)

    highest = largest_multiple(plan.costs)
    multiples = [multiple for multiple in MULTIPLES if multiple <= max(highest, 1.0)]
    stress = pd.concat([at(multiple) for multiple in multiples], ignore_index=True)
    both = pd.concat([configuration, baselines[names]], ignore_index=True)
    fresh = unseen_market(plan, both)
    unseen = None if fresh is None else _scored(plan, fresh.metrics(both))
    return Winner(
        configuration,
        _scored(plan, stress).set_axis(pd.Index(multiples, name="costs")),
        break_even(lambda multiple: float(at(multiple)["total_return"].iloc[0]), up_to=most(plan.costs)),
        neighbours(study, float(best["score"].iloc[0])),
        engine.bars(configuration),
        None if unseen is None else unseen.iloc[0],
        None if unseen is None else unseen.iloc[1:].set_axis(baselines.index),
        None if fresh is None else fresh.bars(configuration),
    )


def engine_for(plan: Plan, configurations: pd.DataFrame, market: Market | OptionMarket | None = None) -> Engine:
    """The study's engine on this machine, at full precision, on its own market by default."""
    off = plan.off & switched_off(plan.strategy, configurations)  # the study's own kernel, where it has one
    task = replace(task_here(plan), off=off)
    return (task if market is None else replace(task, market=market)).engine()


def task_here(plan: Plan) -> Task:
    """The study's task at full precision on this machine: by the workers' backend, where it runs here too."""
    return replace(plan.task, backend=plan.choice.backend.name if plan.runs_here else "auto", precision="float64")


def unseen_market(plan: Plan, configurations: pd.DataFrame) -> Engine | None:
    """The same study on paths of the validation stream, which no search has seen; None where there are no streams."""
    config = plan.config.market
    if not isinstance(config, PathsSection) or config.stream != "train":
        return None
    market = sources.load(config.model_copy(update={"stream": "validation"}), plan.config.smallest_rebalance_days)
    return engine_for(plan, configurations, market)


def break_even(earned: Callable[[float], float], up_to: float = MOST) -> float:
    """The multiple of the costs at which nothing is earned, by bisection of `earned(multiple)`, which falls with it.

    >>> round(break_even(lambda multiple: 3.1 - multiple), 1), break_even(lambda _: -1.0), break_even(lambda _: 1.0)
    (3.1, 0.0, inf)
    """
    if not earned(0.0) > 0.0:
        return 0.0
    low, high = 0.0, min(1.0, up_to)
    while earned(high) > 0.0:
        if high >= up_to:
            return math.inf
        low, high = high, min(2.0 * high, up_to)
    while high - low > EXACT * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if earned(middle) > 0.0 else (low, middle)
    return 0.5 * (low + high)


def neighbours(study: Study, best: float) -> Neighbours:
    """Of all configurations tried, those as good as the best."""
    near, tried = [], 0
    for table in study.configurations():
        tried += len(table)
        near.append(table[table["score"] >= best - CLOSE])
    rows = pd.concat(near, ignore_index=True)
    ranges: dict[str, tuple[float, float]] = {}
    choices: dict[str, tuple[str, ...]] = {}
    for name in study.space.searched:
        numbers = pd.to_numeric(rows[name], errors="coerce").dropna()
        if len(numbers):
            ranges[name] = (float(numbers.min()), float(numbers.max()))
        words = ["off" if pd.isna(value) else value for value in rows[name] if pd.isna(value) or isinstance(value, str)]
        if words:
            choices[name] = tuple(sorted(set(words)))
    return Neighbours(len(rows), tried, ranges, choices)


def path_table(plan: Plan, rows: pd.DataFrame) -> pd.DataFrame:
    """Every metric of the rows (index: their labels) on each path: columns label, path, metrics, status."""
    labels = [str(label) for label in rows.index]
    names = [p.name for p in plan.strategy.parameters]
    table = rows[names].reset_index(drop=True)
    each = metrics(engine_for(plan, table).run(table).statistics, plan.market.bars_per_year)
    each.insert(0, "label", labels * plan.market.n_scenarios)
    each.insert(1, "path", np.repeat(np.arange(plan.market.n_scenarios), len(labels)))
    return each


def _scored(plan: Plan, measured: pd.DataFrame) -> pd.DataFrame:
    scores = plan.targets.score(measured).drop(columns="status", errors="ignore")
    return pd.concat([measured, scores.reset_index(drop=True)], axis="columns")


def most(costs: Costs) -> float:
    """The multiple of the costs up to which a break-even is looked for.

    >>> most(Costs(fee_bps=5.0)), round(most(Costs(option_spread=0.25)), 2)
    (64.0, 3.96)
    """
    return min(MOST, largest_multiple(costs))


def largest_multiple(costs: Costs) -> float:
    """The largest multiple of the costs that are still costs; 0 where there are none to multiply.

    >>> round(largest_multiple(Costs(fee_bps=5.0, option_spread=0.25)), 2), largest_multiple(Costs(0.0, 0.0))
    (3.96, 0.0)
    """
    if costs.times(0.5).fractions == costs.fractions:
        return 0.0
    return min(9_999.0 / max(costs.fee_bps, costs.slippage_bps, 1e-9), 0.99 / max(costs.option_spread, 1e-9))
