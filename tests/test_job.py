"""The main path: a study file becomes committed trials, MLflow runs and files, whatever interrupts it on the way."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from studies import LEARNING, SMALL, TRIALS, Watch, run_one, same, small_plan

from cluster import job, output, study_figures
from cluster.config import load_study
from cluster.plan import Plan, make_plan
from cluster.pool import LocalPool
from cluster.pool import Watch as PoolWatch
from kernels import METRICS, STRATEGIES, backtest
from kernels.errors import InputError

TARGETS = ("sharpe", "cagr", "max_drawdown", "consistency")  # of a study file that names none
CRYPTO_GRID = Path(__file__).resolve().parent.parent / "configs" / "studies" / "tsmom_crypto8_grid.yaml"


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pictures: they take three seconds, and `finished` has them."""
    monkeypatch.setattr(output, "draw", lambda *_: ())


@pytest.fixture
def folder(tmp_path: Path, fresh_store: Path, undrawn: None) -> Path:
    shutil.copy(fresh_store, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, fresh_store: Path) -> job.Outcome:
    """The small study, run once for all tests that only look at it."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copy(fresh_store, folder / "mlflow.db")
    return run_one(small_plan(folder))


def recorded(plan: Plan) -> tuple[Any, dict[str, Any]]:
    """The study's run in MLflow, and its children by name."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=plan.config.tracking.uri)
    experiment = client.get_experiment_by_name("hedgegrid/tsmom_hedge")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run is not parent]
    assert all(run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in children)
    assert all(run.info.status == "FINISHED" for run in children)
    by_name = {str(run.info.run_name): run for run in children}
    assert len(by_name) == len(children)
    return parent, by_name


def everything(trials: int) -> set[str]:
    return {f"trial {number}" for number in range(trials)} | {"baseline disabled", "baseline full"}


def configs(plan: Plan) -> pd.DataFrame:
    return pd.read_parquet(plan.folder / "configs.parquet")


# ---- what a finished study leaves


def test_every_trial_and_baseline_is_one_run_under_the_study(finished: job.Outcome) -> None:
    plan = finished.plan
    parent, children = recorded(plan)
    assert set(children) == everything(TRIALS)
    assert parent.info.status == "FINISHED"
    assert parent.data.params["costs.fee_bps"] == "4.0"
    assert {"strategy", "sampler", "seed", "trials"} <= set(parent.data.params)
    (dataset,) = parent.inputs.dataset_inputs
    assert plan.market.digest in dataset.dataset.profile
    assert parent.data.tags["targets_met"] == f"{finished.found.best['targets_met'].iloc[0]} of {len(TARGETS)}"


def test_a_trials_run_says_what_was_tried_how_it_did_and_on_what(finished: job.Outcome) -> None:
    plan = finished.plan
    _, children = recorded(plan)
    for row in configs(plan).to_dict("records"):
        run = children[f"trial {row['trial']}"].data
        assert {name: float(run.params[name]) for name in plan.space.searched} == {
            name: row[name] for name in plan.space.searched
        }
        assert run.params["trailing_stop_atr"] == "none"
        wanted = [*METRICS, "score", "targets_met", *(f"margin_{metric}" for metric in TARGETS)]
        assert {name: run.metrics[name] for name in wanted} == {name: row[name] for name in wanted}
        assert run.tags["targets_met"] == f"{row['targets_met']} of {len(TARGETS)}"
        assert run.tags["data_digest"] == plan.market.digest
        assert run.tags["score_spec"] == plan.targets.score_spec
        assert (run.tags["strategy"], run.tags["scope"], run.tags["backend"]) == ("tsmom_hedge", "portfolio", "numpy")


