"""A rule that asks the risk limits before it orders, on one account for all assets."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kernels import Market, Parameter, Plane, Strategy
from kernels.indicators import log_returns, shifted, trailing_sums
from kernels.market import FloatArray
from kernels.ops import clip, sum_assets, where
from kernels.shared_account import SHARED_ACCOUNT, BookOrder
from kernels.state import scalar


def momentum(market: Market, window: FloatArray) -> FloatArray:
    """Log return over a window, of the bars before this one."""
    return shifted(trailing_sums(log_returns(market), window), missing=0.0)


def kind(market: Market) -> FloatArray:
    """A regime for the whole book, 0, 1 or 2, that changes every 20 bars."""
    return (np.arange(market.n_bars) // 20 % 3).astype(np.float64)


def wanted(bar: Any, p: Any) -> tuple[Any, Any, Any, Any]:
    """(trade, weight, held, regime): every few bars a size along the momentum, else what is held."""
    equity = bar.account.cash + sum_assets(bar.account.units * bar.close)
    held = bar.account.units * bar.close / equity
    trade = (bar.momentum != 0.0) & (bar.turn > 0.0)
    return trade, where(trade, clip(10.0 * bar.momentum, -1.0, 1.0) * p.size, held), held, bar.kind


def _order(weight: Any, trade: Any, cuts: Any, refusals: Any) -> BookOrder:
    return BookOrder(weight, trade, 0.0 * weight, 0.0, 0.0, 0.0, cuts, refusals)


def step(bar: Any, state: Any, p: Any) -> tuple[BookOrder, Any]:
    """Ask the limits, then order what they leave; where that is what is held, nothing."""
    trade, weight, held, regime = wanted(bar, p)
    limited = bar.limited(weight, held, regime)
    return _order(limited.weight, trade & (limited.weight != held), limited.cuts, limited.refusals), state


def step_unasked(bar: Any, state: Any, p: Any) -> tuple[BookOrder, Any]:
    """The same rule, written without limits."""
    trade, weight, held, _ = wanted(bar, p)
    return _order(weight, trade & (weight != held), 0.0, 0.0), state


class Nothing(NamedTuple):
    count: Any = scalar(0.0)


def turns(market: Market) -> FloatArray:
    """1 on every third bar."""
    return (np.arange(market.n_bars) % 3 == 0).astype(np.float64)


STRATEGY = Strategy(
    "along_momentum",
    "sizes along the momentum, within risk limits",
    "tests",
    (
        Parameter("window", 20, 5, 60, unit="bars", integer=True),
        Parameter("size", 0.3, 0.0, 2.0),
    ),
    (Plane("momentum", momentum, keys=("window",)), Plane("kind", kind), Plane("turn", turns)),
    Nothing,
    step,
    lambda parameters: int(parameters["window"]) + 1,
    SHARED_ACCOUNT,
    limited=True,
)
