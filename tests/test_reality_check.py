"""The reality check of Sharpe ratios: what it means, how seldom luck passes for skill, and that no bit hangs on how it runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.exact_check import Check, Replicates
from search.reality_check import Excess, excess, merged, risk_adjusted
from search.sharpe import sharpe_difference

BARS = 1101  # two pieces of a product, one of them longer
DRAWN = Replicates.drawn(BARS, 5.0, 120, seed=3)


def alike(count: int, seed: int, bars: int = BARS) -> np.ndarray:
    """(bars, count) fat-tailed returns with much in common, as those of one strategy's configurations are."""
    rng = np.random.default_rng(seed)
    return np.asarray(0.01 * (0.05 + rng.standard_t(4, (bars, 1)) + 0.5 * rng.standard_t(4, (bars, count))))


def same(one: Excess, other: Excess) -> bool:
    """To the bit."""
    return (
        (one.found, one.configurations) == (other.found, other.configurations)
        and np.array_equal(one.consistent, other.consistent)
        and np.array_equal(one.least_favourable, other.least_favourable)
    )


# ---- what is compared


def test_a_series_has_the_sharpe_ratio_as_its_mean() -> None:
    returns = alike(5, 0)
    assert risk_adjusted(returns).mean(axis=0) == pytest.approx(returns.mean(axis=0) / returns.std(axis=0))
    assert not risk_adjusted(np.full((50, 1), 0.01)).any()  # what never moves has none, for certain


