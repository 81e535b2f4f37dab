"""How the assets of a market move together: correlation over a window, what a hedge needs of it, and its regimes.

Everything is of log returns and looks back: the value at bar t is of the `window` returns that end with bar t's, the newest
with weight 1, one of age k with `decay`^k. `decay` 1 is the rolling correlation, 0.94 the EWMA of RiskMetrics, cut off at
the window (0.94^60 = 0.024). Both are Pearson's, with the weighted mean taken off.

A series that does not move in a window has correlation 0 with every other and 1 with itself, beta 0, and moves no mean.
Source of the decay: J.P. Morgan/Reuters (1996), RiskMetrics Technical Document, 4th edition, 5.3.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kernels.errors import InputError
from kernels.indicators import log_returns
from kernels.market import FloatArray, Market
from kernels.windows import FLAT, check_window, trailing, trailing_quantile

ROLLING, EWMA = 1.0, 0.94  # decays
LEFT = 1e-12  # of an asset's variance of 1: less, after the factors before it, is rounding (64 products: 64 * 2**-52 < 2e-14)
CORRELATION_REGIMES = ("low", "normal", "high")


def correlation(market: Market, window: int, decay: float = ROLLING) -> FloatArray:
    """The correlation matrix of every bar, (T, A, A); NaN until `window` returns are there.

    Memory is 8 T A^2 bytes: 1.1 MB for 2192 bars of 8 assets, 72 MB for 64.
    """
    out = np.full((market.n_bars, market.n_assets, market.n_assets), np.nan)
    for bars, z in _unit_windows(market, window, decay):
        out[bars] = np.clip(np.einsum("taw,tbw->tab", z, z), -1.0, 1.0)
    diagonal = np.arange(market.n_assets)
    out[window:, diagonal, diagonal] = 1.0
    return out


def correlation_factors(market: Market, window: int, decay: float = ROLLING) -> FloatArray:
    """Factors L of the correlation, (A, T, A): plane k has the share of each asset in factor k; 0 until known.

    C = L L' (Cholesky), so that w' C w = sum_k (sum_a L_ka w_a)^2, which a bar step can work out
    (`kernels.exposure`): while the correlation is not known every exposure is 0. A factor of which the assets before it
    leave nothing is 0, so a C without full rank (a window shorter than the number of assets) is no trouble. Which factors
    come out depends on the order of the assets; w' C w does not.
    """
    C = correlation(market, window, decay)[window:]
    A = market.n_assets
    factors = np.zeros((A, market.n_bars, A))
    known = factors[:, window:]
    for k in range(A):
        rest = C[:, :, k].copy()
        for earlier in known[:k]:
            rest -= earlier * earlier[:, k : k + 1]
        own = rest[:, k]
        scale = np.sqrt(np.where(own > LEFT, own, np.inf))
        known[k, :, k:] = (rest / scale[:, None])[:, k:]
    return factors


def mean_correlation(market: Market, window: int, decay: float = ROLLING) -> FloatArray:
    """Mean correlation of all pairs of assets, (T,); NaN until known. A market of one asset has 1: its own.

    sum over pairs = |sum_a z_a|^2 - sum_a |z_a|^2 for z_a of unit length, without a matrix. Terms are added in the order
    of their size, so that another order of assets changes no bit.
    """
    A = market.n_assets
    out = np.full(market.n_bars, np.nan)
    for bars, z in _unit_windows(market, window, decay):
        whole = np.sort(z, axis=1).sum(axis=1)
        moving = (z != 0.0).any(axis=2).sum(axis=1)
        pairs = (whole * whole).sum(axis=1) - moving
        out[bars] = np.clip(pairs / max(1, A * (A - 1)), -1.0, 1.0) if A > 1 else 1.0
    return out


def beta(market: Market, hedge: str, window: int, decay: float = ROLLING) -> FloatArray:
    """Beta of each asset to the asset called `hedge`, (T, A); 0 until known and where the hedge does not move.

    beta_a = cov(r_a, r_h) / var(r_h). A book's is the sum over its assets of weight times beta, exactly.
    """
    if hedge not in market.tickers:
        raise InputError(
            f"hedge_asset: a ticker of the market is needed, got {hedge!r}; the market has {', '.join(market.tickers)}"
        )
    h = market.tickers.index(hedge)
    out = np.zeros(market.close.shape)
    for bars, moves in _weighted_windows(market, window, decay):
        own = moves[:, h : h + 1]
        variance = (own * own).sum(axis=2)
        with np.errstate(divide="ignore", invalid="ignore"):
            out[bars] = np.where(variance > 0.0, (moves * own).sum(axis=2) / variance, 0.0)
    return out


def correlation_regime(mean: FloatArray, memory: int, low: float = 1 / 3, high: float = 2 / 3) -> FloatArray:
    """Where a mean correlation (T,) stands among its last `memory` values: 0 low, 1 normal, 2 high (T,); 1 until known.

    Low is at or below their quantile `low`, high at or above their quantile `high`; a correlation that never changes is
    normal. Names: CORRELATION_REGIMES.
    """
    if not 0.0 <= low < high <= 1.0:
        raise InputError(
            f"correlation regime: 0 <= low < high <= 1 must hold for quantiles, got low={low:g}, high={high:g}"
        )
    check_window("memory", memory, int(np.isfinite(mean).sum()))
    bottom, top = (trailing_quantile(mean, memory, share) for share in (low, high))
    with np.errstate(invalid="ignore"):
        moved = bottom < top
        return np.where(moved & (mean >= top), 2.0, np.where(moved & (mean <= bottom), 0.0, 1.0))


def _weighted_windows(market: Market, window: int, decay: float) -> Iterator[tuple[slice, FloatArray]]:
    """Returns of each window less their weighted mean, times the root of their weight: (bars, A, window), 0 where flat."""
    if not 0.0 < decay <= 1.0:
        raise InputError(
            f"decay: 0 < decay <= 1 must hold (1 is the rolling correlation, 0.94 the EWMA), got {decay:g}"
        )
    window = check_window("correlation_window", window, market.n_bars - 1)
    weight = decay ** np.arange(window - 1.0, -1.0, -1.0)
    weight /= weight.sum()
    root = np.sqrt(weight)
    for bars, returns in trailing(log_returns(market)[1:], window):
        moves = returns - (returns * weight).sum(axis=2, keepdims=True)
        # Largest, not squares: beside one large old return of small weight, others would count as rounding.
        flat = np.abs(moves).max(axis=2, keepdims=True) <= FLAT
        yield slice(bars.start + 1, bars.stop + 1), np.where(flat, 0.0, moves * root)


def _unit_windows(market: Market, window: int, decay: float) -> Iterator[tuple[slice, FloatArray]]:
    """The same of length 1, or 0 where an asset does not move: their products are correlations."""
    for bars, moves in _weighted_windows(market, window, decay):
        length = np.sqrt((moves * moves).sum(axis=2, keepdims=True))
        yield bars, moves / np.where(length > 0.0, length, 1.0)
