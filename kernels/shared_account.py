"""One cash account for a whole book: long and short positions, stops that close within a bar, and income beside prices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kernels.account import SMALLEST_ORDER, START_CASH, Accounting, Outcome
from kernels.market import FloatArray
from kernels.metric import Metric
from kernels.ops import Value, as_number, maximum, minimum, sign, sum_assets, where
from kernels.state import accumulator, per_asset, scalar


class BookOrder(NamedTuple):
    """What a strategy wants of a shared account at this bar.

    `weight` (A, C) is the target position as a signed fraction of the book's equity; `trade` (A, C) whether to trade to it
    now. `exit_price` (A, C) is where a stop closed the position during this bar (0: none did). `income` (C,) is what the bar
    paid beside prices, in dollars, after `income_cost`. The rest is counted: `hedged` (C,) 1 while a hedge is on, orders
    that limits cut and refused.
    """

    weight: Value
    trade: Value
    exit_price: Value
    income: Value
    income_cost: Value
    hedged: Value
    cuts: Value
    refusals: Value


class SharedAccount(NamedTuple):
    """Cash, units held, and the mean price they were bought or sold at (0 without a position)."""

    cash: Any = scalar(START_CASH)
    units: Any = per_asset(0.0)
    entry: Any = per_asset(0.0)


class Parts(NamedTuple):
    """What is counted beside returns: bars with the hedge on, income as a fraction of equity, stops, cuts, refusals."""

    hedged: Any = accumulator(0.0)
    income: Any = accumulator(0.0)
    stops: Any = accumulator(0.0)
    cuts: Any = accumulator(0.0)
    refusals: Any = accumulator(0.0)


def execute(
    order: BookOrder, account: SharedAccount, bar: Any, costs: Any, n_assets: int
) -> tuple[Outcome, SharedAccount]:
    """Close at stops, take the income, fill the orders at `bar.fill`, mark at `bar.close`.

    Sales are filled first. What is bought, covering of shorts included, is limited by the cash there then is: all that is
    bought is scaled down alike, so that no order of the assets matters; what that leaves of an order may be too small to be
    one. A book without equity trades no more.
    """
    buy = (1.0 + costs.slippage) * (1.0 + costs.fee)
    sell = (1.0 - costs.slippage) * (1.0 - costs.fee)
    value_before = account.cash + sum_assets(account.units * bar.previous_close)

    stopped = (order.exit_price > 0.0) & (account.units != 0.0)
    left = where(stopped, account.units, 0.0)
    closed_at = left * order.exit_price
    received = closed_at * where(left > 0.0, sell, buy)
    units = where(stopped, 0.0, account.units)
    cash = account.cash + sum_assets(received) + order.income

    equity = cash + sum_assets(units * bar.fill)
    wanted = order.weight * equity * (1.0 / bar.fill) - units
    done = order.trade & (bar.fillable > 0.0) & (equity > 0.0) & (abs(wanted) >= SMALLEST_ORDER)
    wanted = where(done, wanted, 0.0)
    sold, bought = minimum(wanted, 0.0), maximum(wanted, 0.0)
    there = maximum(cash - sum_assets(sold * (bar.fill * sell)), 0.0)
    needed = sum_assets(bought * (bar.fill * buy))
    bought = bought * where(needed > there, there / needed, 1.0)
    # Cash that was spent leaves its rounding behind: what that buys would count as a position.
    bought = where(bought >= SMALLEST_ORDER, bought, 0.0)
    traded = sold + bought
    done = done & (traded != 0.0)
    notional = traded * bar.fill
    paid = notional * where(traded > 0.0, buy, sell)
    cash = cash - sum_assets(paid)
    held = units + traded
    exposed = held * bar.close
    value = cash + sum_assets(exposed)

    side, after = sign(units), sign(held)
    turned = done & (side != after)
    closed = turned & (side != 0.0)
    grown = done & (side == after) & (abs(held) > abs(units))
    mean = (account.entry * abs(units) + bar.fill * abs(traded)) / where(grown, abs(held), 1.0)
    entry = where(after == 0.0, 0.0, where(turned, bar.fill, where(grown, mean, account.entry)))
    out = where(stopped, order.exit_price, bar.fill)
    won = where(account.units > 0.0, out * sell > account.entry * buy, out * buy < account.entry * sell)

    per_equity = 1.0 / abs(value_before)
    income = order.income * per_equity
    outcome = Outcome(
        bar_return=(value - value_before) * per_equity,
        turnover=sum_assets(abs(notional) + abs(closed_at)) * per_equity,
        cost=(sum_assets(paid - notional + (closed_at - received)) + order.income_cost) * per_equity,
        gross=sum_assets(abs(exposed)) * per_equity,
        net=sum_assets(exposed) * per_equity,
        hedged=sum_assets(as_number(held < 0.0)) * (1.0 / n_assets),
        orders=sum_assets(as_number(done)),
        trades=sum_assets(as_number(closed | stopped)),
        wins=sum_assets(as_number((closed | stopped) & won)),
        parts=Parts(order.hedged, income, sum_assets(as_number(stopped)), order.cuts, order.refusals),
    )
    return outcome, SharedAccount(cash, held, entry)


def value_of(account: SharedAccount, planes: Mapping[str, Any]) -> Any:
    """Each position at the close; the cash is shared."""
    return account.units * planes["close"]


METRICS = (
    Metric("hedge_on", 0, "fraction", "share of bars on which the hedge was on"),
    Metric("income", 0, "fraction/year", "interest and gains of puts, less their costs, over equity, per year"),
    Metric("stop_exits", 0, "count", "positions that a stop closed within a bar"),
    Metric("limit_cuts", 0, "count", "orders that risk limits made smaller"),
    Metric("limit_refusals", 0, "count", "orders that risk limits refused"),
)


def measure(sums: Mapping[str, FloatArray], bars: float, years: float) -> dict[str, FloatArray]:
    """`METRICS` of composed sums, (C,) each."""
    return {
        "hedge_on": np.asarray(sums["parts.hedged"] / bars),
        "income": np.asarray(sums["parts.income"] / years),
        "stop_exits": sums["parts.stops"],
        "limit_cuts": sums["parts.cuts"],
        "limit_refusals": sums["parts.refusals"],
    }


SHARED_ACCOUNT = Accounting(SharedAccount, execute, value_of, Parts, METRICS, measure)
