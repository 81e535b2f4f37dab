"""A warm start shows a sampler what an earlier study found, and leaves the study itself, and its resuming, alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from planted import HEDGE, LEARNERS, NUMBERS, TARGETS, opened, planted, run, same
from studies import LEARNING, run_one, small_plan, without_figures

from cluster.plan import Plan, open_study
from kernels.errors import InputError
from search import warm_start
from search.cloud import Cloud
from search.manifest import Manifest
from search.points import scored
from search.samplers import POINTS
from search.space import Space
from search.study import Study
from search.targets import Targets
from search.warm_start import KEPT, Earlier, WarmStart, chosen

RANGES = Space.of(HEDGE, search={"x": {"low": 0, "high": 1}, "y": {"low": 0, "high": 1}})


def tried(space: Space, n: int = 60, seed: int = 3) -> pd.DataFrame:
    """The configurations of an earlier study of that space, as its results have them."""
    table = space.random(n, seed)
    return scored(space, TARGETS, table, planted(table)).assign(trial=range(n))


def warm(space: Space, targets: Targets = TARGETS, earlier: pd.DataFrame | None = None, **given: Any) -> Earlier:
    found = chosen("before", "digest", tried(space) if earlier is None else earlier, space, targets, given.get("cloud"))
    return Earlier("before", found)


def warmed(folder: Path, sampler: str, **changed: Any) -> Study:
    return opened(folder, sampler, **({"space": RANGES, "earlier": warm(RANGES)} | changed))


@pytest.mark.parametrize("sampler", LEARNERS)
def test_a_study_that_knows_an_earlier_one_begins_better(tmp_path: Path, sampler: str) -> None:
    cold = [run(opened(tmp_path / f"c{s}", sampler, space=RANGES, seed=s, trials=16))["sharpe"] for s in range(3)]
    known = [run(warmed(tmp_path / f"w{s}", sampler, seed=s, trials=16))["sharpe"] for s in range(3)]
    assert np.mean([scores.mean() for scores in known]) > np.mean([scores.mean() for scores in cold])


@pytest.mark.parametrize("sampler", LEARNERS)
def test_the_earlier_trials_are_none_of_the_studys(tmp_path: Path, sampler: str) -> None:
    study = warmed(tmp_path, sampler)
    results = run(study)
    assert results["trial"].tolist() == list(range(20)) == list(range(study.done))
    assert [trial.number for trial in study.optuna_study.trials] == list(range(20))
    assert len(pd.concat(study.configurations())) == 20
    assert study.best(1)["score"].item() == results["score"].max()


@pytest.mark.parametrize("sampler", LEARNERS)
@pytest.mark.parametrize("batches", [0, 1])
def test_a_resumed_study_needs_the_earlier_one_no_more(tmp_path: Path, sampler: str, batches: int) -> None:
    whole = run(warmed(tmp_path / "whole", sampler))
    same(run(warmed(tmp_path / "again", sampler)), whole)
    run(warmed(tmp_path / "cut", sampler), batches)
    gone = Earlier("before", None)
    same(run(warmed(tmp_path / "cut", sampler, earlier=gone, resume=True)), whole)
    other = Earlier("before", warm(RANGES, earlier=tried(RANGES, seed=8)).found)  # it was run anew in the meantime
    if batches:
        assert warmed(tmp_path / "cut", sampler, earlier=other, resume=True).done == 20


def test_a_study_without_a_warm_start_has_no_trace_of_one(tmp_path: Path) -> None:
    run(opened(tmp_path, "tpe"), 1)
    assert not (tmp_path / KEPT).exists()
    assert "warm_start" not in (tmp_path / "search.json").read_text()


@pytest.mark.parametrize("cloud", [None, Cloud(4, 0.2)])
def test_scores_are_those_of_the_present_targets(cloud: Cloud | None) -> None:
    other = Targets.of({"sharpe": {"at_least": 5.0, "reservation": 0.0}}, metrics=["sharpe"])
    table = tried(RANGES)
    found = warm(RANGES, other, table, cloud=cloud).found
    assert found is not None
    expected = other.score(table)
    same(found.rows[["score"]], expected[["score"]].sort_values("score", ascending=False, ignore_index=True))
    in_clouds = table.assign(trial=np.arange(60) // 4, member=np.arange(60) % 4)
    clouds = warm(RANGES, other, in_clouds, cloud=cloud).found
    assert clouds is not None
    of_each = expected["score"].to_numpy().reshape(15, 4)
    statistic = np.median(of_each, axis=1) if cloud else of_each[:, 0]
    assert clouds.rows["score"].tolist() == sorted(statistic, reverse=True)


def test_only_what_lies_in_the_present_space_is_shown() -> None:
    search: dict[str, Any] = {"x": {"low": 0, "high": 0.5}, "bars": [10, 20], "mode": ["hedge"], "stop": [None, 0.1]}
    space = Space.of(HEDGE, fixed={"y": 0.5}, search=search | {"mode": ["hedge", "flat"]})
    inside = {"x": 0.25, "y": 0.5, "bars": 10.0, "mode": "flat", "stop": np.nan}
    outside = [{"x": 0.6}, {"y": 0.25}, {"bars": 15.0}, {"stop": 0.2}]
    table = pd.DataFrame([inside, *({**inside, **change} for change in outside)])
    found = warm(space, earlier=scored(space, TARGETS, table, planted(table))).found
    assert isinstance(found, WarmStart)
    assert (found.trials, found.fitting, len(found.rows)) == (5, 1, 1)
    steps = Space.of(HEDGE, search={"x": {"low": 0, "high": 1, "step": 0.25}, "bars": {"low": 6, "high": 30}})
    fixed = {"y": 0.5, "mode": "flat", "stop": 0.1}
    table = pd.DataFrame([{"x": x, "bars": bars, **fixed} for x in (0.25, 0.3) for bars in (7, 7.5, 31)])
    found = warm(steps, earlier=scored(steps, TARGETS, table, planted(table))).found
    assert found is not None
    assert found.rows[["x", "bars"]].to_numpy().tolist() == [[0.25, 7.0]]


def test_of_very_many_trials_the_best_and_an_even_choice_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_start, "MOST", 20)
    table = tried(RANGES, n=400)
    found = warm(RANGES, earlier=table).found
    assert found is not None
    assert (found.trials, found.fitting, len(found.rows)) == (400, 400, 20)
    ranked = table["score"].sort_values(ascending=False).to_numpy()
    assert found.rows["score"].head(2).tolist() == ranked[:2].tolist()
    assert found.rows["score"].iloc[-1] == ranked[-1]


# --- refusals


@pytest.mark.parametrize("sampler", POINTS)
def test_points_known_beforehand_do_not_learn_from_an_earlier_study(tmp_path: Path, sampler: str) -> None:
    with pytest.raises(InputError, match=rf"search.warm_start: the points of {sampler} do not depend on results"):
        opened(tmp_path / "a", sampler, earlier=Earlier("before", None))
    assert not (tmp_path / "a").exists()


def test_a_study_with_another_warm_start_or_none_is_another_study(tmp_path: Path) -> None:
    run(warmed(tmp_path / "a", "tpe"), 1)
    with pytest.raises(InputError, match=r"warm_start.study is \"before\" there, not set now"):
        warmed(tmp_path / "a", "tpe", earlier=None, resume=True)
    with pytest.raises(InputError, match=r"warm_start.study is \"before\" there, \"other\" now"):
        warmed(tmp_path / "a", "tpe", earlier=Earlier("other", None), resume=True)


def test_what_was_shown_is_kept_whole(tmp_path: Path) -> None:
    run(warmed(tmp_path / "a", "tpe"), 1)
    kept = bytearray((tmp_path / "a" / KEPT).read_bytes())
    kept[len(kept) // 2] ^= 1
    (tmp_path / "a" / KEPT).write_bytes(kept)
    with pytest.raises(InputError, match=rf"{KEPT} is damaged .* put it back as it was"):
        warmed(tmp_path / "a", "tpe", resume=True)
    (tmp_path / "a" / KEPT).unlink()
    with pytest.raises(InputError, match=rf"{KEPT} is missing: what this study learnt from at its start"):
        warmed(tmp_path / "a", "tpe", resume=True)


def test_an_earlier_study_that_lies_elsewhere_is_refused_by_what_differs() -> None:
    table = scored(NUMBERS, TARGETS, NUMBERS.grid(), planted(NUMBERS.grid()))
    narrow = Space.of(HEDGE, fixed={"y": 0.9}, search={"x": {"low": 0, "high": 1}})
    with pytest.raises(
        InputError, match=r"none of the 50 trials of before lies in the space of this study \(y of 50, bars"
    ):
        warm(narrow, earlier=table)


# --- from file to files


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished grid on other data, in its folder."""
    with pytest.MonkeyPatch.context() as patched:
        without_figures(patched)
        return run_one(small_plan(tmp_path_factory.mktemp("before"), "tracking.enabled=false", "market.seed=9")).folder


