"""Regimes against a plain loop over bars, and the sizes that past bars give."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from histories import history
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import InputError, Market
from kernels.indicators import equal_weight_returns, true_range_average
from kernels.market import FloatArray
from kernels.regime import (
    RANGING,
    REGIMES,
    RegimeRule,
    asset_regimes,
    market_regime,
    regime_number,
    settled,
    trend_strength,
)
from kernels.sizing_planes import UNKNOWN, kelly, range_ratio, wins_and_losses

MARKET = history(320, 3, seed=4)
RULE = RegimeRule(window=12, memory=50, trend_strength=4.0, confirm_bars=2, min_bars=4)


def line_t(y: FloatArray) -> float:
    """Slope of y on time over its standard error, by the textbook."""
    x = np.arange(len(y)) - (len(y) - 1) / 2
    slope = (x * y).sum() / (x * x).sum()
    left = y - y.mean() - slope * x
    error = np.sqrt((left * left).sum() / (len(y) - 2) / (x * x).sum())
    return float(slope / error) if error > 0.0 else 0.0


def plain_labels(log_price: FloatArray, rule: RegimeRule) -> list[str]:
    """The rule of the module's docstring, one bar at a time."""
    label, changed, row, before = "ranging", None, 0, None
    labels = []
    for t in range(len(log_price)):
        candidate = None
        if t >= rule.warm_up:
            volatilities = [
                np.diff(log_price[s - rule.window : s + 1]).std(ddof=1) for s in range(t - rule.memory + 1, t + 1)
            ]
            low, high = np.quantile(volatilities, [rule.low, rule.high])
            trend = line_t(log_price[t - rule.window + 1 : t + 1])
            if low < high and volatilities[-1] >= high:
                candidate = "high_volatility"
            elif trend >= rule.trend_strength:
                candidate = "bull_trending"
            elif trend <= -rule.trend_strength:
                candidate = "bear_trending"
            elif low < high and volatilities[-1] <= low:
                candidate = "low_volatility"
            else:
                candidate = "ranging"
        row = row + 1 if candidate is not None and candidate == before else 1
        before = candidate
        waited = changed is None or t - changed >= rule.min_bars
        if candidate not in (None, label) and row >= rule.confirm_bars and waited:
            label, changed = candidate, t
        labels.append(label)
    return labels


def test_labels_are_the_rule_one_bar_at_a_time() -> None:
    ours = asset_regimes(MARKET, RULE)
    for a in range(3):
        assert [REGIMES[int(x)] for x in ours[:, a]] == plain_labels(np.log(MARKET.close[:, a]), RULE)
    index = np.concatenate([[0.0], np.cumsum(np.log1p(equal_weight_returns(MARKET)[1:]))])
    of_market = [REGIMES[int(x)] for x in market_regime(MARKET, RULE)]
    assert of_market == plain_labels(index, RULE)
    assert set(of_market) | {REGIMES[int(x)] for x in ours.ravel()} == set(REGIMES)


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([0.0, 1.0, 2.0, np.nan]), min_size=1, max_size=60),
    st.integers(1, 4),
    st.integers(0, 9),
)
def test_a_label_changes_when_confirmed_and_not_too_soon(candidates: list[float], confirm: int, least: int) -> None:
    labels = settled(np.array(candidates)[:, None], confirm, least, start=0.0)[:, 0]
    changes = [t for t in range(len(labels)) if labels[t] != (labels[t - 1] if t else 0.0)]
    for t in changes:
        assert candidates[t - confirm + 1 : t + 1] == [labels[t]] * confirm
    assert all(b - a >= least for a, b in pairwise(changes))
    if confirm == 1 and least == 0:  # no hysteresis: the last candidate that was one
        known = [c for c in candidates if not np.isnan(c)]
        assert labels[-1] == (known[-1] if known else 0.0)


def test_trend_is_slope_over_standard_error() -> None:
    log_price = np.log(MARKET.close)
    ours = trend_strength(np.diff(log_price, axis=0), 12)
    for t in range(11, 320):
        for a in range(3):
            assert ours[t - 1, a] == pytest.approx(line_t(log_price[t - 11 : t + 1, a]), rel=1e-6, abs=1e-6)
    straight = trend_strength(np.array([[0.01, -0.02, 0.0]]) * np.ones((30, 1)), 20)[-1]
    assert straight.tolist() == [np.inf, -np.inf, 0.0]


@pytest.mark.parametrize(("growth", "label"), [(1.0, "ranging"), (1.01, "bull_trending"), (0.99, "bear_trending")])
def test_a_price_that_never_varies_is_neither_calm_nor_wild(growth: float, label: str) -> None:
    close = 0.1 * growth ** np.arange(200.0)[:, None] * np.ones((1, 2))
    market = Market(("A", "B"), MARKET.timestamps[:200], close)
    for labels in (asset_regimes(market, RULE), market_regime(market, RULE)):
        assert (labels[RULE.warm_up + RULE.confirm_bars :] == regime_number(label)).all()
        assert (labels[: RULE.warm_up] == RANGING).all()


