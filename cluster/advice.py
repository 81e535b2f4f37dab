"""Recommendations in a desk's words, made from the numbers of an examined winner."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cluster.plan import Plan
from cluster.risk_config import what_limits_did
from cluster.selection import Selection
from cluster.selection_advice import judged
from cluster.winner import CLOSE, Neighbours, Winner, most
from kernels import Strategy
from kernels.market import FloatArray
from search.targets import Target, Targets
from search.verdict import Verdict


def advise(
    plan: Plan,
    winner: Winner,
    baselines: pd.DataFrame,
    returns: FloatArray,
    *,
    verdict: Verdict,
    selection: Selection | None,
) -> list[str]:
    """Sentences on one winner: what to do, whether to believe it, what it earns, what that costs, why, who is as good.

    `baselines` are the study's, as its results have them; index: labels. `returns` are the winner's total returns, (S,).
    """
    row = winner.stress.iloc[0]
    told = [
        f"{_ticker(plan)}: {say(plan.strategy, winner.configuration.iloc[0])}.",
        f"{verdict.line[0].upper()}{verdict.line[1:]}.",
        f"{_targets(plan, row).capitalize()}.",
    ]
    if len(returns) > 1:
        told.append(_scatter(returns, float(row["expected_shortfall_95"])))
    if "hedge_effectiveness" in row:
        told.append(f"The hedge takes away {row['hedge_effectiveness']:.0%} of the naked option's variance.")
    told.append(_costs(plan, winner))
    told += what_limits_did(plan.limits, row)
    if winner.unseen is not None:
        told.append(
            f"On {plan.market.n_scenarios:,} paths that the search has not seen: {_targets(plan, winner.unseen)}."
        )
    if selection is not None:
        told += judged(plan, selection, float(row["sharpe"]))
    told.append(_neighbours(winner.neighbours))
    if len(baselines):
        best = baselines.sort_values("score", ascending=False, kind="stable").iloc[0]
        scores = (
            f"The best baseline, {best.name}, scores {best['score']:.3f} beside {row['score']:.3f}"
            if best["score"] < row["score"] or plan.objectives  # whose winner need not have the highest score
            else f"Nothing that was tried beats the baseline {best.name}, which scores {best['score']:.3f}"
        )
        told.append(f"{scores}: {_targets(plan, best.rename(_unmeasured(plan)))}.")
    return told


def portfolio_advice(plans: Sequence[Plan], rows: Mapping[str, pd.Series], returns: FloatArray) -> list[str]:
    """Sentences on the portfolio of the winners. `rows`: metrics and scores of `portfolio`, of `unseen` where there are
    such paths, and of `members`, the mean of the winners alone; `returns`: its total returns, (S,)."""
    plan, whole, alone = plans[0], rows["portfolio"], rows["members"]
    told = [
        f"Portfolio of the {len(plans)} winners, equal capital in each: {_targets(plan, whole)}.",
        f"Alone the winners have a Sharpe ratio of {alone['sharpe']:.2f} and a drawdown of {alone['max_drawdown']:.1%} on "
        f"average, together {whole['sharpe']:.2f} and {whole['max_drawdown']:.1%}"
        + (
            "; the tickers' paths are simulated apart from each other, so a fall of all at once is not in these numbers."
            if plan.market.n_scenarios > 1
            else "."
        ),
    ]
    if len(returns) > 1:
        told.append(_scatter(returns, float(whole["expected_shortfall_95"])))
    if "unseen" in rows:
        told.append(f"On paths that the search has not seen: {_targets(plan, rows['unseen'])}.")
    return told


def say(strategy: Strategy, row: Mapping[str, Any] | pd.Series) -> str:
    """A configuration as the strategy says it."""
    return strategy.say({p.name: None if pd.isna(row[p.name]) else row[p.name] for p in strategy.parameters})


def wanted(plan: Plan) -> str:
    """The targets of a study in words."""
    return ", ".join(f"{t.metric} {wanted_of(plan, t)}" for t in plan.targets.targets)


def wanted_of(plan: Plan, target: Target) -> str:
    """What one target asks of its metric."""
    return f"{'>=' if target.direction > 0 else '<='} {plan.metric(target.metric).text(target.value)}"


def _ticker(plan: Plan) -> str:
    return ", ".join(plan.market.tickers) if plan.market.n_assets <= 3 else f"{plan.market.n_assets} assets"


def _targets(plan: Plan, row: pd.Series) -> str:
    """Every metric that has a target, how many are met, and which are not."""
    targets: Targets = plan.targets
    values = [f"{m} {plan.metric(m).text(float(row[m]))}" for m in targets.metrics]
    missed = [m for m in targets.metrics if not float(row[f"margin_{m}"]) >= 0.0]
    met = f"{int(row['targets_met'])} of {len(targets.metrics)} targets met"
    return f"{', '.join(values)}; {met}{f' (not {_joined(missed)})' if missed and len(missed) < len(values) else ''}"


def _scatter(returns: FloatArray, shortfall: float) -> str:
    """How the total return scatters over paths, and whether its median flatters it."""
    median, mean = float(np.median(returns)), float(np.mean(returns))
    told = f"Over {len(returns):,} paths it returns {median:.2%} in the median and {mean:.2%} on average, and "
    told += f"{'loses' if shortfall > 0.0 else 'gains'} {abs(shortfall):.1%} in the worst 5 %"
    flattered = median > 0.0 and mean < 0.5 * median
    return (
        f"{told}: it gains a little often and loses much seldom, which the median does not show."
        if flattered
        else f"{told}."
    )


def _costs(plan: Plan, winner: Winner) -> str:
    row, end = winner.stress.iloc[0], winner.break_even
    told = f"Costs take {plan.metric('cost_paid').text(float(row['cost_paid']))} of capital a year"
    if "option_cost" in row and row["cost_paid"] > 0.0:
        kinds = {"shares": "stock_cost", "options": "option_cost", "impact": "impact_cost"}
        whole = sum(float(row[metric]) for metric in kinds.values())
        told += f" ({', '.join(f'{kind} {row[metric] / whole:.0%}' for kind, metric in kinds.items() if row[metric] > 0.0)})"
    dearer = [
        f"at {multiple:g} x them "
        + ", ".join(
            f"{m} {plan.metric(m).text(float(winner.stress.loc[multiple, m]))}" for m in plan.targets.metrics[:2]
        )
        for multiple in winner.stress.index[1:]
    ]
    told += "".join(f"; {each}" for each in dearer)
    if end == 0.0:
        return f"{told}. It loses money even without costs."
    if math.isinf(end):
        return (
            f"{told}."
            if row["cost_paid"] == 0.0
            else f"{told}. It still earns at {most(plan.costs):.3g} times these costs."
        )
    return f"{told}. It earns nothing at {end:.3g} times these costs."


def _neighbours(near: Neighbours) -> str:
    if near.count == 1:
        return (
            f"None of the other {near.tried - 1:,} configurations comes within {CLOSE:g} of its score: a point, not a plateau."
            if near.tried > 1
            else "It is the only configuration tried."
        )
    spans = [
        f"{n} {low:.4g}" if low == high else f"{n} {low:.4g} to {high:.4g}" for n, (low, high) in near.ranges.items()
    ]
    spans += [f"{name} {_joined(words)}" for name, words in near.choices.items() if name not in near.ranges]
    return f"{near.count:,} of {near.tried:,} configurations score within {CLOSE:g} of it: {', '.join(spans)}."


def _joined(words: Sequence[str]) -> str:
    """Words as one would list them.

    >>> _joined(["a", "b", "c"]), _joined(["a"])
    ('a, b or c', 'a')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _unmeasured(plan: Plan) -> dict[str, str]:
    """Columns of a study's results by their metrics' names."""
    return {plan.space.measured(m): m for m in plan.strategy.metrics}
