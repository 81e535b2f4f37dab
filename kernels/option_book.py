"""The account of an option hedger: cash, shares and a second option, against an option that is owed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kernels.account import SMALLEST_ORDER, Accounting, Outcome
from kernels.market import FloatArray
from kernels.metric import Across, Metric
from kernels.ops import Value, as_number, rarely, sqrt, sum_assets, where, wide
from kernels.state import accumulator, per_asset


class HedgeOrder(NamedTuple):
    """What the hedger wants at this bar per option owed: shares and second options held, whether to trade to them now,
    and how many options per unit of capital the book had until this bar and has from here."""

    shares: Value
    second: Value
    trade: Value
    exposure: Value
    next_exposure: Value


class Book(NamedTuple):
    """Per option owed: cash, shares, second options, value and impact of the last bar, settled value when the cycle began."""

    cash: Any = per_asset(0.0)
    shares: Any = per_asset(0.0)
    second: Any = per_asset(0.0)
    value: Any = per_asset(0.0)
    impact: Any = per_asset(0.0)
    cycle_value: Any = per_asset(0.0)


class Parts(NamedTuple):
    """Where a bar's return comes from, each a fraction of capital; what is left of it is carry less option_cost."""

    option: Any = accumulator(0.0)  # gain of the option owed, the naked book's
    option2: Any = accumulator(0.0)  # its square
    stock: Any = accumulator(0.0)
    second: Any = accumulator(0.0)
    stock_cost: Any = accumulator(0.0)
    impact_cost: Any = accumulator(0.0)


def execute(order: HedgeOrder, book: Book, bar: Any, costs: Any, n_assets: int) -> tuple[Outcome, Book]:
    """One bar of the book V = B + N S - O + n2 O2.

    Cash earns the rate, shares the dividend yield. Where an option expires it is settled (exercise delivers the share) and
    the next one is sold; where the history ends everything is closed. Every trade goes through cash, so every cost is in
    the return, R = exposure (V_t - V_t-1) / K_0 with K_0 the underlier's price at the cycle's start. The first bar has no
    return, so what is traded on it counts in the second bar's.
    """
    spot, opens = bar.spot, bar.opens > 0.0
    turned, second_bar = rarely(opens | (bar.live < 1.0)), rarely(bar.first > 0.0)
    cash = book.cash * bar.growth + book.shares * bar.dividend

    # where a cycle turns: the option that was owed is settled, the second one beside it sold, and the next one sold
    kept = book.shares - bar.delivered
    proceeds = cash - bar.mark + bar.delivered * spot + book.second * bar.second_mark
    settled = proceeds + kept * spot
    bought_back = where(bar.delivered == 0.0, abs(bar.mark), 0.0) + abs(book.second) * bar.second_mark
    sold = where(opens, bar.next_mark, 0.0)
    shares = where(turned, kept, book.shares)
    second = where(turned, 0.0, book.second)
    cash = where(turned, proceeds + sold, cash)
    rolled = costs.option_spread * (bought_back + abs(sold))

    # the hedge
    trade = order.trade | turned
    bought = where(trade, where(turned, order.shares * bar.live, order.shares) - shares, 0.0)
    more = where(trade, where(turned, order.second * bar.live, order.second) - second, 0.0)
    dollars = abs(bought) * spot
    capital = where(opens, spot, bar.capital)
    impact: Any = None
    if costs.linear_impact is not None or costs.square_root_impact is not None:
        impact = dollars * _impact(dollars * order.next_exposure * (costs.capital / capital), bar, costs)
    cost = abs(more) * (costs.option_spread * bar.second_next_mark) + (costs.fee + costs.slippage) * dollars
    cost = where(turned, cost + rolled, cost)
    if impact is not None:
        cost = cost + impact
    shares, second = shares + bought, second + more
    cash = cash - bought * spot - more * bar.second_next_mark - cost
    value = cash + shares * spot - bar.next_mark + second * bar.second_next_mark

    # A book that begins with nothing is worth, after the first bar, minus what it paid on it.
    gained = value - where(second_bar, 0.0, book.value)
    cost = where(second_bar, cost - book.value, cost)
    dollars = where(second_bar, dollars + abs(book.shares) * bar.capital, dollars)
    if impact is not None:
        impact = where(second_bar, impact + book.impact, impact)
    orders = as_number(abs(bought) >= SMALLEST_ORDER)
    orders = where(second_bar, orders + as_number(abs(book.shares) >= SMALLEST_ORDER), orders)
    per_capital = order.exposure * (1.0 / bar.capital)  # the same for all configurations: one division a bar
    share = 1.0 / n_assets
    ended = where(bar.live > 0.0, settled, value)  # the last cycle also pays for closing its hedge
    option = wide(sum_assets(-bar.mark_gain * per_capital) * share)
    outcome = Outcome(
        bar_return=sum_assets(gained * per_capital) * share,
        turnover=sum_assets(dollars * per_capital) * share,
        cost=sum_assets(cost * per_capital) * share,
        gross=sum_assets(abs(shares) * spot * per_capital) * share,
        net=sum_assets(shares * spot * per_capital) * share,
        hedged=sum_assets(as_number(abs(shares) >= SMALLEST_ORDER)) * share,
        orders=sum_assets(orders),
        trades=n_assets * as_number(turned),
        wins=sum_assets(as_number(turned & (ended > book.cycle_value))),
        parts=Parts(
            option=option,
            option2=option * option,
            stock=sum_assets(book.shares * bar.spot_gain * per_capital) * share,
            second=sum_assets(book.second * bar.second_gain * per_capital) * share,
            stock_cost=sum_assets((costs.fee + costs.slippage) * dollars * per_capital) * share,
            impact_cost=0.0 if impact is None else sum_assets(impact * per_capital) * share,
        ),
    )
    spent = book.impact if impact is None else impact
    return outcome, Book(cash, shares, second, value, spent, where(turned, settled, book.cycle_value))


