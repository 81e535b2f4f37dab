"""Figures of a hedging study: what the hedge misses, what it costs, and what the profit is made of.

Each function takes plain tables and gives a `Figure`; rows whose numbers cannot be shown are left out and counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tracking.axes import around, finite, value_axis
from tracking.cells import MOST_VALUES
from tracking.palette import BEST, FAINT, INK, LOSS, OTHERS
from tracking.panels import Axis, Band, Bars, Chart, Figure, FloatArray, Labels, Level, Line, Mark, Quantity

MOST_BINS = 16  # of a rebalance time that was searched continuously
PANELS_ACROSS = 4


def hedging_error(measured: pd.DataFrame, theory: pd.DataFrame, parameter: Quantity, error: Quantity) -> Figure:
    """Hedging error against the rebalance time, beside the theory's line, on logarithmic axes.

    `measured` has the parameter's column and the error's, one row per configuration; `theory` the same two columns,
    sqrt(pi/4) vega sigma / sqrt(n) for n rebalances (Derman, Kamal 1999). Between its rows the theory is a power law.
    """
    name = "hedging-error"
    rows, note = finite(measured, [parameter, error])
    at, value = _array(rows[parameter.name]), _array(rows[error.name])
    shown = (at > 0.0) & (value > 0.0)
    if not shown.all():
        note += f" No place on these axes: {int((~shown).sum()):,} without any error or with {parameter.name} 0."
    at, value = at[shown], value[shown]
    if not len(at):
        return Figure(name, f"{error.name}: no configuration has one above 0", (), note)

    groups = pd.DataFrame(
        {"at": at, "error": value, "ratio": value / _theory_at(theory, parameter, error, at)}
    ).groupby(_steps(at))
    middle, several = groups.median(), bool(groups.size().max() > 1)
    places, median = _array(middle["at"]), _array(middle["error"])
    marks: list[Mark] = []
    if several:
        low, high = (_array(groups["error"].quantile(share)) for share in (0.1, 0.9))
        marks.append(Band("10 to 90% of configurations", places, low, high, BEST))
    line = _positive(theory, parameter, error)
    marks += [
        Line("theory", _array(line[parameter.name]), _array(line[error.name]), INK, width=1.4, dashed=True),
        Line("median of configurations" if several else "measured", places, median, BEST, width=2.2, dots=True),
    ]
    if several:
        marks.append(Line("least", places, _array(groups["error"].min()), OTHERS[1], width=1.3, dots=True))
        note += " Configurations of one rebalance time differ in the other searched parameters."
    heights = np.concatenate([value, _array(line[error.name])])
    widths = np.concatenate([at, _array(line[parameter.name])])
    panel = Chart(
        Axis(parameter.label, log=True, limits=around(widths.min(), widths.max(), log=True)),
        value_axis(error, log=True, limits=around(heights.min(), heights.max(), log=True)),
        tuple(marks),
    )
    note += " Theory: sqrt(pi/4) vega sigma / sqrt(n) for n rebalances."
    return Figure(name, _error_title(middle, groups["ratio"].min(), parameter, error, several=several), (panel,), note)


def attribution(parts: pd.DataFrame) -> Figure:
    """What the profit of each configuration is made of, part by part down to the net.

    `parts` has a row per configuration, its label as index (the chosen one first), and a column per component: fractions
    of the capital a year that add up to the net (so means over paths, not medians).
    """
    name = "attribution"
    known = np.isfinite(parts.to_numpy(dtype=np.float64)).all(axis=1)
    rows = parts[known]
    left_out = ", ".join(str(label) for label in parts.index[~known])
    note = "From top to bottom each bar starts where the one before it ended: blue adds, orange takes away."
    note += " Fractions of the capital a year." + (f" Left out, not finite: {left_out}." if left_out else "")
    if rows.empty or not len(rows.columns):
        return Figure(name, "P&L attribution: no configuration has finite parts", (), note if left_out else "")
    panels = _waterfalls(rows)
    share = Quantity("", "fraction")
    first = rows.iloc[0].astype(np.float64)
    order = first.abs().sort_values(ascending=False, kind="stable").index[:3]
    largest = ", ".join(f"{part} {share.text(float(first[part]))}" for part in order)
    title = f"{rows.index[0]} nets {share.text(float(first.sum()))} a year (largest parts: {largest})"
    if len(rows) > 1:
        nets = rows.iloc[1:].sum(axis=1)
        title += "; " + ", ".join(f"{label} nets {share.text(float(net))}" for label, net in nets.items())
    return Figure(name, title, panels, note, columns=min(PANELS_ACROSS, len(panels)), share="y")


def _waterfalls(rows: pd.DataFrame) -> tuple[Chart, ...]:
    """One panel per configuration, all of one scale."""
    share = Quantity("", "fraction")
    values = rows.to_numpy(dtype=np.float64)  # (configurations, components)
    ends = np.cumsum(values, axis=1)
    starts = ends - values
    low, high = min(0.0, float(ends.min())), max(0.0, float(ends.max()))
    width = high - low or 0.01
    crowd = min(PANELS_ACROSS, len(rows))
    limits = (low - 0.05 * width, high + (0.08 + 0.08 * crowd) * width)  # the words stand to the right of their bars
    names = (*(str(column) for column in rows.columns), "net")
    places = np.arange(len(names) - 1, -1, -1, dtype=np.float64)  # the first component stands on top
    down = Axis("", "category", names[::-1])
    panels = []
    for label, value, start, end in zip(rows.index, values, starts, ends, strict=True):
        marks: list[Mark] = [Level("x", 0.0, "", FAINT)]
        for kind, own, colour in (("adds", value >= 0.0, BEST), ("takes away", value < 0.0, LOSS)):
            lower, upper = np.minimum(start, end)[own], np.maximum(start, end)[own]
            marks.append(Bars(kind, places[:-1][own], lower, upper, colour, listed=False))
        net = end[-1:]
        marks.append(Bars("net", places[-1:], np.minimum(net, 0.0), np.maximum(net, 0.0), INK, listed=False))
        right = np.append(np.maximum(start, end), max(float(net[0]), 0.0))
        words = tuple(share.text(float(number)) for number in (*value, net[0]))
        marks.append(Labels(right, places, words, INK))
        panels.append(Chart(Axis("", "percent", limits=limits), down, tuple(marks), title=str(label)))
    return tuple(panels)


def _error_title(
    middle: pd.DataFrame, least: pd.Series[Any], parameter: Quantity, error: Quantity, *, several: bool
) -> str:
    compared = middle["ratio"].notna()
    if not compared.any():
        first, last = middle.iloc[0], middle.iloc[-1]
        ends = (f"{error.text(row['error'])} at {parameter.name} {row['at']:.3g}" for row in (first, last))
        return f"{error.name}: " + " and ".join(dict.fromkeys(ends))
    at, ratio = middle["at"][compared], middle["ratio"][compared]
    over = f"at {parameter.name} " + " to ".join(dict.fromkeys((f"{at.min():.3g}", f"{at.max():.3g}")))
    if several:
        lowest = least[compared]
        return f"{error.name}: the median is {_times(ratio)} the theory's {over}, the least error {_times(lowest)}"
    return f"{error.name} is {_times(ratio)} the theory's {over}"


def _times(ratio: pd.Series[Any]) -> str:
    return " to ".join(dict.fromkeys((f"{ratio.min():.2f}", f"{ratio.max():.2f}"))) + " times"


def _positive(theory: pd.DataFrame, parameter: Quantity, error: Quantity) -> pd.DataFrame:
    """The theory's rows that logarithmic axes can show, in order."""
    rows, _ = finite(theory, [parameter, error])
    return rows[(rows[parameter.name] > 0) & (rows[error.name] > 0)].sort_values(parameter.name)


def _theory_at(theory: pd.DataFrame, parameter: Quantity, error: Quantity, at: FloatArray) -> FloatArray:
    """The theory's error at (N,) rebalance times, NaN outside its range."""
    rows = _positive(theory, parameter, error)
    if rows.empty:
        return np.full(len(at), np.nan)
    x, y = np.log(_array(rows[parameter.name])), np.log(_array(rows[error.name]))
    place = np.log(at)
    near = np.clip(place, x[0], x[-1])
    # Times that went through other units differ in their last digits.
    inside = np.abs(place - near) <= 1e-9
    return np.where(inside, np.exp(np.interp(near, x, y)), np.nan)


def _steps(at: FloatArray) -> NDArray[np.int64]:
    """The group of every rebalance time (N,): its own value where they are few, else equal steps of its logarithm."""
    values, index = np.unique(at, return_inverse=True)
    if len(values) <= MOST_VALUES:
        return index.astype(np.int64)
    edges = np.geomspace(values[0], values[-1], MOST_BINS + 1)[1:-1]
    return np.searchsorted(edges, at).astype(np.int64)


def _array(column: pd.Series[Any]) -> FloatArray:
    return column.to_numpy(dtype=np.float64)
