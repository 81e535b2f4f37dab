"""The array language and its tracer: what it computes, what it refuses and how it says so, how it schedules."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from histories import history, market_for
from hypothesis import given
from hypothesis import strategies as st
from rules import BUDGET, CATALOGUE, CURVE, SHORTEST, TANGLE
from running import agree, launch, plan, run, some_values

from kernels import STRATEGIES, Costs, Strategy
from kernels.launch import Backend, layout
from kernels.ops import (
    as_number,
    clip,
    exp,
    floor,
    log,
    max_assets,
    maximum,
    min_assets,
    minimum,
    norm_cdf,
    sign,
    sqrt,
    sum_assets,
    where,
)
from kernels.planes import OPTION_PLANES
from kernels.program import Program, trace
from kernels.schedule import schedule
from kernels.trace import Graph, Symbol

ANY = st.floats(allow_nan=True, allow_infinity=True)


def symbols() -> SimpleNamespace:
    """x and y differ between configurations and assets, s between configurations only."""
    graph = Graph()
    per_asset = {"per_asset": True, "per_lane": True, "per_bar": True}
    return SimpleNamespace(
        x=graph.leaf("state", "x", **per_asset),
        y=graph.leaf("state", "y", **per_asset),
        s=graph.leaf("state", "s", per_lane=True, per_bar=True),
        graph=graph,
    )


# ---- what is refused, and the sentence for it

ON_SYMBOLS: dict[str, tuple[Any, str]] = {
    "if": (lambda v: 1.0 if v.x > 0.0 else 2.0, r"cannot branch in Python .* use where\(condition, a, b\)"),
    "and": (lambda v: v.x > 0.0 and v.y > 0.0, r"& \| ~ from kernels.ops"),
    "not": (lambda v: not v.x > 0.0, "cannot branch in Python"),
    "chained comparison": (lambda v: 0.0 < v.x < 1.0, "a < b < c"),
    "min": (lambda v: min(v.x, 1.0), "minimum"),
    "max": (lambda v: max(v.x, v.y), "maximum"),
    "in": (lambda v: v.x in (1.0, 2.0), "cannot branch"),
    "math.sqrt": (lambda v: math.sqrt(v.x), r"math\.\* and float\(\) cannot take it: .* kernels.ops.sqrt"),
    "float": (lambda v: float(v.s), "a symbol has no value yet"),
    "np.minimum": (lambda v: np.minimum(v.x, 0.5), r"np.minimum cannot take a symbol: .* kernels.ops.minimum"),
    "np.exp": (lambda v: np.exp(v.x), r"np.exp cannot take a symbol: .* kernels.ops.exp"),
    "np.where": (lambda v: np.where(v.x > 0.0, 1.0, 2.0), r"np.where cannot take a symbol: .* kernels.ops.where"),
    "array": (lambda v: v.x * np.arange(3.0), r"mixes symbols with ndarray: read arrays as planes \(bar.<name>\)"),
    "array first": (lambda v: np.arange(3.0) * v.x, r"mixes symbols with ndarray: read arrays as planes"),
    "list": (lambda v: v.x * [1.0], "mixes symbols with list"),
    "power": (lambda v: v.x**3, r"to the power 3: write the product out, or exp\(n \* log\(x\)\)"),
    "number as condition": (lambda v: where(v.x, 1.0, 2.0), "the condition must be a comparison"),
    "numbers joined": (lambda v: v.x & v.y, "'and' joins conditions; compare first"),
    "number negated": (lambda v: ~v.x, "'not' joins conditions"),
    "condition added": (lambda v: (v.x > 0.0) + 1.0, r"'add' takes numbers, got a condition: .*as_number\(condition\)"),
    "condition or number": (lambda v: where(v.x > 0.0, v.y > 0.0, 1.0), "'where' takes numbers, got a condition"),
    "sum of conditions": (lambda v: sum_assets(v.x > 0.0), r"write sum_assets\(as_number\(condition\)\)"),
    "sum of one": (lambda v: sum_assets(v.s), "takes a value per asset; this one is the same for all assets"),
}


@pytest.mark.parametrize("mistake", ON_SYMBOLS)
def test_what_cannot_be_recorded_is_refused_with_what_to_write_instead(mistake: str) -> None:
    rule, sentence = ON_SYMBOLS[mistake]
    with pytest.raises(TypeError, match=sentence):
        rule(symbols())


def test_a_numpy_number_may_stand_on_either_side_of_a_symbol() -> None:
    v = symbols()
    assert np.sqrt(4.0) * v.x is 2.0 * v.x
    assert v.x / np.float64(3.0) is v.x / 3.0
    assert (np.float64(1.0) < v.x).op == "less"


# ---- the graph


def test_equal_operations_are_one_node() -> None:
    v = symbols()
    first = where(v.x + v.y > 0.0, v.x + v.y, -v.s)
    before = len(v.graph.nodes)
    assert where(v.x + v.y > 0.0, v.x + v.y, -v.s) is first
    assert len(v.graph.nodes) == before


def test_numbers_that_print_differently_are_different_nodes() -> None:
    v = symbols()
    assert v.x + 0.0 is not v.x + -0.0
    assert v.x * 1 is v.x * 1.0


def test_a_symbol_prints_as_its_operation() -> None:
    v = symbols()
    assert repr(v.x * v.s) == "<symbol #3: multiply(#0, #2)>"
    assert repr(v.x) == "<symbol #0: state('x')>"


def test_every_node_comes_after_its_arguments() -> None:
    for strategy in (*CATALOGUE, BUDGET, TANGLE, CURVE):
        for node in plan(
            market_for(strategy, SHORTEST.get(strategy.name, 60)), strategy, _rows(strategy, 3)
        ).traced.graph.nodes:
            assert all(argument.index < node.index for argument in node.args)


def test_traits_follow_from_the_arguments() -> None:
    v = symbols()
    assert (v.s + v.x).per_asset
    assert not sum_assets(v.x).per_asset
    assert (v.x > v.s).boolean
    assert where(v.x > 0.0, v.x > 1.0, v.y > 1.0).boolean
    assert isinstance(as_number(v.x > 0.0), Symbol)
    assert not as_number(v.x > 0.0).boolean


# ---- what it computes


@given(st.floats(-40.0, 40.0))
def test_norm_cdf_is_within_1e_15_of_the_error_function(x: float) -> None:
    assert abs(float(norm_cdf(np.array([x]))[0]) - 0.5 * math.erfc(-x / math.sqrt(2.0))) <= 1e-15


def test_norm_cdf_rises_and_adds_up_to_one() -> None:
    x = np.linspace(-9.0, 9.0, 20_001)
    values = norm_cdf(x)
    # neighbours 9e-4 apart in the far tails differ by less than a rounding of 1
    assert (np.diff(values) >= -(2.0**-52)).all()
    np.testing.assert_allclose(values + norm_cdf(-x), 1.0, rtol=0.0, atol=2.0**-52)


@given(ANY, ANY)
def test_the_second_of_two_is_taken_where_they_do_not_compare(a: float, b: float) -> None:
    for ours, better in ((minimum, a < b), (maximum, a > b)):
        assert np.array_equal(ours(np.array([a]), np.array([b])), [a if better else b], equal_nan=True)


@given(st.floats(-1e6, 1e6), st.floats(-10.0, 0.0), st.floats(0.0, 10.0))
def test_clip_stays_between_its_bounds(x: float, low: float, high: float) -> None:
    assert low <= float(clip(np.array([x]), low, high)[0]) <= high


def test_functions_are_numpys_own() -> None:
    x = np.array([0.25, 1.0, 2.5])
    for ours, theirs in ((sqrt, np.sqrt), (exp, np.exp), (log, np.log), (floor, np.floor)):
        assert np.array_equal(ours(x), theirs(x))
    assert np.array_equal(sign(np.array([-2.0, 0.0, np.nan, np.inf])), [-1.0, 0.0, 0.0, 1.0])


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=4), min_size=1, max_size=5))
def test_reductions_over_assets_are_those_of_each_configuration_alone(values: list[list[float]]) -> None:
    x = np.array(values)  # (A, 4)
    for reduce, plain in ((sum_assets, sum), (max_assets, max), (min_assets, min)):
        together = reduce(x)
        assert together.tolist() == [plain(column) for column in x.T.tolist()]
        assert np.array_equal(together[[2]], reduce(x[:, [2]]))


# ---- stages (the rules are in tests/rules.py)


def _rows(strategy: Strategy, count: int, seed: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({p.name: some_values(p, rng, count) for p in strategy.parameters}, dtype=object)


def test_a_reduction_ends_a_stage() -> None:
    """The two inner reductions of the budget and four of the tangle, then the account's in the last stage."""
    assert len(plan(history(), STRATEGIES["tsmom_hedge"], _rows(STRATEGIES["tsmom_hedge"], 3)).stages) == 1
    assert len(plan(history(), BUDGET, _rows(BUDGET, 3)).stages) == 3
    tangled = plan(history(), TANGLE, _rows(TANGLE, 3))
    assert len(tangled.stages) == 5  # the last for state that becomes what the account's stage has summed
    assert any(n.boolean for stage in tangled.stages for n in stage.crossing)
    assert tangled.setup
    assert {n.name for n in tangled.scalar_state} >= {"rule.low", "rule.count", "rule.product"}
    assert "rule.idle" not in tangled.state


