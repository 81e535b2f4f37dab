"""A market: the price history that every configuration is backtested on, and what makes a history unusable.

Four parts, in order: `Market` itself; its calendar (bars per year, gaps); `Market.from_frame`'s reading of a long
table, which refuses bad data whole with every mistake named; `describe`, which tells what is odd but not wrong.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kernels.errors import InputError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
DateArray = NDArray[np.datetime64]
Columns = dict[str, FloatArray]

PRICES = ("open", "high", "low", "close")
ALIASES = {"timestamp": ("date", "datetime", "time"), "symbol": ("ticker", "asset")}
# Adjusted prices are rounded to about seven digits by those who publish them, each column for itself.
RANGE_TOLERANCE = 1e-6
SHOWN = 5  # mistakes of one kind that are named before the rest are only counted


@dataclass(frozen=True)
class Market:
    """Aligned bars of A assets over T timestamps; refused (InputError) when any part cannot be traded on.

    Parameters
    ----------
    tickers
        A names, all different.
    timestamps
        (T,) `datetime64[us]`, UTC, strictly increasing, at least two.
    close, open, high, low
        (T, A) prices, finite and positive, low <= open, close <= high; all but `close` may be None
        (a market of closes only).
    volume
        (T, A) traded volume in base units, not negative, or None.
    bars_per_year
        Bars that make a year: 365 for daily crypto, 252 for daily US stocks.
    """

    tickers: tuple[str, ...]
    timestamps: DateArray
    close: FloatArray
    open: FloatArray | None = None
    high: FloatArray | None = None
    low: FloatArray | None = None
    volume: FloatArray | None = None
    bars_per_year: float = 365.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "tickers", tuple(self.tickers))
        object.__setattr__(self, "timestamps", _as_stamps(self.timestamps))
        for name in (*PRICES, "volume"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _as_floats(getattr(self, name), name))
        problems = _shape_problems(self)
        if not problems:
            everywhere = np.ones(self.close.shape, dtype=np.bool_)
            problems = _cell_problems("market", self.tickers, self.timestamps, self.columns, everywhere)
        if problems:
            raise InputError(problems)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        name: str = "frame",
        tickers: Sequence[str] | None = None,
        start: str | date | None = None,
        end: str | date | None = None,
        bars_per_year: float | None = None,
        before_listing: Literal["refuse", "flat"] = "refuse",
        gaps: Literal["refuse", "keep"] = "refuse",
    ) -> Market:
        """The market in a long table: one row per ticker and bar.

        Columns: timestamp, symbol, close, and where known open, high, low (all three or none) and volume; `date` and
        `ticker` are understood, capitals do not matter, other columns are ignored. Times without a zone are UTC.
        Rows of one ticker stand in time order; tickers may be stacked or interleaved.

        Parameters
        ----------
        name
            How messages call the table: its file.
        tickers
            Which assets, in this order; default: all, as they first appear.
        start, end
            First and last bar wanted, both included; a date without a time is the whole day.
        bars_per_year
            Default: `self.calendar.bars_per_year`, inferred from the timestamps.
        before_listing
            A ticker that starts late is refused, or held `flat` at its first open with volume 0 before.
        gaps
            Holes in the common time axis (`calendar_of` says what counts) are refused, or kept as they come.

        Raises InputError with every mistake of the table, one sentence each; rows are counted from 1.
        """
        bars = _read(frame, name, tickers, start, end)
        columns = dict(bars.columns)
        problems = _cell_problems(name, bars.tickers, bars.timestamps, columns, bars.present)
        problems += _listing_problems(bars, before_listing) + _constant_problems(bars)
        if len(bars.timestamps) < 2:
            problems.append(
                f"{name}: one bar only ({_when(bars.timestamps[0])}); two are needed for a return"
            )
        holes = () if len(bars.timestamps) < 2 else calendar_of(bars.timestamps).gaps
        if holes and gaps == "refuse":
            problems.append(_gap_problem(name, holes))
        if problems:
            raise InputError(problems)
        _hold_flat_before_listing(columns, bars.present)
        return cls(
            tickers=bars.tickers,
            timestamps=bars.timestamps,
            close=columns["close"],
            open=columns.get("open"),
            high=columns.get("high"),
            low=columns.get("low"),
            volume=columns.get("volume"),
            bars_per_year=calendar_of(bars.timestamps).bars_per_year
            if bars_per_year is None
            else bars_per_year,
        )

    @property
    def n_bars(self) -> int:
        """T."""
        return int(self.close.shape[0])

    @property
    def n_assets(self) -> int:
        """A."""
        return int(self.close.shape[1])

    @property
    def columns(self) -> Columns:
        """The (T, A) arrays that this market has, by name."""
        named = {name: getattr(self, name) for name in (*PRICES, "volume")}
        return {name: array for name, array in named.items() if array is not None}

    @cached_property
    def calendar(self) -> Calendar:
        """Step, trading week, inferred bars per year and gaps of the time axis."""
        return calendar_of(self.timestamps)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over tickers, timestamps, every price and volume, and bars_per_year: names this data in records."""
        sha = hashlib.sha256()
        sha.update("\0".join(self.tickers).encode())
        sha.update(self.timestamps.astype("datetime64[us]").tobytes())
        for name in ("open", "high", "low", "close", "volume"):
            array = getattr(self, name)
            sha.update(name.encode() + b"\0")
            if array is not None:
                sha.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
        sha.update(np.float64(self.bars_per_year).tobytes())
        return sha.hexdigest()


