"""Long, with three features: one helps on a market that falls for a month at a time, one is dead, one only pays fees."""

from typing import Any, NamedTuple

import numpy as np

from kernels import Feature, Market, Parameter, Plane, Strategy
from kernels.account import Order
from kernels.indicators import log_returns, trailing_sums
from kernels.ops import where
from kernels.state import per_asset

ON = 1.0  # the second choice


def momentum(market: Market, window: np.ndarray) -> np.ndarray:
    """Sum of the last `window` log returns, bank (K, T, A); 0 until there are so many."""
    return np.nan_to_num(trailing_sums(log_returns(market), window))


class State(NamedTuple):
    """The last order, and whether churning adds to it or takes from it."""

    last: Any = per_asset(0.0)
    side: Any = per_asset(1.0)


def step(bar: Any, state: State, p: Any) -> tuple[Order, State]:
    """One bar: nothing while prices fall (guard), nothing below a price of 0 (idle), more and less in turns (churn)."""
    weight = where((p.guard == ON) & (bar.momentum < 0.0), 0.0, p.size)
    weight = where((p.idle == ON) & (bar.close < 0.0), 0.0, weight)
    weight = where((p.churn == ON) & (weight > 0.0), weight + 0.2 * state.side, weight)
    trade = weight != state.last
    return Order(weight, trade), State(where(trade, weight, state.last), -state.side)


STRATEGY = Strategy(
    name="feature_rule",
    summary="Long, with a guard that helps, an idle part and one that only costs.",
    source="tests",
    parameters=(
        Parameter("window", 10, 5, 20, unit="bars", integer=True),
        Parameter("size", 0.6, 0.1, 0.8),
        Parameter("guard", "off", choices=("off", "on")),
        Parameter("idle", "off", choices=("off", "on")),
        Parameter("churn", "off", choices=("off", "on")),
    ),
    planes=(Plane("momentum", momentum, keys=("window",)),),
    state=State,
    step=step,
    warm_up=lambda parameters: int(parameters["window"]) + 1,
    features=(Feature("guard"), Feature("idle"), Feature("churn", claims="sharpe")),
)
