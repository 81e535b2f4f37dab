"""Indicators against their definitions, value by value, and against tomorrow."""

from __future__ import annotations

import numpy as np
import pytest
from histories import history, part
from hypothesis import given
from hypothesis import strategies as st

from kernels.indicators import drawdown, log_returns, realised_volatility, shifted, trailing_sums, true_range_average

MARKET = history(120)


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30),
    st.lists(st.integers(1, 40), min_size=1, max_size=4, unique=True),
)
def test_trailing_sums_are_sums_of_the_last_values(values: list[float], windows: list[int]) -> None:
    x = np.array(values)[:, None]
    sums = trailing_sums(x, np.array(windows, dtype=np.float64))
    for k, window in enumerate(windows):
        for t in range(len(values)):
            if t < window - 1:
                assert np.isnan(sums[k, t, 0])
            else:  # newest first, as the rule adds them
                assert sums[k, t, 0] == sum(reversed(values[t - window + 1 : t + 1]))


def test_a_slice_of_a_bank_does_not_depend_on_the_other_windows() -> None:
    x = MARKET.close
    assert np.array_equal(
        trailing_sums(x, np.array([7.0, 30.0, 90.0]))[1], trailing_sums(x, np.array([30.0]))[0], equal_nan=True
    )


def test_a_stretch_without_a_trade_sums_to_exactly_nothing() -> None:
    returns = np.nan_to_num(log_returns(MARKET))[:, :1]
    halted = slice(60, 70)
    assert (returns[halted] == 0.0).all()
    assert trailing_sums(returns, np.array([8.0]))[0, 67:70].tolist() == [[0.0]] * 3


def test_volatility_is_the_sample_deviation_of_the_windows_log_returns() -> None:
    window = 30
    ours = realised_volatility(MARKET, np.array([float(window)]))[0]
    returns = np.log(MARKET.close[1:] / MARKET.close[:-1])
    assert np.isnan(ours[:window]).all()
    for t in (window, 77, 119):
        expected = returns[t - window : t].std(axis=0, ddof=1) * np.sqrt(365.0)
        # a difference of two sums of 30 squares near each other
        np.testing.assert_allclose(ours[t], expected, rtol=1e-12, atol=1e-12)


def test_drawdown_is_the_distance_from_the_highest_close_so_far() -> None:
    ours = drawdown(MARKET)
    for t in (0, 50, 119):
        assert np.array_equal(ours[t], MARKET.close[t] / MARKET.close[: t + 1].max(axis=0) - 1.0)
    assert (ours <= 0.0).all()


def test_true_range_average_is_wilders_recursion_and_missing_at_first() -> None:
    ours = true_range_average(MARKET)
    assert MARKET.high is not None
    assert MARKET.low is not None
    assert (ours[:13] == 0.0).all()
    average = MARKET.high[0] - MARKET.low[0]
    for t in range(1, 120):
        high, low, previous = MARKET.high[t], MARKET.low[t], MARKET.close[t - 1]
        reach = np.maximum(high - low, np.maximum(abs(high - previous), abs(low - previous)))
        average = average + (reach - average) / 14.0
        if t >= 13:
            np.testing.assert_allclose(ours[t], average, rtol=1e-13)


def test_the_range_of_a_market_of_closes_is_the_move_of_its_closes() -> None:
    closes = type(MARKET)(MARKET.tickers, MARKET.timestamps, MARKET.close)
    moves = abs(np.diff(MARKET.close, axis=0, prepend=MARKET.close[:1]))
    average = moves[0]
    for move in moves[1:]:
        average = average + (move - average) / 14.0
    np.testing.assert_allclose(true_range_average(closes)[-1], average, rtol=1e-13)


def test_shifted_is_yesterdays_value_and_never_missing() -> None:
    bank = np.array([[[np.nan], [1.0], [2.0], [3.0]]])
    assert shifted(bank, missing=-9.0)[0, :, 0].tolist() == [-9.0, -9.0, 1.0, 2.0]


@pytest.mark.parametrize("cut", [1 + 1, 40, 119])
def test_no_indicator_looks_ahead(cut: int) -> None:
    past, windows = part(MARKET, slice(cut)), np.array([5.0, 30.0])
    for indicator in (log_returns, drawdown, true_range_average):
        assert np.array_equal(indicator(past), indicator(MARKET)[:cut], equal_nan=True)
    assert np.array_equal(
        realised_volatility(past, windows), realised_volatility(MARKET, windows)[:, :cut], equal_nan=True
    )
