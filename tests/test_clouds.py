"""A study of clouds looks for plateaus, keeps every configuration, and loses or doubles none wherever it is stopped."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from optuna.storages.journal import JournalFileBackend
from planted import LEARNERS
from studies import LEARNING, Watch, run_one, same, small_plan

from cluster import output
from kernels import METRICS
from kernels.errors import InputError
from kernels.strategy import Parameter, Strategy
from search import cloud_trials
from search.cloud import SUMMARY, Cloud
from search.samplers import POINTS
from search.space import Space
from search.study import Study
from search.targets import Targets

RULE = Strategy(
    name="rule",
    summary="a rule",
    source="none",
    parameters=(Parameter("x", 0.5, 0.0, 1.0), Parameter("y", 0.5, 0.0, 1.0)),
    planes=(),
    state=None,
    step=lambda bar, state, p: state,
    warm_up=lambda p: 0,
)
SPACE = Space.of(RULE, search={"x": {"low": 0, "high": 1}, "y": {"low": 0, "high": 1}})
TARGETS = Targets.of({"sharpe": {"at_least": 1.0}, "cagr": {"at_least": 0.3}}, metrics=["sharpe", "cagr"])
CLOUD = Cloud(4, 0.2)
TRIALS, BATCH = 12, 4

Measure = Callable[[pd.DataFrame], pd.DataFrame]


def hill(configurations: pd.DataFrame) -> pd.DataFrame:
    """Metrics with their optimum at x = 0.3, y = 0.7, where both targets are met; a corner has no equity left."""
    x, y = configurations["x"], configurations["y"]
    distance = (x - 0.3) ** 2 + (y - 0.7) ** 2
    ruined = (x > 0.9) & (y < 0.5)
    return pd.DataFrame(
        {
            "sharpe": np.where(ruined, np.nan, 1.2 - 4 * distance),
            "cagr": 0.35 - distance,
            "status": np.where(ruined, "invalid", "ok"),
        }
    )


def opened(folder: Path, sampler: str = "tpe", **changed: Any) -> Study:
    settings: dict[str, Any] = {"trials": TRIALS, "batch": BATCH, "seed": 7, "cloud": CLOUD, "space": SPACE} | changed
    return Study.open(folder, "demo", settings.pop("space"), TARGETS, sampler=sampler, **settings)


def run(study: Study, batches: int = 1000, measure: Measure = hill) -> Study:
    while batches > 0 and (batch := study.ask()) is not None:
        study.tell(batch, measure(batch.configurations))
        batches -= 1
    return study


def everything(study: Study) -> pd.DataFrame:
    return pd.concat(study.configurations(), ignore_index=True)


def parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "clouds").iterdir()}


# --- what a study of clouds is


@pytest.mark.parametrize("sampler", LEARNERS)
def test_a_trial_is_one_row_and_its_configurations_are_all_there(tmp_path: Path, sampler: str) -> None:
    study = opened(tmp_path, sampler)
    told = []
    while (batch := study.ask()) is not None:
        assert len(batch.every) == BATCH * CLOUD.size
        told.append(study.tell(batch, hill(batch.configurations)))
    trials, configurations = study.results(), everything(study)
    same(pd.concat(told, ignore_index=True), trials)
    assert trials["trial"].tolist() == list(range(TRIALS)) == list(range(study.done))
    assert configurations["trial"].tolist() == np.repeat(range(TRIALS), CLOUD.size).tolist()
    assert configurations["member"].tolist() == list(range(CLOUD.size)) * TRIALS
    points = configurations[configurations["member"] == 0].drop(columns="member").reset_index(drop=True)
    assert list(trials.columns) == [*points.columns, *SUMMARY]
    same(trials[points.columns], points)
    scores = configurations.groupby("trial")["score"]
    assert trials["cloud_best"].tolist() == scores.max().tolist()
    assert trials["cloud_median"].tolist() == trials["cloud_score"].tolist() == scores.median().tolist()


@pytest.mark.parametrize("statistic", ["median", "mean", "best", 0.25])
def test_optuna_is_told_the_statistic_and_the_margins_of_one_member(tmp_path: Path, statistic: str | float) -> None:
    study = run(opened(tmp_path, cloud=Cloud(5, 0.2, 0.1, statistic)))
    trials = study.results()
    seen = study.optuna_study.trials
    assert [trial.value for trial in seen] == trials["cloud_score"].tolist()
    for trial, members in zip(seen, [rows for _, rows in everything(study).groupby("trial")], strict=True):
        constraints = [TARGETS.constraints(row) for row in members.to_dict("records")]
        own = members["score"].to_numpy()[[trial.constraints == known for known in constraints]]
        assert len(own) >= 1
        assert (own <= trial.value).all()
        # feasible for Optuna is what the score says of targets: 0.8 or more where every one is met
        assert all(violation <= 0 for violation in trial.constraints.values()) == (own >= 0.8).all()


def test_the_best_are_the_highest_clouds_and_the_earlier_among_equals(tmp_path: Path) -> None:
    study = run(opened(tmp_path))
    order = study.results().sort_values("cloud_score", ascending=False, kind="stable")
    same(study.best(5), order.head(5).reset_index(drop=True))


def test_a_cloud_prefers_a_plateau_to_a_spike(tmp_path: Path) -> None:
    def spiky(configurations: pd.DataFrame) -> pd.DataFrame:
        """A wide hill at x = y = 0.3, and a needle 0.06 wide at 0.8 that is better."""
        x, y = configurations["x"], configurations["y"]
        wide = 0.8 - np.hypot(x - 0.3, y - 0.3)
        needle = np.where(np.hypot(x - 0.8, y - 0.8) < 0.06, 1.1, -1.0)
        return pd.DataFrame({"sharpe": np.maximum(wide, needle), "cagr": 0.2})

    study = run(opened(tmp_path, cloud=Cloud(20, 0.15), trials=60, batch=20), measure=spiky)
    assert everything(study)["sharpe"].max() == 1.1  # it was met, as 1.1 % of the space
    best = study.best(1).iloc[0]
    assert np.hypot(best["x"] - 0.3, best["y"] - 0.3) < 0.15


def test_without_a_cloud_no_folder_column_or_setting_is_new(tmp_path: Path) -> None:
    study = run(opened(tmp_path, cloud=None))
    assert not (tmp_path / "clouds").exists()
    assert "cloud" not in (tmp_path / "search.json").read_text()
    same(everything(study), study.results())
    assert not set(SUMMARY) & set(study.results())


# --- stopped anywhere


class StoppedError(Exception):
    """The driver died."""


@contextmanager
def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Die before write number `step` to the disk; gives the names of the writes before it."""
    done: list[str] = []

    def counted(what: str, write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if len(done) == step:
                raise StoppedError
            done.append(what)
            return write(*given, **named)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(JournalFileBackend, "append_logs", counted("journal", JournalFileBackend.append_logs))
        patched.setattr(cloud_trials, "write_part", counted("part", cloud_trials.write_part))
        yield done


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_stopped_before_any_write_and_resumed_is_uninterrupted(
    tmp_path: Path, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stop_at(-1, monkeypatch) as writes:
        whole = run(opened(tmp_path / "whole", sampler))
    assert writes.count("part") == TRIALS // BATCH
    trials, configurations, files = whole.results(), everything(whole), parts(tmp_path / "whole")
    second = [i for i, what in enumerate(writes) if what == "part"][1]
    # the last ask of the second batch, its part, every write of its first two tells; and some of all others
    for step in sorted({*range(second - 1, second + 9), *range(1, len(writes), 29)}):
        folder = tmp_path / str(step)
        with stop_at(step, monkeypatch), pytest.raises(StoppedError):
            run(opened(folder, sampler))
        resumed = run(opened(folder, sampler, resume=True))
        same(resumed.results(), trials)
        same(everything(resumed), configurations)
        assert parts(folder) == files
        shutil.rmtree(folder)


def test_killed_within_a_write_and_resumed_is_uninterrupted(tmp_path: Path) -> None:
    whole = run(opened(tmp_path / "whole"))
    journal = (tmp_path / "whole" / "optuna.journal").read_bytes()
    for i, cut in enumerate(np.random.default_rng(3).integers(0, len(journal), 6)):
        folder = tmp_path / str(i)
        shutil.copytree(tmp_path / "whole", folder)  # with parts of trials that were never told
        (folder / "optuna.journal").write_bytes(journal[:cut])
        newest = max((folder / "clouds").iterdir())
        newest.with_suffix(".partial").write_bytes(newest.read_bytes()[:1000])
        resumed = run(opened(folder, resume=True))
        same(resumed.results(), whole.results())
        same(everything(resumed), everything(whole))


def test_what_was_not_told_is_not_among_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with stop_at(-1, monkeypatch) as writes:
        run(opened(tmp_path / "whole"))
    second = [i for i, what in enumerate(writes) if what == "part"][1]
    with stop_at(second + 6, monkeypatch), pytest.raises(StoppedError):
        run(opened(tmp_path / "cut"))
    study = opened(tmp_path / "cut", resume=True)
    assert BATCH < study.done < 2 * BATCH
    assert sorted(set(everything(study)["trial"])) == study.results()["trial"].tolist() == list(range(study.done))


def test_a_part_that_is_lost_is_evaluated_again_and_told_once(tmp_path: Path) -> None:
    whole = run(opened(tmp_path))
    trials, configurations = whole.results(), everything(whole)
    part = tmp_path / "clouds" / "part-000000004.parquet"
    part.unlink()
    resumed = opened(tmp_path, resume=True)
    assert resumed.done == TRIALS - BATCH
    batch = resumed.ask()
    assert batch is not None
    assert (batch.number, batch.first) == (1, 4)
    same(resumed.tell(batch, hill(batch.configurations)), trials[4:8].reset_index(drop=True))
    assert resumed.ask() is None
    assert len(resumed.optuna_study.trials) == TRIALS
    same(resumed.results(), trials)
    same(everything(resumed), configurations)


def test_a_damaged_part_is_named_and_can_be_removed(tmp_path: Path) -> None:
    whole = everything(run(opened(tmp_path)))
    part = tmp_path / "clouds" / "part-000000004.parquet"
    damaged = bytearray(part.read_bytes())
    damaged[60] ^= 1  # a bit of the first page
    part.write_bytes(damaged)
    with pytest.raises(InputError, match=r"part-000000004.parquet is damaged .*; remove it and resume"):
        everything(opened(tmp_path, resume=True))
    part.unlink()
    same(everything(run(opened(tmp_path, resume=True))), whole)


def test_a_study_of_which_nothing_was_told_may_be_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stop_at(-1, monkeypatch) as writes:
        other = run(opened(tmp_path / "other", seed=8))
    with stop_at(writes.index("part") + 1, monkeypatch), pytest.raises(StoppedError):
        run(opened(tmp_path / "demo"))
    assert len(parts(tmp_path / "demo")) == 1
    study = opened(tmp_path / "demo", seed=8)
    assert not parts(tmp_path / "demo")
    same(everything(run(study)), everything(other))


def test_a_resumed_study_may_be_given_more_trials_unless_its_clouds_shrink(tmp_path: Path) -> None:
    short = run(opened(tmp_path / "one", trials=6))  # ends within a batch
    before = everything(short)
    longer = run(opened(tmp_path / "one", trials=10, resume=True))
    assert longer.done == 10
    same(everything(longer).head(len(before)), before)
    assert everything(longer)["trial"].tolist() == np.repeat(range(10), CLOUD.size).tolist()

    run(opened(tmp_path / "two", cloud=Cloud(4, 0.2, 0.1)), 1)
    with pytest.raises(InputError, match=r"cloud.shrinks_over is 12 there, 16 now; set it back"):
        opened(tmp_path / "two", cloud=Cloud(4, 0.2, 0.1), trials=16, resume=True)


def test_a_study_is_not_resumed_with_another_cloud(tmp_path: Path) -> None:
    run(opened(tmp_path), 1)
    with pytest.raises(InputError) as refused:
        opened(tmp_path, cloud=Cloud(8, 0.1, statistic="best"), resume=True)
    keys = [problem.split(": ")[1].split(" is ")[0] for problem in refused.value.problems]
    assert keys == [
        f"cloud.{key}" for key in ("configs_per_trial", "cloud_radius.start", "cloud_radius.end", "cloud_statistic")
    ]
    with pytest.raises(InputError, match=r"cloud\.configs_per_trial is 4 there, not set now"):
        opened(tmp_path, cloud=None, resume=True)


# --- refusals


@pytest.mark.parametrize("sampler", POINTS)
def test_a_sampler_that_does_not_learn_has_no_clouds(tmp_path: Path, sampler: str) -> None:
    with pytest.raises(
        InputError, match=f"configs_per_trial: {sampler} does not learn, .* take 1, or one of tpe, cmaes, nsga2"
    ):
        opened(tmp_path / "demo", sampler, trials=4)
    assert not (tmp_path / "demo").exists()


def test_every_mistake_about_a_cloud_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        opened(tmp_path, cloud=Cloud(1, 0.1, 0.2, "medain"))
    assert [problem.split(":")[0] for problem in refused.value.problems] == [
        *["search.configs_per_trial", "search.cloud_radius", "search.cloud_statistic"]
    ]
    assert "'medain' is unknown; did you mean median?" in str(refused.value)
    with pytest.raises(InputError, match="a quantile lies between 0 and 1, got 1"):
        opened(tmp_path, cloud=Cloud(4, statistic=1.0))


def test_a_cloud_that_could_hold_nothing_but_its_point_is_refused(tmp_path: Path) -> None:
    steps = Space.of(RULE, search={"x": {"low": 0, "high": 1, "step": 0.25}, "y": [0.1, 0.9, 0.5]})
    with pytest.raises(
        InputError, match=r"cloud_radius: 0.1 of each range reaches no neighbour .* take more than 0.1, or finer"
    ):
        opened(tmp_path, space=steps, cloud=Cloud(4))
    study = opened(tmp_path, space=steps, cloud=Cloud(4, 0.11))  # a cell is a fifth of the range
    batch = study.ask()
    assert batch is not None
    assert len(set(batch.configurations["x"])) > 1


# --- a whole study


def test_a_study_file_of_clouds_leaves_rows_runs_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "draw", lambda *_: ())  # pictures take three seconds
    plan = small_plan(tmp_path, *LEARNING, "search.configs_per_trial=6", "search.cloud_radius=0.15")
    assert (plan.trials, plan.configurations, plan.together) == (12, 72, 30)
    watch = Watch()
    outcome = run_one(plan, watch)
    assert watch.configurations == 72 + len(plan.baselines)
    assert outcome.trials == 12

    configurations = pd.read_parquet(plan.folder / "configs.parquet")
    trials = pd.read_parquet(plan.folder / "trials.parquet")
    assert (len(configurations), len(trials)) == (72, 12)
    assert list(trials.columns[-4:]) == list(SUMMARY)
    assert set(METRICS) <= set(configurations.columns)
    best = trials.sort_values("cloud_score", ascending=False, kind="stable").iloc[0]
    assert int(outcome.found.best["trial"].iloc[0]) == best["trial"]
    text = (plan.folder / "best.yaml").read_text()
    assert "configurations_tried: 72" in text
    assert f"cloud_score: {best['cloud_score']}" in text
    assert "The best of 72 configurations" in output.caveats(plan, outcome.trials, 0)[0]
    assert output.tried(plan, outcome.trials) == "72 configurations tried in 12 trials."

    from mlflow import MlflowClient

    client = MlflowClient(plan.config.tracking.uri)
    experiment = client.get_experiment_by_name(f"hedgegrid/{plan.strategy.name}")
    assert experiment is not None
    runs = {r.info.run_name: r.data for r in client.search_runs([experiment.experiment_id])}
    assert len(runs) == 1 + 12 + len(plan.baselines)
    own = runs[f"trial {int(best['trial'])}"].metrics
    assert {name: own[name] for name in SUMMARY} == {name: best[name] for name in SUMMARY}
    assert own["score"] == best["score"]
    assert runs["small"].params["configs_per_trial"] == "6"
    assert not set(SUMMARY) & set(runs["baseline full"].metrics)
