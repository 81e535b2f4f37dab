"""Columns of a long table as dates and numbers: what is neither is refused with its row."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np
import pandas as pd

from kernels.errors import InputError
from kernels.market import FloatArray
from kernels.market_calendar import DateArray
from kernels.market_rules import and_more, some


def rows_of(frame: pd.DataFrame, column: str, ticker: str, name: str) -> pd.DataFrame:
    """The rows whose `column` is `ticker`, with the number of each in the file (from 1) as index; InputError without any."""
    if frame.empty:
        raise InputError(f"{name}: the table has columns and no rows; at least two days are needed")
    names = frame[column].astype(str)
    found = frame.set_axis(pd.RangeIndex(1, len(frame) + 1))[(names == ticker).to_numpy()]
    if found.empty:
        known = sorted(set(names))
        near = difflib.get_close_matches(ticker, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"{name}: no rows of {ticker}; {hint}it has {some(known)}")
    return found


def numbers(column: pd.Series[Any], name: str) -> tuple[FloatArray, list[str]]:
    """A column of `rows_of` as float64, NaN where empty, and the sentence that names its first value that is no number."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return values, _first(
        column, column.notna().to_numpy() & ~np.isfinite(values), name, "a finite number is needed there"
    )


def dates(column: pd.Series[Any], name: str) -> tuple[DateArray, list[str]]:
    """A column of `rows_of` as days (UTC), and the sentence that names its first value that is none."""
    if pd.api.types.is_numeric_dtype(column.dtype):  # 20240131 would be read as nanoseconds
        stamps = pd.Series(pd.NaT, index=column.index).dt.tz_localize("UTC")
    elif pd.api.types.is_datetime64_any_dtype(column.dtype):
        stamps = pd.to_datetime(column, utc=True)
    else:
        stamps = pd.to_datetime(column.astype(str), utc=True, format="ISO8601", errors="coerce")
    days = stamps.dt.tz_localize(None).dt.normalize()
    bad = days.isna().to_numpy()
    return days.to_numpy().astype("datetime64[us]"), _first(
        column, bad, name, "a date such as 2020-01-31 is needed there"
    )


def _first(column: pd.Series[Any], bad: Any, name: str, rule: str) -> list[str]:
    if not bad.any():
        return []
    at = int(bad.argmax())
    value = column.iloc[at]
    shown = repr(value) if isinstance(value, str) else "empty" if pd.isna(value) else str(value)
    more = and_more(int(bad.sum()) - 1)
    return [f"{name}, row {column.index[at]}: column {column.name} is {shown}{more}; {rule}"]
