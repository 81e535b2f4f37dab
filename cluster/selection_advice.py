"""What the judgement of a winner says, in sentences: the few for a terminal, and all for whoever must defend it."""

from __future__ import annotations

import math

import numpy as np

from cluster.plan import Plan
from cluster.selection import Selection
from cluster.validation import nothing_hidden
from search.luck import SURE, Luck
from search.sharpe import SharpeDifference

UNLIKELY = 0.05  # p-value below which a difference counts as one
ON_THE_LINE = 1.1  # times the years needed: fewer are no room to speak of
WIDE = 1.96  # standard errors to either side of a 95 % interval


def selected(plan: Plan) -> str:
    """How the winner will be judged, for whoever has not run the study yet."""
    if plan.periods is None:
        return "by paths that the search does not see"
    told = [
        f"the last {plan.holdout.bars:,} bars hidden" if plan.holdout else "no bars hidden",
        f"{len(plan.periods.blocks)} blocks" if plan.periods.blocks else "no blocks",
        f"{len(plan.periods.folds)} folds of walking forward" if plan.periods.folds else "no folds",
        f"{plan.config.selection.replicates:,} resampled histories",
    ]
    return ", ".join(told)


def judged(plan: Plan, found: Selection, sharpe: float) -> list[str]:
    """What decides the verdict: luck, other bars, the best baseline, the bars that are hidden."""
    told = [lucky(found.luck, sharpe)]
    if found.walked is not None:
        told.append(_walked(found))
    told += _beside(plan, found)
    told.append(_hidden(plan, found))
    return told


def defended(plan: Plan, found: Selection) -> list[str]:
    """The rest: what the report explains and a terminal need not show."""
    told = []
    annual = math.sqrt(plan.market.bars_per_year)
    if found.overfitting is not None:
        p = found.overfitting
        told.append(
            f"Chosen by Sharpe ratio on one half of {len(plan.periods.blocks) if plan.periods else 0} stretches and looked at "
            f"on the other, in all {len(p.logits):,} ways: below the median of all configurations in {p.probability:.0%} "
            f"(the probability of backtest overfitting), at a loss in {p.loss:.0%}."
        )
    if found.purged is not None:
        low, middle, high = np.quantile(found.purged.paths, [0.0, 0.5, 1.0]) * annual
        told.append(
            f"On {len(found.purged.paths)} histories made of stretches that the choice had not seen, its Sharpe ratio is "
            f"{low:.2f} to {high:.2f}, {middle:.2f} in the median; {found.purged.loss:.0%} of them lose money."
        )
    told.append(_jointly(found))
    told.append(f"{found.plateau.line[0].upper()}{found.plateau.line[1:]}.")
    told += [f"Not asked: {what}, since {why}." for what, why in found.why_not.items()]
    return told


def lucky(chance: Luck, sharpe: float) -> str:
    """Whether the winner's Sharpe ratio is more than the best of so many worthless configurations would show."""
    told = (
        f"The best of {chance.tried:,} worthless configurations that differ as these do would show a Sharpe ratio of "
        f"{chance.expected:.2f} by luck"
    )
    if math.isnan(chance.deflated):
        return f"{told}."
    verdict = "more than luck" if chance.deflated >= SURE else "not more than luck"
    told += f"; the winner's {sharpe:.2f} is {verdict}"
    if chance.years < ON_THE_LINE * chance.needed:
        near = chance.needed < ON_THE_LINE * chance.years
        told += (
            f". {chance.needed:.1f} years keep the best of so many independent ones at a Sharpe ratio of 1 by luck, and these "
            f"are {chance.years:.1f}: {'on the line of pure luck' if near else 'too few'}"
        )
    return f"{told}."


def different(found: SharpeDifference, bars_per_year: float, label: str) -> str:
    """Whether the winner's Sharpe ratio is another one than the baseline's."""
    annual = math.sqrt(bars_per_year)
    if math.isnan(found.p_value):
        return f"Its Sharpe ratio cannot be compared with that of {label}: they are the same, or one never moves"
    difference, reach = found.difference * annual, WIDE * found.error * annual
    clear = "significant" if found.p_value < UNLIKELY else "not significant"
    return (
        f"Its Sharpe ratio is {abs(difference):.2f} {'above' if difference >= 0 else 'below'} that of {label}, 95 % between "
        f"{difference - reach:+.2f} and {difference + reach:+.2f}: {clear} (p {found.p_value:.2g})"
    )


def _walked(found: Selection) -> str:
    assert found.walked is not None
    walked = found.walked
    folds = walked.folds
    told = (
        f"Walking forward over {folds['test_from'].iloc[0]} to {folds['test_to'].iloc[-1]}, the choice of the bars before "
        f"each of {len(folds)} folds has a Sharpe ratio of {walked.sharpe:.2f} on it"
    )
    if not math.isnan(walked.efficiency):
        told += f", {walked.efficiency:.0%} of that where it was chosen"
    return f"{told}; {int((folds['test_total_return'] > 0.0).sum())} of {len(folds)} folds earn."


def _beside(plan: Plan, found: Selection) -> list[str]:
    told = [f"{different(each, plan.market.bars_per_year, label)}." for label, each in list(found.against.items())[:1]]
    if found.reality is not None:
        p = found.reality.p_value
        clear = "more" if p <= UNLIKELY else "not more"
        told.append(
            f"The best of all is {clear} above {found.reality.baseline or 'cash'} than the best of so many would be by luck: "
            f"reality check p {p:.2g} over {found.reality.replicates:,} resampled histories."
        )
    return told


def _hidden(plan: Plan, found: Selection) -> str:
    if plan.holdout is None:
        return f"No bars were hidden from this search, since {nothing_hidden(plan)}: every number is in sample."
    before = _before(found)
    if found.opened is None:
        stamps = plan.holdout.market.timestamps.astype("datetime64[D]")
        return (
            f"The last {plan.holdout.bars:,} bars, from {stamps[plan.holdout.first]}, are hidden from it: "
            f"`hedgegrid validate {plan.folder}` opens them, once.{before}"
        )
    return f"{_opened(plan, found)}{before}"


def _before(found: Selection) -> str:
    """Whether what is hidden from this search was seen by those who set it up."""
    if not found.opened_before:
        return ""
    by = ", ".join(f"{name} on {when[:10]}" for name, when in found.opened_before)
    return f" They are no longer unseen: opened before by {by}, on the same data."


def _opened(plan: Plan, found: Selection) -> str:
    assert found.opened is not None
    rows = found.opened.rows
    told: list[str] = []
    for label in (rows.index[0], *list(found.against)[:1]):
        row = rows.loc[label]
        values = ", ".join(f"{m} {plan.metric(m).text(float(row[m]))}" for m in plan.targets.metrics)
        met = f"{int(row['targets_met'])} of {len(plan.targets.metrics)} targets met"
        told.append(f"{label if told else 'it shows'} {values}; {met}")
    return (
        f"On the {found.opened.bars:,} bars it had not seen ({found.opened.first_day} to {found.opened.last_day}): "
        f"{'. '.join(told)}."
    )


def _jointly(found: Selection) -> str:
    each = ", ".join(f"{metric} {p:.0%}" for metric, p in found.joint.each["probability"].items())
    return f"Every target is met in {found.joint.probability:.0%} of {found.joint.histories:,} resampled histories ({each})."
