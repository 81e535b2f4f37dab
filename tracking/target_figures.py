"""A parameter against the targets: which of its values let all of them be met at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tracking.axes import around, file_name, finite, parameter_axis, value_axis
from tracking.cells import Cells, divide
from tracking.palette import BEST, OTHERS, TARGET
from tracking.panels import Band, Chart, Figure, FloatArray, Level, Line, Mark, Quantity, Span


def against_targets(
    trials: pd.DataFrame,
    parameter: Quantity,
    measures: Sequence[Quantity],
    levels: Mapping[str, tuple[float, int]],
) -> Figure:
    """Each measure along one parameter (best, median, 10 to 90 % over all the others) with its target drawn.

    `trials` has one row per configuration. `levels` names a measure's target: its value, and +1 for at least, -1 for at
    most; the side that meets it is shaded. A line of its own follows the configurations that meet every target at once.
    """
    name = file_name("targets", parameter)
    rows, note = finite(trials, measures)
    if rows.empty or not measures:
        return Figure(name, f"{parameter.name}: no configuration has finite measures", (), note)
    cells = divide(rows[parameter.name])
    met = _met(rows, levels)  # (targets, rows)
    together = np.logical_and.reduce(met, axis=0) if levels else np.zeros(len(rows), dtype=np.bool_)
    panels: list[Chart] = []
    for measure in measures:
        panels.append(_panel(rows, cells, parameter, measure, levels.get(measure.name), together, first=not panels))
    if cells.binned:
        note += f" {parameter.name} is binned; its numbers are the middles of the bins."
    note += " The best of each measure may be of another configuration."
    title = _title(rows[parameter.name], cells, met, list(levels))
    return Figure(name, title, tuple(panels), note, share="x")


def _panel(
    rows: pd.DataFrame,
    cells: Cells,
    parameter: Quantity,
    measure: Quantity,
    level: tuple[float, int] | None,
    together: NDArray[np.bool_],
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
    marks += [
        Band("10 to 90% of configurations", at, _array(low), _array(high), BEST, listed=first),
        Line("median", at, _array(middle), BEST, 2.0, dots=True, listed=first),
        Line("best", at, _array(best), OTHERS[0], 1.4, dots=True, listed=first),
    ]
    if together.any():
        of_those = groups.apply(lambda values: values[together[values.index]].median())  # NaN where none meets all
        name = "median of those that meet every target"
        marks.append(Line(name, at, _array(of_those), TARGET, 2.6, dots=True, listed=first))
    return Chart(parameter_axis(parameter, cells), value_axis(measure, limits=limits), tuple(marks))


def _met(rows: pd.DataFrame, levels: Mapping[str, tuple[float, int]]) -> NDArray[np.bool_]:
    """Which targets (K) which rows (N) meet, (K, N)."""
    met = [sense * (_array(rows[name]) - value) >= 0.0 for name, (value, sense) in levels.items()]
    return np.array(met, dtype=np.bool_).reshape(len(levels), len(rows))


def _stretches(column: pd.Series[Any], cells: Cells, together: NDArray[np.bool_]) -> list[str]:
    """The parameter's values that meet every target: neighbours among those that were tried as one stretch."""
    inside = np.unique(cells.index[together])
    breaks = np.flatnonzero(np.diff(np.searchsorted(np.unique(cells.index), inside)) > 1) + 1
    words = []
    for run in np.split(inside, breaks):
        if cells.numeric:  # a bin's own numbers say more than its middle
            own = column[together & np.isin(cells.index, run)].astype(np.float64)
            words.append(" to ".join(dict.fromkeys((f"{own.min():.3g}", f"{own.max():.3g}"))))
        else:
            words.append(", ".join(cells.labels[cell] for cell in run))
    return words


def _side(value: float, sense: int, limits: tuple[float, float]) -> tuple[float, float]:
    return (value, limits[1]) if sense > 0 else (limits[0], value)


def _title(column: pd.Series[Any], cells: Cells, met: NDArray[np.bool_], targets: list[str]) -> str:
    if not targets:
        return f"{column.name} from {cells.labels[0]} to {cells.labels[-1]}: no target is set"
    together = np.logical_and.reduce(met, axis=0)
    what = {1: f"the target of {targets[0]}", 2: "both targets"}.get(len(targets), f"all {len(targets)} targets")
    if together.any():
        values = " and ".join(_stretches(column, cells, together))
        can = f"{what[0].upper()}{what[1:]} can be met at {column.name} {values}"
        return f"{can}: {int(together.sum()):,} of {met.shape[1]:,} configurations do"
    hits = met.sum(axis=0)
    top = int(hits.argmax())
    at = f"{column[top]:.3g}" if cells.numeric else cells.labels[int(cells.index[top])]
    never = [name for name, row in zip(targets, met, strict=True) if not row.any()]
    why = f"; none meets the target of {' or '.join(never)}" if never else ""
    best = f": at best {hits[top]} of {len(targets)}, at {at}" if hits[top] else ""
    return f"No {column.name} meets {what}{best}{why}"


def _array(series: pd.Series[Any]) -> FloatArray:
    return series.to_numpy(dtype=np.float64)
