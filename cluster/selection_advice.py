"""What the judgement of a winner says, in sentences; its figures stand in the report."""

from __future__ import annotations

import math

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


def lucky(chance: Luck, sharpe: float) -> str:
    """Whether the winner's Sharpe ratio is more than the best of so many worthless configurations would show."""
    free = 0.0 < math.sqrt(chance.needed / chance.years) <= chance.expected  # as far apart as `worthless_spread` goes
    which = "independent worthless configurations" if free else "worthless configurations that differ as these do"
    told = f"The best of {chance.tried:,} {which} would show a Sharpe ratio of {chance.expected:.2f} by luck"
    if math.isnan(chance.deflated):
        return f"{told}."
    verdict = "more than luck" if chance.deflated >= SURE else "not more than luck"
    told += f"; the winner's {sharpe:.2f} is {verdict}"
    if chance.years < ON_THE_LINE * chance.needed:
        near = chance.needed < ON_THE_LINE * chance.years
        told += (
            f". Were all {chance.tried:,} independent, it would take {chance.needed:.1f} years to keep their best at a Sharpe "
            f"ratio of 1 by luck, and these are {chance.years:.1f}: {'on the line of pure luck' if near else 'too few'}"
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
        f"each of {len(folds)} folds has a Sharpe ratio of {walked.sharpe:.2f}"
    )
    if not math.isnan(walked.efficiency):
        told += f", a fold on average {walked.efficiency:.0%} of that where it was chosen"
    return f"{told}; {int((folds['test_total_return'] > 0.0).sum())} of {len(folds)} folds earn."


def _beside(plan: Plan, found: Selection) -> list[str]:
    told = [f"{different(each, plan.market.bars_per_year, label)}." for label, each in list(found.against.items())[:1]]
    if found.ahead:
        shares = ", ".join(f"{metric} {share:.0%}" for metric, share in found.ahead.items())
        told.append(f"Resampled histories in which it is better than {next(iter(found.against))}: {shares}.")
    if found.reality is not None:
        p, baseline = found.reality.p_value, found.reality.baseline or "cash"
        clear = "more" if p <= UNLIKELY else "not more"
        told.append(
            f"The largest lead of all over the Sharpe ratio of {baseline} is {clear} than the best of so many would "
            f"have by luck: reality check p {p:.2g} over {found.reality.replicates:,} resampled histories."
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
    return f" They are no longer unseen: opened or searched before by {by}, on the same data."


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
