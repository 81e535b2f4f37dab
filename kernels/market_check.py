"""What is odd about a market though nothing refuses it: what to ask before trusting a backtest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from kernels.market_calendar import Calendar, DateArray, when
from kernels.market_rules import BoolArray, count, some

if TYPE_CHECKING:
    from kernels.market import Market

Kind = Literal["bars_per_year", "closes_only", "flat", "jump", "no_volume", "no_range", "unfinished", "twin"]


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Something a trader would ask about: its kind, tickers, how many bars, the first one, a sentence."""

    kind: Kind
    tickers: tuple[str, ...]
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

    A close that stays the same for `flat_bars` bars or more is called flat, a return beyond `jump` a jump.
    """
    suspicions = [*_whole_market(market), *_unfinished(market)]
    for a in range(market.n_assets):
        suspicions += _one_ticker(market, a, flat_bars, jump)
    # a coincidence of prices in a cent-priced stock is no copy: a hundredth of the history is asked for
    suspicions += _twins(market, at_least=max(flat_bars, market.n_bars // 100))
    return Description(
        tickers=market.tickers,
        n_bars=market.n_bars,
        first=market.timestamps[0],
        last=market.timestamps[-1],
        columns=tuple(market.columns),
        bars_per_year=market.bars_per_year,
        calendar=market.calendar,
        digest=market.digest,
        suspicions=tuple(suspicions),
    )


def _whole_market(market: Market) -> list[Suspicion]:
    found = []
    start, inferred = market.timestamps[0], market.calendar.bars_per_year
    if not 0.8 < market.bars_per_year / inferred < 1.25:  # 252 for 365 is the usual slip
        text = f"bars_per_year is {market.bars_per_year:g}, but the timestamps look like {inferred:g}"
        found.append(Suspicion("bars_per_year", market.tickers, market.n_bars, start, text))
    if market.open is None:
        text = "closes only: orders can fill at closes alone, and the range within a bar is unknown"
        found.append(Suspicion("closes_only", market.tickers, market.n_bars, start, text))
    return found


def _unfinished(market: Market) -> list[Suspicion]:
    """A last bar with less than a hundredth of the median volume of the 30 before it."""
    if market.volume is None:
        return []
    usual = np.median(market.volume[-31:-1], axis=0)  # (A,)
    thin = np.flatnonzero(market.volume[-1] < 0.01 * usual)
    if not thin.size:
        return []
    names, last = tuple(market.tickers[a] for a in thin), market.timestamps[-1]
    text = f"{some(names)}: the last bar, {when(last)}, has under 1% of the usual volume; it looks unfinished"
    return [Suspicion("unfinished", names, 1, last, text)]


def _one_ticker(market: Market, a: int, flat_bars: int, jump: float) -> list[Suspicion]:
    ticker, stamps, close = market.tickers[a], market.timestamps, market.close[:, a]
    found = []
    returns = np.diff(close) / close[:-1]  # (T-1,), the return of bar t+1 at t
    flat = [(first, length + 1) for first, length in _runs(returns == 0.0, at_least=flat_bars - 1)]
    if flat:
        found.append(_stretches("flat", ticker, "close does not move", flat, stamps))
    far = np.flatnonzero(np.abs(returns) > jump)
    if far.size:
        worst = far[np.abs(returns[far]).argmax()]
        text = (
            f"{ticker}: {count(far.size, 'move')} beyond {jump:.0%} in a bar, "
            f"the furthest {returns[worst]:+.0%} at {when(stamps[worst + 1])}"
        )
        found.append(Suspicion("jump", (ticker,), int(far.size), stamps[far[0] + 1], text))
    if market.volume is not None and (runs := _runs(market.volume[:, a] == 0.0)):
        found.append(_stretches("no_volume", ticker, "volume is 0", runs, stamps))
    if market.high is not None and market.low is not None:
        runs = _runs(market.high[:, a] == market.low[:, a])
        if runs:
            found.append(_stretches("no_range", ticker, "high equals low", runs, stamps))
    return found


def _runs(flags: BoolArray, at_least: int = 1) -> list[tuple[int, int]]:
    """(first, length) of every run of True of `at_least` bars.

    >>> _runs(np.array([True, False, True, True]))
    [(0, 1), (2, 2)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= at_least]


def _stretches(kind: Kind, ticker: str, what: str, runs: Sequence[tuple[int, int]], stamps: DateArray) -> Suspicion:
    """One sentence on all runs (first bar, length) of a kind."""
    total = sum(length for _, length in runs)
    first, length = max(runs, key=lambda run: run[1])
    longest = f"{when(stamps[first])} to {when(stamps[first + length - 1])}" if length > 1 else when(stamps[first])
    if len(runs) > 1:
        longest = f"{len(runs)} stretches, the longest of {count(length, 'bar')} {longest}"
    text = f"{ticker}: {what} in {count(total, 'bar')} ({longest})"
    return Suspicion(kind, (ticker,), total, stamps[runs[0][0]], text)


def _twins(market: Market, at_least: int) -> list[Suspicion]:
    """Pairs of tickers with `at_least` equal rows: often one asset's data under two names."""
    bars = np.arange(market.n_bars)
    order = np.argsort(market.close, axis=1, kind="stable")  # (T, A): equal closes are neighbours
    equal: dict[tuple[int, int], list[int]] = {}
    for left, right in zip(order[:, :-1].T, order[:, 1:].T, strict=True):
        same = np.all([array[bars, left] == array[bars, right] for array in market.columns.values()], axis=0)
        for t in np.flatnonzero(same):
            equal.setdefault((int(left[t]), int(right[t])), []).append(int(t))
    found = []
    for (a, b), rows in sorted(equal.items()):
        if len(rows) >= at_least:
            names = (market.tickers[a], market.tickers[b])
            text = f"{names[0]} and {names[1]} have the same row in {len(rows)} of {market.n_bars} bars"
            found.append(Suspicion("twin", names, len(rows), market.timestamps[min(rows)], text))
    return found
