"""What the risk limits read of a market inside a bar: the correlations that a live program would know at each close."""

from __future__ import annotations

from functools import partial

import numpy as np

from kernels.comovement import NO_MOVEMENT
from kernels.comovement import ROUNDING as NEARLY_ONE
from kernels.market import FloatArray, Market
from kernels.risk_settings import Limits
from kernels.strategy import Plane
from kernels.windows import trailing

RHO, ASSET = "limit_rho", "limit_asset"
UNKNOWN = 2.0  # stands for a correlation that is not known and counts: no correlation is 2


def compares(limits: Limits, n_assets: int) -> bool:
    """Whether the limits read correlations at all."""
    return limits.correlation_cut > 0.0 and n_assets > 1


def limit_planes(limits: Limits | None, n_assets: int) -> tuple[Plane, ...]:
    """The planes of the stage: `limit_rho`, one per asset, and `limit_asset`, each asset's number."""
    if limits is None or not compares(limits, n_assets):
        return ()
    return (Plane(RHO, partial(_rho, limits), stacked=True), Plane(ASSET, _numbers))


def known_correlations(closes: FloatArray, lookback: int, least: int) -> FloatArray:
    """Correlations of the last `lookback` log returns of closes (T, A), at least `least`, with each bar: (T, A, A).

    What `kernels.comovement` answers of symbols that have all their timestamps in common: NaN where there are too few, or
    where a price grows evenly; 0 of an asset with itself.
    """
    T, A = closes.shape
    found = np.full((T, A, A), np.nan)
    returns = np.diff(np.log(closes), axis=0)
    for n in range(least, min(lookback, T)):  # n returns are known at bar n
        found[n] = _correlations(np.ascontiguousarray(returns[:n].T)[None])[0]
    for bars, windows in trailing(returns, lookback):
        found[bars.start + 1 : bars.stop + 1] = _correlations(windows)
    found[:, range(A), range(A)] = 0.0
    return found


def _correlations(returns: FloatArray) -> FloatArray:
    """(bars, A, n) -> (bars, A, A)."""
    centred = returns - returns.mean(axis=-1, keepdims=True)
    length = np.sqrt(np.einsum("tak,tak->ta", centred, centred))[..., None]
    unit = centred / np.where(length > NO_MOVEMENT * np.sqrt(returns.shape[-1]), length, np.nan)
    rho = np.einsum("tik,tjk->tij", unit, unit)  # adds in one order whatever the neighbours
    snapped: FloatArray = np.where(np.abs(rho) > 1.0 - NEARLY_ONE, np.sign(rho), rho)
    return snapped


def _rho(limits: Limits, market: Market) -> FloatArray:
    rho = known_correlations(market.close, limits.correlation_lookback, limits.correlation_common)
    known: FloatArray = np.nan_to_num(rho.transpose(2, 0, 1), nan=UNKNOWN if limits.on_unknown == "cap" else 0.0)
    return known


def _numbers(market: Market) -> FloatArray:
    return np.tile(np.arange(market.n_assets, dtype=np.float64), (market.n_bars, 1))
