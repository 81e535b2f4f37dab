"""The winners of a study per ticker as one portfolio, equal capital in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cluster.plan import Plan
from cluster.winner import Winner
from kernels import METRICS, InputError
from kernels.blocks import Blocks, BlockStatistics
from kernels.market import FloatArray
from kernels.market_calendar import DateArray
from kernels.metrics import aggregate
from kernels.portfolio import combine


@dataclass(frozen=True)
class Portfolio:
    """What the winners make together.

    `rows` (index: portfolio, unseen, members) has metrics, score and margins: on the paths searched, on unseen ones where
    the market has them, and the mean of the winners alone. `equity` is growth of 1, (T', S); of every member (T',), its
    median over paths.
    """

    rows: pd.DataFrame
    timestamps: DateArray
    equity: FloatArray
    members: pd.DataFrame


def of_winners(plans: Sequence[Plan], winners: Sequence[Winner]) -> Portfolio:
    """The portfolio of the winners of several studies; InputError where their bars or targets do not allow one."""
    plan = plans[0]
    own = [m for m in plan.targets.metrics if m not in METRICS]
    if own:
        raise InputError(f"no portfolio: the target on {', '.join(own)} is of a single book; give targets on returns")
    blocks = Blocks.monthly(plan.market)
    rows = {"portfolio": _measured(plan, combine([w.bars for w in winners], blocks))}
    fresh = [w.unseen_bars for w in winners if w.unseen_bars is not None]
    if len(fresh) == len(winners):
        rows["unseen"] = _measured(plan, combine(fresh, blocks))
    alone = [_measured(plan, combine([w.bars], blocks)) for w in winners]
    rows["members"] = pd.concat(alone)[list(METRICS)].mean().to_frame().T
    table = pd.concat(rows).droplevel(1)
    scores = plan.targets.score(table.assign(status="ok"))
    returns = [w.bars.of("r1") for w in winners]  # (T', S)
    return Portfolio(
        pd.concat([table, scores.drop(columns="status")], axis="columns"),
        plan.market.timestamps[1:],
        np.cumprod(1.0 + np.mean(returns, axis=0), axis=0),
        pd.DataFrame(
            {
                ", ".join(p.market.tickers): np.median(np.cumprod(1.0 + r, axis=0), axis=1)
                for p, r in zip(plans, returns, strict=True)
            }
        ),
    )


def _measured(plan: Plan, statistics: BlockStatistics) -> pd.DataFrame:
    """One row of the metrics every strategy has, over paths as the study takes them."""
    market = plan.market
    found = aggregate(statistics, market.bars_per_year, market.n_scenarios, plan.config.search.over_paths)
    return found[list(METRICS)]
