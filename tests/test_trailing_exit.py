"""A trailing exit follows the profit in bands, only towards it, the same for shorts, and fills where a trader could."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from protected_books import BOOK, PROTECTED, of_closes, walked

from kernels import Costs
from kernels.trailing_exit import Trail, trailing_exit

ENTRY, ATR = 100.0, 1.0
DEFAULTS = {p.name: p.default for p in PROTECTED.parameters}
Candle = tuple[float, float, float, float]  # open, high, low, close


class Ride(NamedTuple):
    """The stop after each bar, where and when it was hit, and the bars at whose close the position was overdue."""

    stops: list[float]
    left_at: float | None
    overdue: list[int]


def ride(candles: Sequence[Candle], side: float = 1.0, late: float = 0.0, atr: float = ATR, **changes: Any) -> Ride:
    """A position bought, or sold short, at ENTRY before the first of these bars; `late`: at that bar's close."""
    p = SimpleNamespace(**(DEFAULTS | changes))
    one = np.ones((1, 1))
    trail = Trail(0.0 * one, 0.0 * one, 0.0 * one)
    stops, overdue = [], []
    for number, candle in enumerate(candles):
        prices = dict(zip(("open", "high", "low", "close"), (x * one for x in candle), strict=True))
        bar = SimpleNamespace(**prices, atr=atr * one, costs=SimpleNamespace(late=late))
        left, trail = trailing_exit(trail, side * one, ENTRY * one, one > 0.0, bar, p)
        if left.price[0, 0] > 0.0:
            return Ride(stops, float(left.price[0, 0]), overdue)
        if left.overdue[0, 0]:
            overdue.append(number)
        stops.append(float(trail.stop[0, 0]))
    return Ride(stops, None, overdue)


def up_to(*highs: float) -> list[Candle]:
    """Bars that reach these highs and never come back far enough to be stopped."""
    return [(high - 0.2, high, high - 0.3, high - 0.1) for high in highs]


def mirrored(candles: Sequence[Candle]) -> list[Candle]:
    """The same moves downwards: about the entry, so that profits per entry price are the same."""
    return [(2 * ENTRY - o, 2 * ENTRY - low, 2 * ENTRY - high, 2 * ENTRY - c) for o, high, low, c in candles]


# ---- bands of profit


@pytest.mark.parametrize(
    ("best", "stop"),
    [
        (100.4, 98.0),  # below 1 %: the first stop, 2 % away
        (100.99, 98.0),
        (101.0, 100.0),  # 1 to 2 %: at entry
        (101.99, 100.0),
        (102.0, 101.0),  # 2 to 4 %: half of the best profit
        (103.0, 101.5),
        (103.99, 101.995),
        (104.0, 102.5),  # from 4 %: 1.5 average true ranges behind the best price
        (110.0, 108.5),
    ],
)
def test_each_band_of_profit_has_its_stop(best: float, stop: float) -> None:
    assert ride(up_to(best), trail_atr=1.5).stops == pytest.approx([stop], rel=1e-14)


def test_the_stop_only_moves_towards_the_profit() -> None:
    """The trail of 3 average true ranges at 4 % (101) is behind half of the best profit (101.99): it does not give way."""
    assert ride(up_to(103.98, 104.0, 104.5, 106.0, 105.0)).stops == pytest.approx(
        [101.99, 101.99, 101.99, 103.0, 103.0]
    )


def test_wider_ranges_later_do_not_lower_the_stop() -> None:
    calm, wild = (ride(up_to(110.0, 110.0), atr=atr).stops[-1] for atr in (1.0, 2.0))
    assert (calm, wild) == (107.0, 104.0)
    both = ride(up_to(110.0), atr=1.0).stops + ride(up_to(110.0), atr=2.0).stops
    assert max(both) == 107.0


def test_without_a_range_the_trail_keeps_half_of_the_profit() -> None:
    assert ride(up_to(110.0), atr=0.0).stops == [105.0]


# ---- where it fills


def test_a_stop_hit_within_the_bar_fills_at_its_level() -> None:
    assert ride([(99.0, 99.5, 97.0, 99.4)]).left_at == 98.0  # the close is above it again


def test_a_touch_is_a_hit() -> None:
    assert ride([(99.0, 99.5, 98.0, 99.4)]).left_at == 98.0
    assert ride([(99.0, 99.5, 98.01, 99.4)]).left_at is None


