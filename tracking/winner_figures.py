"""Figures of one chosen configuration: what dearer trading leaves of it, what surrounds it, what moved the search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from tracking.axes import around, value_axis
from tracking.cells import OFF
from tracking.palette import BEST, INK, LOSS, OTHERS, TARGET
from tracking.panels import Axis, Bars, Chart, Figure, Labels, Level, Line, Mark, Panel, Points, Quantity


def stress(
    table: pd.DataFrame, measures: Sequence[Quantity], levels: Mapping[str, tuple[float, int]], end: float
) -> Figure:
    """Measures at multiples of the costs (`table`'s index), each with its target, and the break-even.

    `levels` names a measure's target: its value, and +1 for at least, -1 for at most. `end` is the multiple at which
    nothing is earned: 0 where it loses without costs, infinity where none takes all.
    """
    multiples = table.index.to_numpy(dtype=np.float64)
    if not len(multiples) or not measures:
        return Figure("stress", "Dearer trading: nothing to show", ())
    panels = []
    broken = []
    for measure in measures:
        values = table[measure.name].to_numpy(dtype=np.float64)
        marks: list[Mark] = [Line("the winner", multiples, values, BEST, 2.0, dots=True, listed=False)]
        kept = values[np.isfinite(values)]
        if measure.name in levels:
            level, sense = levels[measure.name]
            marks.append(Level("y", level, f"{'at least' if sense > 0 else 'at most'} {measure.text(level)}", TARGET))
            kept = np.append(kept, level)
            met = sense * (values - level) >= 0.0
            broken += [f"{measure.name} at {multiples[np.argmin(met)]:g}x"] if met[0] and not met.all() else []
        limits = around(float(kept.min()), float(kept.max()), room=0.15) if len(kept) else (0.0, 1.0)
        axis = Axis("multiple of the costs", "growth", limits=around(multiples[0], multiples[-1]))
        panels.append(Chart(axis, value_axis(measure, limits=limits), tuple(marks)))
    first = measures[0]
    ends = [first.text(float(table[first.name].iloc[at])) for at in (0, -1)]
    title = f"At {multiples[-1]:g} times the costs {first.name} is {ends[1]} instead of {ends[0]}"
    title += f"; a target is lost: {', '.join(broken)}" if broken else ""
    if end == 0.0:
        note = "It loses money even without costs."
    elif np.isinf(end):
        note = "It still earns at the dearest trading that was tried."
    else:
        note = f"It earns nothing at {end:.3g} times the costs."
    return Figure("stress", title, tuple(panels), note, columns=min(2, len(panels)))


def importance(shares: Mapping[str, float]) -> Figure:
    """The share of each searched parameter in what moved the score, largest first."""
    if not shares:
        return Figure("importance", "What moved the score: too few trials, or too equal ones, to tell", ())
    names = tuple(shares)[::-1]
    values = np.array([shares[name] for name in names])
    at = np.arange(len(names), dtype=np.float64)
    bars = Bars("", at, np.zeros(len(names)), values, BEST, listed=False)
    words = Labels(values, at, tuple(f"{value:.0%}" for value in values), INK)
    axis = Axis("share of what moved the score", "percent", limits=(0.0, 1.2 * float(values.max()) or 1.0))
    title = f"{names[-1]} moves the score most: {values[-1]:.0%} of it"
    note = "How differently each is spread among the best tenth of the trials and among all, as shares of the sum (PED-ANOVA: "
    note += "Watanabe, Bansal, Hutter 2023)."
    return Figure("importance", title, (Chart(axis, Axis("", "category", names), (bars, words)),), note)


def plateau(
    profile: Figure, values: Sequence[object], score: Quantity, own: float, neighbours: float | None = None
) -> Figure:
    """A profile of the score (`figures.profile`) with the winner on it: its score is `own`, its parameters `values`.

    `neighbours` is the median score of the configurations around it, where that is known.
    """
    known = neighbours is not None and np.isfinite(neighbours)
    panels: list[Panel] = []
    for panel, value in zip(profile.panels, values, strict=False):
        assert isinstance(panel, Chart)
        first = not panels
        at = _place(panel.x, value)
        marks: list[Mark] = list(panel.marks)
        if known:
            ends = np.concatenate([[at], *(mark.x for mark in panel.marks if isinstance(mark, Line))])
            level = np.full(2, neighbours, dtype=np.float64)
            ground = np.array([ends.min(), ends.max()])
            marks.append(Line("median of its neighbours", ground, level, OTHERS[1], 1.4, dashed=True, listed=first))
        marks.append(Points("the winner", np.array([at]), np.array([own]), LOSS, 13, "star", listed=first))
        panels.append(replace(panel, marks=tuple(marks)))
    title = f"The winner scores {score.text(own)}"
    title += f", its neighbours {score.text(neighbours)} in the median" if known and neighbours is not None else ""
    return replace(profile, title=f"{title}; {profile.title}", panels=tuple(panels))


def _place(axis: Axis, value: object) -> float:
    """Where a parameter's value stands on its axis; among cells of numbers in the nearest."""
    if axis.style != "category":
        return float(str(value))
    if value is None or value != value:  # NaN
        return float(axis.categories.index(OFF))
    if isinstance(value, str):
        return float(axis.categories.index(value))
    numbers = [math.inf if label == OFF else float(label) for label in axis.categories]
    return float(np.argmin(np.abs(np.array(numbers) - float(str(value)))))
