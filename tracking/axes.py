"""What a figure takes from a table: the rows that can be shown, and an axis that fits a column and its numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tracking.cells import Cells
from tracking.panels import Axis, FloatArray, Quantity

MOST_POINTS = 3000  # more cannot be told apart, and a page of them is slow
CELLS = (110, 60)  # across and up, in which one point of many is drawn
STRETCHES = 400  # of a long curve: one in three pixels of a wide page
ALIKE = 1e-9  # numbers that differ by less than this share of them are one number, rounded differently
DIGITS = (  # of the numbers on a logarithmic axis, from many to few
    (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0),
    (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
    (1.0, 2.0, 5.0),
    (1.0, 3.0),
    (1.0,),
)


def file_name(kind: str, *shown: Quantity) -> str:
    """A figure's name, which is a file's too.

    >>> file_name("profile", Quantity("a/b"))
    'profile_a-b'
    """
    return re.sub(r"[^\w.-]+", "-", "_".join([kind, *(quantity.name for quantity in shown)]))


def finite(
    table: pd.DataFrame, quantities: Sequence[Quantity], what: str = "configurations"
) -> tuple[pd.DataFrame, str]:
    """The rows in which every quantity is finite, numbered anew, and a note of how many they are."""
    names = [quantity.name for quantity in quantities]
    known = np.isfinite(table[names].to_numpy(dtype=np.float64)).all(axis=1)
    left_out = int((~known).sum())
    shown = len(table) - left_out
    note = f"{shown:,} {what.removesuffix('s') if shown == 1 else what}."
    if left_out:
        note += f" Left out: {left_out:,} without a finite {' or '.join(names)}."
    return table[known].reset_index(drop=True), note


def thinned(across: FloatArray, up: FloatArray) -> NDArray[np.int64]:
    """Positions of the points to draw, in shares of both axes: all of few, else the first in each small cell."""
    seen = np.flatnonzero((across <= 1.0) & (up <= 1.0))
    if len(seen) <= MOST_POINTS:
        return seen
    cell = (across[seen] * CELLS[0]).astype(np.int64) * CELLS[1] + (up[seen] * CELLS[1]).astype(np.int64)
    _, first = np.unique(cell, return_index=True)
    return seen[np.sort(first)]


def outline(curves: FloatArray) -> NDArray[np.int64]:
    """Positions at which to draw (T, K) curves: all of short ones, else the first, the lowest and the highest of each
    curve in every one of `STRETCHES` equal stretches, and the last. No peak and no trough is lost.

    >>> outline(np.zeros((5, 1)))
    array([0, 1, 2, 3, 4])
    """
    bars, count = curves.shape
    if bars <= STRETCHES * (2 * count + 1):
        return np.arange(bars)
    kept = [0, bars - 1]
    for stretch in np.array_split(np.arange(bars), STRETCHES):
        own = np.nan_to_num(curves[stretch])
        kept += [int(stretch[0]), *stretch[own.argmin(axis=0)].tolist(), *stretch[own.argmax(axis=0)].tolist()]
    return np.unique(kept)


def value_axis(
    quantity: Quantity, *, log: bool = False, limits: tuple[float, float] | None = None, label: str | None = None
) -> Axis:
    """The axis of a quantity's values, in per cent where it is a fraction."""
    label = quantity.label if label is None else label
    return Axis(label, "percent" if quantity.percent else "number", log=log, limits=limits)


def parameter_axis(parameter: Quantity, cells: Cells) -> Axis:
    """The axis of a searched parameter: its numbers, or its cells where some are words or switched off."""
    return Axis(parameter.label) if cells.numeric else Axis(parameter.label, "category", cells.labels)


def growth_axis(multiples: FloatArray) -> Axis:
    """The axis of growth of 1: logarithmic, unless wealth was lost to the last cent."""
    low, high = float(np.nanmin(multiples)), float(np.nanmax(multiples))
    if low > 0.0:
        return Axis("growth of 1 (log scale)", "growth", log=True, limits=around(low, high, log=True))
    return Axis("growth of 1", "growth", limits=around(low, high))


def labelled(count: int, room: float, each: float) -> range:
    """Which of `count` categories are labelled where each label takes `each` of `room`: all, else every second, third, ...

    >>> list(labelled(4, 100.0, 14.0)), list(labelled(9, 50.0, 14.0))
    ([0, 1, 2, 3], [0, 3, 6])
    """
    return range(0, count, max(1, math.ceil(count * each / max(room, each))))


def around(low: float, high: float, *, log: bool = False, room: float = 0.05) -> tuple[float, float]:
    """Ends of an axis that leave `room`, a share of the range, on both sides of its numbers.

    >>> around(0.0, 10.0), around(1.0, 1.0)
    ((-0.5, 10.5), (0.9, 1.1))
    """
    alike = math.isclose(low, high, rel_tol=ALIKE)
    if log:
        span = 2.0 if alike else math.log(high / low)
        return low * math.exp(-room * span), high * math.exp(room * span)
    air = 0.1 * (abs(low) or 1.0) if alike else room * (high - low)
    return low - air, high + air


def log_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Round numbers for a logarithmic axis between positive `low` and `high`: as many as `most` allows.

    >>> log_ticks(0.09, 22.0), log_ticks(0.95, 1.32)
    ([0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0], [0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3])
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for number, digits in enumerate(DIGITS):
        every = [float(f"{digit}e{decade}") for decade in decades for digit in digits]
        ticks = [tick for tick in every if low <= tick <= high]
        if number == 0 and len(ticks) < 4:
            return _even_ticks(low, high, most)
        if len(ticks) <= most:
            return ticks
    return ticks[:: -(-len(ticks) // most)]


def _even_ticks(low: float, high: float, most: int) -> list[float]:
    """Equal steps of 1, 2 or 5: what a range much shorter than a decade needs."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1.0, 2.0, 5.0, 10.0) if power * digit >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]