def _as_stamps(values: Any) -> DateArray:
    """Timestamps of any kind pandas reads, as `datetime64[us]` in UTC."""
    try:
        index = pd.DatetimeIndex(
            pd.to_datetime(np.asarray(values) if isinstance(values, list) else values, utc=True)
        )
    except (ValueError, TypeError) as error:
        raise InputError(f"market: timestamps must be dates, {error}") from None
    return index.tz_localize(None).to_numpy().astype("datetime64[us]")


def _as_floats(values: Any, name: str) -> FloatArray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise InputError(f"market: {name} must be numbers of shape (T, A), {error}") from None


def _shape_problems(market: Market) -> list[str]:
    """What is wrong with a market before any price is looked at."""
    t, a = len(market.timestamps), len(market.tickers)
    problems = [
        f"market: {name} has shape {array.shape}; {t} timestamps and {a} tickers make ({t}, {a})"
        for name, array in market.columns.items()
        if array.shape != (t, a)
    ]
    if a == 0:
        problems.append("market: no tickers; at least one asset is needed")
    if t < 2:
        problems.append(f"market: at least 2 bars are needed for a return, got {t}")
    repeated = sorted({ticker for ticker in market.tickers if market.tickers.count(ticker) > 1})
    if repeated:
        problems.append(f"market: tickers must be unique, got {', '.join(repeated)} more than once")
    stamps = market.timestamps
    if np.isnat(stamps).any():
        problems.append(f"market: timestamp {int(np.isnat(stamps).argmax())} is empty")
    else:
        back = np.flatnonzero(np.diff(stamps) <= np.timedelta64(0, "us"))
        if back.size:
            here, then = _when(stamps[back[0]]), _when(stamps[back[0] + 1])
            problems.append(f"market: timestamps must strictly increase, got {then} after {here}")
    if not (np.isfinite(market.bars_per_year) and market.bars_per_year > 0):
        problems.append(f"market: bars_per_year must be above 0, got {market.bars_per_year}")
    return problems


def _cell_problems(
    where: str, tickers: Sequence[str], stamps: DateArray, columns: Columns, present: BoolArray
) -> list[str]:
    """Prices and volumes that cannot be: one sentence per column and kind, naming the first cell and counting the rest."""
    problems = []

    def refuse(name: str, bad: BoolArray, rule: str) -> None:
        bad = bad & present
        if bad.any():
            t, a = np.argwhere(bad)[0]
            more = int(bad.sum()) - 1
            problems.append(
                f"{where}: column '{name}' is {columns[name][t, a]:g} for {tickers[a]} at {_when(stamps[t])}"
                f"{f' (and in {more} more rows)' if more else ''}; {rule}; correct or remove these rows"
            )

    for name, values in columns.items():
        refuse(name, np.isnan(values), f"every {'volume' if name == 'volume' else 'price'} must be there")
        refuse(name, np.isinf(values), "infinite values cannot be traded")
        if name == "volume":
            refuse(name, values < 0, "volume is 0 or more")
        else:
            refuse(name, np.isfinite(values) & (values <= 0), "prices are above 0")
    inside = {name: columns[name] for name in ("open", "close") if name in columns}
    if "high" in columns:
        below = np.any([columns["high"] < v * (1 - RANGE_TOLERANCE) for v in inside.values()], axis=0)
        refuse("high", below, "high is the largest price of its bar, but open or close is above it")
    if "low" in columns:
        above = np.any([columns["low"] > v * (1 + RANGE_TOLERANCE) for v in inside.values()], axis=0)
        refuse("low", above, "low is the smallest price of its bar, but open or close is below it")
    return problems


