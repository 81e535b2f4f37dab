"""A book of equal weights that is cut while its assets move together: a rule whose state says when its hedge is on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kernels import Parameter, Plane, Strategy
from kernels.account import Order
from kernels.correlation import mean_correlation
from kernels.market import FloatArray, Market
from kernels.ops import as_number, max_assets, where
from kernels.state import per_asset, scalar

REDUCE = 1.0  # the second choice of `hedge`


def rho(market: Market, windows: FloatArray) -> FloatArray:
    """Mean correlation, bank (K, T, A): the same number for every asset, 0 until known."""
    banks = [np.nan_to_num(mean_correlation(market, int(window))) for window in windows]
    return np.stack([np.repeat(bank[:, None], market.n_assets, axis=1) for bank in banks])


class State(NamedTuple):
    last: Any = per_asset(0.0)
    armed: Any = scalar(0.0)
    exposure: Any = scalar(0.0)


def step(bar: Any, state: State, p: Any) -> tuple[Order, State]:
    """All in, or less of it while the mean correlation is above the trigger."""
    risk = max_assets(abs(bar.rho))
    armed = (p.hedge == REDUCE) & (risk > p.hedge_exposure)
    weight = where(armed, 1.0 - p.hedge_strength, 1.0) + 0.0 * bar.rho
    trade = abs(weight - state.last) >= 0.01
    return Order(weight, trade), State(where(trade, weight, state.last), as_number(armed), risk)


STRATEGY = Strategy(
    name="armed_rule",
    summary="Less of everything while assets move together.",
    source="tests",
    parameters=(
        Parameter("correlation_window", 30, 10, 60, unit="bars", integer=True),
        Parameter("hedge", "reduce", choices=("off", "reduce")),
        Parameter("hedge_exposure", 0.5, 0.0, 1.0),
        Parameter("hedge_strength", 0.5, 0.0, 1.0),
    ),
    planes=(Plane("rho", rho, keys=("correlation_window",)),),
    state=State,
    step=step,
    warm_up=lambda p: int(p["correlation_window"]),
)
