"""The efficient frontier of a hedge: what a smaller error costs, and where the chosen configuration stands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tracking.axes import around, finite, thinned, value_axis
from tracking.palette import BEST, FAINT, INK, OTHERS
from tracking.panels import Axis, Chart, Figure, FloatArray, Line, Mark, Points, Quantity

FAR = 20.0  # a range this many times its low end is shown on a logarithmic axis
BEYOND = 0.99  # the share of configurations that the axes must show


def frontier(
    trials: pd.DataFrame,
    cost: Quantity,
    error: Quantity,
    parameters: Sequence[Quantity] = (),
    named: pd.DataFrame | None = None,
) -> Figure:
    """Cost against hedging error: every configuration, the efficient ones joined, the chosen one and baselines by name.

    `trials` has one row per configuration with both columns, less of each being better, and those of `parameters`, which
    say what an efficient point is. `named` has both columns under labels as index: the chosen configuration, then the
    baselines. The frontier is of all trials, however few of them are drawn.
    """
    rows, note = finite(trials, [cost, error])
    places, missing = _named(named, cost, error)
    note += f" Without a finite {cost.name} or {error.name}: {', '.join(missing)}." if missing else ""
    if rows.empty:
        return Figure("frontier", f"{cost.name} against {error.name}: nothing to show", (), note)
    x, y = rows[error.name].to_numpy(dtype=np.float64), rows[cost.name].to_numpy(dtype=np.float64)
    best = efficient(x, y)
    kept = [np.concatenate([of[best], places[q.name].to_numpy()]) for of, q in ((x, error), (y, cost))]
    across, up = (_axis(q, of, keep) for q, of, keep in zip((error, cost), (x, y), kept, strict=True))
    drawn = thinned(_share(x, across), _share(y, up))
    if len(drawn) < len(rows):
        note += f" {len(drawn):,} are drawn: one of those that would cover each other, and none beyond the axes."
    note += f" Efficient, with no other that has both less {error.name} and less {cost.name}: {len(best):,}."
    chosen = places[places.index.isin(named.index[:1])] if named is not None else places
    note += _beaten(x[best], y[best], cost, error, chosen)
    told = _words(rows.iloc[best], (error, cost, *parameters))
    marks: list[Mark] = [
        Points("configurations", x[drawn], y[drawn], FAINT, size=4, opacity=0.45),
        Line("efficient", x[best], y[best], INK, width=1.6, stepped=True),
        Points("efficient", x[best], y[best], INK, 6, words=told, listed=False),
    ]
    for number, (label, place) in enumerate(places.iterrows(), start=1 - len(chosen)):
        at = place[[error.name]].to_numpy(), place[[cost.name]].to_numpy()
        words = f"{label}: {error.name} {error.text(place[error.name])}, {cost.name} {cost.text(place[cost.name])}"
        if number:
            marks.append(Points(words, *at, OTHERS[(number - 1) % len(OTHERS)], 11, "diamond", words=(words,)))
        else:
            marks.append(Points(words, *at, BEST, 16, "star", words=(words,)))
    title = _title(x[best], y[best], cost, error, chosen)
    return Figure("frontier", title, (Chart(across, up, tuple(marks)),), note)


def efficient(error: FloatArray, cost: FloatArray) -> NDArray[np.int64]:
    """Positions, by growing error, of the configurations that no other beats in both; of equal ones the first.

    >>> efficient(np.array([1.0, 2.0, 3.0, 2.0]), np.array([5.0, 3.0, 3.0, 4.0]))
    array([0, 1])
    """
    order = np.lexsort((np.arange(len(error)), cost, error))
    before = np.concatenate([[np.inf], np.minimum.accumulate(cost[order])[:-1]])
    return order[cost[order] < before].astype(np.int64)


def _title(x: FloatArray, y: FloatArray, cost: Quantity, error: Quantity, chosen: pd.DataFrame) -> str:
    """The trade in numbers: half the error of the chosen configuration where it can be had, else the whole frontier.

    `x` and `y` (K,) are error and cost along the frontier, by growing error.
    """
    a_year = " a year" if cost.unit.endswith("/year") else ""
    begin, start, who = len(x) - 1, x[-1], ""
    if len(chosen) and x[0] <= chosen.iloc[0][error.name]:
        start, who = chosen.iloc[0][error.name], f" ({chosen.index[0]})"
        begin = _cheapest(x, start)
    end = _cheapest(x, 0.5 * start) if x[0] <= 0.5 * start else 0
    if len(x) == 1:
        return f"One configuration has the least {error.name}, {error.text(x[0])}, and {cost.name}, {cost.text(y[0])}"
    if begin == end:
        return f"The least {error.name} is {error.text(x[0])}, at a {cost.name} of {cost.text(y[0])}"
    # Where few are efficient the next one may lie much lower than half.
    verb = "Halving" if 0.4 * start <= x[end] <= 0.5 * start else "Lowering"
    trade = f"{verb} the {error.name} from {error.text(start)}{who}"
    more = f"costs {cost.text(y[end] - y[begin])} more{a_year}: {cost.text(y[end])} instead of {cost.text(y[begin])}"
    return f"{trade} to {error.text(x[end])} {more}"


def _beaten(x: FloatArray, y: FloatArray, cost: Quantity, error: Quantity, chosen: pd.DataFrame) -> str:
    """A sentence where the chosen configuration is not efficient: what its error is to be had for."""
    if chosen.empty or x[0] > chosen.iloc[0][error.name]:
        return ""
    least, own = y[_cheapest(x, chosen.iloc[0][error.name])], chosen.iloc[0][cost.name]
    if own <= least or cost.text(own) == cost.text(least):
        return ""
    for_less = f"as little {error.name} is to be had for {cost.text(least)} instead of {cost.text(own)}"
    return f" {chosen.index[0]} is not efficient: {for_less}."


def _cheapest(x: FloatArray, most: float) -> int:
    """Where along the frontier the cost is least at an error of at most `most`."""
    return int(np.searchsorted(x, most, side="right")) - 1


def _named(named: pd.DataFrame | None, cost: Quantity, error: Quantity) -> tuple[pd.DataFrame, list[str]]:
    """The named points that have a place, and the labels of those that have none."""
    columns = [cost.name, error.name]
    if named is None:
        return pd.DataFrame(columns=columns, dtype=np.float64), []
    places = named[columns].astype(np.float64)
    known = np.isfinite(places.to_numpy()).all(axis=1)
    return places[known], [str(label) for label in places.index[~known]]


def _axis(quantity: Quantity, values: FloatArray, kept: FloatArray) -> Axis:
    """An axis over nearly all the values and all that is kept: a few far ones would press the others into a corner."""
    low = min(float(values.min()), float(kept.min()))
    high = max(float(np.quantile(values, BEYOND)), float(kept.max()))
    if float(values.max()) < 1.5 * high:
        high = max(high, float(values.max()))
    log = low > 0.0 and high > FAR * low
    return value_axis(quantity, log=log, limits=around(low, high, log=log))


def _share(values: FloatArray, axis: Axis) -> FloatArray:
    """Where values lie along an axis: 0 at its low end, 1 at its high one."""
    assert axis.limits is not None
    low, high = np.log(axis.limits) if axis.log else axis.limits
    return ((np.log(values) if axis.log else values) - low) / (high - low)


def _words(rows: pd.DataFrame, quantities: Sequence[Quantity]) -> tuple[str, ...]:
    """What each row is: its numbers by name."""
    columns = []
    for quantity in quantities:
        values = rows[quantity.name]
        numeric = pd.api.types.is_numeric_dtype(values.dtype)
        columns.append([f"{quantity.name} {_shown(quantity, value) if numeric else value}" for value in values])
    return tuple(", ".join(words) for words in zip(*columns, strict=True))


def _shown(quantity: Quantity, value: float) -> str:
    return "off" if np.isnan(value) else quantity.text(float(value))
