"""The staircase of a study as it is shown: a table for the terminal, tables and a figure for the report, one as a file."""

from __future__ import annotations

import math

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table as Shown

from cluster.plan import Plan
from cluster.staircase import SEEN, Staircase
from cluster.staircase_words import claim_of, sentences, summary
from cluster.stairs import BASELINE, Stretch, added, judged, measured, without
from tracking.panels import Quantity
from tracking.report import Bullets, Part, Table
from tracking.staircase_figure import staircase

NOTHING = "\u2013"
COLUMNS = 6  # metrics that a terminal has room for, beside what is paid


def show_staircase(console: Console, plan: Plan, found: Staircase) -> None:
    """The stairs, bars by bars, and a sentence on every feature."""
    metrics = _shown(plan)
    shown = [*[metric for metric in metrics if metric != "cost_paid"][:COLUMNS], "cost_paid"]
    table = Shown(title=f"{plan.config.name}: what each feature bought", title_justify="left")
    table.add_column("")
    for head in (*shown, "better\nadded", "better\nremoved"):
        table.add_column(head.replace("_", "\n"), justify="right")
    for name, stretch in found.stretches.items():
        table.add_row(f"[bold]{name}[/]")
        labels = _climbed(found)
        for label in labels:
            cells = [_text(plan, stretch, label, metric) for metric in shown]
            style = "bold" if label == labels[-1] else ""
            table.add_row(
                f" {escape(label)}",
                *cells,
                *_shares(plan, stretch, label),
                style=style,
                end_section=label == labels[-1],
            )
    console.print()
    console.print(table)
    console.print(escape(_legend(plan, found)), style="dim")
    for name, why in found.why_not.items():
        console.print(escape(f"{name}: {why}"), soft_wrap=True)
    console.print(escape(summary(plan, found)), style="bold")
    for sentence in sentences(plan, found):
        console.print(Padding(escape(sentence), (0, 0, 0, 2)))


def parts(plan: Plan, found: Staircase) -> list[Part]:
    """The section of the report."""
    said: list[Part] = [summary(plan, found), Bullets(tuple(sentences(plan, found)))]
    if not found.on:
        return said
    quantities = [Quantity(m, plan.metric(m).unit, plan.metric(m).good) for m in ("max_drawdown", "cagr")]
    labels = _climbed(found)
    values = {name: stretch.metrics.loc[labels, ["max_drawdown", "cagr"]] for name, stretch in found.stretches.items()}
    said += [staircase(labels, quantities, values), _table(plan, found), _bought(plan, found)]
    return [*said, _legend(plan, found), *(f"{name}: {why}." for name, why in found.why_not.items())]


def table_of(plan: Plan, found: Staircase) -> pd.DataFrame:
    """A row per stretch, stair and metric: its value and, where a feature makes a difference to another stair, that
    difference with its interval and in what share of resampled histories it is for the better."""
    rows = []
    for name, stretch in found.stretches.items():
        ways: dict[str, tuple[str | None, str | None]] = {added(f): (f, "added") for f in found.on}
        ways |= {without(f): (f, "removed") for f in found.on}
        for label in stretch.metrics.index:
            feature, way = ways.get(label, (None, None))
            for metric in measured(plan):
                row = {"bars": name, "stair": label, "feature": feature, "metric": metric}
                rows.append(row | _numbers(found, stretch, str(label), feature, way, metric))
    return pd.DataFrame(rows)


def _numbers(
    found: Staircase, stretch: Stretch, label: str, feature: str | None, way: str | None, metric: str
) -> dict[str, float]:
    values = stretch.metrics[metric]
    numbers = {
        "value": float(values[label]),
        **dict.fromkeys(("difference", "low", "high", "better"), math.nan),
    }
    if feature is None or way is None:
        return numbers
    before = values.iloc[list(values.index).index(label) - 1]
    numbers["difference"] = float(values[label] - before) if way == "added" else stretch.change(feature, metric)
    numbers["low"], numbers["high"] = stretch.interval(feature, way, metric)
    return numbers | {"better": stretch.better(feature, way, metric)}


def _table(plan: Plan, found: Staircase) -> Table:
    metrics = _shown(plan)
    rows = [
        (name if label == BASELINE else "", str(label), *(_text(plan, stretch, str(label), m) for m in metrics))
        for name, stretch in found.stretches.items()
        for label in stretch.metrics.index
    ]
    return Table(("bars", "stair", *metrics), tuple(rows), "The stairs, and the whole rule without each feature")


def _bought(plan: Plan, found: Staircase) -> Table:
    """A row per feature and stretch: its claim, with and without, and how sure that is."""
    rows = []
    for feature in found.on:
        claim, word = claim_of(plan, feature), found.word(plan, feature)
        text = plan.metric(claim).text
        for name, stretch in found.stretches.items():
            ends = stretch.interval(feature, "removed", claim)
            rows.append(
                (
                    feature if name == SEEN else "",
                    word if name == found.judge[0] else "",
                    name,
                    claim,
                    text(stretch.whole(claim)),
                    text(stretch.value(without(feature), claim)),
                    NOTHING if math.isnan(ends[0]) else f"{text(ends[0])} to {text(ends[1])}",
                    *(_share(stretch.better(feature, way, claim)) for way in ("removed", "added")),
                    plan.metric("cost_paid").text(stretch.change(feature, "cost_paid")),
                    plan.metric("cagr").text(stretch.change(feature, "cagr")),
                )
            )
    head = ("feature", "", "bars", "claims", "with it", "without", "90% of the differences", "better, removed")
    return Table((*head, "better, added", "cost a year", "cagr"), tuple(rows), "What each feature changes")


def _legend(plan: Plan, found: Staircase) -> str:
    """Which bars these are, and how the shares are read."""
    where = "; ".join(f"{n}: {s.bars:,} bars, {s.first_day} to {s.last_day}" for n, s in found.stretches.items())
    if list(found.stretches) == [SEEN]:
        return f"{where}. Nothing was resampled: there are no bars that the search did not see."
    told = (
        f"{where}. Better: share of resampled histories in which what the feature claims is better with it, added to the "
        "stair before or removed from the whole rule; 50% is no difference. Bars that the search saw are not resampled."
    )
    apart = [metric for metric in plan.targets.metrics if metric not in judged(plan)]
    return f"{told} Not of the returns alone, so not judged: {', '.join(apart)}." if apart else told


def _climbed(found: Staircase) -> list[str]:
    return [BASELINE, *(added(feature) for feature in found.on)]


def _shown(plan: Plan) -> list[str]:
    """Metrics of a table: targets, claims, growth, what is paid."""
    return list(dict.fromkeys([*plan.targets.metrics, *judged(plan), "max_drawdown", "cagr", "cost_paid"]))


def _text(plan: Plan, stretch: Stretch, label: str, metric: str) -> str:
    return plan.metric(metric).text(stretch.value(label, metric))


def _shares(plan: Plan, stretch: Stretch, label: str) -> list[str]:
    feature = label.removeprefix(added(""))
    if label == BASELINE:
        return [NOTHING, NOTHING]
    return [_share(stretch.better(feature, way, claim_of(plan, feature))) for way in ("added", "removed")]


def _share(share: float) -> str:
    return NOTHING if math.isnan(share) else f"{share:.0%}"
