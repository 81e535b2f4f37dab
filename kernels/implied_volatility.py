"""The volatility at which Black-Scholes gives an option's price: how a quoted mark gets its greeks."""

from __future__ import annotations

import numpy as np

from kernels.black_scholes import SIGNS, quote
from kernels.market import FloatArray

LOWEST, HIGHEST = 1e-4, 10.0  # per year; a price that needs another volatility has none
STEPS = 60  # bisection alone then reaches 10 / 2**60 < 1e-17


def implied_volatility(
    kind: str,
    price: FloatArray,
    spot: FloatArray,
    strike: FloatArray,
    tau: FloatArray,
    rate: float,
    dividend_yield: float = 0.0,
) -> FloatArray:
    """Implied volatility per year, of the inputs' common shape; NaN where no volatility gives that price.

    Newton's steps, with bisection where a step would leave the bracket that is known to hold the root. Below the value
    of exercise at the forward, or at `tau` 0, there is none.

    >>> price = quote("put", np.array(100.0), np.array(90.0), np.array(0.5), np.array(0.3), 0.02).price
    >>> float(implied_volatility("put", price, np.array(100.0), np.array(90.0), np.array(0.5), 0.02).round(12))
    0.3
    """
    price, spot, strike, tau = np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in (price, spot, strike, tau)))
    low, high = np.full(price.shape, LOWEST), np.full(price.shape, HIGHEST)
    found = np.full(price.shape, 0.3)
    for _ in range(STEPS):
        now = quote(kind, spot, strike, tau, found, rate, dividend_yield)
        above = now.price > price
        low, high = np.where(above, low, found), np.where(above, found, high)
        newton = found - (now.price - price) / np.maximum(now.vega, 1e-300)
        next_one = np.where((newton > low) & (newton < high), newton, 0.5 * (low + high))
        if np.all(np.abs(next_one - found) <= 1e-15):
            break
        found = next_one
    within = (price > lower_bound(kind, spot, strike, tau, rate, dividend_yield)) & (tau > 0.0)
    reached = (found > 2.0 * LOWEST) & (found < 0.999 * HIGHEST)
    return np.where(within & reached, found, np.nan)


def lower_bound(
    kind: str, spot: FloatArray, strike: FloatArray, tau: FloatArray, rate: float, dividend_yield: float = 0.0
) -> FloatArray:
    """What a European option is worth at the least, at volatility 0: the value of exercise at the forward."""
    ahead = spot * np.exp(-dividend_yield * tau) - strike * np.exp(-rate * tau)
    return np.asarray(sum(np.maximum(sign * ahead, 0.0) for sign in SIGNS[kind]))
