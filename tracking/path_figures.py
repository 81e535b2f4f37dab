"""Figures over many paths of a market: how far results scatter, and how wealth went on all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tracking.axes import ALIKE, around, growth_axis, value_axis
from tracking.palette import BEST, INK, LOSS, OTHERS, PALE
from tracking.panels import Array, Axis, Band, Chart, Figure, FloatArray, Labels, Line, Mark, Points, Quantity

BINS = (9, 49)  # fewest and most of a histogram
TAIL = 0.05  # the share of paths whose mean is the bad case
SEEN = 0.002  # the share of paths that may lie beyond each end of the axis
PEAK = 0.72  # height of a histogram in its row
ACROSS = 3  # panels beside each other
THIN = 6  # so many members are named in colours of their own


def distribution(paths: pd.DataFrame, measures: Sequence[Quantity], labels: Sequence[str]) -> Figure:
    """How measures scatter over paths: a histogram per label, with its median and the mean of its worst 5 % of paths.

    `paths` is long: a column `label` and one per measure, one row per path and label. `labels` are shown from top to
    bottom, the chosen configuration first; a panel per measure.
    """
    rows = paths[paths["label"].isin(list(labels))]
    values = {
        measure.name: {
            label: rows.loc[rows["label"] == label, measure.name].to_numpy(dtype=np.float64) for label in labels
        }
        for measure in measures
    }
    counts = {label: int((rows["label"] == label).sum()) for label in labels}
    unlike = len(set(counts.values())) > 1
    note = ", ".join(f"{count:,} paths of {label}" for label, count in counts.items()) if unlike else ""
    most = max(counts.values(), default=0)
    note = note or (f"{most:,} paths." if most != 1 else "1 path.")
    lost = sum(int((~np.isfinite(of)).sum()) for by_label in values.values() for of in by_label.values())
    note += f" Left out, not finite: {lost:,} results." if lost else ""
    panels: list[Chart] = []
    beyond = 0
    for measure in measures:
        finite = {label: of[np.isfinite(of)] for label, of in values[measure.name].items()}
        if any(len(of) for of in finite.values()):
            panel, outside = _histograms(finite, measure, len(measures), named=not panels)
            panels.append(panel)
            beyond += outside
    if not panels:
        return Figure("paths", "Paths: none has a finite result", (), note)
    note += " Each histogram has a height of its own."
    note += f" {beyond:,} results beyond the axes are in the medians and means, not in the picture." if beyond else ""
    title = _scatter_title(values, measures, labels)
    return Figure("paths", title, tuple(panels), note, columns=min(ACROSS, len(panels)), share="y")


def worst_mean(values: FloatArray, measure: Quantity) -> float:
    """The mean of the worst 5 % of (N,) values, of one at least; NaN where the measure has no bad side.

    >>> worst_mean(np.arange(100.0), Quantity("total_return", good=+1))
    2.0
    """
    if not measure.good or not len(values):
        return math.nan
    worst = np.sort(values * measure.good)[: max(round(TAIL * len(values)), 1)]
    return float(worst.mean()) * measure.good


def fan(timestamps: Array, equity: FloatArray, members: pd.DataFrame, name: str = "portfolio") -> Figure:
    """Equity over time across paths: the median, the middle half and nine tenths of them, and its members' medians.

    `timestamps` (T,), `equity` (T, S) growth of 1 on S paths, `members` (T rows) a column per ticker. With one path
    there is its line alone.
    """
    whole = np.isfinite(equity).all(axis=0)
    inside = equity[:, whole]
    paths = inside.shape[1]
    note = f"{paths:,} {'path' if paths == 1 else 'paths'}."
    if paths < equity.shape[1]:
        note += f" Left out: {equity.shape[1] - paths:,} with a gap."
    if not inside.size:
        return Figure("fan", f"{name}: no path is whole", (), note)
    known = np.isfinite(members.to_numpy(dtype=np.float64)).all(axis=0)
    if not known.all():
        note += f" Members left out: {', '.join(str(name) for name in members.columns[~known])}."
    members = members.loc[:, known]
    shares = np.quantile(inside, [0.05, 0.25, 0.5, 0.75, 0.95], axis=1)  # (5, T)
    marks: list[Mark] = []
    if paths > 1:
        marks += [
            Band("5 to 95% of paths", timestamps, shares[0], shares[4], BEST),
            Band("25 to 75%, darker", timestamps, shares[1], shares[3], BEST),
        ]
        note += " A band holds its share of the paths at each time; no single path runs along its edge."
    for number, ticker in enumerate(members.columns):
        curve = members[ticker].to_numpy(dtype=np.float64)
        own = len(members.columns) <= THIN
        colour = OTHERS[number % len(OTHERS)] if own else PALE
        words = f"{ticker} {curve[-1]:.2f}x" if own else f"{len(members.columns)} members"
        marks.append(Line(words, timestamps, curve, colour, 1.0, listed=own or not number))
    end = shares[:, -1]
    marks.append(Line(f"{name} {end[2]:.2f}x", timestamps, shares[2], BEST, 2.4))
    if paths > 1:
        title = f"{name} ends at {end[2]:.2f}x in the median, {end[0]:.2f}x to {end[4]:.2f}x on 90% of {paths:,} paths"
    else:
        fall = float((1.0 - shares[2] / np.maximum.accumulate(shares[2])).max())
        title = f"{name} grew {end[2]:.2f}x, worst drawdown {100 * fall:.1f}%"
    drawn = [shares.ravel(), members.to_numpy(dtype=np.float64).ravel()]
    time = Axis("", "date") if np.issubdtype(np.asarray(timestamps).dtype, np.datetime64) else Axis("time")
    return Figure("fan", title, (Chart(time, growth_axis(np.concatenate(drawn)), tuple(marks)),), note)


def _histograms(values: dict[str, FloatArray], measure: Quantity, panels: int, *, named: bool) -> tuple[Chart, int]:
    """A row per label over one axis, the first on top, and how many values lie beyond the axis."""
    every = np.concatenate(list(values.values()))
    tails = [worst_mean(of, measure) for of in values.values()]
    middles = [float(np.median(of)) for of in values.values() if len(of)]
    kept = np.array([*middles, *(tail for tail in tails if math.isfinite(tail))])
    low = min(float(np.quantile(every, SEEN)), float(kept.min()))
    high = max(float(np.quantile(every, 1.0 - SEEN)), float(kept.max()))
    # Values that are all alike up to rounding get an axis of their own width.
    ends = around(low, high) if math.isclose(low, high, rel_tol=ALIKE) else (low, high)
    edges = np.linspace(*ends, _bins(every, ends[1] - ends[0]) + 1)
    marks: list[Mark] = []
    places = np.arange(len(values) - 1, -1, -1, dtype=np.float64)
    medians: list[float] = []
    for number, (place, of) in enumerate(zip(places, values.values(), strict=True)):
        colour = OTHERS[(number - 1) % len(OTHERS)] if number else BEST
        counts, _ = np.histogram(of, edges)
        tops = place + PEAK * counts / max(int(counts.max()), 1)
        # Both ends of every bin: the outline of a histogram.
        x, y = np.repeat(edges, 2)[1:-1], np.repeat(tops, 2)
        marks.append(Band("", x, np.full(len(x), place), y, colour, listed=False))
        marks.append(Line("", x, y, colour, 1.2, listed=False))
        medians.append(float(np.median(of)) if len(of) else math.nan)
    middle, bad, right = np.array(medians), np.array(tails), np.full(len(places), edges[-1])
    marks.append(Points("median", middle, places, INK, 10, "diamond", listed=named))
    marks.append(Labels(right, places + 0.4, tuple(measure.text(value) for value in medians), INK))
    if measure.good:
        marks.append(Points("mean of the worst 5%", bad, places, LOSS, 10, "square", listed=named))
        marks.append(Labels(right, places + 0.16, tuple(measure.text(value) for value in tails), LOSS))
    left, end = around(float(edges[0]), float(edges[-1]), room=0.03)
    room = 0.08 + 0.06 * min(panels, ACROSS)  # for the numbers at the right
    axis = value_axis(measure, limits=(left, end + room * (end - left)))
    outside = int(((every < edges[0]) | (every > edges[-1])).sum())
    rows = Axis("", "category", tuple(values)[::-1], limits=(-0.25, len(values) - 0.2))
    return Chart(axis, rows, tuple(marks)), outside


def _bins(values: FloatArray, width: float) -> int:
    """How many bins a histogram takes (Freedman and Diaconis 1981), within what can be seen."""
    upper, lower = np.quantile(values, [0.75, 0.25])
    if upper == lower:
        return BINS[1]
    return int(np.clip(round(width / (2.0 * (upper - lower) * len(values) ** (-1 / 3))), *BINS))


def _scatter_title(values: dict[str, dict[str, Any]], measures: Sequence[Quantity], labels: Sequence[str]) -> str:
    measure = next(m for m in measures if any(np.isfinite(of).any() for of in values[m.name].values()))
    parts = []
    for label in labels[:2]:
        of = values[measure.name][label]
        of = of[np.isfinite(of)]
        if len(of):
            bad = f", {measure.text(worst_mean(of, measure))} in the worst 5%" if measure.good else ""
            parts.append(f"{label} {measure.text(float(np.median(of)))} in the median{bad}")
    return f"{measure.name} over paths: " + "; ".join(parts)
