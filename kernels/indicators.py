"""Indicators that strategies build their planes from. None looks ahead: the value at bar t uses bars up to t."""

from __future__ import annotations

import numpy as np

from kernels.market import FloatArray, Market


def trailing_sums(x: FloatArray, windows: FloatArray) -> FloatArray:
    """Sum of the last `windows[k]` values, bank (K, T, A); NaN until all are there.

    Terms are added newest first, one window length after the other, so a slice is the same to the bit whichever other
    windows are asked for, and a window of zeros sums to exactly 0 (differences of cumulated sums would not).
    """
    lengths = windows.astype(int)
    out = np.full((len(lengths), *x.shape), np.nan)
    total = np.zeros_like(x)
    for k in range(min(int(lengths.max()), len(x))):  # a longer window never fills
        total[k:] += x[: len(x) - k]
        for slot in np.flatnonzero(lengths == k + 1):
            out[slot, k:] = total[k:]
    return out


def log_returns(market: Market) -> FloatArray:
    """ln(C_t / C_{t-1}), (T, A); the first bar has none (NaN). A ratio first: prices in other units change no bit."""
    returns = np.full_like(market.close, np.nan)
    returns[1:] = np.log(market.close[1:] / market.close[:-1])
    return returns


def equal_weight_returns(market: Market) -> FloatArray:
    """Mean simple return of all assets, (T,): of an index that is brought back to equal weights every bar; bar 0 has NaN.

    Terms are added in the order of their size, so that another order of assets changes no bit.
    """
    returns = np.full(market.n_bars, np.nan)
    returns[1:] = np.sort(market.close[1:] / market.close[:-1], axis=1).sum(axis=1) / market.n_assets - 1.0
    return returns


def realised_volatility(market: Market, windows: FloatArray) -> FloatArray:
    """Annualised sample standard deviation (ddof 1) of the last `windows[k]` log returns, bank (K, T, A)."""
    returns = log_returns(market)
    n = windows[:, None, None]
    mean: FloatArray = trailing_sums(returns, windows) / n
    squares = trailing_sums(returns * returns, windows)
    variance = np.maximum(squares - n * mean * mean, 0.0) / (n - 1.0)
    return np.asarray(np.sqrt(market.bars_per_year * variance), dtype=np.float64)


def drawdown(market: Market) -> FloatArray:
    """C_t / max(C_0 .. C_t) - 1, (T, A)."""
    return np.asarray(market.close / np.maximum.accumulate(market.close, axis=0) - 1.0)


def true_range_average(market: Market, window: int = 14) -> FloatArray:
    """Wilder's average true range, (T, A), in price; 0 until `window` bars are there.

    TR = max(H - L, |H - C_prev|, |L - C_prev|), the first bar's H - L; smoothed with alpha = 1 / window from the first bar.
    Source: Wilder (1978), New Concepts in Technical Trading Systems.
    """
    close = market.close
    high = close if market.high is None else market.high
    low = close if market.low is None else market.low
    previous = np.concatenate([close[:1], close[:-1]])
    spans = np.maximum(high - low, np.maximum(np.abs(high - previous), np.abs(low - previous)))
    spans[0] = high[0] - low[0]
    average: FloatArray = np.empty_like(spans)
    average[0] = spans[0]
    for t in range(1, len(spans)):
        average[t] = average[t - 1] + (spans[t] - average[t - 1]) / window
    average[: window - 1] = 0.0
    return average


def shifted(x: FloatArray, missing: float) -> FloatArray:
    """Yesterday's value of a bank (K, T, A), `missing` where there is none."""
    out = np.full_like(x, missing)
    out[:, 1:] = np.where(np.isnan(x[:, :-1]), missing, x[:, :-1])
    return out
