"""The rhythm of a time axis: its step, its trading week, how many bars make a year, which are missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

DateArray = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class Gap:
    """Bars that are missing between two that are there."""

    after: np.datetime64
    before: np.datetime64
    missing: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """The rhythm of a time axis; made by `calendar_of`."""

    step: np.timedelta64
    round_the_clock: bool
    bars_per_year: float
    gaps: tuple[Gap, ...]


def calendar_of(timestamps: DateArray) -> Calendar:
    """The rhythm of at least two increasing timestamps: median step, trading week, bars per year, gaps.

    A market trades round the clock when a tenth of its bars or more fall on Saturdays (a seventh would be all
    of them); bars of five days or more have no week to close in. There, a step of one and a half times the
    median or more is a gap. Other markets close at night, at weekends and on holidays; the longest closure at
    the New York exchange since 1990 took 7 days (September 2001), so there a step is a gap when it is longer
    than 7 days and than 4 times the median.

    Bars per year: 365 days over the step round the clock; 252 sessions times the median number of bars in a
    session; 52, 12 or 4 for weekly, monthly or quarterly bars. A history of a few days shows no Saturday:
    give bars_per_year there.

    >>> days = np.arange("2020-01-01", "2020-02-01", dtype="datetime64[D]")
    >>> calendar_of(days).bars_per_year, calendar_of(days[np.is_busday(days)]).bars_per_year
    (365.0, 252.0)
    """
    stamps = timestamps.astype("datetime64[us]")
    day = 24 * 3600 * 1_000_000  # microseconds
    steps = np.diff(stamps).astype(np.int64)
    step = float(np.median(steps))
    days = stamps.astype("datetime64[D]")
    saturday = (days.astype(np.int64) + 3) % 7 == 5  # day 0, 1970-01-01, was a Thursday
    per_session = float(np.median(np.unique(days, return_counts=True)[1]))
    sparse, round_the_clock = step >= 5 * day, bool(saturday.mean() >= 0.1)
    if sparse:
        bars_per_year = float(max(1, round(365.25 * day / step)))
    else:
        bars_per_year = 365 * day / step if round_the_clock else 252 * per_session
    regular = sparse or round_the_clock
    found = np.flatnonzero(steps >= 1.5 * step if regular else (steps > 7 * day) & (steps > 4 * step))
    if regular:
        missing = np.rint(steps[found] / step).astype(np.int64) - 1
    else:
        missing = (np.busday_count(days[found] + 1, days[found + 1]) * per_session).astype(np.int64)
    gaps = tuple(Gap(stamps[i], stamps[i + 1], int(n)) for i, n in zip(found, missing, strict=True))
    return Calendar(np.timedelta64(int(step), "us"), round_the_clock, bars_per_year, gaps)


def when(stamp: np.datetime64) -> str:
    """A timestamp as short as it can be said: 2020-01-01, 2020-01-01 13:00, 2020-01-01 13:00:05.

    >>> when(np.datetime64("2020-01-01T13:00:00", "us"))
    '2020-01-01 13:00'
    """
    moment = pd.Timestamp(stamp)
    if moment == moment.normalize():
        return moment.strftime("%Y-%m-%d")
    return moment.strftime("%Y-%m-%d %H:%M" if moment == moment.floor("min") else "%Y-%m-%d %H:%M:%S")