def test_the_studys_run_holds_its_files_and_a_note(finished: job.Outcome) -> None:
    from mlflow import MlflowClient

    plan = finished.plan
    parent, _ = recorded(plan)
    client = MlflowClient(tracking_uri=plan.config.tracking.uri)
    kept = {entry.path for place in ("", "figures") for entry in client.list_artifacts(parent.info.run_id, place)}
    drawn = {f"figures/{path.name}" for path in (plan.folder / "figures").iterdir()}
    assert kept == {"study.yaml", "best.yaml", "advice.md", "paths.parquet", "report.html", "figures"} | drawn
    note = parent.data.tags["mlflow.note.content"]
    assert SMALL["question"] in note
    assert f"trial {finished.found.best['trial'].iloc[0]}" in note
    assert "disabled" in note
    assert "in sample" in note


def test_the_folder_holds_every_configuration(finished: job.Outcome) -> None:
    plan = finished.plan
    table = configs(plan)
    assert list(table["trial"]) == list(range(TRIALS))
    parameters = {p.name for p in plan.strategy.parameters}
    margins = {f"margin_{metric}" for metric in TARGETS}
    assert set(table) == {"trial", "score", "targets_met", "status", *parameters, *METRICS, *margins}
    assert (table["status"] == "ok").all()
    trials = pd.read_parquet(plan.folder / "trials.parquet")
    same(trials, table[list(trials)])
    assert list(pd.read_parquet(plan.folder / "baselines.parquet")["label"]) == ["disabled", "full"]
    assert pq.ParquetFile(plan.folder / "configs.parquet").metadata.num_rows == TRIALS


def test_the_resolved_study_file_is_the_study(finished: job.Outcome) -> None:
    assert load_study(finished.folder / "study.yaml") == finished.plan.config


def test_the_best_configuration_run_again_gives_its_numbers(finished: job.Outcome) -> None:
    plan = finished.plan
    best = yaml.safe_load((plan.folder / "best.yaml").read_text())
    again = backtest(plan.market, STRATEGIES["tsmom_hedge"], [best["parameters"]], backend="numpy").metrics
    assert {name: again[name].iloc[0] for name in METRICS} == best["metrics"]
    table = configs(plan)
    assert best["score"] == table["score"].max() == finished.found.best["score"].iloc[0]
    assert best["from"]["data_digest"] == plan.data_digest


def test_figures_are_pictures_and_stand_in_one_report(finished: job.Outcome) -> None:
    names = {path.name for path in (finished.folder / "figures").iterdir()}
    assert {"equity.png", "progress.png", "profile_score.png"} <= names
    report = (finished.folder / "report.html").read_text(encoding="utf-8")
    assert all(f"id='{name.removesuffix('.png')}'" in report for name in names)
    assert "heatmap_score_hedge_strength_hedge_threshold.png" in names


def test_the_outcome_counts_and_times(finished: job.Outcome) -> None:
    assert (finished.trials, finished.evaluated) == (TRIALS, TRIALS)
    assert {
        "workers",
        "backtests",
        "search",
        "reality check",
        "records",
        "the winner examined",
        "files and figures",
    } == set(finished.seconds)
    assert finished.study_url is not None


# ---- going on


def test_an_existing_study_is_not_run_again(finished: job.Outcome) -> None:
    with pytest.raises(InputError, match="--resume"):
        run_one(finished.plan)


class Stopping(LocalPool):
    """A local pool that is interrupted in the batch after `batches` of them (the baselines are the first)."""

    def __init__(self, plan: Plan, batches: int, stop: BaseException) -> None:
        super().__init__([plan.task])
        self._left, self._stop = batches, stop

    def result(self, watch: PoolWatch) -> tuple[int, pd.DataFrame]:
        if self._left == 0:
            raise self._stop
        self._left -= 1
        return super().result(watch)


