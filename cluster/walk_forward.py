"""Walking forward: choose on the past, trade the next stretch, choose again; what that would have earned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cluster.plan import Plan
from cluster.winner import engine_for
from kernels.blocks import Blocks
from kernels.market import FloatArray
from kernels.market_calendar import DateArray
from kernels.metrics import metrics
from search.periods import Fold


@dataclass(frozen=True)
class Walked:
    """F folds, each traded with the configuration of the best score on the bars before it, from the position that it would
    have had; the change from one configuration to the next at a fold's edge is not charged.

    `folds` has a row each: train_from, train_to, test_from, test_to (first and last day), trial, the parameters chosen, and
    score, sharpe and total_return on both stretches (`train_`, `test_`). `returns` (n,) are those of all tests in a row, at
    `timestamps`; `beside` has the winner of the whole and the baselines on the same bars, (n,) each.
    """

    folds: pd.DataFrame
    timestamps: DateArray
    returns: FloatArray
    beside: dict[str, FloatArray]
    sharpe: float  # a year, of `returns`
    drift: dict[str, float]  # of each searched number: the largest less the smallest chosen, as a share of its range

    @property
    def efficiency(self) -> float:
        """Sharpe ratio out of sample over the one in sample, each the mean over folds; NaN where the latter is not positive."""
        inside = float(self.folds["train_sharpe"].mean())
        return float(self.folds["test_sharpe"].mean()) / inside if inside > 0.0 else float("nan")

    @property
    def positive(self) -> float:
        """Share of folds that earned something out of sample."""
        return float((self.folds["test_total_return"] > 0.0).mean())


def walk_forward(plan: Plan, chosen: pd.DataFrame, compared: pd.DataFrame) -> Walked | None:
    """What came of the configurations that the study would have `chosen` on each fold (`Tried.chosen`); None without folds.

    `compared` are the winner and the baselines, index: labels.
    """
    if plan.periods is None or not 0 < len(plan.periods.folds) == len(chosen):
        return None
    names = [p.name for p in plan.strategy.parameters]
    rows = pd.concat([chosen[names], compared[names]], ignore_index=True)
    engine = engine_for(plan, rows)
    statistics = engine.run(rows).statistics
    returns = engine.returns(rows)
    folds, bars = [], []
    for k, fold in enumerate(plan.periods.folds):
        row = {**_days(statistics.blocks, fold), "trial": int(chosen["trial"].iloc[k])}
        row |= {name: chosen[name].iloc[k] for name in plan.space.searched}
        for what, stretch in (("train", fold.train), ("test", fold.test)):
            measured = metrics(statistics, plan.market.bars_per_year, np.arange(*stretch)).iloc[[k]]
            scored = plan.targets.score(measured).iloc[0]
            row |= {f"{what}_{name}": float(measured[name].iloc[0]) for name in ("sharpe", "total_return")}
            row[f"{what}_score"] = float(scored["score"])
        row["test_targets_met"] = int(scored["targets_met"])
        folds.append(row)
        first, end = (statistics.blocks.edges[edge] - 1 for edge in fold.test)  # the first bar has no return
        bars.append(np.arange(first, end))
    together = np.concatenate(bars)
    stitched = np.concatenate([returns[b, k] for k, b in enumerate(bars)])
    beside = {str(label): returns[together, len(chosen) + i] for i, label in enumerate(compared.index)}
    table = pd.DataFrame(folds)
    return Walked(
        table,
        plan.market.timestamps[1:][together],
        stitched,
        beside,
        annual_sharpe(stitched, plan.market.bars_per_year),
        _drift(plan, table),
    )


def annual_sharpe(returns: FloatArray, bars_per_year: float) -> float:
    """Mean / sample standard deviation * sqrt(bars per year); 0 where nothing moves.

    >>> round(annual_sharpe(np.array([0.01, -0.01, 0.02]), 252.0), 2)
    6.93
    """
    spread = float(returns.std(ddof=1))
    return float(returns.mean()) / spread * float(np.sqrt(bars_per_year)) if spread > 0.0 else 0.0


def _days(blocks: Blocks, fold: Fold) -> dict[str, str]:
    stamps = blocks.timestamps.astype("datetime64[D]")
    return {
        f"{what}_{end}": str(stamps[bar])
        for what, (first, after) in (("train", fold.train), ("test", fold.test))
        for end, bar in (("from", blocks.edges[first]), ("to", blocks.edges[after] - 1))
    }


def _drift(plan: Plan, folds: pd.DataFrame) -> dict[str, float]:
    """How far the chosen numbers move, in the unit cube of the space; words have no distance."""
    searched, dimensions = plan.space.searched, plan.space.dimensions
    unit = plan.space.to_unit(folds[list(searched)]) if len(searched) else np.empty((len(folds), 0))
    moved = dict(zip(searched, (float(x) for x in np.ptp(unit, axis=0)), strict=True))
    return {name: moved[name] for name in searched if dimensions[name].ordered}
