"""The figures of a study, built from its result tables: what was searched, what it moved, what it earned.

Each function takes plain tables and gives a `Figure`, which is data; `pictures` draws it as PNG, report.py puts it on a
page. Rows whose
metric is not finite are left out and counted in the note.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tracking.axes import MOST_POINTS, file_name, finite, growth_axis, outline, parameter_axis, thinned, value_axis
from tracking.cells import Cells, divide
from tracking.drawing_png import png
from tracking.palette import BEST, OTHERS, shade
from tracking.panels import (
    Array,
    Axis,
    Band,
    Chart,
    Figure,
    FloatArray,
    Heatmap,
    Line,
    Mark,
    Points,
    Quantity,
)


def pictures(figures: Sequence[Figure], folder: Path) -> list[Path]:
    """`<name>.png` each, in `folder`, which is created where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [folder / f"{figure.name}.png" for figure in figures]
    for figure, picture in zip(figures, drawn, strict=True):
        png(figure, picture)
    return drawn


def heatmap(trials: pd.DataFrame, x: Quantity, y: Quantity, metric: Quantity) -> Figure:
    """A metric over two searched parameters; `trials` has one row per configuration.

    Where a cell holds several configurations (more parameters were searched, or a continuous one is binned), two
    panels stand side by side: the best of each cell, and its median, which is what a neighbour can expect.
    """
    rows, note = finite(trials, [metric])
    name = file_name("heatmap", metric, x, y)
    if rows.empty:
        return Figure(name, f"{metric.name}: no configuration has a finite value", (), note)
    across, up = divide(rows[x.name]), divide(rows[y.name])
    shape = (len(up.labels), len(across.labels))
    cell = up.index * shape[1] + across.index
    groups = rows[metric.name].astype(np.float64).groupby(cell)
    best = groups.min() if metric.good < 0 else groups.max()
    kinds = {"best": best} if groups.size().max() == 1 else {"best": best, "median": groups.median()}
    low = float(min(series.min() for series in kinds.values()))
    high = float(max(series.max() for series in kinds.values()))
    top = _top(rows, metric)
    panels: list[Heatmap] = []
    for kind, series in kinds.items():
        values = np.full(shape, np.nan)
        values.flat[series.index.to_numpy()] = series.to_numpy()
        title = f"{kind} of each cell" if len(kinds) > 1 else ""
        marked = cell[top] if kind == "best" else int(series.index[_top(series.to_frame(metric.name), metric)])
        mark = (int(marked // shape[1]), int(marked % shape[1])) if metric.good else None
        panels.append(Heatmap(_cell_axis(x, across), _cell_axis(y, up), values, metric, low, high, mark, title))
    if across.binned or up.binned:
        note += " Continuous parameters are binned; labels are the middles of the bins."
    if len(best) < shape[0] * shape[1]:
        note += " Blank cells were not tried."
    ties = int((best == rows[metric.name][top]).sum())
    if metric.good and ties > 1:
        note += f" {ties} cells share the best value."
    return Figure(name, _heatmap_title(rows, x, y, metric), tuple(panels), note, columns=len(panels))


def profile(trials: pd.DataFrame, parameters: Sequence[Quantity], metric: Quantity) -> Figure:
    """A metric along each searched parameter: best, median and 10 to 90 % band over all the others."""
    rows, note = finite(trials, [metric])
    name = file_name("profile", metric)
    if rows.empty or not parameters:
        return Figure(name, f"{metric.name}: no configuration has a finite value", (), note)
    panels: list[Chart] = []
    moves = {}
    for parameter in parameters:
        cells = divide(rows[parameter.name])
        groups = rows[metric.name].astype(np.float64).groupby(cells.index)
        middle = groups.median()
        best = groups.min() if metric.good < 0 else groups.max()
        at = cells.positions[middle.index.to_numpy()]
        first = not panels
        marks: tuple[Mark, ...] = (
            Band(
                "10 to 90% of configurations",
                at,
                _array(groups.quantile(0.1)),
                _array(groups.quantile(0.9)),
                BEST,
                listed=first,
            ),
            Line("median", at, _array(middle), BEST, dots=True, listed=first),
            Line("best", at, _array(best), OTHERS[0], width=1.4, dots=True, listed=first),
        )
        panels.append(Chart(parameter_axis(parameter, cells), value_axis(metric), marks))
        moves[parameter.name] = (float(middle.min()), float(middle.max()))
    most = max(moves, key=lambda name: moves[name][1] - moves[name][0])
    weakest, strongest = (metric.text(value) for value in moves[most])
    title = f"{metric.name} moves most with {most}: its median goes from {weakest} to {strongest}"
    return Figure(name, title, tuple(panels), note, columns=2 if len(panels) == 4 else min(3, len(panels)), share="y")


def equity(timestamps: Array, curves: pd.DataFrame, best: str) -> Figure:
    """Growth and drawdown over time of the best configuration and the baselines.

    `timestamps` (T,) dates; `curves` (T rows) one column of equity per configuration, `best` the one that is
    highlighted. Equity is growth of 1.
    """
    if curves.empty:
        return Figure("equity", "Equity: no curve to show", ())
    order = [best, *(name for name in curves.columns if name != best)]
    shown = outline(curves.to_numpy(dtype=np.float64))
    days = timestamps[shown]
    growth: list[Mark] = []
    falls: list[Mark] = []
    heads = {}
    for number, name in enumerate(order):
        multiple = curves[name].to_numpy(dtype=np.float64)
        fall = multiple / np.maximum.accumulate(multiple) - 1.0
        heads[name] = f"{multiple[-1]:.3g}x, worst drawdown {100 * fall.min():.1f}%"
        multiple, fall = multiple[shown], fall[shown]
        colour, width = (BEST, 2.2) if name == best else (OTHERS[(number - 1) % len(OTHERS)], 1.3)
        label = f"{name}: {heads[name]}"
        if name == best:
            falls.append(Band(label, days, fall, np.zeros_like(fall), colour, listed=False))
        growth.append(Line(label, days, multiple, colour, width))
        falls.append(Line(label, days, fall, colour, 0.6 * width, listed=False))
    time = Axis("", "date")
    panels = (
        Chart(time, growth_axis(curves.to_numpy(dtype=np.float64)), tuple(growth), height=2.0),
        Chart(time, Axis("drawdown", "percent"), tuple(falls), height=1.0),
    )
    return Figure("equity", f"{best} grew {heads[best]}", panels, share="x")


def progress(trials: pd.DataFrame, targets: int) -> Figure:
    """Score against trial with the running best; `trials` has `number`, `score` and `targets_met` of `targets`.

    Of many trials that lie on each other one is drawn; the running best is of all, drawn where it rises.
    """
    score = Quantity("score", good=+1)
    rows, note = finite(trials.sort_values("number"), [score], "trials")
    if rows.empty:
        return Figure("progress", "score: no trial has a finite value", (), note)
    number, value = rows["number"].to_numpy(), rows["score"].to_numpy(dtype=np.float64)
    met = rows["targets_met"].to_numpy(dtype=np.int64)
    marks: list[Mark] = []
    for k in np.unique(met):
        own = np.flatnonzero(met == k)
        shown = own[thinned((number[own] - number[0]) / max(number[-1] - number[0], 1), value[own])]
        colour = shade(0.2 + 0.7 * k / max(targets, 1))
        marks.append(Points(f"{k} of {targets} targets met", number[shown], value[shown], colour))
    best = np.maximum.accumulate(value)
    rises = np.arange(len(best))
    if len(best) > MOST_POINTS:
        rises = np.union1d(np.flatnonzero(np.diff(best, prepend=-np.inf)), rises[-1:])
    marks.append(Line("best so far", number[rises], best[rises], OTHERS[0], stepped=True))
    top = int(np.argmax(value))
    title = (
        f"Best score {score.text(value[top])} at trial {number[top]} of {trials['number'].max() + 1}: "
        f"{met[top]} of {targets} targets met"
    )
    return Figure("progress", title, (Chart(Axis("trial"), Axis("score"), tuple(marks)),), note)


def _array(series: pd.Series[Any]) -> FloatArray:
    return series.to_numpy(dtype=np.float64)


def _top(rows: pd.DataFrame, metric: Quantity) -> int:
    """The position of the best row; the first of several."""
    values = rows[metric.name].to_numpy(dtype=np.float64)
    return int(values.argmin() if metric.good < 0 else values.argmax())


def _heatmap_title(rows: pd.DataFrame, x: Quantity, y: Quantity, metric: Quantity) -> str:
    values = rows[metric.name].to_numpy(dtype=np.float64)
    if metric.good == 0:
        return f"{metric.name} from {metric.text(values.min())} to {metric.text(values.max())}"
    top = _top(rows, metric)
    where = ", ".join(f"{q.name} {_shown(rows[q.name].iloc[top])}" for q in (x, y))
    return f"{metric.name}: best {metric.text(float(values[top]))} at {where}"


def _shown(value: Any) -> str:
    if pd.isna(value):
        return "off"
    return value if isinstance(value, str) else f"{float(value):.3g}"


def _cell_axis(parameter: Quantity, cells: Cells) -> Axis:
    return Axis(parameter.label, "category", cells.labels)
