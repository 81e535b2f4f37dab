"""The figure of a rule climbed feature by feature: what each stair does to a measure, on every stretch of bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tracking.axes import around, value_axis
from tracking.palette import BEST, OTHERS, PALE
from tracking.panels import Axis, Chart, Figure, Line, Quantity

COLOURS = (PALE, BEST, OTHERS[0])
FEW = 3  # features whose names stand beside each other in half a page


def staircase(labels: Sequence[str], measures: Sequence[Quantity], values: Mapping[str, pd.DataFrame]) -> Figure:
    """A panel per measure; `values` has the stairs (rows, in the order of `labels`) of each stretch of bars, by its name."""
    at = np.arange(len(labels), dtype=np.float64)
    panels: list[Chart] = []
    first = measures[0]
    for measure in measures:
        columns = {name: table[measure.name].to_numpy(dtype=np.float64) for name, table in values.items()}
        known = np.concatenate([each[np.isfinite(each)] for each in columns.values()])
        limits = around(float(known.min()), float(known.max()), room=0.15) if len(known) else (0.0, 1.0)
        marks = tuple(
            Line(name, at, each, colour, 2.0, dots=True, listed=not panels)
            for (name, each), colour in zip(columns.items(), COLOURS, strict=False)
        )
        panels.append(Chart(Axis("", "category", tuple(labels)), value_axis(measure, limits=limits), marks))
    ways = []
    for name, table in values.items():
        ends = [first.text(float(table[first.name].iloc[row])) for row in (0, -1)]
        ways.append(f"{ends[1]} instead of {ends[0]} ({name})")
    features = len(labels) - 1
    title = f"With {f'all {features} features' if features > 1 else 'its feature'} {first.name} is {', '.join(ways)}"
    note = "Every stair has one feature more, in the strategy's order; each stretch of bars is measured by itself."
    return Figure("staircase", title, tuple(panels), note, columns=1 if features > FEW else min(2, len(panels)))
