"""A sentence on each feature of a strategy: what it is meant to do, whether it does on this data, how surely, and its cost."""

from __future__ import annotations

import math
from typing import Any, Literal

from cluster.plan import Plan
from cluster.staircase import HIDDEN, SEEN, WALKED, Staircase
from cluster.stairs import Stretch, wanted, without
from search.paired import is_sure

OPENINGS = {
    "earned": "{} earned its place",
    "harmed": "{} cost more than it gave",
    "not shown": "{}: not shown",
    "not judged": "{}: not judged",
}
Side = Literal["better", "worse"]
SIDES: dict[str, Side] = {"earned": "better", "harmed": "worse"}
WHERE = {SEEN: "in sample", WALKED: "walking forward", HIDDEN: "on the hold-out"}


def sentences(plan: Plan, found: Staircase) -> list[str]:
    """A sentence per feature, in the strategy's order."""
    return [sentence(plan, found, feature.parameter) for feature in plan.strategy.features]


def summary(plan: Plan, found: Staircase) -> str:
    """Which features earned their place on this data, in one sentence."""
    words: dict[str, list[str]] = {}
    for feature in plan.strategy.features:
        word = "left off" if feature.parameter in found.left_off else found.word(plan, feature.parameter)
        words.setdefault(word, []).append(feature.parameter)
    earned = words.pop("earned", [])
    what = "Earned its place" if len(earned) == 1 else "Earned their place"
    told = [f"{what} on this data: {', '.join(earned) or 'none'}"]
    headings = {
        "harmed": "cost more than they gave",
        "not shown": "not shown either way",
        "not judged": "not judged",
        "left off": "left off by the search",
    }
    told += [f"{heading}: {', '.join(words[word])}" for word, heading in headings.items() if word in words]
    return f"{'; '.join(told)}."


def sentence(plan: Plan, found: Staircase, feature: str) -> str:
    """Its claimed benefit, whether that holds out of sample and how surely, and what it cost."""
    if feature in found.left_off:
        return f"{feature}: left off by the search."
    name, stretch = found.judge
    word = found.word(plan, feature)
    opening, claim = OPENINGS[word].format(feature), claim_of(plan, feature)
    if word == "not judged":
        why = "; ".join(f"{what}: {reason}" for what, reason in found.why_not.items())
        return f"{opening} out of sample ({why}); in sample {_values(plan, stretch, feature, claim)}."
    if name == WALKED and found.chosen[feature] == 0:
        return (
            f"{opening}: {'; '.join(['no fold of walking forward chose it', *_hidden(plan, found, feature, claim)])}."
        )
    if stretch.is_dead(feature):
        told = f"it makes no difference to any metric {WHERE[name]}"
        return f"{opening}: {'; '.join([told, *_hidden(plan, found, feature, claim)])}."
    metric, side = _quoted(plan, stretch, feature, word)
    low, high = (plan.metric(metric).text(end) for end in stretch.interval(feature, "removed", metric))
    parts = [
        f"{opening}{', as claimed' if word == 'earned' and metric == claim else ''}: "
        f"{_values(plan, stretch, feature, metric)} {WHERE[name]}, {_sure(stretch, feature, metric, side)} of resampled "
        f"histories (90% of the differences between {low} and {high})",
        *_hidden(plan, found, feature, metric, side),
        *_claimed(plan, stretch, feature, metric),
        *_as_a_stair(stretch, feature, metric, side),
        costs(plan, stretch, feature),
    ]
    if name == WALKED and found.chosen[feature] < found.folds:
        parts.append(f"{found.chosen[feature]} of {found.folds} folds chose it")
    return f"{'; '.join(parts)}."


def claim_of(plan: Plan, feature: str) -> str:
    """The metric that a feature is meant to better."""
    return next(each.claims for each in plan.strategy.features if each.parameter == feature)


