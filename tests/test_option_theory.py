"""option_hedge against the theory of hedging errors and costs. 4000 paths of one option at the money."""

from __future__ import annotations

import numpy as np
import pytest
from option_runs import CHARGED, S0, SIGMA, market, profit, sums

from kernels.market import FloatArray
from kernels.option_market import Contract, OptionMarket


@pytest.mark.parametrize("kind", ["call", "put", "straddle"])
def test_hedging_at_the_true_volatility_earns_nothing_on_average(kind: str) -> None:
    """Zero cost, all of the delta, drift = rate: every traded value is a martingale after discounting, so is the book."""
    history = market(4000, contract=Contract(kind, tenor_days=30.0), dividend_yield=0.01)
    earned = profit(history, [{}, {"rebalance_days": 5.0}, {"gamma_hedge_ratio": 1.0}, {"hedge_ratio": 0.5}])
    error = earned.std(axis=0, ddof=1) / np.sqrt(len(earned))
    assert (np.abs(earned.mean(axis=0)) < 3.0 * error).all()
    assert (error < 5e-4).all()  # of the underlier's price: the claim is sharp


@pytest.fixture(scope="module")
def fine() -> OptionMarket:
    """4000 paths of 240 bars of three hours, at rate zero, an option at the money."""
    return market(4000, 241, 0.125, rate=0.0)


REBALANCES = np.array([240, 120, 60, 30])


@pytest.fixture(scope="module")
def rebalanced(fine: OptionMarket) -> dict[str, FloatArray]:
    return sums(fine, [{"rebalance_days": 30.0 / n} for n in REBALANCES], CHARGED)


def test_the_hedging_error_is_that_of_theory(fine: OptionMarket) -> None:
    """sqrt(pi/4) vega sigma / sqrt(n): Derman and Kamal (1999), "When you cannot hedge continuously"."""
    error = profit(fine, [{"rebalance_days": 30.0 / n} for n in REBALANCES]).std(axis=0, ddof=1)
    theory = np.sqrt(np.pi / 4) * fine.vega[0, 0, 0] * SIGMA / np.sqrt(REBALANCES) / S0
    # The theory integrates 1/sqrt(time left); a sum over n bars misses zeta(1/2) / (pi sqrt(2) / 2) / sqrt(n) = 0.66 / sqrt(n)
    # of that variance, 0.33 / sqrt(n) of the deviation. Sampling: with the errors' kurtosis near 5 a deviation of 4000 paths
    # has a standard error of sqrt(4 / (4 * 4000)) = 1.6 %.
    tolerance = 0.33 / np.sqrt(REBALANCES) + 3 * 0.016
    assert (np.abs(error / theory - 1.0) < tolerance).all(), error / theory


def test_doubling_the_rebalances_divides_the_error_by_root_two(fine: OptionMarket) -> None:
    error = profit(fine, [{"rebalance_days": 30.0 / n} for n in REBALANCES]).std(axis=0, ddof=1)
    # the bias above, at n = 30 and 60: 0.33 (1/sqrt(30) - 1/sqrt(60)) = 1.8 %; two deviations of the same paths: 2 * 1.6 %
    np.testing.assert_allclose(error[1:] / error[:-1], np.sqrt(2.0), rtol=0.018 + 2 * 0.016)


def test_the_cost_of_rebalancing_grows_like_the_root_of_its_number(rebalanced: dict[str, FloatArray]) -> None:
    """Leland (1985): E sum |change of N| S = sqrt(2/pi) sigma sqrt(dt) sum E(S^2 Gamma), and S^2 Gamma is a martingale.

    Entering costs the same for all n, so differences of costs are compared: C(n) = entry + leave + b sqrt(n).
    """
    # E|change of N| is that of a small step except for the last few, which are 1/n of the cost: 2 / 120 of a difference
    cost = rebalanced["cost"]
    ours, others = cost[:, 0] - cost[:, 1], cost[:, 1] - cost[:, 2]
    error = (ours - np.sqrt(2.0) * others).std(ddof=1) / np.sqrt(len(cost))
    assert ours.mean() == pytest.approx(np.sqrt(2.0) * others.mean(), abs=3.0 * error + 2 / 120 * ours.mean())
    # at the money and rate zero S^2 Gamma is S phi(0) / (sigma sqrt(tenor)) on average, to (sigma sqrt(tenor))^2 / 8
    slope = CHARGED.fractions["fee"] * np.sqrt(2.0 / np.pi) / np.sqrt(2.0 * np.pi)
    assert (ours + others).mean() / (np.sqrt(240) - np.sqrt(60)) == pytest.approx(slope, rel=2 / 60)


def test_a_second_option_makes_the_error_smaller() -> None:
    error = profit(market(1000), [{"gamma_hedge_ratio": x} for x in (None, 0.25, 0.5, 0.75)]).std(axis=0)
    assert (np.diff(error) < 0.0).all()
    assert error[3] < 0.4 * error[0]
