"""Timestamps that a caller gives, as whole microseconds of UTC."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kernels.errors import InputError
from kernels.market_calendar import when

IntArray = NDArray[np.int64]
HOUR = 3_600_000_000  # microseconds
DAY = 24 * HOUR


def microseconds(where: str, timestamps: Any) -> IntArray:
    """One timestamp or many, (T,): datetime64, datetime, pandas or ISO text; UTC where no time zone is given.

    InputError for what is no point in time; a bare number is refused, for nothing says its unit.

    >>> microseconds("prices", "1970-01-01T00:00:01")
    array([1000000])
    """
    many = not isinstance(timestamps, str) and np.ndim(timestamps) > 0
    first = next(iter(timestamps), None) if many else timestamps
    if isinstance(first, int | float | np.number):
        raise InputError(
            f"{where}: a timestamp is a date and a time, not the number {first!r}; give datetime64 or ISO text"
        )
    try:
        if many:
            stamps = (
                pd.DatetimeIndex(pd.to_datetime(timestamps, utc=True, format="ISO8601")).tz_localize(None).to_numpy()
            )
        else:
            stamps = np.array([pd.Timestamp(timestamps).to_datetime64()])  # in UTC; a hundred times as fast as an index
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{where}: not a timestamp: {str(error).splitlines()[0].split('. You')[0]}") from None
    if np.isnat(stamps).any():
        raise InputError(f"{where}: a timestamp is missing; give every price and every equity its time")
    found: IntArray = stamps.astype("datetime64[us]").astype(np.int64)
    return found


def said(microsecond: int) -> str:
    """A timestamp as a sentence says it.

    >>> said(DAY + 13 * HOUR)
    '1970-01-02 13:00'
    """
    return when(np.datetime64(int(microsecond), "us"))
