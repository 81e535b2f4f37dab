"""What the size of a position is made of: how large ranges are beside their mean, and how past bars won and lost."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kernels.errors import InputError
from kernels.indicators import trailing_sums, true_range_average
from kernels.market import FloatArray, Market
from kernels.windows import window_problems

UNKNOWN = np.inf  # of a Kelly fraction: `where(bar.kelly < inf, ..., base)` takes the base weight


class WinsAndLosses(NamedTuple):
    """Of the bars in a window, banks (K, T, A): counts, and mean sizes, both positive; 0 where there are none."""

    wins: FloatArray
    losses: FloatArray
    mean_win: FloatArray
    mean_loss: FloatArray


def range_ratio(market: Market, window: int = 90, atr_window: int = 14) -> FloatArray:
    """Average true range over its own mean of the last `window` bars, (T, A); 1 until it is known, and without any range.

    Above 1 the market moves more than it did. A plain number: the same at any scale of prices.
    """
    if problems := window_problems("atr_mean_window + atr_window", [window + atr_window], market.n_bars):
        raise InputError(problems)
    average = true_range_average(market, atr_window)
    known = average[atr_window - 1 :]
    mean = trailing_sums(known, np.array([float(window)]))[0] / window
    ratio = np.ones_like(average)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio[atr_window - 1 :] = np.where(mean > 0.0, known / mean, 1.0)
    return ratio


def wins_and_losses(market: Market, windows: FloatArray, side: float = 1.0) -> WinsAndLosses:
    """What a long (side 1) or a short (-1) of each asset won and lost in the last `windows[k]` bars.

    A bar's result is side * (C_t / C_{t-1} - 1); one of 0 is neither. Until a window is full it holds the bars so far.
    """
    if problems := window_problems("kelly_window", windows, market.n_bars - 1, least=1):
        raise InputError(problems)
    # Zeros stand before the first bar, so that every window is full from the start.
    most = int(windows.max())
    result = np.zeros((most + market.n_bars, market.n_assets))
    result[most + 1 :] = side * (market.close[1:] / market.close[:-1] - 1.0)
    sums = [
        trailing_sums(x, windows)[:, most:]
        for x in (
            (result > 0.0).astype(float),
            (result < 0.0).astype(float),
            np.maximum(result, 0.0),
            -np.minimum(result, 0.0),
        )
    ]
    wins, losses, won, lost = sums
    return WinsAndLosses(wins, losses, won / np.maximum(wins, 1.0), lost / np.maximum(losses, 1.0))


def kelly(market: Market, windows: FloatArray, minimum: float = 20.0, side: float = 1.0) -> FloatArray:
    """The whole Kelly fraction of each asset, bank (K, T, A), from -1 to 1; infinite, for unknown, below `minimum` bars.

    f = (p b - (1 - p)) / b = p - (1 - p) / b, p the share of wins among the bars that won or lost, b mean win / mean loss.
    Without a loss f = p = 1, without a win -1. Positive where the mean result is, and then at most p.

    Source: Kelly (1956), Bell System Technical Journal 35, 917-926.
    """
    bars = wins_and_losses(market, windows, side)
    count = bars.wins + bars.losses
    p = bars.wins / np.maximum(count, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = p - (1.0 - p) * bars.mean_loss / bars.mean_win  # no win: minus infinity
    return np.where(count >= max(minimum, 1.0), np.clip(fraction, -1.0, 1.0), UNKNOWN)
