"""Long above a moving average; below it, short a part of the full size while the asset is deep in drawdown."""

from typing import Any, NamedTuple

import numpy as np

from kernels import Market, Parameter, Plane, Strategy
from kernels.account import Order
from kernels.indicators import drawdown, realised_volatility, shifted, trailing_sums
from kernels.ops import minimum, sign, where
from kernels.state import per_asset


def trend(market: Market, window: np.ndarray) -> np.ndarray:
    """Sign of yesterday's close against its mean over `window` closes, bank (K, T, A); 0 until there are so many."""
    mean = trailing_sums(market.close, window) / window[:, None, None]
    return shifted(np.sign(market.close - mean), missing=0.0)


def volatility(market: Market) -> np.ndarray:
    """Yesterday's volatility of 30 returns, per year, (T, A); infinite, for no position, while it is missing."""
    return shifted(realised_volatility(market, np.array([30.0])), missing=np.inf)[0]


class State(NamedTuple):
    """What is carried from bar to bar: the last weight that was ordered, per asset."""

    last: Any = per_asset(0.0)


def step(bar: Any, state: State, p: Any) -> tuple[Order, State]:
    """One bar, in the array language of kernels.ops: no `if` on a value, but `where`."""
    size = minimum(p.vol_target / bar.volatility, 2.0)
    deep = bar.drawdown < p.hedge_below
    weight = where(bar.trend > 0.0, size, where((bar.trend < 0.0) & deep, -p.hedge_size * size, 0.0))

    turned = sign(weight) != sign(state.last)
    trade = turned | (abs(weight - state.last) >= 0.05)
    return Order(weight, trade), State(where(trade, weight, state.last))


STRATEGY = Strategy(
    name="my_rule",
    summary="Moving-average trend at a volatility target, short in deep drawdowns.",
    source="our own",
    parameters=(
        Parameter("window", 100, 10, 300, unit="bars", integer=True, doc="closes in the moving average"),
        Parameter("vol_target", 0.3, 0.05, 1.0, unit="per year", doc="volatility each position aims at"),
        Parameter("hedge_below", -0.2, -0.9, -0.01, doc="drawdown of the asset below which it may be shorted"),
        Parameter("hedge_size", 0.5, 0.0, 1.0, doc="share of the full size that is shorted"),
    ),
    planes=(
        Plane("trend", trend, keys=("window",)),
        Plane("volatility", volatility),
        Plane("drawdown", drawdown),
    ),
    state=State,
    step=step,
    warm_up=lambda parameters: max(int(parameters["window"]), 31),
)
