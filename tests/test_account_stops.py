"""The account against one written in plain Python, and the stops against their rules in words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_account import PlainAccount, values

from kernels import Costs, InputError
from kernels.account import START_CASH, Account, Order, Outcome, execute
from kernels.stops import stop_loss, trailing_stop

PRICES = st.floats(0.01, 1000.0)
WEIGHTS = st.sampled_from([-2.0, -1.0, -0.3, 0.0, 0.4, 1.0, 1.0001, 3.0])
BARS = st.lists(st.tuples(WEIGHTS, st.booleans(), PRICES, PRICES), min_size=1, max_size=12)


def trade(bars: list[tuple[float, bool, float, float]], costs: Costs) -> tuple[list[Outcome], list[Account]]:
    """One asset, one configuration: (weight, trade, fill, close) per bar."""
    account = Account(*(np.array([[x]]) for x in (START_CASH, 0.0, START_CASH)))
    outcomes, accounts = [], []
    fractions = SimpleNamespace(**costs.fractions)
    previous = bars[0][3]
    for weight, wanted, fill, close in bars:
        prices = {"fill": fill, "close": close, "previous_close": previous}
        bar = SimpleNamespace(**{name: np.array([[price]]) for name, price in prices.items()}, fillable=1.0)
        previous = close
        outcome, account = execute(Order(np.array([[weight]]), np.array([[wanted]])), account, bar, fractions, 1)
        outcomes.append(outcome)
        accounts.append(account)
    return outcomes, accounts


def worth(account: Account, close: float) -> float:
    return float(account.cash[0, 0] + account.units[0, 0] * close)


@settings(max_examples=300)
@given(bars=BARS, fee=st.sampled_from([0.0, 4.0, 100.0]), slippage=st.sampled_from([0.0, 5.0, 300.0]))
def test_the_account_is_what_a_trader_would_write_down(bars: Any, fee: float, slippage: float) -> None:
    weights, trades, fills, closes = zip(*bars, strict=True)
    plain = values(PlainAccount(fee / 1e4, slippage / 1e4), weights, trades, fills, closes)
    _, accounts = trade(bars, Costs(fee, slippage))
    # An order near the 1e-8 units that are ignored may fall on either side of it, at prices up to 1000; and 12 bars of
    # leveraged prices that move by up to 1e5 carry a rounding on: 2**-53 * 12 * 1e5 of the largest value.
    scale = max(START_CASH, *(abs(v) for v in plain))
    ours = [worth(a, close) for a, close in zip(accounts, closes, strict=True)]
    np.testing.assert_allclose(ours, plain, rtol=0.0, atol=scale * 2.0**-53 * 12e5 + 1e-4)


@given(bars=BARS, fee=st.floats(0.0, 500.0))
def test_buying_never_makes_debts(bars: Any, fee: float) -> None:
    """Cash turns negative only with a short bought back at a loss; who was never short owes nothing."""
    long_only = [(max(w, 0.0), wanted, fill, close) for w, wanted, fill, close in bars]
    _, accounts = trade(long_only, Costs(fee))
    # the cash left after a purchase is a difference of amounts up to the equity, which prices can raise 1e5-fold
    assert all(float(a.cash[0, 0]) >= -1e-6 * abs(worth(a, bar[3])) for a, bar in zip(accounts, long_only, strict=True))
    assert all(float(a.units[0, 0]) >= -1e-8 for a in accounts)


@given(weight=st.floats(-3.0, 3.0), fee=st.floats(0.0, 100.0), slippage=st.floats(0.0, 100.0))
def test_cost_is_what_is_paid_beyond_the_notional(weight: float, fee: float, slippage: float) -> None:
    outcomes, accounts = trade([(weight, True, 10.0, 10.0)], Costs(fee, slippage))
    lost = START_CASH - worth(accounts[0], 10.0)
    assert float(outcomes[0].cost[0]) * START_CASH == pytest.approx(lost, abs=1e-9)
    assert lost >= -1e-9
    sides = (1 + slippage / 1e4) * (1 + fee / 1e4) if weight > 0 else (1 - slippage / 1e4) * (1 - fee / 1e4)
    assert lost == pytest.approx(abs(sides - 1.0) * float(outcomes[0].turnover[0]) * START_CASH, abs=1e-8)


def test_an_account_without_equity_trades_no_more() -> None:
    """A full short into a price that triples: ruin; no later order is filled, and the debt follows the price."""
    bars = [(-1.0, True, 10.0, 10.0), (-1.0, False, 30.0, 30.0), (0.0, True, 30.0, 30.0), (1.0, True, 25.0, 25.0)]
    outcomes, accounts = trade(bars, Costs(0.0, 0.0))
    assert worth(accounts[1], 30.0) == -START_CASH
    assert [float(o.orders[0]) for o in outcomes] == [1.0, 0.0, 0.0, 0.0]
    assert float(accounts[3].units[0, 0]) == -1000.0


def test_wins_and_trades_count_positions_closed_or_reversed() -> None:
    bars = [
        (1.0, True, 10.0, 10.0),  # long at 10
        (0.5, True, 12.0, 12.0),  # half of it sold: still the same position
        (-0.5, True, 14.0, 14.0),  # reversed with a gain: a trade won
        (0.0, True, 15.0, 15.0),  # closed with a loss: a trade lost
        (0.0, True, 16.0, 16.0),  # nothing to close
    ]
    outcomes, _ = trade(bars, Costs(0.0, 0.0))
    assert [float(o.trades[0]) for o in outcomes] == [0.0, 0.0, 1.0, 1.0, 0.0]
    assert [float(o.wins[0]) for o in outcomes] == [0.0, 0.0, 1.0, 0.0, 0.0]
    assert [float(o.hedged[0]) for o in outcomes] == [0.0, 0.0, 1.0, 0.0, 0.0]
    assert [float(np.sign(o.net[0])) for o in outcomes] == [1.0, 1.0, -1.0, 0.0, 0.0]


def test_a_gain_that_the_closing_costs_take_is_no_win() -> None:
    """Bought for 1 % at 10 and sold for 1 %: 10.15 does not bring both back, 10.25 does."""
    for price, won in ((10.15, 0.0), (10.25, 1.0)):
        outcomes, _ = trade([(1.0, True, 10.0, 10.0), (0.0, True, price, price)], Costs(100.0, 0.0))
        assert float(outcomes[1].trades[0]) == 1.0
        assert float(outcomes[1].wins[0]) == won


def test_every_mistake_in_the_costs_is_named_at_once() -> None:
    with pytest.raises(InputError) as refused:
        Costs(fee_bps=-1.0, slippage_bps=float("nan"), fill="tomorrow")  # type: ignore[arg-type]
    assert [p.split(":")[0] for p in refused.value.problems] == ["costs.fee_bps", "costs.slippage_bps", "costs.fill"]


# ---- stops: the state machines of the specification, one asset, in plain Python

STOP_BARS = st.lists(
    st.tuples(
        st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]),
        st.sampled_from([90.0, 95.0, 100.0, 101.0, 110.0]),
        st.sampled_from([0.0, 3.0, 8.0]),
    ),
    min_size=1,
    max_size=30,
)


def plain_stop_loss(weights: list[float], closes: list[float], distance: float) -> list[float]:
    direction, entry, out = 0.0, 0.0, []
    for weight, close in zip(weights, closes, strict=True):
        sign = float(np.sign(weight))
        out.append(weight)
        if sign == 0.0:
            direction = 0.0
        elif sign != direction:
            direction, entry = sign, close
        elif (direction > 0 and close < entry * (1 - distance)) or (direction < 0 and close > entry * (1 + distance)):
            out[-1], direction = 0.0, 0.0
    return out


def plain_trailing_stop(weights: list[float], bars: list[tuple[float, float, float]], distance: float) -> list[float]:
    direction, best, out = 0.0, 0.0, []
    for weight, (high, low, close) in zip(weights, bars, strict=True):
        sign = float(np.sign(weight))
        out.append(weight)
        if sign == 0.0:
            direction = 0.0
            continue
        entered = sign != direction
        reach = high if sign > 0 else low
        best = reach if entered else max(best, high) if sign > 0 else min(best, low)
        direction = sign
        if not entered and ((sign > 0 and close < best - distance) or (sign < 0 and close > best + distance)):
            out[-1], direction = 0.0, 0.0
    return out


@settings(max_examples=300)
@given(bars=STOP_BARS, distance=st.sampled_from([0.02, 0.05, 0.1]))
def test_stop_loss_is_the_state_machine_of_the_specification(bars: Any, distance: float) -> None:
    entry, out = np.zeros((1, 1)), []
    for weight, close, _ in bars:
        stopped, entry = stop_loss(np.array([[weight]]), entry, np.array([[close]]), distance)
        out.append(float(stopped[0, 0]))
    weights, closes, _ = map(list, zip(*bars, strict=True))
    assert out == plain_stop_loss(weights, closes, distance)


@settings(max_examples=300)
@given(bars=STOP_BARS, distance=st.sampled_from([0.0, 5.0, 12.0]))
def test_trailing_stop_is_the_state_machine_of_the_specification(bars: Any, distance: float) -> None:
    best, out = np.zeros((1, 1)), []
    ranges = [(close + reach, close - reach, close) for _, close, reach in bars]
    for (weight, _, _), (high, low, close) in zip(bars, ranges, strict=True):
        arrays = (np.array([[x]]) for x in (high, low, close))
        stopped, best = trailing_stop(np.array([[weight]]), best, *arrays, distance)
        out.append(float(stopped[0, 0]))
    assert out == plain_trailing_stop([weight for weight, _, _ in bars], ranges, distance)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_close_exactly_at_the_stop_does_not_hit_it_and_a_hit_lasts_one_bar(side: float) -> None:
    closes = [100.0, 100.0 - 25.0 * side, 100.0 - 26.0 * side, 100.0 - 26.0 * side, 100.0 - 30.0 * side]
    entry, out = np.zeros((1, 1)), []
    for close in closes:
        weight, entry = stop_loss(np.array([[side]]), entry, np.array([[close]]), 0.25)
        out.append(float(weight[0, 0]))
    assert out == [side, side, 0.0, side, side]  # entered again at 26 beyond, and 30 is near that


def test_a_stop_of_none_and_one_infinitely_far_away_change_nothing() -> None:
    weight, price = np.array([[1.0, -1.0]]), np.array([[1.0, 1.0]])
    for distance in (None, np.inf):
        assert np.array_equal(stop_loss(weight, 5.0 * weight, price, distance)[0], weight)
        assert np.array_equal(trailing_stop(weight, 5.0 * weight, price, price, price, distance)[0], weight)


@given(cost=st.floats(0.0, 50.0), gain=st.floats(-0.01, 0.02))
def test_a_leg_wins_when_it_gains_more_than_its_own_costs(cost: float, gain: float) -> None:
    """Reversing at every bar: a reversal's cost is the closed position's, an opening's is its own."""
    side, price, bars = 1.0, 100.0, []
    for _ in range(6):
        bars.append((0.5 * side, True, price, price))
        price *= 1.0 + side * gain
        side = -side
    outcomes, accounts = trade(bars, Costs(cost, 0.0))
    equity = [START_CASH, *(worth(a, bar[3]) for a, bar in zip(accounts, bars, strict=True))]
    for t in range(2, len(bars)):  # the position opened at t - 1 and closed by the reversal at t
        opened, closed = equity[t], equity[t + 1]
        if abs(closed - opened) > 1e-9 * START_CASH:
            assert float(outcomes[t].wins[0]) == float(closed > opened)