def _when(stamp: np.datetime64) -> str:
    """A timestamp as short as it can be said: 2020-01-01, 2020-01-01 13:00, 2020-01-01 13:00:05.

    >>> _when(np.datetime64("2020-01-01T13:00:00", "us"))
    '2020-01-01 13:00'
    """
    moment = pd.Timestamp(stamp)
    if moment == moment.normalize():
        return moment.strftime("%Y-%m-%d")
    return moment.strftime("%Y-%m-%d %H:%M" if moment == moment.floor("min") else "%Y-%m-%d %H:%M:%S")


# ---- the calendar ----------------------------------------------------------------------------------------------------


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

    A market trades round the clock when a tenth of its bars or more fall on Saturdays (a seventh would be all of them);
    bars of five days or more have no week to close in. There every step from one and a half times the median step on is a gap.
    Other markets close at night, at weekends and on holidays; the longest of these, at the New York exchange since
    1990, was 7 days (September 2001), so only a step longer than 7 days and 4 times the median is a gap.

    Bars per year: 365 days over the step round the clock; 252 sessions times the median number of bars in a session;
    52, 12 or 4 for weekly, monthly or quarterly bars. A history of a few days shows no Saturday: give bars_per_year there.

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


def _gap_problem(where: str, gaps: Sequence[Gap]) -> str:
    first, missing = gaps[0], sum(gap.missing for gap in gaps)
    return (
        f"{where}: {len(gaps)} gap{'s' if len(gaps) > 1 else ''} in the common time axis, {missing} bars are missing; "
        f"the first is of {first.missing} bars between {_when(first.after)} and {_when(first.before)}; "
        "fill them in the file, or set market.gaps: keep to use the bars as they come"
    )


# ---- reading a long table --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Bars:
    """A long table on a grid: `columns` are (T, A), NaN where `present` is False."""

    name: str
    tickers: tuple[str, ...]
    timestamps: DateArray
    columns: Columns
    present: BoolArray


def _read(
    frame: pd.DataFrame,
    name: str,
    tickers: Sequence[str] | None,
    start: str | date | None,
    end: str | date | None,
) -> _Bars:
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
    numbers = {}
    for column, values in table.items():
        numbers[column], problem = _parse_numbers(values, name, column, symbols, stamps)
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
        covered = f"{_when(stamps.min())} to {_when(stamps.max())}"
        raise InputError(f"{name}: no bars between start {start} and end {end}; the file covers {covered}")
    asset, stamps = place[codes][wanted], stamps[wanted]
    absent = [ticker for a, ticker in enumerate(chosen) if not (asset == a).any()]
    if absent:
        raise InputError(
            f"{name}: no bars of {_some(absent)} between start {start} and end {end}; leave them out"
        )
    problems = _order_problems(name, chosen, asset, stamps)
    if problems:
        raise InputError(problems)

    axis, t = np.unique(stamps, return_inverse=True)
    present = np.zeros((len(axis), len(chosen)), dtype=np.bool_)
    present[t, asset] = True
    grid = {}
    for column, values in numbers.items():
        grid[column] = np.full(present.shape, np.nan)
        grid[column][t, asset] = values[wanted]
    return _Bars(name, chosen, axis, grid, present)