@settings(max_examples=20)
@given(scale=st.floats(0.01, 100.0))
def test_leverage_changes_no_series(scale: float) -> None:
    returns = alike(2, 1)
    assert risk_adjusted(scale * returns) == pytest.approx(risk_adjusted(returns), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("together", [0.0, 0.8])
def test_the_statistic_is_that_of_a_difference_of_sharpe_ratios(together: float) -> None:
    rng = np.random.default_rng(2)
    common, own = rng.standard_t(8, (4000, 1)), rng.standard_t(8, (4000, 2))
    returns = 0.01 * (np.array([0.10, 0.04]) + together * common + own)
    many = Replicates.drawn(4000, 1.0, 2000, seed=1)
    ours = Check(many, returns[:, 1]).of(returns[:, :1])
    theirs = sharpe_difference(returns[:, 0], returns[:, 1])
    # both errors are estimates: a deviation of 2000 replicates is good to 1 / sqrt(4000) = 1.6 %, four times that
    assert ours.found == pytest.approx(theirs.difference / theirs.error, rel=0.065)


def test_a_hedge_that_only_lowers_risk_is_seen() -> None:
    rng = np.random.default_rng(5)
    calm, wild = 0.01 * rng.standard_normal((2, 3000))
    market, hedged = calm + wild, calm
    hedged += 0.002 - hedged.mean()
    market += 0.002 - market.mean()
    many = Replicates.drawn(3000, 2.0, 200, seed=1)
    assert Check(many, market).of(hedged[:, None]).p_value < 0.02
    assert excess(hedged[:, None], market, many.weights).p_value > 0.2


# ---- luck


def test_luck_is_taken_for_skill_as_often_as_it_should_be() -> None:
    p = []
    for seed in range(300):
        returns = alike(31, 100 + seed, bars=250)
        p.append(Check(Replicates.drawn(250, 1.0, 100, seed), returns[:, 0]).of(returns[:, 1:]).p_value)
    # all Sharpe ratios are the same, so p is nearly uniform: of 300 at the 10 % level 30 reject, give or take 3 * 5.2
    assert 15 <= np.count_nonzero(np.array(p) <= 0.1) <= 46
    assert 0.4 <= np.mean(p) <= 0.6  # 0.29 / sqrt(300) = 0.017


def test_worse_configurations_make_it_no_bolder() -> None:
    p = []
    for seed in range(150):
        returns = alike(31, 900 + seed, bars=250)
        returns[:, 10:] -= 0.01
        p.append(Check(Replicates.drawn(250, 1.0, 100, seed), returns[:, 0]).of(returns[:, 1:]).p_value)
    assert np.count_nonzero(np.array(p) <= 0.1) <= 15 + 3 * 3.7


def test_an_edge_is_found() -> None:
    returns = alike(60, 3)
    returns[:, 40] += 0.0025
    found = Check(DRAWN, returns[:, 0]).of(returns[:, 1:])
    assert found.p_value < 0.02
    assert found.upper_p_value < 0.02


# ---- no bit hangs on how it is run


@settings(max_examples=40)
@given(
    order=st.permutations(range(70)),
    cuts=st.lists(st.integers(1, 69), max_size=5, unique=True),
    threads=st.integers(1, 3),
    seed=st.integers(0, 5),
)
def test_neither_order_nor_cuts_nor_threads_change_a_bit(
    order: list[int], cuts: list[int], threads: int, seed: int
) -> None:
    returns = alike(70, seed)
    returns[:, 3:6] *= [0.0, 1e-9, 1e6]
    check = Check(DRAWN, returns[:, 50])
    whole = check.of(returns)
    parts = [check.of(part, threads) for part in np.split(returns[:, order], sorted(cuts), axis=1)]
    assert same(merged(parts), whole)


def test_wide_products_are_as_narrow_ones() -> None:
    returns = alike(400, 8)
    check = Check(DRAWN, np.zeros(BARS))
    whole = check.of(returns, threads=2)
    assert whole.configurations == 400
    assert same(whole, merged(check.of(returns[:, [k]]) for k in range(400)))


@pytest.mark.parametrize("seed", range(6))
def test_sums_in_single_precision_are_exact(seed: int) -> None:
    """The same product in double precision, which holds any of these sums, gives the same bits."""
    returns = alike(40, seed)
    returns[:, 1] = 0.0
    returns[17, 1] = 1.0  # all of its movement in one bar
    returns[:, 2] += 0.2  # a Sharpe ratio of 10 a bar: the square counts most
    returns[:, 3:20] **= 3
    double = Replicates(tuple(piece.astype(np.float64) for piece in DRAWN.pieces), DRAWN.reach)  # type: ignore[arg-type]
    for baseline in (np.zeros(BARS), returns[:, 5]):
        assert same(Check(DRAWN, baseline).of(returns), Check(double, baseline).of(returns))


@pytest.mark.parametrize("seed", range(4))
def test_it_means_the_plain_check_of_risk_adjusted_series(seed: int) -> None:
    returns = alike(300, seed)
    returns[:, 40:60] -= 0.005
    baseline = returns[:, 7]
    ours = Check(DRAWN, baseline).of(returns)
    plain = excess(risk_adjusted(returns), risk_adjusted(baseline[:, None])[:, 0], DRAWN.weights)
    # the grid is 2^-12 of a deviation or finer, the difference from the baseline moves by half a deviation or more, and
    # two series are rounded: 2 * 2 * 2^-12 / sqrt(12) = 2.8e-4 standard errors, twice that for the largest of many
    assert ours.found == pytest.approx(plain.found, abs=6e-4)
    assert ours.consistent == pytest.approx(plain.consistent, abs=6e-4)
    assert ours.least_favourable == pytest.approx(plain.least_favourable, abs=6e-4)
    assert (ours.p_value, ours.upper_p_value) == (plain.p_value, plain.upper_p_value)


# ---- what says nothing


def test_what_does_not_differ_from_the_baseline_says_nothing() -> None:
    returns = alike(4, 2)
    baseline = returns[:, 0]
    for echo in (baseline, 3.0 * baseline, baseline / 7.0):
        assert Check(DRAWN, baseline).of(echo[:, None]).found == -math.inf
    check = Check(DRAWN, baseline)
    assert check.of(returns).found == check.of(returns[:, 1:]).found


def test_what_never_moves_is_cash() -> None:
    returns = alike(1, 2)
    against_cash = Check(DRAWN, np.zeros(BARS))
    assert against_cash.of(np.full((BARS, 2), 0.01)).found == -math.inf
    down = against_cash.of(returns).found
    assert Check(DRAWN, returns[:, 0]).of(np.zeros((BARS, 1))).found == pytest.approx(-down, rel=1e-9)


def test_what_is_not_finite_or_loses_everything_does_not_count() -> None:
    returns = alike(5, 2)
    check = Check(DRAWN, np.zeros(BARS))
    spoiled = np.concatenate([returns, returns], axis=1)
    spoiled[7, 5], spoiled[9, 6], spoiled[:, 7:9], spoiled[600, 9] = np.nan, np.inf, -np.inf, -1.0
    assert same(check.of(spoiled), check.of(returns))


def test_the_same_seed_draws_the_same_replicates() -> None:
    again, other = Replicates.drawn(BARS, 5.0, 120, seed=3), Replicates.drawn(BARS, 5.0, 120, seed=4)
    assert np.array_equal(again.weights, DRAWN.weights)
    assert not np.array_equal(other.weights, DRAWN.weights)
    assert DRAWN.weights.sum(axis=1) == pytest.approx(np.ones(120))