def test_work_is_done_no_more_often_than_it_changes() -> None:
    scheduled = plan(history(), STRATEGIES["tsmom_hedge"], _rows(STRATEGIES["tsmom_hedge"], 1))
    assert all(not (n.per_lane or n.per_bar) for n in scheduled.uniform)
    assert all(n.per_lane and not n.per_bar for n in scheduled.setup)
    assert all(n.per_bar and not n.per_lane for n in scheduled.bar_scalars)
    assert all(not n.per_lane for stage in scheduled.stages for n in stage.shared)


@pytest.mark.parametrize("count", [1, 63, 64, 65])
@pytest.mark.parametrize("gathered", [False, True], ids=["shared planes", "gathered banks"])
@pytest.mark.parametrize("strategy", [BUDGET, TANGLE], ids=lambda s: s.name)
def test_rules_of_several_stages_are_equal_on_all_backends(
    strategy: Strategy, gathered: bool, count: int, backend: Backend
) -> None:
    rows = _rows(strategy, count)
    if not gathered:
        rows["window"] = 20
    market = history()
    meaning = run(market, strategy, rows)
    assert (meaning.metrics["orders"] > 0).any()
    agree(run(market, strategy, rows, backend), meaning, backend)


def test_a_bank_of_one_slice_is_a_shared_plane() -> None:
    rows = _rows(BUDGET, 4).assign(window=20)
    _, shared, gathered = layout(launch(history(), BUDGET, rows))
    assert not gathered
    assert shared["momentum"].shape == (1, 400, 3)


def test_a_bar_without_anything_rare_is_compiled_without_it() -> None:
    """And a state that never changes is no state, of a single asset."""
    strategy, free = STRATEGIES["option_hedge"], Costs(impact="none").free
    off = frozenset({"risk_aversion", "delta_vol_weight", "skew_delta", "vol_target"})
    planes = OPTION_PLANES | {p.name: True for p in strategy.planes}
    alone = schedule(trace(Program(strategy, 1, off, free), planes))
    assert not alone.stages
    assert len(alone.rare) == 3  # a cycle opens, one turns, the first bar with a return
    assert 0 < len(alone.quiet) < len(alone.final)
    assert not {"rule.scale", "account.impact"} & set(alone.state)
    turned = {name for name, _ in alone.commits} - {name for name, _ in alone.quiet_commits}
    assert turned == {"account.cycle_value", "sums.trades", "sums.wins"}
    with_assets = schedule(trace(Program(strategy, 2, off, free), planes))
    assert with_assets.stages
    assert not with_assets.rare
