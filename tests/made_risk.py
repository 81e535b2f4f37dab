"""Books and closes that tests of the risk limits begin with."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.risk_soak import hourly
from kernels.risk_limits import RiskLimits
from kernels.risk_settings import Limits

ROOMY = Limits(symbol_limit=1.0, direction_limit=1.0, regime_limit=1.0)


def pair(rho: float, bars: int = 101, seed: int = 0) -> dict[str, np.ndarray]:
    """Closes of A and B whose last `bars - 1` log returns correlate by exactly `rho`."""
    random = np.random.default_rng(seed).normal(size=(bars - 1, 2))
    random -= random.mean(axis=0)
    unit, _ = np.linalg.qr(random)
    moves = {"A": unit[:, 0], "B": rho * unit[:, 0] + math.sqrt(1.0 - rho * rho) * unit[:, 1]}
    return {name: 100.0 * np.exp(np.concatenate([[0.0], np.cumsum(0.1 * x)])) for name, x in moves.items()}


def book(limits: Limits, **closes: np.ndarray) -> RiskLimits:
    """A book with 100 of equity."""
    made = RiskLimits(limits, equity=100.0)
    if closes:
        made.update_prices(hourly(len(next(iter(closes.values())))), closes)
    return made
