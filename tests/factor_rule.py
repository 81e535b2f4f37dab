"""A small rule that reads every kind of portfolio plane: factors of the correlation, a regime, alignment, a Kelly fraction."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kernels import Parameter, Plane, Strategy
from kernels.account import Order
from kernels.correlation import correlation_factors, mean_correlation
from kernels.exposure import exposure
from kernels.frames import alignment
from kernels.market import FloatArray, Market
from kernels.ops import where
from kernels.regime import RegimeRule, market_regime, regime_number
from kernels.sizing_planes import kelly
from kernels.state import per_asset

MEAN = 1.0  # the second choice of `measure`


class State(NamedTuple):
    last: Any = per_asset(0.0)


def factors(market: Market, windows: FloatArray) -> FloatArray:
    """(K, A, T, A)."""
    return np.stack([correlation_factors(market, int(window)) for window in windows])


def step(bar: Any, state: State, p: Any) -> tuple[Order, State]:
    size = where(bar.kelly < np.inf, p.fraction * bar.kelly, 0.2)
    weight = where(abs(bar.alignment) > p.least, size, 0.0)
    risk = exposure(weight, bar.factors, by_mean=p.measure == MEAN)
    armed = (risk > p.hedge_exposure) & (bar.regime != regime_number("bull_trending")) & (bar.rho > -0.5)
    weight = where(armed, weight * (1.0 - p.strength), weight)
    trade = abs(weight - state.last) >= 0.01
    return Order(weight, trade), State(where(trade, weight, state.last))


FACTOR_RULE = Strategy(
    name="factor_rule",
    summary="Less of everything while positions move together.",
    source="tests",
    parameters=(
        Parameter("correlation_window", 30, 10, 60, unit="bars", integer=True),
        Parameter("kelly_window", 40, 20, 60, unit="bars", integer=True),
        Parameter("frame_window", 4, 2, 6, integer=True),
        Parameter("fraction", 0.25, 0.0, 1.0),
        Parameter("least", 0.2, 0.0, 1.0),
        Parameter("measure", "effective", choices=("effective", "mean")),
        Parameter("hedge_exposure", 0.2, 0.0, 1.0),
        Parameter("strength", 0.5, 0.0, 1.0),
    ),
    planes=(
        Plane("factors", factors, keys=("correlation_window",), stacked=True),
        Plane("rho", lambda market: np.nan_to_num(mean_correlation(market, 30))),
        Plane("regime", lambda market: market_regime(market, RegimeRule(10, 40, trend_strength=4.0))),
        Plane("alignment", alignment, keys=("frame_window",)),
        Plane("kelly", kelly, keys=("kelly_window",)),
    ),
    state=State,
    step=step,
    warm_up=lambda p: 60,
)