def costs(plan: Plan, stretch: Stretch, feature: str) -> str:
    """What a feature costs: in fees and slippage, and in growth."""
    paid, grown = stretch.change(feature, "cost_paid"), stretch.change(feature, "cagr")
    fees = f"{'costs' if paid >= 0.0 else 'saves'} {plan.metric('cost_paid').text(abs(paid))} a year in trading"
    if not math.isfinite(grown):
        return f"it {fees}"
    return f"it {fees} and {'takes' if grown < 0.0 else 'adds'} {plan.metric('cagr').text(abs(grown))} a year of growth"


def brief(plan: Plan, found: Staircase) -> dict[str, Any]:
    """The same in a few numbers, for best.yaml; None where one is not there."""
    name, stretch = found.judge
    content: dict[str, Any] = {}
    for feature in plan.strategy.features:
        if feature.parameter in found.left_off:
            content[feature.parameter] = {"place": "left off by the search"}
            continue
        one, metric = feature.parameter, feature.claims
        numbers = {
            "with": stretch.whole(metric),
            "without": stretch.value(without(one), metric),
            "better_in": stretch.better(one, "removed", metric),
            "cost_paid": stretch.change(one, "cost_paid"),
            "cagr": stretch.change(one, "cagr"),
        }
        content[one] = {"place": found.word(plan, one), "claims": metric, "bars": name} | {
            what: value if math.isfinite(value) else None for what, value in numbers.items()
        }
    return content


def _quoted(plan: Plan, stretch: Stretch, feature: str, word: str) -> tuple[str, Side]:
    """The metric that the word is told by, and its side: what was claimed where that shows it, else the surest."""
    claim, side = claim_of(plan, feature), SIDES.get(word, "better")
    if word not in SIDES:
        return claim, side
    shares = {metric: _share(stretch, feature, metric, side) for metric in wanted(plan)}
    return (claim if is_sure(shares.get(claim, 0.0)) else max(shares, key=lambda metric: shares[metric])), side


def _share(stretch: Stretch, feature: str, metric: str, side: Side, way: str = "removed") -> float:
    better = stretch.better(feature, way, metric)
    return better if side == "better" else 1.0 - better


def _sure(stretch: Stretch, feature: str, metric: str, side: Side) -> str:
    return f"{side} in {_share(stretch, feature, metric, side):.0%}"


def _values(plan: Plan, stretch: Stretch, feature: str, metric: str) -> str:
    text = plan.metric(metric).text
    return f"{metric} {text(stretch.whole(metric))} instead of {text(stretch.value(without(feature), metric))}"


def _claimed(plan: Plan, stretch: Stretch, feature: str, quoted: str) -> list[str]:
    """Whether its claim holds, where another metric was quoted."""
    claim = claim_of(plan, feature)
    if claim == quoted:
        return []
    better, worse = (is_sure(_share(stretch, feature, claim, side)) for side in ("better", "worse"))
    holds = "holds too" if better else "is refuted" if worse else "is not shown"
    told = f"{_values(plan, stretch, feature, claim)}, {_sure(stretch, feature, claim, 'better')}"
    return [f"its claim {holds}: {told}"]


def _as_a_stair(stretch: Stretch, feature: str, metric: str, side: Side) -> list[str]:
    """Where adding it to the stair before tells another story than removing it from the whole."""
    added, removed = (_share(stretch, feature, metric, side, way) for way in ("added", "removed"))
    return [f"added to the stair before it {side} in {added:.0%}"] if is_sure(added) != is_sure(removed) else []


def _hidden(plan: Plan, found: Staircase, feature: str, metric: str, side: Side = "better") -> list[str]:
    """What hidden bars say beside folds."""
    if found.hidden is None or found.walked is None:
        return []
    if found.hidden.is_dead(feature):
        return [f"none {WHERE[HIDDEN]}"]
    values = _values(plan, found.hidden, feature, metric)
    return [f"{WHERE[HIDDEN]} {values}, {_sure(found.hidden, feature, metric, side)}"]