def run_stopped(plan: Plan) -> None:
    """Run a study until it is interrupted in its second batch."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(job, "open_pool", lambda *_: Stopping(plan, 2, KeyboardInterrupt()))
        run_one(plan)


@pytest.mark.parametrize("overrides", [(), LEARNING], ids=["grid", "tpe"])
@pytest.mark.parametrize("stop", [KeyboardInterrupt(), RuntimeError("power")], ids=["interrupt", "failure"])
def test_an_interrupted_study_resumes_to_the_same_results_and_records(
    folder: Path, fresh_store: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], stop: BaseException
) -> None:
    plan = small_plan(folder, *overrides)
    with monkeypatch.context() as patch:
        patch.setattr(job, "open_pool", lambda tasks, compute: Stopping(plan, 2, stop))
        with pytest.raises(type(stop)):
            run_one(plan)
    parent, children = recorded(plan)
    assert parent.info.status == ("KILLED" if isinstance(stop, KeyboardInterrupt) else "FAILED")
    assert set(children) == {"baseline disabled", "baseline full", *(f"trial {n}" for n in range(5))}

    watch = Watch()
    resumed = run_one(plan, watch, resume=True)
    assert (watch.done_before, resumed.evaluated, resumed.trials) == ([5], TRIALS - 5, TRIALS)
    parent, children = recorded(plan)
    assert parent.info.status == "FINISHED"
    assert set(children) == everything(TRIALS)

    through = folder / "through"
    through.mkdir()
    shutil.copy(fresh_store, through / "mlflow.db")
    run_one(small_plan(through, "tracking.enabled=false", *overrides))
    same(configs(plan), pd.read_parquet(through / "runs" / "small" / "configs.parquet"))


def test_a_study_stopped_before_its_first_results_goes_on_in_its_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small_plan(folder)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(job, "open_pool", lambda tasks, compute: Stopping(plan, 1, KeyboardInterrupt()))
        run_one(plan)
    stopped, _ = recorded(plan)
    run_one(plan)
    finished, children = recorded(plan)  # one parent only
    assert finished.info.run_id == stopped.info.run_id
    assert set(children) == everything(TRIALS)


def test_what_a_crash_left_unrecorded_is_recorded_on_resume(folder: Path) -> None:
    plan = small_plan(folder, "tracking.enabled=false")
    run_one(plan)
    plan = small_plan(folder)
    run_one(plan, resume=True)
    _, children = recorded(plan)
    assert set(children) == everything(TRIALS)


def test_a_finished_study_resumed_doubles_nothing(folder: Path) -> None:
    plan = small_plan(folder)
    run_one(plan)
    before = configs(plan)
    resumed = run_one(plan, resume=True)
    assert resumed.evaluated == 0
    same(configs(plan), before)
    _, children = recorded(plan)
    assert set(children) == everything(TRIALS)


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("market.seed=1", "market data changed"),
        ("costs.fee_bps=9", "costs.fee_bps was 4.0 when this study began, is 9.0 now"),
        ("search.seed=9", "seed"),
    ],
)
def test_a_study_does_not_go_on_with_other_data_or_rules(folder: Path, override: str, changed: str) -> None:
    plan = small_plan(folder, "tracking.enabled=false")
    run_one(plan)
    files = {path: path.read_bytes() for path in plan.folder.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=changed):
        run_one(small_plan(folder, "tracking.enabled=false", override), resume=True)
    assert files == {path: path.read_bytes() for path in plan.folder.rglob("*") if path.is_file()}


def test_a_resumed_study_may_be_given_more_trials(folder: Path) -> None:
    sobol = ("search.sampler=sobol", "strategy.search.hedge_threshold={low: -0.3, high: -0.05}")
    run_one(small_plan(folder, *sobol, "search.trials=8"))
    more = small_plan(folder, *sobol, "search.trials=16", "search.batch=3")
    outcome = run_one(more, resume=True)
    assert (outcome.trials, outcome.evaluated) == (16, 8)
    assert load_study(outcome.folder / "study.yaml") == more.config
    _, children = recorded(more)
    assert set(children) == everything(16)


# ---- other ways to run


def test_without_tracking_nothing_is_recorded(undrawn: None, tmp_path: Path) -> None:
    outcome = run_one(small_plan(tmp_path, "tracking.enabled=false"))
    assert outcome.study_url is None
    assert not (tmp_path / "mlflow.db").exists()
    assert (outcome.folder / "best.yaml").exists()


def test_a_large_study_records_its_best_trials_and_says_so(folder: Path) -> None:
    plan = small_plan(folder, "tracking.max_runs=4")
    outcome = run_one(plan)
    parent, children = recorded(plan)
    best = configs(plan).nlargest(4, "score")["trial"]
    assert set(children) == {f"trial {number}" for number in best} | {"baseline disabled", "baseline full"}
    assert "12 configurations tried; the 4 best have runs of their own" in parent.data.tags["mlflow.note.content"]
    assert len(configs(plan)) == outcome.trials == TRIALS


def test_a_sampler_that_learns_goes_the_same_way(folder: Path) -> None:
    plan = small_plan(folder, *LEARNING)
    watch = Watch()
    outcome = run_one(plan, watch)
    assert outcome.trials == TRIALS
    assert watch.configurations == TRIALS + 2
    assert [len(rows) for rows in watch.rows] == [5, 5, 2]
    same(configs(plan), pd.concat(watch.rows, ignore_index=True))
    _, children = recorded(plan)
    assert set(children) == everything(TRIALS)


def test_nothing_to_search_is_a_study_of_one_trial(undrawn: None, tmp_path: Path) -> None:
    outcome = run_one(small_plan(tmp_path, "strategy.search={}", "tracking.enabled=false"))
    assert outcome.trials == 1
    assert np.isfinite(outcome.found.best["score"].iloc[0])


def test_the_published_sweep_finds_the_published_best(undrawn: None, tmp_path: Path, shared_data: Path) -> None:
    path = shared_data / "crypto8_daily.parquet"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the data folder")
    config = load_study(CRYPTO_GRID, [f"market.path={path}", "tracking.enabled=false"])
    outcome = run_one(make_plan(config, tmp_path))
    assert outcome.trials == 80
    assert (outcome.found.best["hedge_strength"] == 0.5).all()  # at five thresholds
    # the published row: threshold -7 %, half of the short; ratio 2.26, CAGR 48.8 %, drawdown 20.0 %
    row = configs(outcome.plan).query("hedge_threshold == -0.07 and hedge_strength == 0.5").iloc[0]
    assert [round(row["cagr_to_volatility"], 2), round(row["cagr"], 3), round(row["max_drawdown"], 3)] == [
        2.26,
        0.488,
        0.200,
    ]


def test_a_study_needs_no_baselines(folder: Path) -> None:
    plan = small_plan(folder, "strategy.compare={}")
    outcome = run_one(plan)
    assert len(outcome.found.baselines) == 0
    assert plan.estimate()[0] > 0
    assert len(pd.read_parquet(plan.folder / "baselines.parquet")) == 0


def test_a_study_resumed_with_another_baseline_or_fewer_trials_is_refused(folder: Path) -> None:
    plan = small_plan(folder, "strategy.compare={only: {hedge_strength: 0.5}}")
    run_one(plan)
    other = small_plan(folder, "strategy.compare={only: {hedge_strength: 0.6}}")
    with pytest.raises(InputError, match=r"strategy\.compare was .* when this study began"):
        run_one(other, resume=True)
    fewer = small_plan(folder, "search={sampler: random, trials: 8, batch: 5}", "name=learning")
    run_one(fewer)
    with pytest.raises(InputError, match=r"holds 8 trials already, got trials=6"):
        run_one(small_plan(folder, "search={sampler: random, trials: 6, batch: 5}", "name=learning"), resume=True)


def test_any_metric_is_drawn_over_any_two_searched_parameters(folder: Path) -> None:
    plan = small_plan(folder)
    run_one(plan)
    x, y = plan.space.searched[:2]
    page, picture = study_figures.draw_heatmap(plan, "turnover", x, y)
    assert page.stat().st_size > 1_000_000
    assert picture.name.startswith("heatmap_turnover")
    with pytest.raises(InputError, match="unknown metric 'shape'"):
        study_figures.draw_heatmap(plan, "shape", x, y)
