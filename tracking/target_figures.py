"""A parameter against the targets: which of its values let all of them be met at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tracking.axes import around, finite, parameter_axis, value_axis
from tracking.cells import Cells, divide
from tracking.palette import BEST, OTHERS, TARGET
from tracking.panels import Axis, Band, Chart, Figure, FloatArray, Level, Line, Mark, Quantity, Span


def against_targets(
    trials: pd.DataFrame,
    parameter: Quantity,
    measures: Sequence[Quantity],
    levels: Mapping[str, tuple[float, int]],
) -> Figure:
    """Each measure along one parameter (best, median, 10 to 90 % over all the others) with its target drawn.

    `trials` has one row per configuration. `levels` names a measure's target: its value, and +1 for at least, -1 for at
    most; the side that meets it is shaded. The parameter's values with a configuration that meets every target at once
    are shaded too.
    """
    name = f"targets_{parameter.name}"
    rows, note = finite(trials, measures)
    if rows.empty or not measures:
        return Figure(name, f"{parameter.name}: no configuration has finite measures", (), note)
    cells = divide(rows[parameter.name])
    met = _met(rows, levels)  # (targets, rows)
    together = met.all(axis=0)
    runs = _runs(cells, np.unique(cells.index[together])) if levels else []
    panels: list[Chart] = []
    for measure in measures:
        panels.append(_panel(rows, cells, parameter, measure, levels.get(measure.name), runs, first=not panels))
    if cells.binned:
        note += f" {parameter.name} is binned; its numbers are the middles of the bins."
    note += " The best of each measure may be of another configuration."
    title = _title(cells, parameter, runs, met, list(levels))
    return Figure(name, title, tuple(panels), note, share="x")


def _panel(
    rows: pd.DataFrame,
    cells: Cells,
    parameter: Quantity,
    measure: Quantity,
    level: tuple[float, int] | None,
    runs: list[tuple[int, int]],
    *,
    first: bool,
) -> Chart:
    groups = rows[measure.name].astype(np.float64).groupby(cells.index)
    middle, low, high = groups.median(), groups.quantile(0.1), groups.quantile(0.9)
    at = cells.positions[middle.index.to_numpy()]
    sense = level[1] if level else measure.good
    best = groups.min() if sense < 0 else groups.max()
    shown = [float(low.min()), float(high.max()), float(best.min()), float(best.max())]
    limits = around(min(shown), max(shown))
    marks: list[Mark] = []
    if level:
        value, sense = level
        limits = around(min(*shown, value), max(*shown, value), room=0.08)
        marks.append(Span("meets the target", "y", *_side(value, sense, limits), TARGET, listed=first))
        words = f"{measure.name} {'at least' if sense > 0 else 'at most'} {measure.text(value)}"
        marks.append(Level("y", value, words, TARGET))
    edges = _edges(cells)
    for number, (start, end) in enumerate(runs):
        listed = first and not number
        marks.append(Span("all targets met by some", "x", edges[start], edges[end + 1], OTHERS[3], listed=listed))
    marks += [
        Band("10 to 90% of configurations", at, _array(low), _array(high), BEST, listed=first),
        Line("median", at, _array(middle), BEST, 2.0, dots=True, listed=first),
        Line("best", at, _array(best), OTHERS[0], 1.4, dots=True, listed=first),
    ]
    return Chart(_across(parameter, cells, edges), value_axis(measure, limits=limits), tuple(marks))


def _met(rows: pd.DataFrame, levels: Mapping[str, tuple[float, int]]) -> NDArray[np.bool_]:
    """Which targets (K) which rows (N) meet, (K, N)."""
    met = [sense * (_array(rows[name]) - value) >= 0.0 for name, (value, sense) in levels.items()]
    return np.array(met, dtype=np.bool_).reshape(len(levels), len(rows))


def _runs(cells: Cells, inside: NDArray[np.int64]) -> list[tuple[int, int]]:
    """First and last of each stretch of neighbouring cells that are `inside`."""
    tried = np.unique(cells.index)
    place = np.searchsorted(tried, inside)
    breaks = np.flatnonzero(np.diff(place) > 1) + 1
    return [(int(run[0]), int(run[-1])) for run in np.split(inside, breaks) if len(run)]


def _edges(cells: Cells) -> FloatArray:
    """Where K cells begin and end along their axis, (K + 1,): halfway between neighbours."""
    at = cells.positions
    if len(at) == 1:
        return np.array(around(float(at[0]), float(at[0])))
    halves = 0.5 * (at[1:] + at[:-1])
    return np.concatenate([[at[0] - 0.5 * (at[1] - at[0])], halves, [at[-1] + 0.5 * (at[-1] - at[-2])]])


def _across(parameter: Quantity, cells: Cells, edges: FloatArray) -> Axis:
    axis = parameter_axis(parameter, cells)
    return axis if axis.style == "category" else Axis(axis.label, limits=(float(edges[0]), float(edges[-1])))


def _side(value: float, sense: int, limits: tuple[float, float]) -> tuple[float, float]:
    return (value, limits[1]) if sense > 0 else (limits[0], value)


def _title(
    cells: Cells, parameter: Quantity, runs: list[tuple[int, int]], met: NDArray[np.bool_], targets: list[str]
) -> str:
    if not targets:
        return f"{parameter.name} from {cells.labels[0]} to {cells.labels[-1]}: no target is set"
    count = int(met.all(axis=0).sum())
    of = f"{count:,} of {met.shape[1]:,} configurations"
    what = f"the target of {targets[0]}" if len(targets) == 1 else f"all {len(targets)} targets"
    if runs:
        values = " and ".join(cells.labels[a] if a == b else f"{cells.labels[a]} to {cells.labels[b]}" for a, b in runs)
        return f"{what[0].upper()}{what[1:]} can be met at {parameter.name} {values}: by {of}"
    hits = met.sum(axis=0)
    most = int(hits.max())
    at = cells.labels[int(cells.index[int(hits.argmax())])]
    never = [name for name, row in zip(targets, met, strict=True) if not row.any()]
    why = f"; none meets {' or '.join(never)}" if never else ""
    return f"No {parameter.name} meets {what}: at best {most} of {len(targets)}, at {at}{why}"


def _array(series: pd.Series[Any]) -> FloatArray:
    return series.to_numpy(dtype=np.float64)