def _find_columns(frame: pd.DataFrame, name: str) -> tuple[dict[str, pd.Series[Any]], list[str]]:
    """The columns a market is made of, by their own names, and what is wrong with the header."""
    if any(str(level).lower() in ("timestamp", *ALIASES["timestamp"]) for level in frame.index.names):
        frame = frame.reset_index()  # in a notebook the dates are often the index
    header = [str(column) for column in frame.columns]
    lowered = [column.lower() for column in header]
    found: dict[str, pd.Series[Any]] = {}
    problems = []
    for wanted in ("timestamp", "symbol", *PRICES, "volume"):
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
                + f"The columns are {_some(header) or 'none'}"
            )
    ranges = [column for column in ("open", "high", "low") if column in found]
    if 0 < len(ranges) < 3:
        lacking = [column for column in ("open", "high", "low") if column not in found]
        problems.append(
            f"{name}: column {' and '.join(map(repr, lacking))} is missing beside {' and '.join(map(repr, ranges))}; "
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
        zones = (
            text.str.extract(zone)[0].fillna("Z").replace(["+00:00", "+0000", "+00"], "Z").drop_duplicates()
        )
        if len(zones) > 1:
            row = int(zones.index[1])
            problems.append(
                f"{where}: column 'timestamp' mixes time zones: {text.iloc[0]} in row 1, {text.iloc[row]} in row "
                f"{row + 1}; write all times in UTC"
            )
        stamps = pd.to_datetime(text, utc=True, format="ISO8601", errors="coerce")
    bad = stamps.isna()
    if bad.any():
        row, more = int(bad.argmax()), int(bad.sum()) - 1
        problems.append(
            f"{where}: column 'timestamp' is {column.iloc[row]!r} in row {row + 1}"
            f"{f' (and {more} more rows cannot be read)' if more else ''}; "
            "a date such as 2020-01-31 or 2020-01-31T13:00:00Z is needed"
        )
    return stamps.dt.tz_localize(None).to_numpy().astype("datetime64[us]"), problems


def _parse_numbers(
    values: pd.Series[Any], where: str, column: str, symbols: pd.Series[Any], stamps: DateArray
) -> tuple[FloatArray, list[str]]:
    """A number column as float64, or the sentence that names its first text."""
    number = pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype)
    if number and not pd.api.types.is_complex_dtype(values.dtype):
        return values.to_numpy(dtype=np.float64, na_value=np.nan), []
    text = values.map(lambda value: isinstance(value, (str, bytes, bool)), na_action="ignore").fillna(False)
    unread = pd.to_numeric(values, errors="coerce").isna() & values.notna()
    bad = unread if unread.any() else text.astype(bool)  # a column of '1.5' is text too
    if not bad.any():
        return pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan), []
    row, more = int(bad.argmax()), int(bad.sum()) - 1
    when = "an unknown time" if np.isnat(stamps[row]) else _when(stamps[row])
    return np.full(len(values), np.nan), [
        f"{where}: column '{column}' is {values.iloc[row]!r} in row {row + 1} ({symbols.iloc[row]}, {when}"
        f"{f'; and in {more} more rows' if more else ''}); numbers are needed there, not text"
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
        bounds[i] = np.datetime64(moment.to_datetime64(), "us")
    if bounds[0] > bounds[1]:
        problems.append(f"{where}: start <= end must hold, got start={start}, end={end}")
    return bounds[0], bounds[1], problems


def _ticker_problems(chosen: Sequence[str], known: Sequence[str], where: str) -> list[str]:
    problems = [] if chosen else [f"{where}: tickers is an empty list; name at least one of {_some(known)}"]
    for ticker in dict.fromkeys(chosen):
        if ticker not in known:
            near = difflib.get_close_matches(str(ticker), known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            problems.append(f"{where}: no ticker {ticker}; {hint}It has {_some(known)}")
        elif chosen.count(ticker) > 1:
            problems.append(
                f"{where}: ticker {ticker} is asked for {chosen.count(ticker)} times; name it once"
            )
    return problems


def _order_problems(where: str, tickers: Sequence[str], asset: IntArray, stamps: DateArray) -> list[str]:
    """Rows that stand twice or out of order."""
    problems = []
    by_asset = np.argsort(asset, kind="stable")
    here = np.diff(asset[by_asset]) == 0
    back = np.flatnonzero(here & (np.diff(stamps[by_asset]) < np.timedelta64(0, "us")))
    if back.size:
        i = back[0]
        problems.append(
            f"{where}: timestamps of {tickers[asset[by_asset[i]]]} must increase, got {_when(stamps[by_asset[i + 1]])} "
            f"after {_when(stamps[by_asset[i]])} ({back.size} such steps in the file); sort the rows by timestamp"
        )
    order = np.lexsort((stamps, asset))
    twice = np.flatnonzero((np.diff(asset[order]) == 0) & (np.diff(stamps[order]) == np.timedelta64(0, "us")))
    if twice.size:
        row = order[twice[0]]
        problems.append(
            f"{where}: {tickers[asset[row]]} has more than one row for {_when(stamps[row])} "
            f"({twice.size} duplicate rows in the file); keep one row per ticker and timestamp"
        )
    return problems


def _listing_problems(bars: _Bars, before_listing: str) -> list[str]:
    """Tickers that lack bars which others have."""
    problems = []
    for a, ticker in enumerate(bars.tickers):
        lacking = np.flatnonzero(~bars.present[:, a])
        listed = int(bars.present[:, a].argmax())
        late = bool(lacking.size) and lacking.size == listed
        if not lacking.size or (late and before_listing == "flat"):
            continue
        step = (
            f"it is listed at {_when(bars.timestamps[listed])}: start the study there, leave it out, "
            "or set market.before_listing: flat to hold it at its first open before"
            if late
            else "fill these bars in the file, or leave the ticker out with market.tickers"
        )
        holes = lacking if before_listing == "refuse" else lacking[lacking >= listed]
        problems.append(
            f"{bars.name}: {ticker} lacks {holes.size} of {len(bars.timestamps)} bars that other tickers have, the first "
            f"at {_when(bars.timestamps[holes[0]])}; {step}"
        )
    more = len(problems) - SHOWN
    return problems if more <= 0 else [*problems[:SHOWN], f"{bars.name}: {more} more tickers lack bars"]


def _constant_problems(bars: _Bars) -> list[str]:
    close = bars.columns["close"]
    still = []
    for a, ticker in enumerate(bars.tickers):
        own = close[bars.present[:, a], a]
        if own.size > 1 and (own == own[0]).all():
            still.append(f"{ticker} (always {own[0]:g})")
    if not still:
        return []
    return [f"{bars.name}: close never moves for {_some(still)}; there is nothing to hedge: leave it out"]


def _hold_flat_before_listing(columns: Columns, present: BoolArray) -> None:
    """Fill, in place, the bars before a ticker's first one: its first open (closes only: close), volume 0."""
    for a in np.flatnonzero(~present[0]):
        listed = int(present[:, a].argmax())
        first = columns["open" if "open" in columns else "close"][listed, a]
        for name, values in columns.items():
            values[:listed, a] = 0.0 if name == "volume" else first


def _some(names: Sequence[str]) -> str:
    """A list of names that stays readable when there are thousands."""
    shown = 2 * SHOWN
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


# ---- what is odd, though not refused ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Something a trader would ask about: which kind, whose, how many bars, the first of them, and the sentence."""

    kind: Literal[
        "closes_only", "flat", "jump", "no_volume", "no_range", "twin", "unfinished", "bars_per_year"
    ]
    ticker: str
    bars: int
    first: np.datetime64
    text: str


@dataclass(frozen=True, slots=True)
class Description:
    """A market in a few lines, for `hedgegrid data check`."""

    tickers: tuple[str, ...]
    n_bars: int
    first: np.datetime64
    last: np.datetime64
    columns: tuple[str, ...]
    bars_per_year: float
    calendar: Calendar
    digest: str
    suspicions: tuple[Suspicion, ...]


def describe(market: Market, *, flat_bars: int = 5, jump: float = 0.5) -> Description:
    """The market as the engine sees it, with everything suspicious that is not refused.

    `flat_bars`: closes that repeat in so many bars or more are called flat; `jump`: a return beyond it is called one.
    """
    return Description(
        market.tickers,
        market.n_bars,
        market.timestamps[0],
        market.timestamps[-1],
        tuple(market.columns),
        market.bars_per_year,
        market.calendar,
        market.digest,
        tuple(_suspicions(market, flat_bars, jump)),
    )


def _suspicions(market: Market, flat_bars: int, jump: float) -> list[Suspicion]:
    stamps, close, volume = market.timestamps, market.close, market.volume
    found = []
    inferred = market.calendar.bars_per_year
    if not 0.8 < market.bars_per_year / inferred < 1.25:
        text = f"bars_per_year is {market.bars_per_year:g}, but the timestamps look like {inferred:g}"
        found.append(Suspicion("bars_per_year", "", market.n_bars, stamps[0], text))
    if market.open is None:
        text = "closes only: orders fill at the next close, ranges within a bar are unknown"
        found.append(Suspicion("closes_only", "", market.n_bars, stamps[0], text))
    returns = np.diff(close, axis=0) / close[:-1]  # (T-1, A)
    for a, ticker in enumerate(market.tickers):
        runs = _runs(np.append(False, returns[:, a] == 0.0), at_least=flat_bars - 1)
        if runs:
            found.append(_stretch("flat", ticker, "close does not move", runs, stamps, before=1))
        far = np.flatnonzero(np.abs(returns[:, a]) > jump)
        if far.size:
            worst = far[np.abs(returns[far, a]).argmax()]
            text = (
                f"{ticker}: {far.size} bars move by more than {jump:.0%}, the furthest at "
                f"{_when(stamps[worst + 1])} by {returns[worst, a]:+.0%}"
            )
            found.append(Suspicion("jump", ticker, int(far.size), stamps[far[0] + 1], text))
        if volume is not None and (runs := _runs(volume[:, a] == 0.0)):
            found.append(_stretch("no_volume", ticker, "volume is 0", runs, stamps))
        if (
            market.high is not None
            and market.low is not None
            and (runs := _runs(market.high[:, a] == market.low[:, a]))
        ):
            found.append(_stretch("no_range", ticker, "high equals low", runs, stamps))
        recent = None if volume is None else float(np.median(volume[-31:-1, a]))
        if volume is not None and recent and volume[-1, a] < 0.01 * recent:
            share = volume[-1, a] / recent
            text = f"{ticker}: the last bar has {share:.2%} of the usual volume; it looks unfinished"
            found.append(Suspicion("unfinished", ticker, 1, stamps[-1], text))
    return found + _twins(market, max(flat_bars, market.n_bars // 100))


def _runs(flags: BoolArray, at_least: int = 1) -> list[tuple[int, int]]:
    """(first, length) of every run of True of `at_least` bars.

    >>> _runs(np.array([True, False, True, True]))
    [(0, 1), (2, 2)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= at_least]


def _stretch(
    kind: Literal["flat", "no_volume", "no_range"],
    ticker: str,
    what: str,
    runs: Sequence[tuple[int, int]],
    stamps: DateArray,
    before: int = 0,
) -> Suspicion:
    """One sentence on all runs of a kind; `before` bars belong to a run though they carry no flag."""
    runs = [(first - before, length + before) for first, length in runs]
    total = sum(length for _, length in runs)
    first, length = max(runs, key=lambda run: run[1])
    span = f"{_when(stamps[first])} to {_when(stamps[first + length - 1])}"
    text = f"{ticker}: {what} in {total} bars ({len(runs)} stretches, the longest {length} bars: {span})"
    return Suspicion(kind, ticker, total, stamps[runs[0][0]], text)


def _twins(market: Market, at_least: int) -> list[Suspicion]:
    """Pairs of tickers whose rows are equal in `at_least` bars: often one asset's data under two names."""
    order = np.argsort(market.close, axis=1, kind="stable")
    near = zip(order[:, :-1].T, order[:, 1:].T, strict=True)  # neighbours in price, (T,) each
    bars = np.arange(market.n_bars)
    equal: dict[tuple[int, int], list[int]] = {}
    for left, right in near:
        same = np.all([array[bars, left] == array[bars, right] for array in market.columns.values()], axis=0)
        for t in np.flatnonzero(same):
            equal.setdefault((int(left[t]), int(right[t])), []).append(int(t))
    found = []
    for (left_asset, right_asset), times in equal.items():
        if len(times) >= at_least:
            names: Mapping[str, str] = {"a": market.tickers[left_asset], "b": market.tickers[right_asset]}
            text = f"{names['a']} and {names['b']} have the same row in {len(times)} of {market.n_bars} bars"
            found.append(Suspicion("twin", names["a"], len(times), market.timestamps[min(times)], text))
    return found
