"""The score says how near a configuration is to its targets, and never lies about which are met."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.errors import InputError
from search.targets import SURPLUS_SHARE, Targets

METRICS = ("sharpe", "cagr", "max_drawdown", "consistency", "calmar")
DEFAULT = Targets.of(metrics=METRICS)
ALL_MET = 1.0 - SURPLUS_SHARE

ordinary = st.floats(-5, 5)
any_finite = st.floats(allow_nan=False, allow_infinity=False)


def frame(*rows: tuple[float, float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(DEFAULT.metrics))


def margins(scores: pd.DataFrame) -> np.ndarray:
    return scores[[f"margin_{metric}" for metric in DEFAULT.metrics]].to_numpy()


@pytest.mark.parametrize(
    ("cagr_to_volatility", "cagr", "max_drawdown", "score"),
    [
        (2.25, 0.487, 0.244, 0.639),  # disabled
        (1.85, 0.477, 0.277, 0.602),  # full
        (2.06, 0.488, 0.235, 0.650),  # hedge_only -0.07, 0.8
        (2.33, 0.491, 0.207, 0.687),  # -0.07, 0.3
        (2.31, 0.491, 0.203, 0.692),  # -0.07, 0.4
        (2.26, 0.488, 0.200, 0.696),  # -0.07, 0.5
    ],
)
def test_published_rows_score_what_the_specification_says(
    cagr_to_volatility: float, cagr: float, max_drawdown: float, score: float
) -> None:
    scored = DEFAULT.score(frame((cagr_to_volatility, cagr, max_drawdown, 0.60)))
    assert scored["score"].round(3).item() == score
    assert scored["targets_met"].item() == 3


@settings(deadline=None)
@given(st.tuples(any_finite, any_finite, any_finite, any_finite))
def test_score_lies_between_0_and_1_for_any_finite_metrics(row: tuple[float, float, float, float]) -> None:
    scored = DEFAULT.score(frame(row))
    assert 0.0 < scored["score"].item() < 1.0
    assert scored["status"].item() == "ok"


@settings(deadline=None)
@given(
    st.tuples(any_finite, any_finite, any_finite, any_finite),
    st.sampled_from(range(4)),
    st.one_of(st.floats(0, 1e-6), st.floats(0, 10), st.floats(0, 1e300)),
)
def test_score_never_falls_when_a_metric_improves(
    row: tuple[float, float, float, float], which: int, by: float
) -> None:
    better = list(row)
    better[which] += DEFAULT.targets[which].direction * by
    if not math.isfinite(better[which]):
        return
    worse_score, better_score = DEFAULT.score(pd.concat([frame(row), frame(tuple(better))]))["score"]  # type: ignore[arg-type]
    # a dozen roundings of numbers below 1 stand between the margins and a score
    assert better_score >= worse_score - 12 * 2**-53


@settings(deadline=None)
@given(st.tuples(any_finite, any_finite, any_finite, any_finite))
def test_score_reaches_its_mark_exactly_where_every_target_is_met(
    row: tuple[float, float, float, float],
) -> None:
    scored = DEFAULT.score(frame(row))
    met = int((margins(scored) >= 0).sum())
    assert scored["targets_met"].item() == met
    assert (scored["score"].item() >= ALL_MET) == (met == 4)


@pytest.mark.parametrize("shortfall", [1e-3, 1e-9, 1e-15])
def test_the_smallest_miss_is_seen(shortfall: float) -> None:
    scored = DEFAULT.score(frame((1.0 - shortfall, 0.30, 0.10, 0.60), (1.0, 0.30, 0.10, 0.60)))
    missed, met = scored["score"]
    assert missed < ALL_MET == met
    assert scored["targets_met"].tolist() == [3, 4]


@settings(deadline=None)
@given(st.tuples(ordinary, ordinary, ordinary, ordinary), st.sampled_from(range(4)))
def test_slope_is_continuous(row: tuple[float, float, float, float], which: int) -> None:
    # the steepest scale is 0.1 and the second derivative of the score in a margin stays below 4,
    # so over a step h the slope in a metric moves less than 4 h / 0.1^2
    h = 1e-4
    at = np.array([row, row, row, row, row])
    at[:, which] += h * np.arange(-2, 3)
    score = DEFAULT.score(pd.DataFrame(at, columns=list(DEFAULT.metrics)))["score"].to_numpy()
    slopes = np.diff(score) / h
    assert np.abs(np.diff(slopes)).max() < 4 * h / 0.1**2


@settings(deadline=None)
@given(st.lists(st.tuples(ordinary, ordinary, ordinary, ordinary), min_size=1, max_size=20), st.data())
def test_score_does_not_depend_on_the_other_trials(
    rows: list[tuple[float, float, float, float]], data: st.DataObject
) -> None:
    which = data.draw(st.sampled_from(range(len(rows))))
    together = DEFAULT.score(frame(*rows)).iloc[[which]].reset_index(drop=True)
    pd.testing.assert_frame_equal(together, DEFAULT.score(frame(rows[which])), check_exact=True)


@settings(deadline=None)
@given(st.sampled_from(range(4)), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_a_metric_that_is_not_finite_makes_the_score_0(which: int, bad: float) -> None:
    row = [2.0, 0.5, 0.05, 0.7]
    row[which] = bad
    scored = DEFAULT.score(frame(tuple(row)))  # type: ignore[arg-type]
    assert scored["score"].item() == 0.0
    assert scored["targets_met"].item() == 0
    assert scored["status"].item() == "invalid"


def test_metrics_that_say_invalid_score_0() -> None:
    metrics = frame((2.0, 0.5, 0.05, 0.7), (2.0, 0.5, 0.05, 0.7)).assign(status=["invalid", "ok"])
    scored = DEFAULT.score(metrics)
    assert scored["status"].tolist() == ["invalid", "ok"]
    assert scored["score"].tolist()[0] == 0.0 < scored["score"].tolist()[1]


def test_every_target_unmet_constrains_optuna_by_its_margin() -> None:
    row = DEFAULT.score(frame((0.5, 0.45, 0.10, math.nan))).to_dict("records")[0]
    assert DEFAULT.constraints(row) == {
        "sharpe": 0.5,
        "cagr": pytest.approx(-0.5),
        "max_drawdown": 0.0,
        "consistency": math.inf,
    }


def test_a_default_target_keeps_what_the_study_leaves_out() -> None:
    (target,) = Targets.of({"max_drawdown": {"at_most": 0.15}}, metrics=METRICS).targets
    assert (target.direction, target.value, target.reservation, target.weight) == (-1, 0.15, 0.20, 0.2)


def test_weights_left_out_are_equal_where_a_metric_has_no_default() -> None:
    targets = Targets.of({"sharpe": {}, "calmar": {"at_least": 2, "reservation": 1}}, metrics=METRICS)
    assert targets.weights.tolist() == [0.5, 0.5]


def test_score_spec_names_the_score_and_not_its_spelling() -> None:
    def spec(weight: float, other: float, value: float = 1.0) -> str:
        wanted = {"sharpe": {"at_least": value, "weight": weight}, "cagr": {"weight": other}}
        return Targets.of(wanted, metrics=METRICS).score_spec

    assert spec(2, 1) == spec(0.2, 0.1) == spec(6.0, 3.0)
    assert len({spec(2, 1), spec(1, 2), spec(2, 1, value=1.5)}) == 3


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (
            {"sharp": {"at_least": 1}},
            "target on unknown metric 'sharp'; did you mean sharpe? metrics are sharpe, cagr",
        ),
        ({"calmar": {"reservation": 1}}, "targets.calmar: at_least or at_most is needed"),
        ({"calmar": {"at_least": 2}}, "targets.calmar.reservation: is needed"),
        ({"sharpe": {"at_least": 1, "at_most": 2}}, "targets.sharpe: at_least or at_most, not both"),
        ({"sharpe": {"at_least": 1, "reservation": 1}}, "must lie below at_least, on the worse side"),
        ({"max_drawdown": {"at_most": 0.2, "reservation": 0.1}}, "must lie above at_most, on the worse side"),
        ({"sharpe": {"weight": 0}}, "targets.sharpe.weight: weight > 0 must hold, got 0"),
        ({"sharpe": {"weight": -1}}, "weight > 0 must hold, got -1"),
        ({"sharpe": {"at_least": "high"}}, "targets.sharpe.at_least: a finite number is needed, got 'high'"),
        ({"sharpe": {"at_least": math.inf}}, "a finite number is needed, got inf"),
        ({"sharpe": {"atleast": 1}}, "targets.sharpe.atleast: unknown key; did you mean at_least?"),
        ({"sharpe": 1.0}, "targets.sharpe: {at_least or at_most, reservation, weight} is needed, got 1.0"),
        (
            {"sharpe": {"weight": 1}, "calmar": {"at_least": 2, "reservation": 1}},
            "targets.calmar.weight: is needed, since other targets have one",
        ),
    ],
)
def test_a_wrong_target_is_refused(wanted: dict[str, dict[str, float]], sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        Targets.of(wanted, metrics=METRICS)
    assert sentence in str(refused.value)


def test_all_wrong_targets_are_named_at_once() -> None:
    with pytest.raises(InputError) as refused:
        Targets.of({"sharp": {}, "cagr": {"weight": 0}, "calmar": {}}, metrics=METRICS)
    assert len({problem.split(".")[1].split(":")[0] for problem in refused.value.problems}) == 3