def test_a_gap_through_the_stop_fills_at_the_open() -> None:
    assert ride([*up_to(100.4), (95.0, 99.0, 94.0, 96.0)]).left_at == 95.0


def test_a_bar_is_held_against_the_stop_that_stood_before_it() -> None:
    """A bar whose high would raise the stop to 107 and whose low is 99 is not stopped: which came first is not known."""
    wide = (100.5, 110.0, 99.0, 101.0)
    assert ride([wide]).left_at is None
    assert ride([wide, (101.0, 101.5, 100.5, 101.0)]).left_at == 101.0  # the next open is beyond it


def test_a_position_bought_at_a_bars_close_is_not_held_against_that_bars_range() -> None:
    fallen = (110.0, 120.0, 90.0, 100.0)
    assert ride([fallen], late=1.0) == Ride([98.0], None, [])  # nor is its high a profit
    assert ride([fallen, (99.0, 99.0, 97.0, 98.0)], late=1.0).left_at == 98.0


# ---- time


@pytest.mark.parametrize(("close", "closed"), [(102.9, True), (103.0, False), (97.9, True)])
def test_a_position_that_has_earned_little_in_its_time_is_closed(close: float, closed: bool) -> None:
    row = {"max_hold_bars": 4, "initial_stop": 0.2, "break_even_from": 0.5, "lock_from": 0.5, "trail_from": 0.5}
    bar = (close, max(close, ENTRY), min(close, ENTRY), close)
    assert ride([bar] * 5, **row).overdue == ([3, 4] if closed else [])


# ---- shorts

candle = st.tuples(*[st.floats(-3.0, 3.0)] * 2, *[st.floats(0.0, 2.0)] * 2)


@given(st.lists(candle, min_size=1, max_size=12), st.sampled_from([0.0, 1.0]), st.floats(0.5, 4.0))
def test_a_short_of_the_mirrored_prices_is_the_mirror(moves: Any, late: float, trail: float) -> None:
    candles, price = [], ENTRY
    for gap, move, above, below in moves:
        opened, price = price + gap, price + gap + move
        candles.append((opened, max(opened, price) + above, min(opened, price) - below, price))
    long, short = (
        ride(path, side, late, trail_atr=trail, max_hold_bars=5)
        for path, side in ((candles, 1.0), (mirrored(candles), -1.0))
    )
    # Prices about 100 are rounded by 100 * 2**-53, and a dozen such roundings stay below 1e-12 of them.
    assert (long.left_at is None) == (short.left_at is None)
    if long.left_at is not None and short.left_at is not None:
        assert short.left_at == pytest.approx(2 * ENTRY - long.left_at, rel=1e-12)
    assert [-stop for stop in short.stops] == pytest.approx([2 * ENTRY - stop for stop in long.stops], rel=1e-12)
    assert short.overdue == long.overdue


# ---- in a book


def test_a_stopped_position_comes_back_with_the_next_rebalance_only() -> None:
    """Rebalanced on bars 119, 129, ...; the price falls through the stop on bar 122."""
    T = 150
    close = np.full(T, 100.0)
    close[122:] = 90.0
    row = BOOK | {"trailing_exit": "on", "max_hold_bars": 500, "rebalance_bars": 10}
    steps = walked(of_closes(close), [row], Costs(0.0, 0.0, "close"))
    held = np.array([float(step.account.units[0, 0]) for step in steps]) > 0.0
    due = [t for t, step in enumerate(steps) if step.rule.waited[0] == 0.0]
    back = next(t for t in due if t >= 122)
    assert back - 122 > 1
    assert held[due[0] : 122].all()
    assert not held[122:back].any()
    assert held[back:].all()
    assert steps[-1].sums.parts.stops[0] == steps[-1].sums.trades[0] == 1.0


def test_an_overdue_position_is_closed_with_the_next_fill() -> None:
    close = np.full(130, 100.0)
    row = BOOK | {"trailing_exit": "on", "max_hold_bars": 20, "rebalance_bars": 50}
    steps = walked(of_closes(close), [row], Costs(0.0, 0.0, "close"))
    held = np.array([float(step.account.units[0, 0]) for step in steps]) > 0.0
    changed = np.flatnonzero(held[1:] != held[:-1]) + 1
    assert held[0]  # a base book begins at once
    assert changed.tolist() == [20, 50, 70, 100, 120]
    assert steps[-1].sums.parts.stops[0] == 0.0
