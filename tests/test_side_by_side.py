"""Studies of one file, a study per ticker: side by side on one pool, each as if it were alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from studies import Watch, on_ray, option_plans, run_one, same, write_study

from cluster import chunks, job, ray_session
from cluster.config import load_study
from cluster.plan import Plan, make_plans
from cluster.pool import LocalPool, PoolError
from cluster.pool import Watch as PoolWatch
from cluster.worker import Task
from kernels.errors import InputError
from tracking.recorder import Recorder
from tracking.records import StudyRecord

pytestmark = pytest.mark.usefixtures("undrawn")
TICKERS = ("NEAR", "FAR", "LAST")
QUICK = (f"market.tickers=[{', '.join(TICKERS)}]", "market.scenarios=2", "market.days=31", "compute.backend=numpy")
CONTINUOUS = ("search.trials=24", "search.batch=8", "strategy.search.exposure={low: 0.5, high: 2.0}")
SEARCHES = {
    "grid": ("search.batch=4",),
    "sobol": ("search.sampler=sobol", *CONTINUOUS),
    "tpe": ("search.sampler=tpe", *CONTINUOUS),
}
Alone = Callable[[str], list[Plan]]
FILES = ("configs.parquet", "trials.parquet", "baselines.parquet")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    """The studies of one of `SEARCHES`, each run alone in this process; once for all tests that compare with them."""

    @cache
    def run(search: str) -> list[Plan]:
        plans = in_folder(tmp_path_factory.mktemp("alone"), *SEARCHES[search])
        for plan in plans:
            run_one(plan)
        return plans

    return run


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A private cluster of 2 cores."""
    ray = pytest.importorskip("ray")
    ray_session.start_ray(ray, None, workers=2, gpus=0, threads=1)
    yield ray
    ray.shutdown()


def in_folder(folder: Path, *overrides: str) -> list[Plan]:
    return option_plans(folder, *QUICK, *overrides)


def new_store(folder: Path, experiment: str) -> str:
    """The address of a store with MLflow's tables and an experiment of another study."""
    uri = f"sqlite:///{folder}/mlflow.db"
    with Recorder.open(uri, experiment, StudyRecord("another", "another")):
        return uri


def assert_same_files(plans: Sequence[Plan], alone: Sequence[Plan]) -> None:
    for one, other in zip(plans, alone, strict=True):
        for name in FILES:
            same(pd.read_parquet(one.folder / name), pd.read_parquet(other.folder / name))


# ---- each as if it were alone


@pytest.mark.parametrize("search", SEARCHES)
def test_each_study_gets_what_it_would_get_alone(alone: Alone, tmp_path: Path, search: str) -> None:
    plans, watch = in_folder(tmp_path, *SEARCHES[search]), Watch()
    outcomes = job.run(plans, watch)
    assert_same_files(plans, alone(search))
    assert watch.configurations == sum(plan.trials + len(plan.baselines) for plan in plans)
    assert [outcome.evaluated for outcome in outcomes] == [plan.trials for plan in plans]


@pytest.mark.parametrize("search", SEARCHES)
def test_workers_change_nothing(
    ray: Any, alone: Alone, tmp_path: Path, search: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "FIRST_ROWS", 3)
    monkeypatch.setattr(chunks, "MOST_ROWS", 3)  # a batch of 8 is three chunks
    plans = in_folder(tmp_path, *SEARCHES[search], "compute.pool=ray", "compute.workers=2")
    job.run(plans, Watch())
    assert_same_files(plans, alone(search))


def test_studies_take_turns_and_one_that_ends_drops_out(tmp_path: Path) -> None:
    near, far, last = in_folder(tmp_path, *SEARCHES["tpe"])
    run_one(far)
    watch = Watch()
    outcomes = job.run([near, far, last], watch, resume=True)
    assert watch.done_before == [0, 24, 0]
    assert watch.order == ["calls-NEAR", "calls-LAST"] * 3
    assert [outcome.evaluated for outcome in outcomes] == [24, 0, 24]
    assert watch.configurations == 2 * 24 + 3  # and a baseline of each


