"""Correlation over a window against plain loops and pandas, and what a bar step makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from histories import history
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import InputError, Market
from kernels.correlation import (
    CORRELATION_REGIMES,
    EWMA,
    ROLLING,
    beta,
    correlation,
    correlation_factors,
    correlation_regime,
    mean_correlation,
)
from kernels.exposure import effective_exposure, exposure, mean_exposure, mean_pairwise
from kernels.market import FloatArray
from kernels.second_market import as_of, cross_correlation, values_as_of

MARKET = history(200, 4, seed=2)
RETURNS = np.log(MARKET.close[1:] / MARKET.close[:-1])
WINDOW = 25
ROUNDING = {"rtol": 0.0, "atol": 1e-12}  # of sums of 25 products of numbers up to 1


def of(close: FloatArray) -> Market:
    stamps = np.datetime64("2020-01-01", "us") + np.arange(len(close)) * np.timedelta64(1, "D")
    return Market(tuple(f"X{a}" for a in range(close.shape[1])), stamps, close)


def moving_together(rho: float, A: int, T: int = 400) -> Market:
    """A assets of which every two have about this correlation."""
    rng = np.random.default_rng(1)
    moves = np.sqrt(rho) * rng.standard_normal((T, 1)) + np.sqrt(1.0 - rho) * rng.standard_normal((T, A))
    return of(100.0 * np.exp(np.cumsum(0.01 * moves, axis=0)))


def at(factors: FloatArray, t: int) -> list[FloatArray]:
    """The factors as a bar step has them at bar t, (A, 1) each."""
    return [factor[t][:, None] for factor in factors]


@pytest.mark.parametrize("decay", [ROLLING, EWMA, 0.5])
def test_correlation_is_pearsons_over_the_weighted_window(decay: float) -> None:
    ours = correlation(MARKET, WINDOW, decay)
    assert np.isnan(ours[:WINDOW]).all()
    weight = [decay**age for age in range(WINDOW)][::-1]
    for t in range(WINDOW, 200):
        past = RETURNS[t - WINDOW : t]  # RETURNS[t - 1] is that of bar t
        moves = past - np.average(past, axis=0, weights=weight)
        for i in range(4):
            for j in range(4):
                over = np.sqrt(sum(weight * moves[:, i] ** 2) * sum(weight * moves[:, j] ** 2))
                expected = sum(weight * moves[:, i] * moves[:, j]) / over if over > 0.0 else float(i == j)
                np.testing.assert_allclose(ours[t, i, j], expected, **ROUNDING)


def test_rolling_correlation_is_that_of_pandas() -> None:
    moving = history(200, 4, seed=2)
    moving = replace(
        moving, close=moving.close[:, 1:], open=None, high=None, low=None, volume=None, tickers=("A", "B", "C")
    )
    returns = pd.DataFrame(np.log(moving.close[1:] / moving.close[:-1]))
    theirs = returns.rolling(WINDOW).corr().to_numpy().reshape(-1, 3, 3)
    # pandas carries sums along; ours are of each window
    np.testing.assert_allclose(correlation(moving, WINDOW)[1:], theirs, rtol=0.0, atol=1e-9)


def test_ewma_correlation_of_the_whole_history_is_that_of_pandas() -> None:
    returns = pd.DataFrame(RETURNS)
    theirs = returns.ewm(alpha=1.0 - EWMA).corr().to_numpy().reshape(-1, 4, 4)[-1]
    np.testing.assert_allclose(correlation(MARKET, 199, EWMA)[-1], theirs, rtol=0.0, atol=1e-9)


def test_an_asset_without_a_move_is_correlated_with_itself_alone() -> None:
    """Still prices, and prices that grow evenly but for their rounding; its beta is 0 and that of others to it too."""
    rng = np.random.default_rng(0)
    close = 100.0 * np.exp(np.cumsum(0.02 * rng.standard_normal((90, 4)), axis=0))
    close[:, 1] = 7.3
    close[:, 2] = 0.1 * 1.01 ** np.arange(90)
    market = of(close)
    C = correlation(market, 30)[30:]
    alone = np.eye(4)
    alone[0, 3] = alone[3, 0] = 1.0  # whatever it is
    assert (C[:, alone == 0.0] == 0.0).all()
    assert (np.diagonal(C, axis1=1, axis2=2) == 1.0).all()
    assert (beta(market, "X1", 30) == 0.0).all()
    assert (beta(market, "X0", 30)[:, 1:3] == 0.0).all()
    np.testing.assert_allclose(mean_correlation(market, 30)[30:], C[:, 0, 3] / 6.0, **ROUNDING)


def test_correlation_is_a_correlation() -> None:
    C = correlation(history(300, 8, seed=9), 5)[5:]  # fewer returns than assets: without full rank
    assert (abs(C) <= 1.0).all()
    assert np.array_equal(C, C.transpose(0, 2, 1))
    assert np.linalg.eigvalsh(C).min() > -1e-12


@pytest.mark.parametrize(("A", "window"), [(1, 20), (3, 20), (8, 60), (8, 5), (64, 30)])
def test_factors_give_back_the_correlation(A: int, window: int) -> None:
    market = history(120, A, seed=A)
    C, factors = correlation(market, window), correlation_factors(market, window)
    assert factors.shape == (A, 120, A)
    assert (factors[:, :window] == 0.0).all()
    # a factor below 1e-12 of the variance is left out: entries are off by its root at most
    np.testing.assert_allclose(np.einsum("kta,ktb->tab", factors, factors)[window:], C[window:], rtol=0.0, atol=1e-6)


@settings(max_examples=50)
@given(st.lists(st.floats(-2.0, 2.0), min_size=4, max_size=4), st.integers(WINDOW, 199))
def test_effective_exposure_is_the_root_of_the_quadratic_form(weights: list[float], t: int) -> None:
    w = np.array(weights)
    ours = effective_exposure(w[:, None], at(correlation_factors(MARKET, WINDOW), t))
    expected = np.sqrt(max(0.0, w @ correlation(MARKET, WINDOW)[t] @ w))
    np.testing.assert_allclose(ours[0], expected, rtol=1e-9, atol=1e-7)  # a root doubles what is lost near 0
    assert ours[0] <= sum(abs(w)) * (1.0 + 1e-12)


@pytest.mark.parametrize("A", [1, 5])
def test_one_position_is_a_portfolio_whose_correlation_is_1(A: int) -> None:
    factors = at(correlation_factors(history(60, A), 20), 40)
    for side in (1.0, -1.0):
        weight = np.zeros((A, 1))
        weight[A - 1] = 0.3 * side
        np.testing.assert_allclose(effective_exposure(weight, factors), [0.3], rtol=1e-12)
        np.testing.assert_allclose(mean_exposure(weight, factors), [0.3], rtol=1e-12)
    assert mean_correlation(history(60, 1), 20)[40] == 1.0


def test_a_position_and_its_perfect_hedge_expose_to_nothing() -> None:
    close = MARKET.close[:, 1:2] * np.array([1.0, 2.0, 1.0])
    close[:, 2] = 100.0 / close[:, 0]
    market = of(close)
    factors = at(correlation_factors(market, WINDOW), 100)
    for weight in ([0.2, -0.2, 0.0], [0.2, 0.0, 0.2]):
        np.testing.assert_allclose(effective_exposure(np.array(weight)[:, None], factors), 0.0, atol=1e-7)
        assert 0.0 <= mean_exposure(np.array(weight)[:, None], factors)[0] < 1e-7
    np.testing.assert_allclose(effective_exposure(np.array([[0.2], [0.3], [0.0]]), factors), 0.5, rtol=1e-9)
    np.testing.assert_allclose(beta(market, "X0", WINDOW)[100], [1.0, 1.0, -1.0], rtol=1e-9)


def test_mean_pairwise_is_the_mean_over_the_open_positions() -> None:
    C, factors = correlation(MARKET, WINDOW)[150], at(correlation_factors(MARKET, WINDOW), 150)
    whole = mean_pairwise(np.ones((4, 1)), factors)[0]
    np.testing.assert_allclose(whole, max(0.0, C[np.triu_indices(4, 1)].mean()), **ROUNDING)
    np.testing.assert_allclose(
        mean_pairwise(np.array([[0.0], [0.1], [0.7], [0.0]]), factors)[0], max(0.0, C[1, 2]), **ROUNDING
    )
    assert mean_pairwise(np.zeros((4, 1)), factors)[0] == 0.0
    unknown = at(correlation_factors(MARKET, WINDOW), WINDOW - 1)
    assert mean_pairwise(np.ones((4, 1)), unknown)[0] == effective_exposure(np.ones((4, 1)), unknown)[0] == 0.0
    for by_mean, measure in ((True, mean_exposure), (False, effective_exposure)):
        weight = np.array([[0.2], [-0.1], [0.4], [0.0]])
        assert exposure(weight, factors, np.array([by_mean])) == measure(weight, factors)


def test_eight_longs_that_move_nearly_as_one() -> None:
    """The worked example: 8 longs of 1.5 %, mean correlation 0.92: 12 % * 0.92 = 11.04 %, below a trigger of 15 %."""
    market = moving_together(0.92, 8)
    factors, weight = at(correlation_factors(market, 399), 399), np.full((8, 1), 0.015)
    rho = mean_correlation(market, 399)[399]
    assert rho == pytest.approx(0.92, abs=0.02)
    assert mean_exposure(weight, factors)[0] == pytest.approx(0.12 * rho, rel=1e-9)
    assert effective_exposure(weight, factors)[0] == pytest.approx(0.12 * np.sqrt((1.0 + 7.0 * rho) / 8.0), rel=1e-9)
    assert mean_exposure(weight, factors)[0] < 0.15


@pytest.mark.parametrize("decay", [ROLLING, EWMA])
def test_mean_correlation_is_the_mean_over_pairs(decay: float) -> None:
    C = correlation(MARKET, WINDOW, decay)[WINDOW:]
    expected = [c[np.triu_indices(4, 1)].mean() for c in C]
    np.testing.assert_allclose(mean_correlation(MARKET, WINDOW, decay)[WINDOW:], expected, **ROUNDING)


def test_beta_is_the_slope_on_the_hedge_and_adds_up_over_a_book() -> None:
    ours = beta(MARKET, "X2", WINDOW)
    assert (ours[:WINDOW] == 0.0).all()
    assert (ours[WINDOW:, 2] == 1.0).all()
    w = np.array([0.4, -0.3, 0.2, 0.1])
    for t in (WINDOW, 90, 199):
        past = RETURNS[t - WINDOW : t]
        slopes = [np.polyfit(past[:, 2], past[:, a], 1)[0] for a in range(4)]
        np.testing.assert_allclose(ours[t], slopes, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(ours[t] @ w, np.polyfit(past[:, 2], past @ w, 1)[0], rtol=1e-8)


def test_correlation_regimes_are_thirds_of_the_recent_past() -> None:
    mean, memory = mean_correlation(MARKET, WINDOW), 40
    ours = correlation_regime(mean, memory)
    for t in range(200):
        past = mean[max(0, t - memory + 1) : t + 1]
        if t < WINDOW + memory - 1:
            assert CORRELATION_REGIMES[int(ours[t])] == "normal"
            continue
        low, high = np.quantile(past, [1 / 3, 2 / 3])
        expected = "high" if mean[t] >= high else "low" if mean[t] <= low else "normal"
        assert CORRELATION_REGIMES[int(ours[t])] == expected
    assert set(ours) == {0.0, 1.0, 2.0}
    assert (correlation_regime(np.full(100, 0.4), 30) == 1.0).all()


def test_what_moves_with_a_second_market_is_known_when_its_bar_is_over() -> None:
    """A market of weekdays and one of weeks beside one of every day: no value comes before its bar ends."""
    days = np.arange("2020-01-01", "2020-07-01", dtype="datetime64[D]")
    weekdays, mondays = days[np.is_busday(days)], days[5::7]
    for stamps, step in ((weekdays, 1), (mondays, 7)):
        other = Market(("V",), stamps.astype("datetime64[us]"), np.arange(1.0, len(stamps) + 1.0)[:, None])
        index = as_of(replace(MARKET, tickers=tuple("ABCD")), other)
        for t, day in enumerate(MARKET.timestamps.astype("datetime64[D]")):
            over = np.flatnonzero(stamps + step <= day + 1)
            assert index[t] == (over[-1] if len(over) else -1)
        values = values_as_of(MARKET, other, "V")
        assert np.isnan(values[index < 0]).all()
        assert np.array_equal(values[index >= 0], index[index >= 0] + 1.0)


def test_cross_correlation_is_over_the_days_on_which_both_trade() -> None:
    days = np.is_busday(MARKET.timestamps.astype("datetime64[D]"))
    stamps = MARKET.timestamps[days]
    noise = np.random.default_rng(0).standard_normal(days.sum()) * 0.02
    other = Market(("V", "W"), stamps, np.column_stack([np.exp(np.cumsum(noise)), MARKET.close[days, 1] ** -1.0]))
    ours = cross_correlation(MARKET, other, "V", WINDOW)
    own, theirs = (
        np.diff(np.log(x[days] if len(x) == 200 else x)[:, None], axis=0)[:, 0]
        for x in (MARKET.close[:, 3], other.close[:, 0])
    )
    common = np.flatnonzero(days)
    for t in (60, 61, 150, 199):
        i = np.searchsorted(common, t, side="right") - 1  # returns up to common bar i
        expected = np.corrcoef(own[i - WINDOW : i], theirs[i - WINDOW : i])[0, 1]
        np.testing.assert_allclose(ours[t, 3], expected, **ROUNDING)
    np.testing.assert_allclose(cross_correlation(MARKET, other, "W", WINDOW)[80:, 1], -1.0, **ROUNDING)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (
            lambda: correlation(MARKET, 200),
            "2 <= correlation_window <= 199 must hold, since there are 199 returns, got 200",
        ),
        (lambda: mean_correlation(MARKET, 1), "2 <= correlation_window <= 199 must hold"),
        (lambda: correlation(MARKET, 20, decay=1.5), "0 < decay <= 1 must hold"),
        (lambda: beta(MARKET, "BTC", 20), "got 'BTC'; the market has X0, X1, X2, X3"),
        (lambda: correlation_regime(mean_correlation(MARKET, 20), 190), "got 190"),
        (lambda: correlation_regime(mean_correlation(MARKET, 20), 50, low=0.7, high=0.3), "got low=0.7, high=0.3"),
        (lambda: cross_correlation(MARKET, MARKET, "VIX", 20), "got 'VIX'; it has X0, X1, X2, X3"),
        (lambda: cross_correlation(MARKET, MARKET.until(20), "X0", 20), "there are 19 returns, got 20"),
    ],
)
def test_what_has_no_meaning_is_refused_with_the_numbers(ask: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError) as refused:
        ask()
    assert says in str(refused.value)
