"""Marks and greeks: against QuantLib, against finite differences, and at the edges."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.black_scholes import KINDS, quote

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the wrapper's own classes, when it is imported
        import QuantLib as ql  # noqa: N813 - as its own manual does
except ImportError:
    ql = None

each_kind = pytest.mark.parametrize("kind", KINDS)
CASES = {
    "strike": st.floats(0.5, 2.0),  # of spot
    "tau": st.floats(1 / 365, 3.0),
    "volatility": st.floats(0.05, 1.5),
    "rate": st.floats(-0.02, 0.1),
    "dividend_yield": st.floats(0.0, 0.08),
}
SPOT = 100.0


def at(kind: str, spot: float = SPOT, **case: float) -> Any:
    """Price, delta, gamma, vega; the strike as a fraction of `SPOT`."""
    case["strike"] *= SPOT
    return np.array(quote(kind, np.array(spot), **{k: np.array(v) for k, v in case.items()}))  # type: ignore[arg-type]


@pytest.mark.skipif(ql is None, reason="QuantLib is not installed (extra: test)")
@each_kind
@given(case=st.fixed_dictionaries(CASES))
def test_marks_and_greeks_are_quantlibs(kind: str, case: dict[str, float]) -> None:
    tau, r, q = case["tau"], case["rate"], case["dividend_yield"]
    theirs = np.zeros(4)
    for leg in {"call": (ql.Option.Call,), "put": (ql.Option.Put,), "straddle": (ql.Option.Call, ql.Option.Put)}[kind]:
        payoff = ql.PlainVanillaPayoff(leg, case["strike"] * SPOT)
        deviation = case["volatility"] * np.sqrt(tau)
        black = ql.BlackCalculator(payoff, SPOT * np.exp((r - q) * tau), deviation, np.exp(-r * tau))
        theirs += [black.value(), black.delta(SPOT), black.gamma(SPOT), black.vega(tau)]
    # norm_cdf is within 1e-15 of the exact value on both sides: 1e-13 of a spot of 100, and vega is up to 70
    np.testing.assert_allclose(at(kind, **case), theirs, rtol=1e-10, atol=1e-10)


@each_kind
@given(case=st.fixed_dictionaries({**CASES, "tau": st.floats(0.1, 3.0), "volatility": st.floats(0.1, 1.0)}))
def test_greeks_are_the_derivatives_of_the_price(kind: str, case: dict[str, float]) -> None:
    """Central differences. With spread s = sigma sqrt(tau) >= 0.03, a step of h in ln S errs by about (h / s)^2 / 6."""
    h = 1e-4
    up, here, down = (at(kind, SPOT * (1.0 + e), **case) for e in (h, 0.0, -h))
    _, delta, gamma, vega = here
    # truncation (1e-4 / 0.03)^2 / 6 < 2e-6 of the largest slope, rounding 2**-52 * price 200 / (h * spot) < 1e-11
    assert (up[0] - down[0]) / (2.0 * h * SPOT) == pytest.approx(delta, abs=4e-6)
    assert (up[1] - down[1]) / (2.0 * h * SPOT) == pytest.approx(gamma, abs=4e-6)
    v = 1e-5
    more, less = (at(kind, **{**case, "volatility": case["volatility"] + e}) for e in (v, -v))
    # vomma and its slope are below 1e4 for these spreads: truncation 1e4 * v^2 / 6 < 1e-6, rounding 1e-13 / v = 1e-8
    assert (more[0] - less[0]) / (2.0 * v) == pytest.approx(vega, abs=1e-5)


@given(case=st.fixed_dictionaries(CASES))
def test_puts_and_calls_are_at_parity_and_make_a_straddle(case: dict[str, float]) -> None:
    call, put, straddle = (at(kind, **case) for kind in ("call", "put", "straddle"))
    carry, discount = (np.exp(-case[x] * case["tau"]) for x in ("dividend_yield", "rate"))
    # a few roundings of numbers up to 200
    np.testing.assert_allclose(call[0] - put[0], SPOT * (carry - case["strike"] * discount), atol=1e-12)
    np.testing.assert_allclose(call[1] - put[1], carry, atol=1e-14)
    np.testing.assert_allclose(call[2:], put[2:], rtol=1e-14)
    np.testing.assert_allclose(straddle, call + put, atol=1e-12)


def test_at_expiry_a_quote_is_the_payoff_and_its_slope() -> None:
    spot = np.array([80.0, 100.0, 125.0])
    expired = {"strike": np.full(3, 100.0), "tau": np.zeros(3), "volatility": np.full(3, 0.3), "rate": 0.05}
    call, put = quote("call", spot, **expired), quote("put", spot, **expired)  # type: ignore[arg-type]
    np.testing.assert_array_equal(call.price, [0.0, 0.0, 25.0])
    np.testing.assert_array_equal(put.price, [20.0, 0.0, 0.0])
    np.testing.assert_array_equal(call.delta, [0.0, 0.0, 1.0])
    np.testing.assert_array_equal(put.delta[[0, 2]], [-1.0, 0.0])
    for greek in (call.gamma, call.vega, put.gamma, put.vega):
        np.testing.assert_array_equal(greek, np.zeros(3))


@each_kind
@pytest.mark.parametrize("tau", [0.0, 1e-12, 1e-6, 30.0])
@pytest.mark.parametrize("volatility", [0.0, 1e-6, 0.2, 5.0])
def test_far_from_the_money_nothing_overflows(kind: str, tau: float, volatility: float) -> None:
    """Warnings are errors here, so a division by zero would show."""
    spot = np.array([1e-6, 1.0, 99.999999, 100.0, 100.000001, 1e4, 1e9])
    each = quote(kind, spot, np.full(7, 100.0), np.full(7, tau), np.full(7, volatility), 0.03, 0.01)
    assert all(np.isfinite(x).all() for x in each)
    assert (each.price >= -1e-12 * spot).all()  # a difference of two numbers of up to the spot's size
    assert (np.abs(each.delta) <= 1.0).all()
