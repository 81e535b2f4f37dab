"""The tables of a study's report: targets in and out of sample, what was searched, folds, looks at the data."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from cluster.advice import wanted_of
from cluster.evidence import HoldOut, WalkForward
from cluster.findings import Findings
from cluster.plan import Plan
from search.dimension import Choices, Steps
from tracking.cells import OFF
from tracking.report import MET, MISSED, Table

NOTHING = "\u2013"


def targets(plan: Plan, found: Findings, holdout: HoldOut | None) -> Table:
    """A row per target: what is wanted, then the winner and each baseline in sample and, where it was opened, held out."""
    seen = found.compared
    outside = holdout.metrics if holdout and holdout.metrics is not None else None
    labels = list(seen.index)
    head = ["target", "wanted"]
    for label in labels:
        head += [label] if outside is None else [f"{label}, in sample", f"{label}, held out"]
    rows = []
    for target in plan.targets.targets:
        cells = [target.metric, wanted_of(plan, target)]
        for label in labels:
            cells.append(_margin(plan, target.metric, seen.loc[label]))
            if outside is not None:
                row = outside.loc[label] if label in outside.index else None
                cells.append(NOTHING if row is None else _margin(plan, target.metric, row))
        rows.append(tuple(cells))
    scores = ["score", ""]
    for label in labels:
        scores.append(_number(seen.loc[label], "score"))
        if outside is not None:
            scores.append(_number(outside.loc[label], "score") if label in outside.index else NOTHING)
    return Table(tuple(head), (*rows, tuple(scores)))


def _margin(plan: Plan, metric: str, row: pd.Series[Any]) -> str:
    """A metric with how far it is from its target, marked; the margin is in ranges from reservation to target."""
    margin = float(row[f"margin_{metric}"])
    shown = plan.metric(metric)
    return f"{MET if margin >= 0.0 else MISSED} {shown.text(float(row[shown.name]))} ({margin:+.2f})"


def _number(row: pd.Series, name: str) -> str:
    return f"{float(row[name]):.3f}" if name in row and math.isfinite(row[name]) else NOTHING


def trials(plan: Plan, found: Findings) -> Table:
    """The best trials beside the baselines: their parameters, score, targets met and metrics."""
    ranked = ["cloud_score"] if plan.config.search.cloud else []
    metrics = plan.targets.metrics
    head = ("", *plan.space.searched, *ranked, "score", "targets met", *metrics)
    rows = [(f"trial {row['trial']}", row) for row in found.best.to_dict("records")]
    rows += [(str(i), r) for i, r in zip(found.baselines.index, found.baselines.to_dict("records"), strict=True)]
    written = []
    for label, row in rows:
        cells = [label, *(value(row[name]) for name in plan.space.searched)]
        cells += [f"{row[name]:.3f}" if name in row else NOTHING for name in ranked]  # a baseline is no cloud
        cells += [f"{row['score']:.3f}", f"{int(row['targets_met'])} of {len(metrics)}"]
        written.append((*cells, *(plan.metric(m).text(float(row[plan.metric(m).name])) for m in metrics)))
    return Table(head, tuple(written))


def searched(plan: Plan, winner: pd.Series[Any]) -> Table:
    """Every parameter of the strategy: what was searched or fixed, and the winner's value."""
    rows = []
    for parameter in plan.strategy.parameters:
        dimension = plan.space.dimensions.get(parameter.name)
        if dimension is None:
            constant = plan.space.constants[parameter.name]
            tried = OFF if pd.isna(constant) else f"fixed at {value(constant)}"
        elif isinstance(dimension, Choices):
            tried = ", ".join(value(each) for each in dimension.values)  # noqa: PD011 - a tuple
        elif isinstance(dimension, Steps):
            tried = f"{dimension.low:g} to {dimension.bound:g} by {dimension.step:g}"
        else:
            tried = f"{dimension.low:g} to {dimension.high:g}" + (" (logarithmic)" if dimension.log else "")
        rows.append((parameter.name, tried, value(winner[parameter.name]), parameter.unit, parameter.doc))
    return Table(("parameter", "searched", "winner", "unit", "meaning"), tuple(rows))


def folds(plan: Plan, walk: WalkForward) -> Table:
    """A row per fold: its test, what its choice did there and in training, what was chosen, and on which bars."""
    names = [name for name in plan.space.searched if name in walk.folds]
    measured = ("Sharpe in the test", "return in the test", "Sharpe in training", "score in training")
    rows = []
    for row in walk.folds.to_dict("records"):
        cells = [f"{day(row['test_from'])} to {day(row['test_to'])}", f"{row['sharpe_out']:.2f}"]
        cells += [f"{row['return_out']:.1%}", f"{row['sharpe_in']:.2f}", f"{row['score_in']:.3f}", str(row["trial"])]
        cells += [value(row[name]) for name in names]
        rows.append((*cells, f"{day(row['train_from'])} to {day(row['train_to'])}"))
    return Table(("test", *measured, "trial", *names, "trained on"), tuple(rows))


def looks(table: pd.DataFrame) -> Table:
    """The studies that looked at this data."""
    rows = [(str(r["study"]), f"{int(r['configurations']):,}", str(r["when"])) for r in table.to_dict("records")]
    return Table(("study", "configurations", "when"), tuple(rows))


def day(when: Any) -> str:
    """A date as it is read.

    >>> day(pd.Timestamp("2024-03-01"))
    '2024-03-01'
    """
    return str(pd.Timestamp(when).date())


def value(of: Any) -> str:
    """A parameter's value as it is read.

    >>> value(None), value(0.12345678), value("full"), value(250.0)
    ('off', '0.1235', 'full', '250')
    """
    if pd.isna(of):
        return OFF
    return of if isinstance(of, str) else f"{float(of):.4g}"
