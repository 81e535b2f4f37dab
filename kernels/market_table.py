"""Reading a long table of bars, one row per ticker and bar, onto a grid of timestamps and tickers."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from kernels.errors import InputError
from kernels.market_calendar import DateArray, when
from kernels.market_rules import BoolArray, Columns, FloatArray, and_more, order_problems, some

ALIASES = {"timestamp": ("date", "datetime", "time"), "symbol": ("ticker", "asset")}


@dataclass(frozen=True, slots=True)
class Bars:
    """A long table on a grid: `columns` are (T, A), NaN where `present` is False."""

    name: str
    tickers: tuple[str, ...]
    timestamps: DateArray
    columns: Columns
    present: BoolArray


def read_table(
    frame: pd.DataFrame,
    name: str,
    tickers: Sequence[str] | None,
    start: str | date | None,
    end: str | date | None,
) -> Bars:
    """The wanted rows of a long table on a (T, A) grid; InputError where they cannot be placed on one."""
    table, problems = _find_columns(frame, name)
    if problems:
        raise InputError(problems)
    if not len(frame):
        raise InputError(f"{name}: no rows; at least two bars are needed")
    stamps, problems = _parse_stamps(table.pop("timestamp"), name)
    symbols = table.pop("symbol")
    if symbols.isna().any():
        problems.append(f"{name}: column 'symbol' is empty in row {int(symbols.isna().argmax()) + 1}")
    numbers: Columns = {}
    for column, series in table.items():
        numbers[column], problem = _parse_numbers(series, name, column, symbols, stamps)
        problems += problem
    first, last, bound_problems = _bounds(start, end, name)
    problems += bound_problems
    if problems:
        raise InputError(problems)

    codes, known = pd.factorize(symbols.astype(str))
    chosen = tuple(str(k) for k in known) if tickers is None else tuple(tickers)
    problems = _ticker_problems(chosen, [str(k) for k in known], name)
    if problems:
        raise InputError(problems)
    place = np.full(len(known), -1)
    place[pd.Index(known).get_indexer(list(chosen))] = np.arange(len(chosen))
    wanted = (place[codes] >= 0) & (stamps >= first) & (stamps <= last)
    if not wanted.any():
        covered = f"{when(stamps.min())} to {when(stamps.max())}"
        raise InputError(f"{name}: no bars between start {start} and end {end}; the file covers {covered}")
    asset, stamps = place[codes][wanted], stamps[wanted]
    absent = [ticker for a, ticker in enumerate(chosen) if not (asset == a).any()]
    if absent:
        raise InputError(f"{name}: no bars of {some(absent)} between start {start} and end {end}; leave them out")
    problems = order_problems(name, chosen, asset, stamps)
    if problems:
        raise InputError(problems)

    axis, t = np.unique(stamps, return_inverse=True)
    present = np.zeros((len(axis), len(chosen)), dtype=np.bool_)
    present[t, asset] = True
    grid: Columns = {}
    for column, values in numbers.items():
        grid[column] = np.full(present.shape, np.nan)
        grid[column][t, asset] = values[wanted]
    return Bars(name, chosen, axis, grid, present)


def _find_columns(frame: pd.DataFrame, name: str) -> tuple[dict[str, pd.Series[Any]], list[str]]:
    """The columns a market is made of, by their own names, and what is wrong with the header."""
    times = {"timestamp", *ALIASES["timestamp"]}
    if any(str(level).lower() in times and level not in frame.columns for level in frame.index.names):
        frame = frame.reset_index()  # in a notebook the dates are often the index
    header = [str(column) for column in frame.columns]
    lowered = [column.lower() for column in header]
    found: dict[str, pd.Series[Any]] = {}
    problems = []
    for wanted in ("timestamp", "symbol", "open", "high", "low", "close", "volume"):
        called = [n for n in (wanted, *ALIASES.get(wanted, ())) if n in lowered]
        if called and lowered.count(called[0]) > 1:
            problems.append(f"{name}: column '{called[0]}' is there more than once; keep one")
        elif called:
            found[wanted] = frame.iloc[:, lowered.index(called[0])].reset_index(drop=True)
        elif wanted in ("timestamp", "symbol", "close"):
            near = difflib.get_close_matches(wanted, header, n=1)
            also = "".join(f" (or '{alias}')" for alias in ALIASES.get(wanted, ())[:1])
            problems.append(
                f"{name}: column '{wanted}'{also} is missing; "
                + (f"did you mean '{near[0]}'? " if near else "")
                + f"the columns are {some(header) or 'none'}"
            )
    ranges = [column for column in ("open", "high", "low") if column in found]
    if 0 < len(ranges) < 3:
        lacking = [column for column in ("open", "high", "low") if column not in found]
        problems.append(
            f"{name}: column {' and '.join(map(repr, lacking))} is missing beside "
            f"{' and '.join(map(repr, ranges))}; "
            "give open, high and low, or none of them (closes only)"
        )
    return found, problems


def _parse_stamps(column: pd.Series[Any], where: str) -> tuple[DateArray, list[str]]:
    """Timestamps in UTC and what is wrong with them; NaT where one could not be read."""
    zone = r":\d{2}(?:\.\d+)?\s*(Z|[+-]\d{2}(?::?\d{2})?)$"
    problems = []
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        stamps = pd.to_datetime(column, utc=True)
    elif pd.api.types.is_numeric_dtype(column.dtype):
        stamps = pd.Series(pd.NaT, index=column.index).dt.tz_localize("UTC")
    else:
        text = column.astype("str")
        zones = text.str.extract(zone)[0].fillna("Z").replace(["+00:00", "+0000", "+00"], "Z").drop_duplicates()
        if len(zones) > 1:
            row = int(zones.index[1])
            problems.append(
                f"{where}: column 'timestamp' mixes time zones: {text.iloc[0]} in row 1, {text.iloc[row]} "
                f"in row {row + 1}; write all times in UTC"
            )
        stamps = pd.to_datetime(text, utc=True, format="ISO8601", errors="coerce")
    bad = stamps.isna()
    if bad.any():
        row = int(bad.argmax())
        problems.append(
            f"{where}: column 'timestamp' is {_shown(column.iloc[row])} in row {row + 1}"
            f"{and_more(int(bad.sum()) - 1)}; a date such as 2020-01-31 or 2020-01-31T13:00:00Z is needed"
        )
    return stamps.dt.tz_localize(None).to_numpy().astype("datetime64[us]"), problems


def _parse_numbers(
    values: pd.Series[Any], where: str, column: str, symbols: pd.Series[Any], stamps: DateArray
) -> tuple[FloatArray, list[str]]:
    """A number column as float64, or the sentence that names its first text."""
    number = pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype)
    if number and not pd.api.types.is_complex_dtype(values.dtype):
        return values.to_numpy(dtype=np.float64, na_value=np.nan), []
    text = values.map(lambda value: isinstance(value, (str, bytes, bool, complex)), na_action="ignore").fillna(False)
    unread = pd.to_numeric(values, errors="coerce").isna() & values.notna()
    bad = unread if unread.any() else text.astype(bool)  # a column of '1.5' is text too
    if not bad.any():
        return pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan), []
    row = int(bad.argmax())
    moment = "an unknown time" if np.isnat(stamps[row]) else when(stamps[row])
    return np.full(len(values), np.nan), [
        f"{where}: column '{column}' is {_shown(values.iloc[row])} in row {row + 1} for {symbols.iloc[row]} at {moment}"
        f"{and_more(int(bad.sum()) - 1)}; numbers are needed there, not text"
    ]


def _bounds(
    start: str | date | None, end: str | date | None, where: str
) -> tuple[np.datetime64, np.datetime64, list[str]]:
    """First and last moment wanted, both included."""
    problems = []
    bounds = [np.datetime64("0001-01-01", "us"), np.datetime64("9999-12-31", "us")]
    for i, (key, value) in enumerate((("start", start), ("end", end))):
        if value is None:
            continue
        try:
            moment = pd.to_datetime(str(value), utc=True, format="ISO8601").tz_localize(None)
        except ValueError:
            problems.append(f"{where}: {key} is {value!r}; a date such as 2020-01-31 is needed")
            continue
        if i == 1 and len(str(value)) <= len("2020-01-31"):
            moment += pd.Timedelta(days=1) - pd.Timedelta(microseconds=1)
        bounds[i] = moment.to_datetime64().astype("datetime64[us]")
    if bounds[0] > bounds[1]:
        problems.append(f"{where}: start <= end must hold, got start={start}, end={end}")
    return bounds[0], bounds[1], problems


def _ticker_problems(chosen: Sequence[str], known: Sequence[str], where: str) -> list[str]:
    problems = [] if chosen else [f"{where}: tickers is an empty list; name at least one of {some(known)}"]
    for ticker in dict.fromkeys(chosen):
        if ticker not in known:
            near = difflib.get_close_matches(str(ticker), known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            problems.append(f"{where}: no ticker {ticker}; {hint}it has {some(known)}")
        elif chosen.count(ticker) > 1:
            problems.append(f"{where}: ticker {ticker} is asked for {chosen.count(ticker)} times; name it once")
    return problems


def _shown(value: object) -> str:
    """A value as the file has it: text in quotes, numbers without their type."""
    return repr(value) if isinstance(value, str) else str(value)


def hold_flat_before_listing(columns: Columns, present: BoolArray) -> None:
    """Fill, in place, the bars before a ticker's first one: its first open (closes only: close), volume 0."""
    for a in np.flatnonzero(~present[0]):
        listed = int(present[:, a].argmax())
        first = columns["open" if "open" in columns else "close"][listed, a]
        for name, values in columns.items():
            values[:listed, a] = 0.0 if name == "volume" else first
