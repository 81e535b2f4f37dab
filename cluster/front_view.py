"""The front of several objectives, as a desk reads it: a sentence, a table for the terminal, and one in Markdown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from cluster.plan import Plan
from search.front import Front

SHOWN = 10  # rows of a front that are shown; all are in front.parquet


def say_front(plan: Plan, front: Front) -> str:
    """How large the front is, whether it meets the targets, and where its knee lies."""
    assert plan.objectives is not None
    *others, last = plan.objectives.metrics
    names = f"{', '.join(others)} and {last}"
    size, pick, knee = len(front.rows), front.reference, front.knee
    if pick is None:
        return f"The front of {names} is empty: no configuration could be measured."
    who = "meet every target" if front.met else "are valid (none meets every target)"
    how = "farthest beyond its targets" if front.met else "nearest to the targets"
    told = (
        f"Of all configurations that {who}, {size:,} are beaten by no other in {names} together: the front. "
        f"The winner, trial {pick['trial']}, is the one of them {how}"
    )
    if knee is None:
        return f"{told}; the front has no knee."
    if knee["trial"] == pick["trial"]:
        return f"{told}, and the front's knee as well."
    values = ", ".join(
        f"{name} {text}" for name, text in zip(plan.objectives.metrics, _values(plan, knee), strict=True)
    )
    return f"{told}; the knee, where the front bends most, is trial {knee['trial']} ({values})."


def front_table(plan: Plan, front: Front) -> Table:
    """The front, or as much of it as is shown, for a terminal."""
    heads, rows = _cells(plan, front)
    table = Table(title=_title(front), title_justify="left")
    for number, head in enumerate(heads):
        table.add_column(head.replace("_", "\n"), justify="right" if 0 < number < len(heads) - 1 else "left")
    for cells in rows:
        table.add_row(*cells, style="bold" if cells[-1] else "")
    return table


def front_lines(plan: Plan, front: Front) -> list[str]:
    """The same in Markdown."""
    heads, rows = _cells(plan, front)
    lines = [f"{_title(front)[0].upper()}{_title(front)[1:]}", "", "| " + " | ".join(heads) + " |"]
    return [*lines, "|" + "---|" * len(heads), *("| " + " | ".join(cells) + " |" for cells in rows)]


def shown(front: Front) -> pd.DataFrame:
    """`SHOWN` rows, evenly along the front, and the marked ones; all of a front that is no longer."""
    if len(front.rows) <= SHOWN:
        return front.rows
    marked = np.flatnonzero(front.rows["knee"] | front.rows["reference"])
    even = np.linspace(0, len(front.rows) - 1, SHOWN).round().astype(int)
    return front.rows.iloc[np.union1d(even, marked)]


def _title(front: Front) -> str:
    some = f", {len(shown(front))} of them along it" if len(front.rows) > SHOWN else ""
    met = "" if front.met else "; none meets every target"
    return f"the front: {len(front.rows):,} configurations{some}{met}"


def _cells(plan: Plan, front: Front) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table."""
    assert plan.objectives is not None
    heads = ["trial", *plan.space.searched, *plan.objectives.metrics, "score", "targets_met", ""]
    rows = []
    for _, row in shown(front).iterrows():
        marks = [word for mark, word in (("reference", "winner"), ("knee", "knee")) if row[mark]]
        rows.append(
            [
                str(row["trial"]),
                *(_parameter(row[name]) for name in plan.space.searched),
                *_values(plan, row),
                f"{row['score']:.3f}",
                f"{int(row['targets_met'])} of {len(plan.targets.metrics)}",
                ", ".join(marks),
            ]
        )
    return heads, rows


def _values(plan: Plan, row: pd.Series) -> list[str]:
    assert plan.objectives is not None
    return [plan.metric(o.metric).text(float(row[o.column])) for o in plan.objectives.each]


def _parameter(value: Any) -> str:
    if pd.isna(value):
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
