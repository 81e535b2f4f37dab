"""Figures of a walk-forward: the years after each choice put together, what each fold promised and kept, what it chose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tracking.axes import growth_axis, outline
from tracking.cells import divide
from tracking.palette import BEST, FAINT, OTHERS, PALE
from tracking.panels import Array, Axis, Chart, Figure, Line, Mark, Points, Quantity, Span


def walk_forward(
    timestamps: Array, returns: pd.DataFrame, edges: Array, *, efficiency: float, positive: float
) -> Figure:
    """Growth out of sample of what each fold chose, beside others over the same bars.

    `timestamps` (T,) dates; `returns` (T rows) bar returns, the stitched ones first; `edges` (F,) the date on which each
    fold's test begins. `efficiency` is the mean Sharpe ratio of the tests over that of their training, `positive` the share
    of folds that earn.
    """
    if returns.empty:
        return Figure("walk_forward", "Walk-forward: no fold to show", ())
    growth = (1.0 + returns).cumprod()
    curves = growth.to_numpy(dtype=np.float64)
    shown = outline(curves)
    marks: list[Mark] = []
    ends = [*edges[1:], timestamps[-1]]
    axis = growth_axis(curves)
    for number, (start, end) in enumerate(zip(edges, ends, strict=True)):
        if number % 2:
            marks.append(Span("every other fold", "x", start, end, PALE, listed=False))
    for number, name in enumerate(growth.columns):
        colour, width = (OTHERS[(number - 1) % len(OTHERS)], 1.3) if number else (BEST, 2.2)
        marks.append(
            Line(f"{name}: {curves[-1, number]:.3g}x", timestamps[shown], curves[shown, number], colour, width)
        )
    folds = len(edges)
    title = (
        f"Chosen anew before each of {folds} {'fold' if folds == 1 else 'folds'} it grew {curves[-1, 0]:.3g}x out of "
        f"sample: efficiency {efficiency:.2f}, {positive:.0%} of the folds earn"
    )
    note = (
        f"{len(returns):,} bars, all after the choice was made. Every other fold is shaded. Efficiency: mean Sharpe "
        "ratio of the tests over that of their training."
    )
    return Figure("walk_forward", title, (Chart(Axis("", "date"), axis, tuple(marks)),), note)


def folds(labels: Sequence[str], inside: Array, outside: Array) -> Figure:
    """Sharpe ratios of each fold's choice in training and in the test after it, (F,) each."""
    at = np.arange(len(labels), dtype=np.float64)
    if not len(at):
        return Figure("folds", "Walk-forward: no fold to show", ())
    marks: list[Mark] = [Line("", np.array([-0.5, len(at) - 0.5]), np.zeros(2), FAINT, 1.0, listed=False)]
    for place, before, after in zip(at, inside, outside, strict=True):
        marks.append(Line("", np.array([place, place]), np.array([before, after]), PALE, 3.0, listed=False))
    marks.append(Points("in training", at, np.asarray(inside, dtype=np.float64), OTHERS[0], 10, "diamond"))
    marks.append(Points("in the test", at, np.asarray(outside, dtype=np.float64), BEST, 10))
    kept = int(np.sum(np.asarray(outside) >= np.asarray(inside)))
    title = f"{kept} of {len(at)} folds keep in the test the Sharpe ratio that they had in training"
    return Figure(
        "folds", title, (Chart(Axis("test", "category", tuple(labels)), Axis("Sharpe ratio a year"), tuple(marks)),)
    )


def drift(timestamps: Array, chosen: pd.DataFrame, parameters: Sequence[Quantity]) -> Figure:
    """What each fold chose: a step chart per parameter that moves.

    `timestamps` (F + 1,): each fold's begin, and the last one's end; `chosen` (F rows) has a column per parameter.
    """
    panels = []
    still = []
    for parameter in parameters:
        cells = divide(chosen[parameter.name])
        values = cells.positions[cells.index] if not cells.binned else chosen[parameter.name].to_numpy(dtype=np.float64)
        numeric = cells.numeric
        if len(set(values)) == 1:
            still.append(parameter.name)
            continue
        axis = Axis(parameter.label) if numeric else Axis(parameter.label, "category", cells.labels)
        line = Line("", timestamps, np.append(values, values[-1]), BEST, 2.0, stepped=True, listed=False)
        panels.append(Chart(Axis("", "date"), axis, (line,)))
    moved = [quantity.name for quantity in parameters if quantity.name not in still]
    if not panels:
        return Figure("drift", f"Every fold chose the same {_listed(still)}", ())
    title = f"Over {len(chosen)} folds the chosen {_listed(moved)} {'moves' if len(moved) == 1 else 'move'}"
    title += f"; {_listed(still)} {'stays' if len(still) == 1 else 'stay'}" if still else ""
    return Figure("drift", title, tuple(panels), columns=2 if len(panels) == 4 else min(3, len(panels)))


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
