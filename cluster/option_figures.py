"""The figures of a study of hedged options: error against theory, cost against error, where the profit comes from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from cluster.plan import Plan
from cluster.winner import engine_for
from kernels.market import FloatArray
from kernels.option_market import OptionMarket
from search.study import Study
from tracking.frontier import frontier
from tracking.hedge_figures import attribution, hedging_error
from tracking.panels import Figure, Quantity
from tracking.path_figures import distribution
from tracking.target_figures import against_targets

MOST_TIMES = 12  # rebalance times of the line that is held against the theory
SCATTERED = ("total_return", "max_drawdown", "profit", "cost_paid", "orders", "hedging_error")
PARTS = {  # of the profit, as a figure names them; costs count against it
    "option": ("naked_profit", +1.0),
    "shares": ("stock_profit", +1.0),
    "second option": ("second_profit", +1.0),
    "carry": ("carry", +1.0),
    "stock cost": ("stock_cost", -1.0),
    "option cost": ("option_cost", -1.0),
    "impact": ("impact_cost", -1.0),
}


def draw(plan: Plan, study: Study, compared: pd.DataFrame, paths: pd.DataFrame) -> Iterator[Figure]:
    """The figures of a finished study on an option market.

    `compared` has the best trial and the baselines as rows of the study's results, index: labels, the best first; `paths`
    their metrics on each path (`cluster.winner.path_table`).
    """
    assert isinstance(plan.market, OptionMarket)
    error = plan.metric("hedging_error")
    if "rebalance_days" in plan.space.searched:
        measured, theory = calendar_errors(plan, plan.market)
        yield hedging_error(measured, theory, plan.parameter("rebalance_days"), error)
    cost, each = (
        Quantity("cost_paid per exposure", "fraction/year", -1),
        Quantity("hedging_error per exposure", "fraction", -1),
    )
    columns = [
        *plan.space.searched,
        *(c for c in ("exposure", "cost_paid", "hedging_error") if c not in plan.space.searched),
    ]
    tried = pd.concat([table[columns] for table in study.configurations()], ignore_index=True)
    searched = [plan.parameter(name) for name in plan.space.searched if name != "exposure"]
    yield frontier(_per_exposure(tried, cost, each), cost, each, searched, _per_exposure(compared, cost, each))
    years = (plan.market.n_bars - 1) / plan.market.bars_per_year
    mean = paths.groupby("label", sort=False)[[metric for metric, _ in PARTS.values()]].mean() / years
    yield attribution(pd.DataFrame({part: sign * mean[metric] for part, (metric, sign) in PARTS.items()}))
    if "exposure" in plan.space.searched:
        measures = [plan.metric(m) for m in plan.targets.metrics]
        levels = {plan.metric(t.metric).name: (t.value, int(t.direction)) for t in plan.targets.targets}
        columns = ["exposure", *(measure.name for measure in measures)]
        trials = pd.concat([table[columns] for table in study.configurations()], ignore_index=True)
        yield against_targets(trials, plan.parameter("exposure"), measures, levels)
    if plan.market.n_scenarios > 1:
        yield distribution(paths, [plan.metric(name) for name in SCATTERED], list(compared.index))


def calendar_errors(plan: Plan, market: OptionMarket) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hedging error of a plain calendar hedge, measured and by theory, each a table of rebalance_days and hedging_error.

    The hedge: all of the delta, no band, nothing but the clock, at exposure 1 and the study's costs.
    """
    times = _times(plan, market)
    rows = pd.DataFrame({p.name: [p.default] * len(times) for p in plan.strategy.parameters}, dtype=object)
    rows["rebalance_days"] = times
    found = engine_for(plan, rows).metrics(rows)
    measured = pd.DataFrame({"rebalance_days": times, "hedging_error": found["hedging_error"].to_numpy()})
    return measured, pd.DataFrame({"rebalance_days": times, "hedging_error": theory(market, times)})


def theory(market: OptionMarket, rebalance_days: FloatArray) -> FloatArray:
    """Standard deviation of the profit of a whole-delta hedge rebalanced every so many days, over capital, (N,).

    sqrt(sum over cycles of pi/4 (vega sigma)^2 / n / K_0^2), n = days of the cycle / rebalance_days, at least 1; vega and
    the implied volatility sigma when the option is sold, their square's mean over paths.

    Source: Derman, Kamal (1999), "When you cannot hedge continuously".
    """
    sold = np.flatnonzero(market.opens > 0.0)
    ends = np.append(sold[1:], market.n_bars - 1)
    elapsed = np.cumsum(market.days)
    total = np.zeros(len(rebalance_days))
    for first, last in zip(sold, ends, strict=True):
        risk = market.vega[:, first] * market.volatility[:, first] / market.spot[:, first]
        total += np.pi / 4.0 * np.mean(risk**2) / np.maximum((elapsed[last] - elapsed[first]) / rebalance_days, 1.0)
    return np.asarray(np.sqrt(total))


def _times(plan: Plan, market: OptionMarket) -> FloatArray:
    """Rebalance times between the shortest and the longest that the study searches, evenly in their logarithm."""
    found = plan.space.from_unit(
        np.linspace(0.0, 1.0, 1001, endpoint=False)[:, None].repeat(len(plan.space.searched), 1)
    )
    values = np.unique(found["rebalance_days"].to_numpy(dtype=np.float64))
    longest = min(float(values[-1]), market.contract.tenor_days)
    values = values[(values >= market.step_days) & (values <= longest)]
    if len(values) > MOST_TIMES:
        values = np.geomspace(values[0], values[-1], MOST_TIMES)
    return np.asarray(values)


def _per_exposure(rows: pd.DataFrame, cost: Quantity, error: Quantity) -> pd.DataFrame:
    """Cost and error of one unit of exposure: both are twice as much at twice the size."""
    size = rows["exposure"].astype(np.float64)
    return rows.assign(**{cost.name: rows["cost_paid"] / size, error.name: rows["hedging_error"] / size})
