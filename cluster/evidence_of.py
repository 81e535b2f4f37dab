"""What the judgement of a study found, as its report shows it: Sharpe ratios a year, dates, plain tables."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from cluster.evidence import CrossValidation, Evidence, HoldOut, Joint, RealityCheck, Splits, WalkForward
from cluster.findings import Findings
from cluster.plan import Plan
from cluster.selection import Selection
from cluster.validation import nothing_hidden
from search.verdict import Verdict as Judged
from tracking.report import Rule, Verdict

RENAMED = {
    "train_score": "score_in",
    "train_sharpe": "sharpe_in",
    "test_sharpe": "sharpe_out",
    "test_total_return": "return_out",
}


def gather(plan: Plan, found: Findings) -> Evidence:
    """Everything that was found; of a market of many paths its verdict alone."""
    selection = found.selection
    dead = tuple(each.sentence for each in found.dead)
    if selection is None:
        return Evidence(verdict=verdict_of(found.verdict), dead=dead)
    annual = math.sqrt(plan.market.bars_per_year)
    over, crossed, reality = selection.overfitting, selection.purged, selection.reality
    winner = float(found.best[plan.space.measured("sharpe")].iloc[0])
    return Evidence(
        verdict_of(found.verdict),
        _holdout(plan, selection),
        _walked(selection),
        None if over is None else Splits(over.logits, over.inside * annual, over.outside * annual, over.probability),
        None if crossed is None else CrossValidation(crossed.paths * annual, winner),
        selection.sharpes,
        None
        if reality is None or reality.found is None
        else RealityCheck(np.array(reality.maxima), reality.found, reality.p_value, reality.baseline or "cash"),
        Joint(
            selection.joint.probability,
            selection.joint.histories,
            {str(metric): float(share) for metric, share in selection.joint.each["probability"].items()},
        ),
        selection.plateau.median if selection.plateau.count else None,
        pd.DataFrame(
            [(look.name, look.configurations, look.when[:10]) for look in selection.looks.studies],
            columns=["study", "configurations", "when"],
        ),
        dead,
        (
            *([f"hold-out: {nothing_hidden(plan)}."] if plan.holdout is None else []),
            *(f"{what}: {why}." for what, why in selection.why_not.items()),
        ),
    )


def verdict_of(found: Judged) -> Verdict:
    """The verdict with its rules as they are read."""
    rules = []
    for rule in found.rules:
        value, _, limit = rule.text.removeprefix(f"{rule.what} ").split(" ", 2)  # its sign is how it came out
        whose = f" of {rule.of}" if rule.of else ""  # told where there is room for it
        told = f"{rule.explained}; wanted is that{whose}" if whose else rule.explained
        rules.append(Rule(rule.what, value, rule.sign, limit.removesuffix(whose), rule.met, told))
    return Verdict(found.label, found.line, tuple(rules))


def _holdout(plan: Plan, selection: Selection) -> HoldOut | None:
    if plan.holdout is None:
        return None
    days = plan.holdout.market.timestamps.astype("datetime64[D]")
    first, last, bars = str(days[plan.holdout.first]), str(days[-1]), plan.holdout.bars
    before = tuple(f"{when[:10]} by {name}" for name, when in selection.opened_before)
    if selection.opened is None:
        return HoldOut(first, last, bars, before)
    named = {name: plan.space.measured(name) for name in plan.strategy.metrics}
    opened = (*before, selection.opened.when[:10])
    return HoldOut(first, last, bars, opened, selection.opened.rows.rename(columns=named))


def _walked(selection: Selection) -> WalkForward | None:
    walked = selection.walked
    if walked is None:
        return None
    winner, *baselines = walked.beside
    best = next(iter(selection.against), None)
    beside = {label: walked.beside[label] for label in (winner, *([best] if best in baselines else []))}
    returns = pd.DataFrame({"walking forward": walked.returns, **beside})
    return WalkForward(
        walked.folds.rename(columns=RENAMED), walked.timestamps, returns, walked.efficiency, walked.positive
    )
