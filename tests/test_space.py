"""A space says which configurations exist, and names every mistake in what a study file asks for."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution

from kernels.errors import InputError
from kernels.strategy import Parameter, Strategy
from search.space import Space

HEDGE = Strategy(
    name="hedge",
    summary="a hedge",
    source="none",
    parameters=(
        Parameter("lookback", 30, 6, 365, unit="bars", integer=True),
        Parameter("mode", "hedge_only", choices=("disabled", "hedge_only", "full")),
        Parameter("threshold", -0.07, -0.5, -0.01),
        Parameter("strength", 0.3, 0.0, 1.0),
        Parameter("leverage", 2.0, 0.5, 10.0),
        Parameter("stop", 0.10, 0.02, 0.5, optional=True),
        Parameter("trail", None, 0.5, 10.0, optional=True),
    ),
    planes=(),
    state=None,
    step=lambda bar, state, p: state,
    warm_up=lambda p: 0,
)
EVERY_KIND: dict[str, Any] = {
    "strength": {"low": 0.0, "high": 1.0},
    "leverage": {"low": 0.5, "high": 8.0, "log": True},
    "lookback": {"low": 10, "high": 300, "log": True},
    "threshold": {"low": -0.5, "high": -0.05, "step": 0.05},
    "mode": ["hedge_only", "full"],
    "stop": [None, 0.05, 0.1],
}
COUNTED = {name: wanted for name, wanted in EVERY_KIND.items() if name not in ("strength", "leverage")}


def refusal(**given: Any) -> str:
    with pytest.raises(InputError) as refused:
        Space.of(HEDGE, **given)
    return str(refused.value)


# --- tables


def test_a_table_has_every_parameter_in_the_strategys_order() -> None:
    table = Space.of(HEDGE, fixed={"lookback": 20, "stop": "none"}, search={"strength": [0.1, 0.2]}).grid()
    expected = pd.DataFrame(
        {
            "lookback": [20.0, 20.0],
            "mode": pd.array(["hedge_only", "hedge_only"], dtype="str"),
            "threshold": [-0.07, -0.07],
            "strength": [0.1, 0.2],
            "leverage": [2.0, 2.0],
            "stop": [math.nan, math.nan],
            "trail": [math.nan, math.nan],
        }
    )
    pd.testing.assert_frame_equal(table, expected, check_exact=True)


def test_in_a_grid_the_last_parameter_varies_fastest() -> None:
    search = {"threshold": [-0.05, -0.07], "mode": ["full", "disabled"], "stop": [None, 0.1]}
    grid = Space.of(HEDGE, search=search).grid()
    rows = list(zip(grid["threshold"], grid["mode"], grid["stop"].fillna(0.0), strict=True))
    assert rows == [(t, m, s) for t in (-0.05, -0.07) for m in ("full", "disabled") for s in (0.0, 0.1)]


@settings(deadline=None)
@given(st.data())
def test_grid_rows_are_the_rows_of_the_grid(data: st.DataObject) -> None:
    space = Space.of(HEDGE, search={name: COUNTED[name] for name in ("threshold", "mode", "stop")})
    grid = space.grid()
    assert len(grid) == space.size == 10 * 2 * 3
    assert not grid.duplicated().any()
    start = data.draw(st.integers(0, len(grid)))
    stop = data.draw(st.integers(start, len(grid)))
    piece = grid.iloc[start:stop].reset_index(drop=True)
    pd.testing.assert_frame_equal(space.grid_rows(start, stop), piece, check_exact=True)


def test_a_grid_of_a_hundred_million_points_is_read_anywhere() -> None:
    steps = {"threshold": 100, "strength": 100, "leverage": 100, "stop": 100}
    search = {
        p.name: {"low": p.low, "high": p.high, "step": (p.high - p.low) / (steps[p.name] - 1)}
        for p in HEDGE.parameters
        if p.name in steps and p.low is not None and p.high is not None
    }
    space = Space.of(HEDGE, search=search)
    assert space.size == 100**4
    last = space.grid_rows(100**4 - 1, 100**4)
    assert last["stop"].item() == pytest.approx(0.5)
    assert last["threshold"].item() == pytest.approx(-0.01)


@pytest.mark.parametrize("draw", ["random", "sobol"])
@settings(deadline=None)
@given(seed=st.integers(0, 2**31), cuts=st.lists(st.integers(0, 50), max_size=4))
def test_points_do_not_depend_on_how_many_are_asked_for_at_once(draw: str, seed: int, cuts: list[int]) -> None:
    space = Space.of(HEDGE, search=EVERY_KIND)
    points = getattr(space, draw)
    whole = points(50, seed)
    edges = [0, *sorted(cuts), 50]
    pieces = [points(stop - start, seed, start) for start, stop in pairwise(edges)]
    together = pd.concat([piece for piece in pieces if len(piece)], ignore_index=True)
    pd.testing.assert_frame_equal(together, whole, check_exact=True)


@pytest.mark.parametrize("draw", ["random", "sobol"])
def test_another_seed_gives_other_points(draw: str) -> None:
    points = getattr(Space.of(HEDGE, search=EVERY_KIND), draw)
    assert not points(20, 1).equals(points(20, 2))


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=6, max_size=6))
def test_every_point_is_one_the_parameters_allow(u: list[float]) -> None:
    space = Space.of(HEDGE, search=EVERY_KIND)
    row = space.from_unit(np.array([u])).iloc[0].to_dict()
    for parameter in HEDGE.parameters:
        value = row[parameter.name]
        off = isinstance(value, float) and math.isnan(value)
        assert parameter.problem(None if off else value) is None
        wanted = EVERY_KIND.get(parameter.name)
        if isinstance(wanted, dict):
            assert wanted["low"] <= value <= wanted["high"]


def test_every_value_of_a_list_or_of_whole_numbers_is_equally_likely() -> None:
    space = Space.of(HEDGE, search={"lookback": {"low": 6, "high": 9}, "stop": [None, 0.1], "mode": ["full"]})
    u = np.tile(((np.arange(400) + 0.5) / 400)[:, None], (1, 3))
    table = space.from_unit(u)
    assert table["lookback"].value_counts().to_dict() == {6.0: 100, 7.0: 100, 8.0: 100, 9.0: 100}
    assert table["stop"].isna().sum() == 200


def test_a_log_range_is_even_in_the_logarithm() -> None:
    space = Space.of(HEDGE, search={"leverage": {"low": 0.5, "high": 8.0, "log": True}})
    table = space.from_unit(np.array([[0.0], [0.25], [0.5], [0.75]]))
    assert table["leverage"].tolist() == pytest.approx([0.5, 1.0, 2.0, 4.0])


def test_steps_are_free_of_binary_rounding() -> None:
    grid = Space.of(HEDGE, search={"strength": {"low": 0.1, "high": 1.0, "step": 0.1}}).grid()
    assert grid["strength"].tolist() == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


@settings(deadline=None)
@given(st.integers(-500, -10), st.integers(1, 200), st.sampled_from([0, 1, 2, 3]))
def test_optuna_is_told_the_same_steps(low: int, step: int, extra: int) -> None:
    wanted = {"low": low / 1000, "high": min(-0.01, (low + step * 5 + extra) / 1000), "step": step / 1000}
    if wanted["high"] - wanted["low"] < wanted["step"]:
        return
    space = Space.of(HEDGE, search={"threshold": wanted})
    values = space.grid()["threshold"].to_numpy()
    told = space.distributions()["threshold"]
    assert isinstance(told, FloatDistribution)
    assert (told.low, told.high) == (values[0], values[-1])
    assert values[-1] <= wanted["high"] < values[-1] + wanted["step"] * (1 + 1e-9)


def test_steps_that_do_not_reach_the_end_stop_before_it() -> None:
    grid = Space.of(HEDGE, search={"strength": {"low": 0.0, "high": 1.0, "step": 0.4}}).grid()
    assert grid["strength"].tolist() == [0.0, 0.4, 0.8]


def test_a_range_without_steps_has_no_size_and_no_grid() -> None:
    space = Space.of(HEDGE, search={"strength": {"low": 0.0, "high": 1.0}, "stop": [None, 0.1]})
    assert space.size is None
    with pytest.raises(InputError, match=r"strategy.search.strength: a grid needs steps"):
        space.grid()


def test_a_space_without_a_search_is_one_configuration() -> None:
    space = Space.of(HEDGE)
    assert space.size == 1
    assert len(space.grid()) == 1


def test_parameters_that_are_off_everywhere_are_known() -> None:
    assert Space.of(HEDGE).none_everywhere == ("trail",)
    assert Space.of(HEDGE, fixed={"stop": None}, search={"trail": [None, 2.0]}).none_everywhere == ("stop",)


@settings(deadline=None)
@given(st.data())
def test_what_optuna_proposes_becomes_a_configuration_of_the_space(data: st.DataObject) -> None:
    space = Space.of(HEDGE, search=EVERY_KIND)
    u = np.array([data.draw(st.lists(st.floats(0, 0.999), min_size=6, max_size=6))])
    table = space.from_unit(u)
    row = table.iloc[0].to_dict()
    proposed = {}
    for name, distribution in space.distributions().items():
        off = isinstance(row[name], float) and math.isnan(row[name])
        proposed[name] = distribution.to_external_repr(distribution.to_internal_repr(None if off else row[name]))
        assert distribution._contains(distribution.to_internal_repr(proposed[name]))
    pd.testing.assert_frame_equal(space.table([space.row(proposed)]), table, check_exact=True)


def test_spec_tells_spaces_apart() -> None:
    specs = [
        Space.of(HEDGE).spec,
        Space.of(HEDGE, fixed={"stop": 0.2}).spec,
        Space.of(HEDGE, search={"stop": [0.1, 0.2]}).spec,
        Space.of(HEDGE, search={"stop": [0.2, 0.1]}).spec,
        Space.of(HEDGE, search={"stop": {"low": 0.1, "high": 0.2, "step": 0.1}}).spec,
    ]
    assert all(a != b for i, a in enumerate(specs) for b in specs[:i])
    assert json.dumps(Space.of(HEDGE, fixed={"lookback": 30}).spec) == json.dumps(Space.of(HEDGE).spec)
    assert Space.of(HEDGE, fixed={"stop": "none"}).spec == Space.of(HEDGE, fixed={"stop": None}).spec


# --- baselines


def test_a_baseline_stands_on_defaults_and_fixed_values() -> None:
    space = Space.of(HEDGE, fixed={"leverage": 3.0}, search={"strength": [0.8, 0.9]})
    rows = space.baselines({"long only": {"mode": "disabled"}, "both ways": {"mode": "full", "leverage": 1}})
    assert rows.index.tolist() == ["long only", "both ways"]
    assert rows["mode"].tolist() == ["disabled", "full"]
    assert rows["leverage"].tolist() == [3.0, 1.0]
    assert rows["strength"].tolist() == [0.3, 0.3]  # searched, not named: the strategy's default
    assert list(rows.columns) == [p.name for p in HEDGE.parameters]


def test_no_baselines_are_an_empty_table() -> None:
    assert Space.of(HEDGE).baselines(None).shape == (0, 7)


def test_a_wrong_baseline_is_refused_with_its_label() -> None:
    with pytest.raises(InputError) as refused:
        Space.of(HEDGE).baselines({"a": {"mod": "full"}, "b": {"mode": "ful"}, "c": 3})  # type: ignore[dict-item]
    first, second, third = refused.value.problems
    assert first.startswith("strategy.compare.a.mod: hedge has no such parameter; did you mean mode?")
    assert second.startswith("strategy.compare.b.mode: ")
    assert third.startswith("strategy.compare.c: parameters are needed")


# --- refusals


@pytest.mark.parametrize(
    ("search", "sentence"),
    [
        (
            {"strenght": [0.1]},
            "strategy.search.strenght: hedge has no such parameter; did you mean strength?",
        ),
        ({"strength": {"low": 0.5, "high": 0.1}}, "low < high must hold, got low=0.5, high=0.1"),
        ({"strength": {"low": 0.5, "high": 0.5}}, "low < high must hold"),
        ({"strength": {"low": 0, "high": 1.5}}, "0 <= strength <= 1 must hold, got 1.5"),
        ({"strength": {"low": 0, "high": 1, "step": 0}}, "0 < step <= high - low must hold, got step=0"),
        (
            {"strength": {"low": 0, "high": 1, "step": -0.1}},
            "0 < step <= high - low must hold, got step=-0.1",
        ),
        ({"strength": {"low": 0, "high": 1, "step": 2}}, "0 < step <= high - low must hold, got step=2"),
        ({"strength": {"low": 0, "high": 1, "log": True}}, "a log range needs low > 0, got low=0"),
        ({"leverage": {"low": 1, "high": 4, "log": True, "step": 1}}, "a log range has no steps, got step=1"),
        ({"strength": {"low": 0, "high": 1, "log": "yes"}}, "log is true or false, got 'yes'"),
        ({"strength": {"low": 0}}, "high must be a number, got nothing"),
        ({"strength": {"low": "0", "high": 1}}, "low must be a number, got '0'"),
        ({"strength": {"low": math.nan, "high": 1}}, "low must be a number, got nan"),
        ({"strength": {"low": 0, "hihg": 1}}, "unknown key hihg; did you mean high?"),
        ({"lookback": {"low": 6.5, "high": 9}}, "low must be whole, as lookback is, got 6.5"),
        ({"lookback": {"low": 6, "high": 9, "step": 0.5}}, "step must be whole, as lookback is, got 0.5"),
        (
            {"mode": {"low": 0, "high": 1}},
            "a range needs a number; list choices of disabled, hedge_only, full",
        ),
        ({"mode": ["full", "ful"]}, "choose one of disabled, hedge_only, full, got 'ful'"),
        ({"strength": []}, "at least one choice is needed, got an empty list"),
        ({"strength": [0.1, 0.2, 0.1]}, "every choice once, got 0.1 twice"),
        ({"stop": [None, "none"]}, "every choice once, got 'none' twice"),
        ({"strength": [0.1, None]}, "a value is needed, got none (it cannot be switched off)"),
        ({"strength": [0.1, "none"]}, "a value is needed, got none (it cannot be switched off)"),
        ({"strength": [0.1, math.inf]}, "a finite number is needed, got inf"),
        ({"strength": [0.1, [0.2]]}, "a number is needed, got [0.2]"),
        ({"strength": 0.3}, "one value belongs under strategy.fixed"),
        ({"strength": "0.3"}, "a list of choices or {low, high} is needed, got '0.3'"),
    ],
)
def test_a_wrong_search_is_refused(search: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(search=search)


@pytest.mark.parametrize(
    "name",
    ["fee_bps", "slippage_bps", "fill", "costs.fee_bps", "impact", "spread_bps", "funding_rate", "costs"],
)
def test_a_cost_is_never_searched(name: str) -> None:
    said = refusal(search={name: [1, 2]})
    assert said.startswith(f"strategy.search.{name}: costs are the environment and cannot be searched")
    assert "set them under costs" in said


@pytest.mark.parametrize(
    ("fixed", "sentence"),
    [
        ({"lookbak": 3}, "strategy.fixed.lookbak: hedge has no such parameter; did you mean lookback?"),
        ({"lookback": 3}, "6 <= lookback <= 365 bars must hold, got 3"),
        ({"lookback": 30.5}, "a whole number of bars is needed, got 30.5"),
        ({"lookback": math.inf}, "a finite number is needed, got inf"),
        ({"lookback": True}, "a number is needed, got True"),
        ({"mode": None}, "a value is needed, got none"),
    ],
)
def test_a_wrong_fixed_value_is_refused(fixed: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(fixed=fixed)


def test_a_parameter_both_fixed_and_searched_is_refused() -> None:
    said = refusal(fixed={"strength": 0.1}, search={"strength": [0.1, 0.2]})
    assert said == "strategy.search.strength: is fixed as well; remove it from fixed or from search"


def test_all_mistakes_are_named_at_once() -> None:
    said = refusal(
        fixed={"lookback": 3, "mood": "full"},
        search={"strength": {"low": 1, "high": 0}, "fee_bps": [1], "stop": [None, 7]},
    )
    assert len(said.splitlines()) == 5
