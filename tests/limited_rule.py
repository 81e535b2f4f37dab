"""A rule that asks the risk limits before it orders, with an account of its own: one cash account for all assets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kernels import Market, Parameter, Plane, Strategy
from kernels.account import Accounting, Costs, Outcome
from kernels.indicators import log_returns, shifted, trailing_sums
from kernels.market import FloatArray
from kernels.metric import Metric
from kernels.ops import as_number, clip, sign, sum_assets, where
from kernels.state import accumulator, per_asset, scalar

START = 10_000.0


class Book(NamedTuple):
    cash: Any = scalar(START)
    units: Any = per_asset(0.0)


class Counted(NamedTuple):
    cuts: Any = 0.0
    refusals: Any = 0.0


class Parts(NamedTuple):
    cuts: Any = accumulator(0.0)
    refusals: Any = accumulator(0.0)


class Wanted(NamedTuple):
    weight: Any
    trade: Any
    cuts: Any
    refusals: Any


def execute(order: Wanted, book: Book, bar: Any, costs: Costs, n_assets: int) -> tuple[Outcome, Book]:
    """Fill at `bar.fill`, mark at `bar.close`; what is bought is paid from the one account, which may go below 0."""
    equity = book.cash + sum_assets(book.units * bar.fill)
    done = order.trade & (bar.fillable > 0.0) & (equity > 0.0)
    units = where(done, order.weight * equity / bar.fill, book.units)
    notional = abs(units - book.units) * bar.fill
    paid = sum_assets(notional) * (costs.fee + costs.slippage)
    cash = book.cash - sum_assets((units - book.units) * bar.fill) - paid
    before = book.cash + sum_assets(book.units * bar.previous_close)
    exposed = units * bar.close
    value = cash + sum_assets(exposed)
    closed = as_number((sign(units) != sign(book.units)) & (book.units != 0.0))
    outcome = Outcome(
        bar_return=(value - before) / abs(before),
        turnover=sum_assets(notional) / abs(before),
        cost=paid / abs(before),
        gross=sum_assets(abs(exposed)) / abs(before),
        net=sum_assets(exposed) / abs(before),
        hedged=sum_assets(as_number(units < 0.0)) * (1.0 / n_assets),
        orders=sum_assets(as_number(units != book.units)),
        trades=sum_assets(closed),
        wins=0.0 * sum_assets(closed),
        parts=Counted(order.cuts, order.refusals),
    )
    return outcome, Book(cash, units)


def value(book: Book, planes: Mapping[str, Any]) -> Any:
    """Of each asset's units at the close, and an equal share of the cash."""
    return book.units * planes["close"] + book.cash / len(book.units)


def measured(sums: Mapping[str, FloatArray], bars: float, years: float) -> dict[str, FloatArray]:
    """What the limits did."""
    return {"limit_cuts": sums["parts.cuts"], "limit_refusals": sums["parts.refusals"]}


ACCOUNT = Accounting(
    Book,
    execute,
    value,
    Parts,
    (Metric("limit_cuts", 0, "", "orders cut"), Metric("limit_refusals", 0, "", "orders refused")),
    measured,
)


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


def step(bar: Any, state: Any, p: Any) -> tuple[Wanted, Any]:
    """Ask the limits, then order what they leave; where that is what is held, nothing."""
    trade, weight, held, regime = wanted(bar, p)
    limited = bar.limited(weight, held, regime)
    return Wanted(limited.weight, trade & (limited.weight != held), limited.cuts, limited.refusals), state


def step_unasked(bar: Any, state: Any, p: Any) -> tuple[Wanted, Any]:
    """The same rule, written without limits."""
    trade, weight, held, _ = wanted(bar, p)
    return Wanted(weight, trade & (weight != held), 0.0, 0.0), state


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
    ACCOUNT,
    limited=True,
)