def _impact(traded: Value, bar: Any, costs: Any) -> Value:
    """Market impact of a trade as a fraction of it; `traded` dollars, as the market sees them."""
    impact: Any = 0.0
    if costs.linear_impact is not None:
        impact = costs.linear_impact * traded
    if costs.square_root_impact is not None:
        impact = impact + costs.square_root_impact * bar.daily_volatility * sqrt(traded * (1.0 / costs.adv))
    return impact


def value_of(book: Book, planes: Mapping[str, Any]) -> Any:
    """V, per option owed."""
    return book.value


def deviation(profits: FloatArray) -> FloatArray:
    """Sample standard deviation of each row of (C, S)."""
    return np.asarray(profits.std(axis=1, ddof=1))


def effectiveness(profits: FloatArray, naked: FloatArray) -> FloatArray:
    """1 - variance of the hedged book's profit / variance of the option's own, of each row of (C, S); 0 where that is 0.

    Source: Ederington (1979), Journal of Finance 34, 157-170.
    """
    return _effectiveness(profits.var(axis=1), naked.var(axis=1))


def _effectiveness(hedged: FloatArray, naked: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(naked == 0.0, 0.0, 1.0 - hedged / naked)


METRICS = (
    Metric("profit", +1, "fraction", "sum of the bar returns: profit over capital, not compounded"),
    Metric(
        "hedging_error",
        -1,
        "fraction",
        "standard deviation of the profit over paths (of one history: of its bar returns * sqrt(bars))",
        Across(("profit",), deviation),
    ),
    Metric(
        "hedge_effectiveness",
        +1,
        "ratio",
        "1 - variance of the profit / variance of the naked option's, over paths (of one history: of its bars)",
        Across(("profit", "naked_profit"), effectiveness),
    ),
    Metric("naked_profit", 0, "fraction", "sum of the gains of the option owed, over capital"),
    Metric("stock_profit", 0, "fraction", "sum of the gains of the shares held, over capital"),
    Metric("second_profit", 0, "fraction", "sum of the gains of the second option, over capital"),
    Metric("carry", 0, "fraction", "interest on cash and dividends, over capital"),
    Metric("stock_cost", -1, "fraction", "fees and slippage of trades in shares, over capital"),
    Metric("option_cost", -1, "fraction", "half-spreads of trades in options, over capital"),
    Metric("impact_cost", -1, "fraction", "market impact of trades in shares, over capital"),
)


def measure(sums: Mapping[str, FloatArray], bars: float, years: float) -> dict[str, FloatArray]:
    """`METRICS` of composed sums, (C,) each: profit = naked + stock + second + carry - the three costs."""
    profit, naked = sums["r1"], sums["parts.option"]
    stock, second = sums["parts.stock"], sums["parts.second"]
    stock_cost, impact_cost = sums["parts.stock_cost"], sums["parts.impact_cost"]
    option_cost = sums["cost"] - stock_cost - impact_cost
    squares = np.maximum(sums["r2"] - profit * profit / bars, 0.0)
    naked_squares = np.maximum(sums["parts.option2"] - naked * naked / bars, 0.0)
    return {
        "profit": profit,
        "hedging_error": np.sqrt(squares * bars / max(bars - 1.0, 1.0)),
        "hedge_effectiveness": _effectiveness(squares, naked_squares),
        "naked_profit": naked,
        "stock_profit": stock,
        "second_profit": second,
        "carry": profit + sums["cost"] - naked - stock - second,
        "stock_cost": stock_cost,
        "option_cost": option_cost,
        "impact_cost": impact_cost,
    }


OPTION_BOOK = Accounting(Book, execute, value_of, Parts, METRICS, measure)
