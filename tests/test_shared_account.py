"""One cash account for a book: nothing is made or lost but by prices, costs and income, and buying ends where the cash does."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from histories import history
from hypothesis import assume, given
from hypothesis import strategies as st
from protected_books import BOOK, EVERY_BAR, FREE, NEVER, OFF, SHORT, drawn, returns, walked

from kernels import Costs
from kernels.account import Outcome
from kernels.market import FloatArray
from kernels.shared_account import BookOrder, SharedAccount, execute

A = 3
fraction = st.floats(-1.0, 1.0)
price = st.floats(1.0, 1000.0)


class Situation(NamedTuple):
    """An account of three assets, one order, one bar; prices (A, 1)."""

    account: SharedAccount
    order: BookOrder
    bar: SimpleNamespace

    def at(self, fee: float, slippage: float = 0.0) -> tuple[Outcome, SharedAccount]:
        costs = SimpleNamespace(fee=fee, slippage=slippage)
        with np.errstate(all="ignore"):  # as the backends run it: where() picks the other branch of 0 / 0
            return execute(self.order, self.account, self.bar, costs, A)

    @property
    def value_before(self) -> float:
        return float(self.account.cash[0] + (self.account.units * self.bar.previous_close).sum())


def column(values: Any) -> FloatArray:
    return np.array(values, dtype=np.float64).reshape(-1, 1)


def situation(
    weight: Any = (0.0, 0.0, 0.0),
    units: Any = (0.0, 0.0, 0.0),
    cash: float = 10_000.0,
    trade: Any = (True, True, True),
    exit_price: Any = (0.0, 0.0, 0.0),
    entry: Any = None,
    income: float = 0.0,
    price: Any = (100.0, 50.0, 20.0),
    close: Any = None,
    fillable: float = 1.0,
) -> Situation:
    """Filled at `price`, which is the close before too; marked at `close`, else at the same."""
    at, units = column(price), column(units)
    entry = np.where(units != 0.0, at, 0.0) if entry is None else column(entry)
    zero = np.zeros(1)
    order = BookOrder(column(weight), column(trade) > 0.0, column(exit_price), zero + income, zero, zero, zero, zero)
    marked = at if close is None else column(close)
    bar = SimpleNamespace(previous_close=at, fill=at, close=marked, fillable=np.array([fillable]))
    return Situation(SharedAccount(np.array([cash]), units, entry), order, bar)


def per_asset(value: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(*[value] * A)


situations = st.builds(
    situation,
    weight=per_asset(fraction),
    units=per_asset(st.sampled_from([-20.0, -3.5, 0.0, 0.0, 7.25, 30.0])),
    cash=st.floats(0.0, 20_000.0),
    trade=per_asset(st.booleans()),
    exit_price=per_asset(st.sampled_from([0.0, 0.0, 0.0, 70.0, 130.0])),
    income=st.floats(-100.0, 100.0),
    price=per_asset(price),
)


# ---- conservation


@given(situations, st.floats(0.0, 0.02), st.floats(0.0, 0.02))
def test_value_is_cash_and_positions_and_nothing_else_moves_it(made: Situation, fee: float, slippage: float) -> None:
    """With fills at the mark: value after - before = what stops got beside the mark + income - cost."""
    outcome, after = made.at(fee, slippage)
    before = made.value_before
    assume(abs(before) > 100.0)
    stopped = (made.order.exit_price > 0.0) & (made.account.units != 0.0)
    beside = np.where(stopped, made.account.units * (made.order.exit_price - made.bar.fill), 0.0).sum()
    value = float(after.cash[0] + (after.units * made.bar.close).sum())
    # Amounts of up to 3 * 1000 * 30 and a dozen sums of them: 1e5 * 2**-53 * 20 < 1e-9
    scale = 1e-9
    cost = float(outcome.cost[0]) * abs(before)
    assert value - before == pytest.approx(beside + float(made.order.income[0]) - cost, abs=scale)
    assert float(outcome.bar_return[0]) * abs(before) == pytest.approx(value - before, abs=scale)
    assert float(outcome.net[0]) * abs(before) == pytest.approx((after.units * made.bar.close).sum(), abs=scale)
    assert cost >= 0.0


@given(situations, st.floats(0.0, 0.02), st.floats(0.0, 0.02))
def test_cost_never_improves_a_bar(made: Situation, one: float, other: float) -> None:
    """From one state, one order, filled at the mark: dearer trading leaves no more, whatever the cash limits."""
    assume(made.value_before > 100.0)
    cheap, dear = (made.at(fee) for fee in sorted((one, other)))
    assert dear[0].bar_return[0] <= cheap[0].bar_return[0] + 1e-12


def test_cost_never_improves_a_book() -> None:
    """Of the base book, whose orders depend on nothing but its weights, at every bar of the way."""
    bases = [BOOK | {"base": base} for base in ("equal", "inverse_volatility")]
    growth = [
        np.cumprod(1.0 + returns(history(160), bases, Costs(fee, slippage, "close")), axis=0)
        for fee, slippage in ((0.0, 0.0), (4.0, 0.0), (4.0, 5.0), (40.0, 50.0))
    ]
    for cheap, dear in pairwise(growth):
        assert (dear < cheap).all()


# ---- buying


@given(situations, st.floats(0.0, 0.02))
def test_buying_never_takes_cash_below_zero(made: Situation, fee: float) -> None:
    _, after = made.at(fee)
    bought = after.units > np.where(made.order.exit_price > 0.0, 0.0, made.account.units)
    if bought.any():
        assert after.cash[0] >= -1e-9  # rounding of cash near 1e5


def test_what_is_bought_shares_the_cash_alike() -> None:
    """Weights of 90 %, 60 % and 30 % of 10,000 are 18,000 of purchases: each gets 10 / 18 of what it wants."""
    outcome, after = situation((0.9, 0.6, 0.3)).at(0.0)
    assert (after.units * column((100.0, 50.0, 20.0)))[:, 0] == pytest.approx([5000.0, 10_000 / 3, 5000 / 3])
    assert after.cash[0] == pytest.approx(0.0, abs=1e-9)
    assert outcome.orders[0] == 3.0


def test_sales_are_filled_first_and_pay_for_what_is_bought() -> None:
    _, after = situation((0.0, 1.0, 0.0), units=(100.0, 0.0, 0.0), cash=0.0).at(0.0)
    assert after.units[:, 0] == pytest.approx([0.0, 200.0, 0.0])


def test_covering_a_short_is_buying() -> None:
    """Cash of 1,000 against a short of 100 units at 50: 20 units can be covered."""
    _, after = situation(units=(0.0, -100.0, 0.0), cash=1000.0, price=(100.0, 5.0, 20.0), trade=(0, 1, 0)).at(0.0)
    assert after.units[1, 0] == 0.0
    poor = situation(units=(30.0, -100.0, 0.0), cash=1000.0, trade=(0, 1, 0), price=(200.0, 50.0, 20.0))
    assert poor.at(0.0)[1].units[1, 0] == pytest.approx(-80.0)


def test_cash_that_is_spent_buys_no_dust() -> None:
    """The rounding that is left of it would be a position of 1e-30 units, which rules would take for one."""
    outcome, after = situation((0.5, 0.6, 0.0), units=(100.0, 0.0, 0.0), cash=1e-12, trade=(0, 1, 0)).at(0.001)
    assert after.units[1, 0] == 0.0
    assert outcome.orders[0] == outcome.turnover[0] == 0.0


def test_nothing_is_filled_beyond_the_data_or_without_equity() -> None:
    assert not situation((0.5, 0.5, 0.0), fillable=0.0).at(0.0)[1].units.any()
    broke = situation((0.5, 0.0, 0.0), units=(0.0, -300.0, 0.0))
    assert broke.at(0.0)[1].units[:, 0].tolist() == [0.0, -300.0, 0.0]


def test_the_order_of_the_assets_changes_no_purchase() -> None:
    made = situation((0.9, 0.6, -0.3))
    turned = situation((-0.3, 0.9, 0.6), price=(20.0, 100.0, 50.0))
    assert turned.at(0.001)[1].units[[1, 2, 0], 0] == pytest.approx(made.at(0.001)[1].units[:, 0], rel=1e-14)


# ---- stops, wins, entries


def test_a_stop_pays_what_any_sale_or_purchase_pays() -> None:
    for units, cost in ((10.0, 1.0 - 0.999 * 0.998), (-10.0, 1.001 * 1.002 - 1.0)):
        made = situation(units=(units, 0.0, 0.0), exit_price=(90.0, 0.0, 0.0), trade=(0, 0, 0))
        outcome, after = made.at(0.001, 0.002)
        assert after.units[0, 0] == after.entry[0, 0] == 0.0
        assert float(outcome.cost[0]) * made.value_before == pytest.approx(900.0 * cost)
        assert float(outcome.turnover[0]) * made.value_before == pytest.approx(900.0)
        assert outcome.parts.stops[0] == outcome.trades[0] == 1.0
        assert outcome.orders[0] == 0.0


@pytest.mark.parametrize("units", [10.0, -10.0])
@pytest.mark.parametrize("by_stop", [True, False])
@pytest.mark.parametrize("gain", [-0.05, 0.0015, 0.05])
def test_a_win_is_a_position_closed_above_all_its_costs(units: float, by_stop: bool, gain: float) -> None:
    """Fees of 0.1 % each way: 0.15 % of profit does not pay for them."""
    out = 100.0 * (1.0 + np.sign(units) * gain)
    made = situation(
        units=(units, 0.0, 0.0),
        entry=(100.0, 0.0, 0.0),
        price=(100.0 if by_stop else out, 50.0, 20.0),
        exit_price=(out if by_stop else 0.0, 0.0, 0.0),
        trade=(not by_stop, 0, 0),
    )
    outcome, _ = made.at(0.001)
    assert outcome.trades[0] == 1.0
    assert outcome.wins[0] == float(gain > 0.0015)


def test_the_entry_is_the_mean_price_of_what_is_held() -> None:
    """10 units at 80 and then, at 100, 10 more; a part that is sold leaves it, a turn begins anew."""
    for weight, entry in ((0.2, 90.0), (0.05, 80.0), (-0.1, 100.0), (0.0, 0.0)):
        made = situation((weight, 0.0, 0.0), units=(10.0, 0.0, 0.0), cash=9000.0, entry=(80.0, 0.0, 0.0))
        assert made.at(0.0)[1].entry[0, 0] == pytest.approx(entry)


# ---- over a history


@pytest.mark.parametrize("fill", ["next_open", "next_close", "close"])
def test_the_parts_of_a_books_growth_add_up(fill: Any) -> None:
    """Bar by bar: change of value = positions' gains + fills beside the mark + stops beside it + income - cost.

    Stops and fills are seen as what is left when the others are taken away: over many random rules, it is 0 where
    neither a stop nor an order was.
    """
    market, rows = history(170), drawn(30, seed=4)
    steps = walked(market, rows, Costs(4.0, 5.0, fill, option_spread=0.02, cash_rate=0.05))
    quiet, paid = 0, np.zeros(30)
    for t in range(1, len(steps)):
        before, after = steps[t - 1].account, steps[t].account
        value = [s.cash + (s.units * market.close[i][:, None]).sum(axis=0) for s, i in ((before, t - 1), (after, t))]
        gained = (before.units * (market.close[t] - market.close[t - 1])[:, None]).sum(axis=0)
        beside = (steps[t].sums.parts.income - (steps[t - 1].sums.parts.income if t > 1 else 0.0)) * abs(value[0])
        same = (before.units == after.units).all(axis=0)
        quiet += int(same.sum())
        paid += abs(beside)
        # cumulated sums of 170 bars of at most 1 are good to 170 * 2**-52, times 1e4 of value: 4e-10
        np.testing.assert_allclose((value[1] - value[0])[same], (gained + beside)[same], rtol=0.0, atol=1e-8)
    assert quiet > 1000
    assert (paid > 0.0).sum() >= 5


def test_interest_and_puts_are_all_that_is_income() -> None:
    market = history(160)
    rows = [OFF | SHORT | EVERY_BAR | {"hedge": hedge, "hedge_exposure": 0.1} for hedge in ("off", "reduce", "inverse")]
    last = walked(market, rows, Costs(0.0, 0.0, "close", cash_rate=0.1))[-1]
    assert not last.sums.parts.income.any()
    assert last.sums.parts.hedged.tolist() == [0.0, *[last.sums.parts.hedged[1]] * 2]


def test_a_book_that_is_never_rebalanced_is_bought_and_held() -> None:
    market = history(160)
    found = np.cumprod(1.0 + returns(market, [OFF | SHORT | NEVER], FREE)[:, 0])
    held = (market.close / market.close[0]).mean(axis=1)[1:]
    np.testing.assert_allclose(found, held, rtol=160 * 8 * 2.0**-52)
