"""A cloud lies in a box round its point, is drawn for its trial alone, and is told as one number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.strategy import Parameter, Strategy
from search.cloud import SUMMARY, Cloud
from search.dimension import Choices
from search.space import Space

RULE = Strategy(
    name="rule",
    summary="a rule",
    source="none",
    parameters=(
        Parameter("x", 0.5, 0.0, 1.0),
        Parameter("y", 1.0, 0.1, 10.0),
        Parameter("bars", 30, 6, 365, unit="bars", integer=True),
        Parameter("wait", 5, 1, 100, unit="bars", integer=True),
        Parameter("days", 1.0, 0.1, 20.0),
        Parameter("mode", "flat", choices=("flat", "hedge", "full")),
        Parameter("stop", 0.1, 0.02, 0.5, optional=True),
    ),
    planes=(),
    state=None,
    step=lambda bar, state, p: state,
    warm_up=lambda p: 0,
)
EVERY_KIND: dict[str, Any] = {
    "x": {"low": 0.0, "high": 1.0, "step": 0.05},
    "y": {"low": 0.1, "high": 10.0, "log": True},
    "bars": {"low": 10, "high": 300, "log": True},
    "wait": {"low": 1, "high": 60},
    "days": [1, 2, 3, 4, 5, 6, 8, 10, 15, 20],
    "mode": ["hedge", "flat", "full"],
    "stop": [None, 0.1, 0.2],
}
SPACE = Space.of(RULE, search=EVERY_KIND)
# log and exp of numbers below 300, and their quotient: each is off by an ulp or two
ROUNDING = 1e-12

clouds = st.builds(Cloud, st.integers(2, 20), st.floats(0.1, 0.5))
numbers = st.integers(0, 10_000)


def at(cloud: Cloud, points: pd.DataFrame, first: int = 0, seed: int = 0, trials: int = 10_001) -> pd.DataFrame:
    return cloud.around(SPACE, points, first=first, seed=seed, trials=trials)


@given(seed=numbers)
def test_a_point_of_the_unit_cube_is_found_again(seed: int) -> None:
    points = SPACE.random(20, seed)
    u = SPACE.to_unit(points)
    assert ((u >= 0.0) & (u <= 1.0)).all()
    again = SPACE.from_unit(u)
    pd.testing.assert_frame_equal(again, points, rtol=ROUNDING)
    for name, d in SPACE.dimensions.items():  # what has steps is found to the bit
        assert d.count is None or again[name].equals(points[name])


@given(cloud=clouds, first=numbers, seed=numbers)
def test_the_first_member_is_the_point_and_the_others_lie_in_its_box(cloud: Cloud, first: int, seed: int) -> None:
    points = SPACE.random(3, seed)
    table = at(cloud, points, first, seed)
    assert len(table) == 3 * cloud.size
    assert table.dtypes.to_dict() == points.dtypes.to_dict()
    pd.testing.assert_frame_equal(table.iloc[:: cloud.size].reset_index(drop=True), points, check_exact=True)
    far = np.abs(SPACE.to_unit(table) - np.repeat(SPACE.to_unit(points), cloud.size, axis=0))
    for i, dimension in enumerate(SPACE.dimensions.values()):
        # a value with steps stands for its whole cell; cells of whole numbers narrow upwards in a logarithmic range
        log_cell = np.log(10.5 / 9.5) / np.log(300.5 / 9.5)
        cell = log_cell if getattr(dimension, "log", False) and dimension.count else 1 / (dimension.count or np.inf)
        assert far[:, i].max() <= (cloud.start + cell / 2 if dimension.ordered else 0.0) + ROUNDING


@given(cloud=clouds, first=numbers, seed=numbers)
def test_every_member_is_a_configuration_of_the_space(cloud: Cloud, first: int, seed: int) -> None:
    table = at(cloud, SPACE.random(2, seed), first, seed)
    for name, dimension in SPACE.dimensions.items():
        if dimension.count is not None:
            allowed = dimension.pick(np.arange(dimension.count))
            assert table[name].isin(list(allowed)).all()
    assert table["y"].between(0.1, 10.0).all()


@given(cloud=clouds, first=numbers, seed=numbers)
def test_a_cloud_depends_on_seed_number_and_point_alone(cloud: Cloud, first: int, seed: int) -> None:
    points = SPACE.random(3, seed)
    together = at(cloud, points, first, seed)
    for i in range(3):
        alone = at(cloud, points.iloc[[i]].reset_index(drop=True), first + i, seed)
        same = together.iloc[i * cloud.size : (i + 1) * cloud.size].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone, same, check_exact=True)


def test_another_seed_or_number_is_another_cloud() -> None:
    point = SPACE.random(1, 0)
    found = [at(Cloud(8), point, first, seed)["y"].tolist() for first, seed in ((0, 0), (1, 0), (0, 1))]
    assert len({tuple(ys[1:]) for ys in found}) == 3


def test_ordered_numbers_move_by_steps_and_what_has_no_order_stays() -> None:
    point = SPACE.table([{"x": 0.5, "y": 1.0, "bars": 50.0, "wait": 30.0, "days": 5.0, "mode": "flat", "stop": None}])
    table = at(Cloud(200, 0.16), point)
    assert set(table["days"]) == {4.0, 5.0, 6.0, 3.0, 8.0}  # 0.16 of ten choices to either side of a cell's middle
    assert set(table["x"]) == {0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65}
    assert set(table["mode"]) == {"flat"}
    assert table["stop"].isna().all()
    # a box of a logarithmic range is even in the logarithm: 0.16 of two decades
    assert table["y"].min() == pytest.approx(10**-0.32, rel=0.05)
    assert table["y"].max() == pytest.approx(10**0.32, rel=0.05)


@pytest.mark.parametrize(
    ("values", "ordered"),
    [((1.0, 2.0), True), ((3.0, 2.0, 1.0), True), ((1.0, 3.0, 2.0), False), ((None, 1.0), False), (("a", "b"), False)],
)
def test_numbers_that_rise_or_fall_are_ordered(values: tuple[Any, ...], ordered: bool) -> None:
    assert Choices(values).ordered is ordered


def test_a_box_ends_at_the_range_and_fills_what_is_left() -> None:
    edge = SPACE.table([{"x": 0.0, "y": 0.1, "bars": 10.0, "wait": 1.0, "days": 1.0, "mode": "flat", "stop": 0.1}])
    others = at(Cloud(65, 0.2), edge)["y"][1:]
    assert (others > 0.1).mean() > 0.95  # not heaped on the edge
    assert others.max() <= 0.1 * 100**0.2


@given(start=st.floats(0.01, 0.5), share=st.floats(0.01, 1.0), trials=st.integers(2, 500))
def test_a_radius_shrinks_by_equal_factors(start: float, share: float, trials: int) -> None:
    cloud = Cloud(4, start, start * share)
    radii = np.array([cloud.radius(n, trials) for n in range(trials)])
    assert radii[[0, -1]] == pytest.approx([start, start * share])
    assert radii[1:] / radii[:-1] == pytest.approx(share ** (1 / (trials - 1)))


scores = st.lists(st.lists(st.floats(0, 1), min_size=5, max_size=5), min_size=1, max_size=4).map(np.array)


@given(scores=scores)
def test_the_summary_is_what_its_names_say(scores: Any) -> None:
    found = Cloud(5, statistic="mean").summary(scores)
    assert tuple(found.columns) == SUMMARY
    frame = pd.DataFrame(scores.T)
    assert found["cloud_best"].tolist() == frame.max().tolist()
    assert found["cloud_median"].tolist() == frame.median().tolist()
    assert found["cloud_spread"].to_numpy() == pytest.approx(frame.quantile(0.75) - frame.quantile(0.25))
    assert found["cloud_score"].to_numpy() == pytest.approx(frame.mean())
    told = {
        statistic: Cloud(5, statistic=statistic).summary(scores)["cloud_score"]
        for statistic in ("median", "best", 0.25)
    }
    assert told["median"].equals(found["cloud_median"])
    assert told["best"].equals(found["cloud_best"])
    assert told[0.25].tolist() == frame.quantile(0.25).tolist()


@given(scores=scores, statistic=st.sampled_from(["median", "mean", "best", 0.1, 0.9]))
def test_the_carrier_is_the_best_member_not_above_what_is_told(scores: Any, statistic: str | float) -> None:
    cloud = Cloud(5, statistic=statistic)
    told = cloud.summary(scores)["cloud_score"].to_numpy()
    for row, value, member in zip(scores, told, cloud.carriers(scores, told), strict=True):
        below = row[row <= value]
        assert row[member] == (below.max() if len(below) else row.min())


@settings(max_examples=20)
@given(cloud=clouds)
def test_equal_clouds_are_spelled_alike(cloud: Cloud) -> None:
    assert cloud.spec(10) == Cloud(cloud.size, cloud.start, cloud.start).spec(20)
    shrinking = Cloud(cloud.size, cloud.start, 0.01)
    assert shrinking.spec(10) != shrinking.spec(20)  # the same trial has another box
