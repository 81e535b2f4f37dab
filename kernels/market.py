"""A market: the price history that every configuration is backtested on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from numbers import Real
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kernels.errors import InputError
from kernels.long_book import LongBook, book_problems
from kernels.market_calendar import Calendar, DateArray, calendar_of, when
from kernels.market_rules import Columns, cell_problems, constant_problems, gap_problem, listing_problems
from kernels.market_table import hold_flat_before_listing, read_table

FloatArray = NDArray[np.float64]
PRICES = ("open", "high", "low", "close")


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
    book
        What a rule that trades all assets on one account is told of them, or None.
    """

    tickers: tuple[str, ...]
    timestamps: DateArray
    close: FloatArray
    open: FloatArray | None = None
    high: FloatArray | None = None
    low: FloatArray | None = None
    volume: FloatArray | None = None
    bars_per_year: float = 365.0
    book: LongBook | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tickers", tuple(self.tickers))
        object.__setattr__(self, "timestamps", _as_stamps(self.timestamps))
        for name in (*PRICES, "volume"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _as_floats(getattr(self, name), name))
        problems = _shape_problems(self)
        if not problems:
            everywhere = np.ones(self.close.shape, dtype=np.bool_)
            problems = cell_problems("market", self.tickers, self.timestamps, self.columns, everywhere)
        if not problems and self.book is not None:
            problems = book_problems(self, self.book)
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

        Columns: timestamp, symbol, close, and where known open, high, low (all three or none) and volume.
        `date` and `ticker` are understood, capitals do not matter, other columns are ignored. Times without a
        zone are UTC. Rows of one ticker stand in time order; tickers may be stacked or interleaved.

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

        Raises InputError, one sentence per mistake, with every mistake of the first of these that has any: the header;
        cells that are no time or number; tickers asked for; the order of rows; prices, missing bars and gaps. Rows are
        counted from 1.
        """
        bars = read_table(frame, name, tickers, start, end)
        columns = bars.columns
        problems = cell_problems(name, bars.tickers, bars.timestamps, columns, bars.present)
        problems += listing_problems(name, bars.tickers, bars.timestamps, bars.present, before_listing)
        problems += constant_problems(name, bars.tickers, columns["close"], bars.present)
        if len(bars.timestamps) < 2:
            problems.append(f"{name}: one bar only ({when(bars.timestamps[0])}); two are needed for a return")
        holes = () if len(bars.timestamps) < 2 else calendar_of(bars.timestamps).gaps
        if holes and gaps == "refuse":
            problems.append(gap_problem(name, holes))
        if problems:
            raise InputError(problems)
        hold_flat_before_listing(columns, bars.present)
        return cls(
            tickers=bars.tickers,
            timestamps=bars.timestamps,
            close=columns["close"],
            open=columns.get("open"),
            high=columns.get("high"),
            low=columns.get("low"),
            volume=columns.get("volume"),
            bars_per_year=calendar_of(bars.timestamps).bars_per_year if bars_per_year is None else bars_per_year,
        )

    @property
    def n_bars(self) -> int:
        """T."""
        return int(self.close.shape[0])

    @property
    def n_scenarios(self) -> int:
        """S: a market of prices is one history."""
        return 1

    @property
    def n_assets(self) -> int:
        """A."""
        return int(self.close.shape[1])

    @property
    def columns(self) -> Columns:
        """The (T, A) arrays that this market has, by name."""
        named = {name: getattr(self, name) for name in (*PRICES, "volume")}
        return {name: array for name, array in named.items() if array is not None}

    def until(self, bar: int) -> Market:
        """The bars before that one, and what of the book was known in them."""
        seen: dict[str, Any] = {name: column[:bar] for name, column in self.columns.items()}
        book = None if self.book is None else self.book.until(self, bar)
        return replace(self, timestamps=self.timestamps[:bar], book=book, **seen)

    @cached_property
    def calendar(self) -> Calendar:
        """Step, trading week, inferred bars per year and gaps of the time axis."""
        return calendar_of(self.timestamps)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over tickers, timestamps, prices, volumes, bars_per_year and the book: names this data in records."""
        sha = hashlib.sha256()
        sha.update("\0".join(self.tickers).encode())
        sha.update(self.timestamps.astype("datetime64[us]").tobytes())
        for name in ("open", "high", "low", "close", "volume"):
            array = getattr(self, name)
            sha.update(name.encode() + b"\0")
            if array is not None:
                sha.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
        sha.update(np.float64(self.bars_per_year).tobytes())
        if self.book is not None:
            sha.update(b"book\0" + self.book.digest.encode())
        return sha.hexdigest()


def _as_stamps(values: Any) -> DateArray:
    """Timestamps as `datetime64[us]` in UTC; those without a zone are UTC."""
    array = np.asarray(values) if not hasattr(values, "dtype") else values
    if pd.api.types.is_numeric_dtype(array.dtype):
        raise InputError(f"market: timestamps must be dates, got numbers of type {array.dtype}")
    try:
        index = pd.DatetimeIndex(pd.to_datetime(array, utc=True, format="ISO8601"))
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
            here, then = when(stamps[back[0]]), when(stamps[back[0] + 1])
            problems.append(f"market: timestamps must strictly increase, got {then} after {here}")
    if not (isinstance(market.bars_per_year, Real) and 0 < market.bars_per_year < np.inf):
        problems.append(f"market: bars_per_year must be a number above 0, got {market.bars_per_year!r}")
    return problems