def test_seconds_of_the_studies_add_up_to_the_runs(tmp_path: Path) -> None:
    began = time.perf_counter()
    outcomes = job.run(in_folder(tmp_path), Watch())
    took = time.perf_counter() - began
    assert {"workers", "backtests", "search", "reality check", "the winner examined", "files and figures"} == set(
        outcomes[0].seconds
    )
    assert sum(sum(outcome.seconds.values()) for outcome in outcomes) <= took


# ---- one pool


def tasks_and_rows(folder: Path) -> tuple[list[Task], list[pd.DataFrame]]:
    plans = in_folder(folder, *SEARCHES["sobol"])
    return [plan.task for plan in plans], [plan.space.random(50 * n, seed=n) for n, plan in enumerate(plans, 1)]


def in_its_own_pool(task: Task, rows: pd.DataFrame) -> pd.DataFrame:
    own = LocalPool([task])
    own.submit(0, rows)
    return own.result(Watch())[1]


@pytest.mark.parametrize("killed", [False, True], ids=["all live", "one is killed"])
def test_chunks_of_all_tasks_share_the_workers(
    ray: Any, tmp_path: Path, killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, rows = tasks_and_rows(tmp_path)
    expected = [in_its_own_pool(task, table) for task, table in zip(tasks, rows, strict=True)]
    monkeypatch.setattr(chunks, "FIRST_ROWS", 16)
    monkeypatch.setattr(chunks, "MOST_ROWS", 16)
    shared = on_ray(*tasks, workers=2)

    class Killer(Watch):
        def advanced(self, configurations: int) -> None:
            if killed and self.configurations < 48 <= self.configurations + configurations:
                ray.kill(shared._fleet._actors[1])  # type: ignore[attr-defined]
            super().advanced(configurations)

    watch = Killer()
    for number, table in enumerate(rows):
        shared.submit(number, table)
    taken = Counter[int]()
    while shared.busy:
        number, metrics = shared.result(watch)
        same(metrics, expected[number])
        taken[number] += 1
        if number == 0 and taken[0] < 3:  # the first task goes on while others are under way
            shared.submit(0, rows[0])
    shared.close()
    assert taken == {0: 3, 1: 1, 2: 1}
    assert watch.configurations == 3 * len(rows[0]) + len(rows[1]) + len(rows[2])


def test_an_error_names_the_ticker_it_is_about(ray: Any, tmp_path: Path) -> None:
    tasks, rows = tasks_and_rows(tmp_path)
    shared = on_ray(*tasks, workers=1)
    shared.submit(0, rows[0])
    shared.submit(1, rows[1].assign(risk_aversion=1.0))  # which the task has declared off
    with pytest.raises(PoolError, match=r"a batch of 100 configurations of FAR: raised ValueError: .*risk_aversion"):
        while shared.busy:
            shared.result(Watch())
    shared.close()


# ---- what may go wrong


class Stopping(LocalPool):
    """A local pool that is interrupted after some batches."""

    def __init__(self, tasks: Sequence[Task], batches: int) -> None:
        super().__init__(tasks)
        self._left = batches

    def result(self, watch: PoolWatch) -> tuple[int, pd.DataFrame]:
        if self._left == 0:
            raise KeyboardInterrupt
        self._left -= 1
        return super().result(watch)


@pytest.mark.parametrize("batches", [1, 5], ids=["before any trial", "in the second study"])
def test_an_interrupted_run_goes_on_where_each_study_stood(
    alone: Alone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    plans = in_folder(tmp_path, *SEARCHES["tpe"])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(job, "open_pool", lambda tasks, compute: Stopping(tasks, batches))
        job.run(plans, Watch())
    watch = Watch()
    outcomes = job.run(plans, watch, resume=True)
    told = max(0, batches - len(plans))  # the first ones were baselines
    assert watch.done_before == [8] * told + [0] * (3 - told)
    assert [outcome.evaluated for outcome in outcomes] == [24 - before for before in watch.done_before]
    assert_same_files(plans, alone("tpe"))


def test_studies_that_are_there_are_refused_together_and_nothing_new_is_left(tmp_path: Path) -> None:
    near, far, last = in_folder(tmp_path)
    job.run([near, last], Watch())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError) as caught:
        job.run([near, far, last], Watch())
    assert [sentence.split(" ")[0] for sentence in caught.value.problems] == [str(near.folder), str(last.folder)]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not far.folder.exists()
    assert [outcome.evaluated for outcome in job.run([near, far, last], Watch(), resume=True)] == [0, 6, 0]


def test_a_store_that_refuses_leaves_no_new_study(tmp_path: Path) -> None:
    uri = new_store(tmp_path, "gone")
    from mlflow import MlflowClient

    plans = in_folder(tmp_path, f"tracking={{enabled: true, uri: '{uri}', experiment: gone}}")
    client = MlflowClient(tracking_uri=uri)
    client.delete_experiment(client.get_experiment_by_name("gone").experiment_id)
    with pytest.raises(InputError, match="experiment 'gone' has been deleted"):
        job.run(plans, Watch())
    assert not any(plan.folder.exists() for plan in plans)


# ---- records


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """`hedgegrid run` as a process of its own that draws no pictures."""
    script = "from cluster import cli, output; output.draw = lambda *_: (); cli.main()"
    command = [sys.executable, "-W", "error", "-c", script, "run", "calls.yaml", *words]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def runs_in_mlflow(uri: str) -> dict[str, list[str]]:
    """The names of the runs under each study's run, by the study's name; all ended well."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("hedgegrid/option_hedge")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    assert {run.info.status for run in runs} == {"FINISHED"}
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {
        parent.info.run_id: sorted(
            run.info.run_name for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
        )
        for parent in parents
    }
    names = [parent.info.run_name for parent in parents]
    assert len(set(names)) == len(names)
    return {parent.info.run_name: children[parent.info.run_id] for parent in parents}


def test_a_killed_run_is_resumed_to_the_same_studies_and_records(alone: Alone, tmp_path: Path) -> None:
    uri = new_store(tmp_path, "another")
    search = (*SEARCHES["sobol"], "search.batch=1")
    tracking = f"tracking={{enabled: true, uri: '{uri}'}}"
    plans = in_folder(tmp_path, *search, tracking)
    words = [word for setting in (*QUICK, *search, tracking) for word in ("--set", setting)]
    process = start(tmp_path, *words)
    parts = plans[-1].folder / "configs"
    deadline = time.monotonic() + 120
    while not list(parts.glob("part-*.parquet")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)

    resumed = start(tmp_path, *words, "--resume", "--json")
    printed, told = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, told.decode()
    outcomes = json.loads(printed)["studies"]
    assert [outcome["study"] for outcome in outcomes] == [plan.config.name for plan in plans]
    assert all(0 < outcome["evaluated"] < 24 for outcome in outcomes)
    expected = sorted(["baseline unhedged", *(f"trial {number}" for number in range(24))])
    portfolio: dict[str, list[str]] = {"calls-portfolio": []}
    assert runs_in_mlflow(uri) == {plan.config.name: expected for plan in plans} | portfolio
    assert_same_files(plans, alone("sobol"))


def test_the_mistakes_of_every_study_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    mistakes = ("targets.sharp={at_least: 1, reservation: 0}", "strategy.search.lookbak=[20, 30]")
    with pytest.raises(InputError) as refused:
        make_plans([load_study(path, [mistake]) for mistake in mistakes], tmp_path / "runs")
    assert "targets.sharp: target on unknown metric" in str(refused.value)
    assert "strategy.search.lookbak:" in str(refused.value)
    assert not (tmp_path / "runs").exists()