def test_the_first_label_comes_with_the_warm_up() -> None:
    close = np.exp(np.cumsum(np.where(np.arange(200) % 9 == 0, 0.011, 0.01)))[:, None]
    labels = market_regime(Market(("A",), MARKET.timestamps[:200], close), RULE)
    first = int(np.flatnonzero(labels != RANGING)[0])
    assert first == RULE.warm_up + RULE.confirm_bars - 1


def test_another_volatility_decides_what_is_wild() -> None:
    given_ = np.where(np.arange(320) % 100 < 90, 20.0, 60.0) - 0.01 * np.arange(320)
    labels = market_regime(MARKET, RegimeRule(12, 50, high=0.92, low=0.0, confirm_bars=1, min_bars=0), given_)
    assert (labels[190:200] == regime_number("high_volatility")).sum() >= 4
    assert (labels[210:285] != regime_number("high_volatility")).sum() >= 60
    unknown = market_regime(MARKET, RULE, np.full(320, np.nan))
    assert (unknown == RANGING).all()


def test_the_index_earns_the_mean_of_its_assets() -> None:
    simple = MARKET.close[1:] / MARKET.close[:-1] - 1.0
    np.testing.assert_allclose(equal_weight_returns(MARKET)[1:], simple.mean(axis=1), rtol=0.0, atol=1e-15)


# ---- sizes


def test_the_range_ratio_is_the_range_over_its_mean() -> None:
    average, ours = true_range_average(MARKET), range_ratio(MARKET, 90)
    assert (ours[:102] == 1.0).all()  # 14 bars for the range, 89 more for its mean
    for t in (103, 200, 319):
        np.testing.assert_allclose(ours[t], average[t] / average[t - 89 : t + 1].mean(axis=0), rtol=1e-12)
    assert (ours[103:] > 1.5).any()
    assert (ours[103:] < 1.0).any()
    still = Market(("A",), MARKET.timestamps, np.full((320, 1), 3.0))
    assert (range_ratio(still) == 1.0).all()


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_wins_and_losses_are_counted_bar_by_bar(side: float) -> None:
    windows = np.array([20.0, 60.0])
    ours = wins_and_losses(MARKET, windows, side)
    fraction = kelly(MARKET, windows, minimum=15.0, side=side)
    results = side * (MARKET.close[1:] / MARKET.close[:-1] - 1.0)
    for k, window in enumerate((20, 60)):
        for t in (0, 1, 14, 30, 165, 319):
            for a in range(3):
                past = results[max(0, t - window) : t, a]
                won, lost = past[past > 0.0], -past[past < 0.0]
                assert (ours.wins[k, t, a], ours.losses[k, t, a]) == (len(won), len(lost))
                assert ours.mean_win[k, t, a] == pytest.approx(won.mean() if len(won) else 0.0)
                assert ours.mean_loss[k, t, a] == pytest.approx(lost.mean() if len(lost) else 0.0)
                if len(won) + len(lost) < 15:
                    assert fraction[k, t, a] == UNKNOWN
                elif len(won) and len(lost):
                    p, b = len(won) / (len(won) + len(lost)), won.mean() / lost.mean()
                    assert fraction[k, t, a] == pytest.approx(np.clip((p * b - (1.0 - p)) / b, -1.0, 1.0))


def test_kelly_is_positive_exactly_where_the_mean_result_is() -> None:
    fraction = kelly(MARKET, np.array([40.0]), minimum=10.0)[0]
    returns = MARKET.close[1:] / MARKET.close[:-1] - 1.0
    for t in range(40, 320):
        mean = returns[t - 40 : t].mean(axis=0)
        known = (fraction[t] != UNKNOWN) & (abs(mean) > 1e-12)
        assert ((fraction[t] > 0.0) == (mean > 0.0))[known].all()


@pytest.mark.parametrize(("growth", "fraction"), [(1.02, 1.0), (0.98, -1.0), (1.0, UNKNOWN)])
def test_kelly_without_a_loss_a_win_or_a_move(growth: float, fraction: float) -> None:
    market = Market(("A",), MARKET.timestamps[:80], 5.0 * growth ** np.arange(80.0)[:, None])
    assert kelly(market, np.array([30.0]))[0, -1, 0] == fraction


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: regime_number("crash"), "unknown regime 'crash'; choose from bull_trending, bear_trending"),
        (lambda: RegimeRule(window=2), "window >= 3 bars must hold, got 2"),
        (lambda: RegimeRule(low=0.9), "got low=0.9, high=0.8"),
        (lambda: RegimeRule(confirm_bars=0, min_bars=-1), "min_bars >= 0 must hold, got -1"),
        (lambda: asset_regimes(MARKET, RegimeRule(window=100, memory=300)), "there are 319 returns, got 399"),
        (lambda: market_regime(MARKET, RULE, np.ones(10)), "320 bars is needed"),
        (lambda: kelly(MARKET, np.array([20.0, 500.0])), "1 <= kelly_window <= 319 must hold"),
        (lambda: range_ratio(MARKET, 310), "got 324"),
    ],
)
def test_what_has_no_meaning_is_refused_with_the_numbers(ask: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError) as refused:
        ask()
    assert says in str(refused.value)
