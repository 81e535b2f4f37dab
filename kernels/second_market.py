"""A second market beside the first: what of it is known at each bar, and how the two move together.

Timestamps say when a bar begins; it is over one step of its own market later. At the close of a bar is known what of the
other market is over by then: a week's bar of it not before the week ends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.correlation import ROLLING, correlation
from kernels.errors import InputError
from kernels.market import FloatArray, Market
from kernels.windows import window_problems


def as_of(market: Market, other: Market) -> NDArray[np.int64]:
    """For each bar of `market` the last bar of `other` that is over when it closes, (T,); -1 where there is none."""
    known_at = other.timestamps + other.calendar.step
    return np.searchsorted(known_at, market.timestamps + market.calendar.step, side="right") - 1


def values_as_of(market: Market, other: Market, ticker: str) -> FloatArray:
    """The close of one ticker of `other` as known at each bar of `market`, (T,); NaN before its first: a VIX, a rate."""
    index = as_of(market, other)
    return np.where(index >= 0, other.close[index, _position(other, ticker)], np.nan)


def cross_correlation(market: Market, other: Market, ticker: str, window: int, decay: float = ROLLING) -> FloatArray:
    """Correlation of each asset of `market` with one ticker of `other` over `window` common returns, (T, A); 0 until known.

    Common returns are between the bars at which something new of the other market is known: a market that trades at
    weekends is not compared with one that stands still then. Between such bars the last value stays.
    """
    index = as_of(market, other)
    column = _position(other, ticker)
    fresh = np.flatnonzero((np.diff(index, prepend=-1) > 0) & (index >= 0))
    if problems := window_problems("correlation_window", [window], max(0, len(fresh) - 1)):
        raise InputError(f"{problem} (of both markets)" for problem in problems)
    both = Market(
        tickers=(*(f"own {name}" for name in market.tickers), f"other {ticker}"),
        timestamps=market.timestamps[fresh],
        close=np.column_stack([market.close[fresh], other.close[index[fresh], column]]),
    )
    with_other = np.nan_to_num(correlation(both, window, decay)[:, :-1, -1])
    last = np.searchsorted(fresh, np.arange(market.n_bars), side="right") - 1
    return np.where(last[:, None] >= 0, with_other[last], 0.0)


def _position(other: Market, ticker: str) -> int:
    if ticker not in other.tickers:
        raise InputError(f"second market: a ticker of it is needed, got {ticker!r}; it has {', '.join(other.tickers)}")
    return other.tickers.index(ticker)
