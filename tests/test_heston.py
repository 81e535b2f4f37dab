"""Heston's model: prices agree with another library, greeks with differences, and simulated paths with the prices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from option_runs import CHARGED, profit, sums

from kernels import black_scholes
from kernels.errors import InputError
from kernels.heston import HestonParameters, quote
from kernels.heston_market import generator, heston, simulate
from kernels.implied_volatility import implied_volatility, lower_bound
from kernels.option_market import DAYS_PER_YEAR, Contract

CALM = HestonParameters(v0=0.04, kappa=2.0, theta=0.05, xi=0.3, rho=-0.5)  # Feller ratio above 2
ROUGH = HestonParameters(v0=0.04, kappa=2.0, theta=0.05, xi=1.0, rho=-0.9)  # and far below 1
STOCK = HestonParameters(v0=0.09, kappa=7.0, theta=0.07, xi=1.4, rho=-0.35)  # as a real chain of a stock has it
MODELS = pytest.mark.parametrize("model", [CALM, ROUGH, STOCK], ids=["calm", "rough", "stock"])
STRIKES = np.array([80.0, 95.0, 100.0, 104.0, 125.0])
SPOT, RATE, YIELD = 100.0, 0.03, 0.01


def prices(model: HestonParameters, days: float, kind: str = "call", spot: float = SPOT, v: float | None = None) -> Any:
    variance = np.full(STRIKES.shape, model.v0 if v is None else v)
    return quote(kind, np.full(STRIKES.shape, spot), STRIKES, days / DAYS_PER_YEAR, variance, model, RATE, YIELD)


@MODELS
@pytest.mark.parametrize("days", [7, 30, 91, 365])
def test_prices_are_those_of_quantlib(model: HestonParameters, days: int) -> None:
    ql = pytest.importorskip("QuantLib")
    before = ql.Settings.instance().evaluationDate
    today = ql.Date(2, 1, 2024)
    ql.Settings.instance().evaluationDate = today
    try:
        curves = [ql.YieldTermStructureHandle(ql.FlatForward(today, r, ql.Actual365Fixed())) for r in (RATE, YIELD)]
        process = ql.HestonProcess(
            *curves, ql.QuoteHandle(ql.SimpleQuote(SPOT)), model.v0, model.kappa, model.theta, model.xi, model.rho
        )
        engine = ql.AnalyticHestonEngine(
            ql.HestonModel(process), ql.AnalyticHestonEngine.OptimalCV, ql.FourierIntegration.gaussLaguerre(190)
        )
        for kind, right in (("call", ql.Option.Call), ("put", ql.Option.Put)):
            for strike, ours in zip(STRIKES, prices(model, days, kind).price, strict=True):
                option = ql.VanillaOption(ql.PlainVanillaPayoff(right, strike), ql.EuropeanExercise(today + days))
                option.setPricingEngine(engine)
                assert ours == pytest.approx(option.NPV(), abs=1e-8)
    finally:
        ql.Settings.instance().evaluationDate = before


@MODELS
@pytest.mark.parametrize("days", [1, 30, 200])
def test_greeks_are_differences_of_prices(model: HestonParameters, days: int) -> None:
    at = prices(model, days)
    h = 1e-2
    up, down = prices(model, days, spot=SPOT + h), prices(model, days, spot=SPOT - h)
    # central differences: error h^2 / 6 times a third derivative, which a 1-day option has up to 1 of
    np.testing.assert_allclose(at.delta, (up.price - down.price) / (2 * h), atol=1e-4)
    np.testing.assert_allclose(at.gamma, (up.delta - down.delta) / (2 * h), atol=1e-4)
    volatility, h = np.sqrt(model.v0), 1e-4
    up, down = prices(model, days, v=(volatility + h) ** 2), prices(model, days, v=(volatility - h) ** 2)
    np.testing.assert_allclose(at.vega, (up.price - down.price) / (2 * h), atol=1e-4)


@MODELS
def test_put_call_parity_and_a_straddle_is_both(model: HestonParameters) -> None:
    call, put, both = (prices(model, 45, kind) for kind in ("call", "put", "straddle"))
    tau = 45 / DAYS_PER_YEAR
    forward = SPOT * np.exp(-YIELD * tau) - STRIKES * np.exp(-RATE * tau)
    np.testing.assert_allclose(call.price - put.price, forward, atol=1e-11)  # both have the same integral
    for field in ("price", "delta", "gamma", "vega"):
        np.testing.assert_allclose(getattr(both, field), getattr(call, field) + getattr(put, field), atol=1e-12)


def test_a_variance_that_hardly_moves_is_black_scholes() -> None:
    still = HestonParameters(v0=0.04, kappa=1.0, theta=0.04, xi=1e-3, rho=0.0)
    flat = black_scholes.quote("call", np.full(5, SPOT), STRIKES, np.full(5, 0.25), np.full(5, 0.2), RATE, YIELD)
    # the price differs by the curvature in variance: xi^2 v tau^3 / 24 times d2C/dw2 < 1e-6
    np.testing.assert_allclose(prices(still, 0.25 * DAYS_PER_YEAR).price, flat.price, atol=1e-6)


def test_at_expiry_the_payoff() -> None:
    np.testing.assert_array_equal(prices(STOCK, 0.0).price, np.maximum(SPOT - STRIKES, 0.0))


def test_a_mark_hardly_depends_on_the_paths_beside_it() -> None:
    random = np.random.default_rng(1)
    spot, variance = 100.0 * np.exp(0.2 * random.standard_normal(400)), 0.05 * random.gamma(0.3, 3.0, 400)
    together = quote("call", spot, np.full(400, 100.0), 0.1, variance, ROUGH, RATE)
    for i in (0, 17, 399):
        alone = quote("call", spot[i], np.array(100.0), 0.1, variance[i], ROUGH, RATE)
        # the integral's end and nodes are chosen for all: what is left out is below 1e-11 of the spot
        assert float(alone.price) == pytest.approx(together.price[i], abs=1e-9)


# Bias of the scheme at steps of half a day, measured over 4e5 paths as indistinguishable from 0; 1e-4 of the spot is
# what twice the standard error of that measurement allows.
BIAS = 1e-4 * SPOT


@MODELS
@pytest.mark.parametrize("strike", [90.0, 100.0, 110.0])
def test_the_simulated_price_is_the_semi_analytic_one(model: HestonParameters, strike: float) -> None:
    days, n = 30.0, 40_000
    paths, variance = simulate(
        generator(5), scenarios=n, bars=2, step_days=days, parameters=model, growth=RATE - YIELD, spot=SPOT
    )
    assert (variance >= 0.0).all()
    tau = days / DAYS_PER_YEAR
    payoff = np.exp(-RATE * tau) * np.maximum(paths[:, 1] - strike, 0.0)
    exact = quote("call", np.array(SPOT), np.array(strike), tau, np.array(model.v0), model, RATE, YIELD).price
    assert abs(payoff.mean() - float(exact)) < 3.0 * payoff.std() / np.sqrt(n) + BIAS


@MODELS
def test_price_and_variance_grow_as_they_should_at_any_step(model: HestonParameters) -> None:
    n = 40_000
    for substep in (1.0, 10.0):
        paths, variance = simulate(
            generator(6),
            scenarios=n,
            bars=2,
            step_days=30.0,
            parameters=model,
            growth=0.1,
            spot=1.0,
            substep_days=substep,
        )
        for found, expected in (
            (paths[:, 1], np.exp(0.1 * 30 / DAYS_PER_YEAR)),
            (variance[:, 1], model.theta + (model.v0 - model.theta) * np.exp(-model.kappa * 30 / DAYS_PER_YEAR)),
        ):
            assert abs(found.mean() - expected) < 3.5 * found.std() / np.sqrt(n)


def market(**changes: Any) -> Any:
    given: dict[str, Any] = {"scenarios": 2000, "bars": 31, "step_days": 1.0, "contract": Contract(), "seed": 3}
    return heston("X", parameters=STOCK, drift=RATE, rate=RATE, **{**given, **changes})


def test_a_mark_is_the_discounted_mean_of_what_it_becomes() -> None:
    made = market()
    for t in (10, 30):  # on the way, and the payoff
        later = np.exp(-RATE * t / DAYS_PER_YEAR) * made.mark[:, t, 0]
        assert abs(later.mean() - made.next_mark[0, 0, 0]) < 3.0 * later.std() / np.sqrt(len(later)) + BIAS


@pytest.mark.parametrize("kind", ["call", "straddle"])
def test_without_a_premium_a_hedged_book_expects_its_costs(kind: str) -> None:
    """Calibrated measure and path measure are one: whatever is traded is a martingale, so is the book, less what it pays."""
    made = market(scenarios=1000, contract=Contract(kind))
    rows: list[dict[str, Any]] = [{}, {"rebalance_days": 5.0, "band": 0.05}, {"hedge_ratio": 0.5}]
    free, charged = sums(made, rows), sums(made, rows, CHARGED)
    error = 3.0 * free["r1"].std(axis=0, ddof=1) / np.sqrt(made.n_scenarios) + BIAS / SPOT
    assert (np.abs(free["r1"].mean(axis=0)) < error).all()
    # what is paid early would have earned interest: 0.03 * 30 / 365 = 0.25 % of it at most
    paid = charged["cost"].mean(axis=0)
    assert (np.abs(charged["r1"].mean(axis=0) + paid) < error + 0.0025 * paid).all()
    assert (paid > 0.0).all()


def test_a_negative_premium_pays_the_seller_of_options() -> None:
    """And takes as much from the buyer, whose book is the mirror (tests/test_option_hedge.py)."""
    earned = profit(market(scenarios=1000, variance_risk_premium=-4.0), [{}])
    assert earned.mean() > 3.0 * earned.std(ddof=1) / np.sqrt(len(earned))


def test_marks_along_simulated_paths_are_at_put_call_parity() -> None:
    call, put = (market(scenarios=200, contract=Contract(kind, moneyness=0.97)) for kind in ("call", "put"))
    forward = np.where(call.tau > 0.0, call.spot - call.strike * np.exp(-RATE * call.tau), 0.0)
    np.testing.assert_allclose(call.next_mark - put.next_mark, forward, atol=1e-11)  # both have the same integral
    np.testing.assert_allclose(call.delta - put.delta, (call.tau > 0.0) * 1.0, atol=1e-12)


def test_the_seed_and_stream_decide_the_paths() -> None:
    few = {"scenarios": 50}
    assert market(**few).digest == market(**few).digest
    digests = {market(**few, stream=s).digest for s in ("train", "validation", "holdout")}
    assert len({market(**few, seed=4).digest, *digests}) == 4


def test_the_volatility_of_a_bar_gives_back_its_mark() -> None:
    made = market(scenarios=100)
    t = 5
    again = black_scholes.quote("call", made.spot[:, t], made.strike[:, t], made.tau[:, t], made.volatility[:, t], RATE)
    # a mark too deep in or out of the money to have one shows the path's own: its time value is below 1e-3
    np.testing.assert_allclose(again.price, made.next_mark[:, t], atol=1e-3)


def test_a_negative_premium_makes_variance_lower_than_implied() -> None:
    real = STOCK.historical(-2.0)
    assert real.kappa == STOCK.kappa + 2.0
    assert real.kappa * real.theta == pytest.approx(STOCK.kappa * STOCK.theta)
    assert STOCK.historical(0.0) == STOCK
    with pytest.raises(InputError, match="must be below kappa"):
        STOCK.historical(7.0)


def test_parameters_out_of_range_are_refused_together() -> None:
    with pytest.raises(InputError) as caught:
        HestonParameters(v0=-1.0, kappa=np.nan, theta=0.1, xi=0.5, rho=1.5)
    assert [p.split(":")[0] for p in caught.value.problems] == ["heston.v0", "heston.kappa", "heston.rho"]


@given(
    kind=st.sampled_from(["call", "put", "straddle"]),
    strike=st.floats(80, 125),
    tau=st.floats(0.02, 2.0),
    volatility=st.floats(0.1, 2.0),
)
def test_the_implied_volatility_of_a_price_is_the_one_that_made_it(
    kind: str, strike: float, tau: float, volatility: float
) -> None:
    args = (np.array(SPOT), np.array(strike), np.array(tau))
    made = black_scholes.quote(kind, *args, np.array(volatility), RATE, YIELD)
    found = implied_volatility(kind, made.price, *args, RATE, YIELD)
    # a price is known to about 1e-14 * S; what volatility that leaves open is divided by vega
    if made.vega > 1e-6:
        assert float(found) == pytest.approx(volatility, abs=1e-12 * SPOT / float(made.vega) + 1e-12)


def test_a_price_below_exercise_has_no_implied_volatility() -> None:
    args = (np.array(SPOT), np.array(80.0), np.array(0.5))
    floor = lower_bound("call", *args, RATE)
    assert np.isnan(implied_volatility("call", floor - 0.01, *args, RATE))
    assert np.isnan(implied_volatility("call", np.array(200.0), *args, RATE))
