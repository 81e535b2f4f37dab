"""The front is what the definition of dominance says, however many points and in whatever pieces; its pick is on it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import HEDGE, NUMBERS

from kernels.errors import InputError
from kernels.market import FloatArray
from search import front
from search.front import front_of, knee, non_dominated
from search.objectives import Objectives
from search.targets import Targets

TARGETS = Targets.of(
    {"sharpe": {"at_least": 1.0, "reservation": 0.0}, "max_drawdown": {"at_most": 0.2, "reservation": 0.4}},
    metrics=HEDGE.metrics,
)
NAMES = ("sharpe", "max_drawdown", "turnover")  # more, less, and less, which has no target
OBJECTIVES = Objectives.of(NAMES, TARGETS, NUMBERS)


def slowly(values: FloatArray) -> list[bool]:
    """The definition, point by point."""
    points = values.tolist()
    return [
        not any(all(q >= p for p, q in zip(point, other, strict=True)) and other != point for other in points)
        and point not in points[:i]
        for i, point in enumerate(points)
    ]


def results(metrics: pd.DataFrame) -> pd.DataFrame:
    scored = pd.concat([metrics.drop(columns="status", errors="ignore"), TARGETS.score(metrics)], axis="columns")
    scored.insert(0, "trial", range(len(scored)))
    return scored


@st.composite
def measured(draw: st.DrawFn) -> pd.DataFrame:
    """Results with many ties, some of them invalid or infinite."""
    n = draw(st.integers(1, 30))
    numbers = st.lists(st.integers(0, 6), min_size=n, max_size=n)
    metrics = {"sharpe": [0.25 * k for k in draw(numbers)], "max_drawdown": [0.1 * k for k in draw(numbers)]}
    turnover = [np.inf if k == 0 else float(k) for k in draw(numbers)]
    status = draw(st.lists(st.sampled_from(["ok", "ok", "ok", "invalid"]), min_size=n, max_size=n))
    return results(pd.DataFrame({**metrics, "turnover": turnover, "status": status}))


@given(st.integers(1, 4).flatmap(lambda k: st.lists(st.tuples(*[st.integers(0, 4)] * k), min_size=1, max_size=40)))
def test_the_front_is_what_no_other_point_dominates(points: list[tuple[int, ...]]) -> None:
    values = np.array(points, dtype=np.float64)
    with pytest.MonkeyPatch.context() as patch:
        for name, size in (("CHUNK", 5), ("TILE", 3), ("STRONGEST", 2)):  # so that few points cross every edge
            patch.setattr(front, name, size)
        assert non_dominated(values).tolist() == slowly(values)


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_many_points_have_the_front_of_the_definition(objectives: int) -> None:
    values = np.random.default_rng(objectives).normal(size=(2000, objectives))
    kept = non_dominated(values)
    on = values[kept]
    assert not any(((on >= point).all(axis=1) & (on > point).any(axis=1)).any() for point in on)
    assert all(((on >= point).all(axis=1)).any() for point in values[~kept])


@given(measured(), st.integers(1, 30))
def test_the_front_does_not_depend_on_the_pieces_that_results_come_in(rows: pd.DataFrame, size: int) -> None:
    pieces = [rows.iloc[start : start + size] for start in range(0, len(rows), size)]
    whole, pieced = front_of(OBJECTIVES, [rows]), front_of(OBJECTIVES, pieces)
    pd.testing.assert_frame_equal(whole.rows, pieced.rows, check_exact=True)
    assert whole.met == pieced.met


@given(measured())
def test_the_pick_is_the_first_of_all_and_on_the_front(rows: pd.DataFrame) -> None:
    found = front_of(OBJECTIVES, [rows])
    valid = (rows["status"] == "ok") & np.isfinite(rows["turnover"])
    met = valid & (rows["targets_met"] == 2)
    assert found.met == met.any()
    of = rows[met if met.any() else valid]
    assert set(found.rows["trial"]) == set(of["trial"][slowly(OBJECTIVES.values(of))])
    if found.reference is None:
        assert not valid.any()
    else:
        assert found.reference["trial"] == rows["trial"].iloc[OBJECTIVES.best_first(rows)[0]]
        assert found.rows["reference"].sum() == 1


def test_the_pick_keeps_the_worst_of_its_targets_best() -> None:
    # margins: (0.5, 0.1), (0.2, 0.25), (0, 1): the second is the farthest beyond the target that it keeps worst
    rows = results(pd.DataFrame({"sharpe": [1.5, 1.2, 1.0], "max_drawdown": [0.18, 0.15, 0.0], "turnover": 1.0}))
    found = front_of(OBJECTIVES, [rows])
    assert found.reference is not None
    assert found.met
    assert (len(found.rows), found.reference["trial"]) == (3, 1)
    assert found.rows["sharpe"].tolist() == [1.5, 1.2, 1.0]


def test_where_no_target_is_met_the_front_is_of_all_and_says_so() -> None:
    rows = results(pd.DataFrame({"sharpe": [0.5, 0.4, 0.3], "max_drawdown": [0.3, 0.1, 0.35], "turnover": 1.0}))
    found = front_of(OBJECTIVES, [rows])
    assert not found.met
    assert found.rows["trial"].tolist() == [0, 1]
    nothing = front_of(OBJECTIVES, [rows.assign(status="invalid")])
    assert (len(nothing.rows), nothing.reference, nothing.knee) == (0, None, None)
    assert list(nothing.rows.columns) == list(found.rows.columns)


@given(st.floats(1e-3, 1e3), st.floats(-10.0, 10.0))
def test_the_knee_of_a_quarter_circle_is_its_middle_in_any_units(scale: float, shift: float) -> None:
    angle = np.linspace(0.0, np.pi / 2, 21)
    assert knee(np.stack([shift + scale * np.cos(angle), np.sin(angle)], axis=1)) == 10


def test_a_front_without_a_bulge_has_no_knee() -> None:
    x = np.linspace(0.0, 1.0, 11)
    assert knee(np.stack([x, 1.0 - x], axis=1)) is None
    assert knee(np.stack([x**2, (1.0 - x) ** 2], axis=1)) is None
    assert knee(np.array([[0.0, 1.0], [1.0, 0.0]])) is None


def test_the_knee_of_an_eighth_of_a_sphere_is_in_its_middle() -> None:
    points = np.abs(np.random.default_rng(0).normal(size=(4000, 3)))
    points = np.concatenate([np.eye(3), points / np.linalg.norm(points, axis=1, keepdims=True)])
    found = knee(points)
    assert found is not None
    assert np.allclose(points[found], 3**-0.5, atol=0.05)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["sharpe", "sharp"], "search.objectives: objective on unknown metric 'sharp'; did you mean sharpe?"),
        (["sharpe", "orders"], "search.objectives: neither more nor less of orders is better; give it a target"),
        (["sharpe"], "pareto holds at least two metrics against each other, got sharpe; list another"),
        ([], "pareto holds at least two metrics against each other, got none"),
        (["sharpe", "sharpe", "turnover"], "search.objectives: sharpe is listed 2 times; list it once"),
        (["turnover", "sortino"], "at least one needs a target, by which the winner is picked from the front"),
    ],
)
def test_wrong_objectives_are_refused(names: list[str], sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        Objectives.of(names, TARGETS, NUMBERS)
    assert sentence in str(refused.value)


def test_objectives_are_the_targets_where_none_are_named_and_better_is_what_a_target_says() -> None:
    wanted = {"volatility": {"at_least": 0.1, "reservation": 0.0}, "orders": {"at_most": 9, "reservation": 99}}
    found = Objectives.of(None, Targets.of(wanted, metrics=HEDGE.metrics), NUMBERS)
    assert found.spec == {"volatility": "maximize", "orders": "minimize"}