def learning(folder: Path, name: str, *overrides: str) -> Plan:
    return small_plan(folder, *LEARNING, f"name={name}", "tracking.enabled=false", "search.batch=4", *overrides)


def test_a_study_file_names_the_study_to_start_from(
    tmp_path: Path, before: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_figures(monkeypatch)
    shutil.copytree(before, tmp_path / "runs" / "before")
    wanted = "search.warm_start=before"
    outcome = run_one(learning(tmp_path, "after", wanted))
    told = "The search was shown 12 of the 12 trials of before, which ran on other data, scored by the present targets."
    assert told in outcome.found.advice
    assert told in (outcome.folder / "note.md").read_text()
    assert len(pd.read_parquet(outcome.folder / "configs.parquet")) == 12 == outcome.trials
    shutil.rmtree(tmp_path / "runs" / "before")
    resumed = open_study(learning(tmp_path, "after", wanted), resume=True)
    assert resumed.done == 12
    assert resumed.warm_start is not None
    assert len(resumed.warm_start.rows) == 12
    with pytest.raises(InputError, match=r"search.warm_start: before is no study \(no search.json in "):
        learning(tmp_path, "third", wanted)


def test_a_study_that_cannot_be_started_from_is_refused_with_the_reason(tmp_path: Path, before: Path) -> None:
    folder = tmp_path / "runs" / "small-SYN1"
    shutil.copytree(before, folder)
    wanted = f"search.warm_start={folder}"

    def refused(sentence: str, *overrides: str) -> None:
        with pytest.raises(InputError, match=sentence):
            learning(tmp_path, "after", wanted, *overrides)

    refused("the points of sobol do not depend on results", "search.sampler=sobol")
    refused("is this study itself", "name=small-SYN1")
    refused(
        r"none of the 12 trials of .* lies in the space of this study \(lookback of 12", "strategy.fixed.lookback=30"
    )
    table = pd.read_parquet(folder / "configs.parquet").drop(columns="consistency")
    Manifest(folder).write("configs.parquet", lambda file: table.to_parquet(file))
    refused("has no consistency; name a study that measured it")
    (folder / "configs.parquet").write_bytes((folder / "configs.parquet").read_bytes()[:-1])
    refused("configs.parquet is damaged")
    record = json.loads((folder / "search.json").read_text())
    record["space"]["strategy"] = "other"
    (folder / "search.json").write_text(json.dumps(record))
    refused("is of strategy other, this study of tsmom_hedge")
    (folder / "note.md").unlink()
    refused(r"has not finished \(note.md missing\); finish it with --resume first")
