"""A configuration that comes up again is not backtested again, and nothing that a study says changes by that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import HEDGE, NUMBERS, opened, planted, run, same

from search import duplicates, study
from search.cloud import Cloud
from search.duplicates import Known, canonical, distinct
from search.space import Space
from search.study import Study

COARSE = Space.of(
    HEDGE, search={"x": {"low": 0, "high": 1, "step": 0.5}, "mode": ["flat", "hedge"], "stop": [None, 0.1]}
)


def counted(study: Study) -> tuple[pd.DataFrame, int]:
    """The results of a study run to its end, and how many configurations were backtested for it."""
    backtests = 0
    while (batch := study.ask()) is not None:
        backtests += len(batch.configurations)
        study.tell(batch, planted(batch.configurations))
    return study.results(), backtests


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every configuration is backtested."""
    monkeypatch.setattr(study, "known", lambda space, tables: None)


@pytest.mark.parametrize(("sampler", "space"), [("tpe", COARSE), ("cmaes", NUMBERS)])
def test_a_repeated_configuration_is_backtested_once_and_the_study_is_the_same(
    tmp_path: Path, sampler: str, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, backtests = counted(opened(tmp_path / "once", sampler, space=space, trials=32))
    forget(monkeypatch)
    again, all_of_them = counted(opened(tmp_path / "often", sampler, space=space, trials=32))
    same(results, again)
    different = len(results[list(space.searched)].drop_duplicates())
    assert backtests == different < all_of_them == 32


def test_a_resumed_study_knows_what_it_has_backtested(tmp_path: Path) -> None:
    whole, backtests = counted(opened(tmp_path / "whole", "tpe", space=COARSE, trials=32))
    begun = opened(tmp_path / "cut", "tpe", space=COARSE, trials=32)
    run(begun, 2)
    before = begun.distinct
    results, after = counted(opened(tmp_path / "cut", "tpe", space=COARSE, trials=32, resume=True))
    same(results, whole)
    assert before + after == backtests == opened(tmp_path / "cut", "tpe", space=COARSE, trials=32, resume=True).distinct


def test_within_clouds_and_between_them_a_configuration_is_backtested_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = Cloud(8, 0.3)
    once = opened(tmp_path / "once", "tpe", space=NUMBERS, trials=16, cloud=cloud)
    results, backtests = counted(once)
    everything = pd.concat(once.configurations(), ignore_index=True)
    assert len(everything) == 16 * 8
    assert backtests == once.distinct == len(everything[list(NUMBERS.searched)].drop_duplicates()) <= 50
    forget(monkeypatch)
    often = opened(tmp_path / "often", "tpe", space=NUMBERS, trials=16, cloud=cloud)
    again, all_of_them = counted(often)
    assert all_of_them == 16 * 8
    same(results, again)
    same(everything, pd.concat(often.configurations(), ignore_index=True))


def test_what_there_is_no_room_to_remember_is_backtested_again_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, backtests = counted(opened(tmp_path / "a", "tpe", space=COARSE, trials=32))
    monkeypatch.setattr(duplicates, "MOST", 3)
    forgetful, more = counted(opened(tmp_path / "b", "tpe", space=COARSE, trials=32))
    same(results, forgetful)
    assert more > backtests


def test_what_could_not_be_computed_is_tried_again() -> None:
    rows = COARSE.random(4, seed=1).drop_duplicates().reset_index(drop=True)
    known = Known(COARSE)
    known.add(rows, planted(rows).assign(status=["quarantined"] + ["ok"] * (len(rows) - 1)))
    assert known.split(rows).new.tolist() == [0]


@given(values=st.lists(st.sampled_from([0.0, -0.0, 0.5, 1.0]), min_size=1, max_size=30), seed=st.integers(0, 9))
def test_configurations_are_one_where_every_value_is_equal(values: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = COARSE.random(len(values), seed).assign(x=values)
    table.loc[rng.random(len(values)) < 0.5, "stop"] = np.nan
    columns = [table["x"], table["mode"], table["stop"].fillna(-1.0)]
    cells = set(zip(*columns, strict=True))
    rows = canonical(COARSE, table)
    assert len({row.tobytes() for row in rows}) == len(cells)
    halves = [table.iloc[: len(table) // 2], table.iloc[len(table) // 2 :]]
    assert distinct(COARSE, halves) == distinct(COARSE, [table]) == len(cells)


@pytest.mark.parametrize(("sampler", "space"), [("random", COARSE), ("sobol", COARSE), ("grid", NUMBERS)])
def test_points_known_beforehand_are_all_backtested_and_the_distinct_ones_counted(
    tmp_path: Path, sampler: str, space: Space
) -> None:
    study = opened(tmp_path, sampler, space=space, trials=32)
    results, backtests = counted(study)
    assert backtests == len(results)
    assert study.distinct == len(results[list(space.searched)].drop_duplicates())
