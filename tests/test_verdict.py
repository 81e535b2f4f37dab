"""The verdict: what it says of given evidence, and how often it is wrong about worthless and worthwhile searches."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_luck import sums

from search.bootstrap import resample, weights
from search.luck import SURE
from search.overfitting import overfitting
from search.reality_check import excess
from search.sharpe import deflated_sharpe, worthless_spread
from search.verdict import DEFLATED, PBO, REALITY_CHECK, HoldOut, Rule, Verdict, of_history, of_paths

near = st.floats(-2.0, 2.0) | st.integers(-40, 40).map(lambda k: 0.95 + k * 2.0**-53) | st.just(0.95)


@given(value=near, limit=near, sign=st.sampled_from([">=", ">", "<="]), digits=st.integers(0, 3))
def test_the_numbers_printed_never_contradict_the_sign(value: float, limit: float, sign: str, digits: int) -> None:
    rule = Rule("x", value, sign, limit, "", digits=digits)  # type: ignore[arg-type]
    _, left, shown, right = rule.text.split()
    a, b = float(left), float(right)
    assert {">=": a >= b, ">": a > b, "<=": a <= b, "<": a < b}[shown]
    assert (shown == sign) == rule.met
    assert "-0." not in left or a < 0.0


def test_what_is_just_short_is_printed_as_short() -> None:
    assert of_history(deflated=0.9499, overfitting=0.1, reality_check=0.01, tried=2).line == (
        "not supported: deflated Sharpe 0.9499 < 0.95"
    )
    assert Rule("p", 0.0500001, "<=", 0.05, "").text == "p 0.0500001 > 0.05"
    assert Rule("Sharpe", 0.7312, ">=", 0.7349, "", of="the baseline").text == "Sharpe 0.731 < 0.735 of the baseline"
    assert Rule("Sharpe", -0.001, ">", 0.0, "").text == "Sharpe 0.00 <= 0"


def test_one_broken_rule_is_enough_and_is_named_alone() -> None:
    good = {"deflated": 0.99, "overfitting": 0.1, "reality_check": 0.01}
    assert of_history(**good, tried=9).label == "supported"
    for name, bad, told in (
        ("deflated", 0.5, "deflated Sharpe 0.50 < 0.95"),
        ("overfitting", 0.51, "PBO 0.51 > 0.5"),
        ("reality_check", 0.2, "reality check p 0.200 > 0.05"),
    ):
        found = of_history(**{**good, name: bad}, tried=9)
        assert (found.label, found.line) == ("not supported", f"not supported: {told}")
        assert len(found.rules) == 3
        assert all(rule.explained for rule in found.rules)


def test_a_choice_among_equals_is_no_overfitting_where_it_does_not_lose() -> None:
    def found(overfitting: float, loss: float | None) -> Verdict:
        return of_history(deflated=0.99, overfitting=overfitting, loss=loss, reality_check=0.01, tried=9)

    equal = found(0.95, 0.03)
    assert equal.label == "supported"
    assert "loss on the other half 0.03 <= 0.05" in equal.line
    assert "(PBO 0.95)" in equal.rules[1].explained
    assert found(0.95, 0.06).line == "not supported: PBO 0.95 > 0.5"
    assert found(0.95, None).line == "not supported: PBO 0.95 > 0.5"
    assert "PBO 0.40 <= 0.5" in found(0.4, 0.3).line  # the choice is of the better half, whatever that half earns


def test_a_baseline_that_is_named_is_the_one_to_beat() -> None:
    good = {"deflated": 0.99, "overfitting": 0.1, "reality_check": 0.01, "tried": 9}
    line = of_history(**good, hold_out=HoldOut(0.3, 0.52, "long only")).line  # type: ignore[arg-type]
    assert line == "not supported: hold-out Sharpe 0.30 < 0.52 of long only"
    paths = of_paths(met=4, targets=4, score=0.5, baseline=0.62, whose="unhedged")
    assert paths.line == "not supported: score on unseen paths 0.50 <= 0.62 of unhedged"


def test_a_hold_out_that_was_opened_is_judged() -> None:
    good = {"deflated": 0.99, "overfitting": 0.1, "reality_check": 0.01, "tried": 9}

    def line(sharpe: float, baseline: float | None) -> str:
        return of_history(**good, hold_out=HoldOut(sharpe, baseline)).line  # type: ignore[arg-type]

    assert line(0.8, 0.5).endswith("hold-out Sharpe 0.80 > 0, hold-out Sharpe 0.80 >= 0.5 of the best baseline")
    assert line(0.8, None).endswith("reality check p 0.010 <= 0.05, hold-out Sharpe 0.80 > 0")
    assert line(0.3, 0.52) == "not supported: hold-out Sharpe 0.30 < 0.52 of the best baseline"
    assert line(-0.2, -0.4) == "not supported: hold-out Sharpe -0.20 <= 0"


def test_what_could_not_be_computed_is_named() -> None:
    nothing = of_history(
        deflated=math.nan, overfitting=None, reality_check=None, tried=1, why={PBO: "one configuration"}
    )
    assert nothing.label == "not judged"
    assert nothing.line == (
        "not judged: deflated Sharpe (could not be computed), PBO (one configuration), reality check (could not be computed)"
    )
    assert set(nothing.missing) == {DEFLATED, PBO, REALITY_CHECK}
    some = of_history(deflated=None, overfitting=0.2, reality_check=0.01, tried=5, why={DEFLATED: "it never moves"})
    assert some.line == "not judged: deflated Sharpe (it never moves); PBO 0.20 <= 0.5, reality check p 0.010 <= 0.05"
    assert of_history(deflated=None, overfitting=0.9, reality_check=None, tried=5).label == "not supported"


def test_on_paths_every_target_counts() -> None:
    assert (
        of_paths(met=3, targets=4, score=0.7, baseline=0.6).line == "not supported: targets met on unseen paths 3 < 4"
    )
    assert of_paths(met=4, targets=4, score=0.84, baseline=0.84).line == (
        "not supported: score on unseen paths 0.84 <= 0.84 of the best baseline"
    )
    assert of_paths(met=4, targets=4, score=0.84, baseline=None).line == "supported: targets met on unseen paths 4 >= 4"


# ---- by simulation: six years of days, configurations that share a part of their returns with the market

BARS, YEAR, STUDIES = 1512, 252.0, 200


def searched(
    rng: np.random.Generator,
    *,
    edge: float,
    part: float,
    drawn: np.ndarray,
    baseline: float = 1.0,
    configurations: int = 30,
) -> Verdict:
    """The verdict on one made-up study; that part of its configurations earns a Sharpe ratio of `edge` a year,
    the baseline is so much of the market, which earns nothing."""
    common = rng.uniform(0.0, 0.9)
    market = rng.standard_t(5, BARS)
    returns = math.sqrt(common) * market[:, None] + math.sqrt(1.0 - common) * rng.standard_t(5, (BARS, configurations))
    returns /= math.sqrt(5.0 / 3.0)  # a t of 5 degrees of freedom has that variance
    returns[:, : round(part * configurations)] += edge / math.sqrt(YEAR)
    deviation = returns.std(axis=0, ddof=1)
    sharpes = returns.mean(axis=0) / deviation
    winner = returns[:, sharpes.argmax()]
    centred = (winner - winner.mean()) / winner.std()
    deflated, _ = deflated_sharpe(
        float(sharpes.max()),
        BARS,
        float((centred**3).mean()),
        float((centred**4).mean()),
        trials=configurations,
        spread=worthless_spread(sharpes, BARS),
    )
    if deflated < SURE:  # one broken rule decides: the dear ones need not be computed
        return of_history(deflated=deflated, overfitting=None, reality_check=None, tried=configurations)
    return of_history(
        deflated=deflated,
        overfitting=overfitting(*sums(returns, 6)).probability,
        reality_check=excess(returns / deviation, baseline * market / market.std(), drawn).p_value,
        tried=configurations,
    )


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return weights(resample(BARS, 3.0, 100, seed=0))


@pytest.mark.parametrize("baseline", [1.0, 0.0], ids=["the market", "cash"])
def test_noise_is_supported_in_at_most_one_study_of_twenty(drawn: np.ndarray, baseline: float) -> None:
    rng = np.random.default_rng(11)
    found = [searched(rng, edge=0.0, part=0.0, drawn=drawn, baseline=baseline).label for _ in range(STUDIES)]
    assert found.count("supported") <= 0.05 * STUDIES


def test_an_edge_is_supported_in_nine_studies_of_ten(drawn: np.ndarray) -> None:
    rng = np.random.default_rng(12)
    found = [searched(rng, edge=2.0, part=rng.uniform(0.1, 0.6), drawn=drawn).label for _ in range(STUDIES)]
    assert found.count("supported") >= 0.9 * STUDIES
