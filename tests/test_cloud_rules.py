"""Clouds as docs/search.md describes them: they shrink, keep kinds apart, go out in one launch, and are never too wide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import HEDGE, MIXED, TARGETS, planted
from studies import LEARNING, run_one, small_plan

from cluster import output
from cluster.config import load_study
from cluster.pool import LocalPool
from kernels.backends.numpy import NumpyBackend
from kernels.errors import InputError
from kernels.launch import Launch
from search.cloud import STATISTICS, WIDEST, Cloud
from search.space import Space
from search.study import Study

SPACE = Space.of(
    HEDGE,
    search={
        "x": {"low": 0, "high": 1, "step": 0.05},
        "bars": {"low": 10, "high": 300, "log": True},
        "mode": ["flat", "hedge"],
        "stop": {"low": 0.02, "high": 0.5},
    },
)


def run(folder: Path, cloud: Cloud, trials: int = 12) -> Study:
    study = Study.open(folder, "demo", MIXED, TARGETS, sampler="tpe", trials=trials, batch=4, seed=7, cloud=cloud)
    while (batch := study.ask()) is not None:
        study.tell(batch, planted(batch.configurations))
    return study


# --- where members lie


@given(cloud=st.builds(Cloud, st.integers(2, 20), st.floats(0.1, WIDEST)), first=st.integers(0, 1000))
def test_steps_and_whole_numbers_stay_so_words_stay_and_what_is_on_is_never_switched_off(
    cloud: Cloud, first: int
) -> None:
    points = SPACE.random(3, first)
    members = cloud.around(SPACE, points, first=first, seed=1, trials=2000)
    assert (members["bars"] == members["bars"].round()).all()
    assert members["bars"].between(10, 300).all()
    assert set(members["x"]) <= set(SPACE.dimensions["x"].pick(np.arange(21)))
    assert members["mode"].tolist() == np.repeat(points["mode"], cloud.size).tolist()
    assert members["stop"].between(0.02, 0.5).all()


def test_the_clouds_of_a_study_shrink_from_start_to_end(tmp_path: Path) -> None:
    cloud = Cloud(65, 0.4, 0.025)
    rows = pd.concat(run(tmp_path, cloud).configurations(), ignore_index=True)
    u = MIXED.to_unit(rows)[:, 0].reshape(12, 65)  # x, a range without steps
    far = np.abs(u - u[:, :1]).max(axis=1)
    radii = np.array([cloud.radius(n, 12) for n in range(12)])
    assert (radii[0], radii[-1]) == pytest.approx((0.4, 0.025))
    assert (np.diff(radii) < 0).all()
    assert (far <= radii + 1e-12).all()  # a sum and a difference of numbers below 1
    assert (far > 0.9 * radii).all()  # 64 Sobol points leave no tenth of a box empty


# --- what is told

TOLD: dict[str | float, Callable[[Any], float]] = {
    "median": np.median,
    "mean": np.mean,
    "best": np.max,
    0.1: lambda scores: np.quantile(scores, 0.1),
    0.75: lambda scores: np.quantile(scores, 0.75),
}


@pytest.mark.parametrize("statistic", TOLD)
def test_optuna_is_told_that_statistic_of_all_members(tmp_path: Path, statistic: str | float) -> None:
    assert set(STATISTICS) < set(TOLD)
    study = run(tmp_path, Cloud(7, 0.2, statistic=statistic), trials=6)
    scores = pd.concat(study.configurations(), ignore_index=True)["score"].to_numpy().reshape(6, 7)
    # a mean of seven scores below 1 may be off by seven ulps
    assert [trial.value for trial in study.optuna_study.trials] == pytest.approx(
        [TOLD[statistic](row) for row in scores], abs=7 * 2**-52
    )


# --- one launch


def test_all_clouds_of_a_batch_go_to_the_workers_together_and_run_in_one_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "draw", lambda *_: ())  # pictures take three seconds
    submitted: list[int] = []
    launched: list[int] = []
    submit, launch = LocalPool.submit, NumpyBackend.run

    def counted_submit(self: LocalPool, task: int, configurations: pd.DataFrame) -> None:
        submitted.append(len(configurations))
        submit(self, task, configurations)

    def counted_launch(self: NumpyBackend, given: Launch, *rest: Any) -> Any:
        launched.append(len(next(iter(given.parameters.values()))))
        return launch(self, given, *rest)

    monkeypatch.setattr(LocalPool, "submit", counted_submit)
    monkeypatch.setattr(NumpyBackend, "run", counted_launch)
    plan = small_plan(tmp_path, *LEARNING, "search.configs_per_trial=6", "search.batch=5", "tracking.enabled=false")
    run_one(plan)
    assert submitted == [len(plan.baselines), 30, 30, 12]
    assert launched[:4] == submitted


# --- what is refused


@given(radius=st.floats(WIDEST, 10.0, exclude_min=True), end=st.none() | st.floats(0.01, 0.4))
def test_a_cloud_wider_than_the_range_is_refused(radius: float, end: float | None) -> None:
    (problem,) = Cloud(8, radius, end).problems()
    assert problem.startswith(f"search.cloud_radius: at most 0.5 of each range must hold, got {radius:g}")
    assert problem.endswith("take 0.1, or {start: 0.3, end: 0.05}")


@pytest.mark.parametrize("end", [None, 0.1])
def test_a_cloud_as_wide_as_the_range_is_not(end: float | None) -> None:
    assert Cloud(8, WIDEST, end).problems() == []


def test_a_study_file_with_a_cloud_wider_than_the_range_leaves_nothing(tmp_path: Path) -> None:
    small_plan(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError) as refused:
        load_study(tmp_path / "small.yaml", [*LEARNING, "search.configs_per_trial=6", "search.cloud_radius=0.7"])
    assert "search.cloud_radius: at most 0.5 of each range must hold, got 0.7" in str(refused.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_cloud_that_shrinks_to_its_point_is_refused() -> None:
    steps = Space.of(HEDGE, search={"x": {"low": 0, "high": 1, "step": 0.25}})
    assert Cloud(8, 0.3, 0.11).idle(steps) is None
    assert Cloud(8, 0.3, 0.05).idle(steps) == (
        "search.cloud_radius: 0.05 of each range in the end reaches no neighbour of any value in strategy.search, so a "
        "trial would be one configuration 8 times; take more than 0.1, or finer steps"
    )


def test_a_cloud_where_nothing_has_neighbours_is_refused_with_what_would_help() -> None:
    words = Space.of(HEDGE, search={"mode": ["flat", "hedge"], "stop": [None, 0.1, 0.2]})
    problem = Cloud(8, WIDEST).idle(words)
    assert problem is not None
    assert problem.startswith("search.configs_per_trial: nothing in strategy.search has neighbours")
    assert problem.endswith("take 1, or search a range of numbers")
