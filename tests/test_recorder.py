"""The MLflow projection: complete, repeatable, on a real store and a real server."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from servers import Server

from tracking.address import TrackingError, check_tracking_uri, ui_command
from tracking.recorder import Recorder
from tracking.records import DataRecord, StudyRecord, TrialRecord

STUDY = StudyRecord(
    study_id="demo-1",
    name="demo",
    params={"costs.fee_bps": 4.0, "question": "does it survive?"},
    tags={"strategy": "tsmom_hedge"},
    note="# Demo",
    data=DataRecord("crypto8", "ab" * 32, "crypto8_daily.parquet", {"bars": 2192}),
)
EXPERIMENT = "hedgegrid/tsmom_hedge"


def trial(key: int | str, score: float = 0.5, **metrics: float) -> TrialRecord:
    """A trial that started in second `key` of an hour and took one second."""
    start = 1_700_000_000_000 + 1000 * (key if isinstance(key, int) else 0)
    tags = {"targets_met": "2 of 4"}
    return TrialRecord(key, {"hedge_strength": 0.3}, {"score": score, **metrics}, start, start + 1000, tags)


@pytest.fixture
def uri(tmp_path: Path, fresh_store: Path) -> str:
    return f"sqlite:///{shutil.copy(fresh_store, tmp_path / 'mlflow.db')}"


def recorded(uri: str) -> tuple[Any, list[Any]]:
    """The parent run and its children, as another program would read them."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    runs = list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"]))
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    return parents[0], [run for run in runs if run is not parents[0]]


def best_scores(uri: str, run_id: str) -> list[tuple[int, float]]:
    from mlflow import MlflowClient

    history = MlflowClient(tracking_uri=uri).get_metric_history(run_id, "best_score")
    return sorted((point.step, point.value) for point in history)


def test_a_folder_may_have_a_space_and_a_sign_in_its_name(tmp_path: Path, fresh_store: Path) -> None:
    folder = tmp_path / "my runs #2"
    folder.mkdir()
    uri = f"sqlite:///{shutil.copy(fresh_store, folder / 'mlflow.db')}"
    with Recorder.open(uri, EXPERIMENT, STUDY) as recorder:
        recorder.record([trial(0)])
        recorder.text("study.yaml", "name: demo\n")
    assert len(recorded(uri)[1]) == 1
    assert len(list(folder.rglob("study.yaml"))) == 1


def test_a_study_becomes_one_parent_run_and_every_trial_a_child_of_it(uri: str) -> None:
    with Recorder.open(uri, EXPERIMENT, STUDY) as recorder:
        recorder.record([trial(0, 0.4), trial(1, 0.7), trial("full", 0.9)])
        recorder.text("study.yaml", "name: demo\n")
        recorder.summary("# Done", metrics={"score": 0.7}, tags={"best_trial": "1"})
        url = recorder.study_url()
    parent, children = recorded(uri)
    assert parent.info.status == "FINISHED"
    assert parent.data.params == {"costs.fee_bps": "4.0", "question": "does it survive?"}
    assert parent.data.tags["mlflow.note.content"] == "# Done"
    assert parent.inputs.dataset_inputs[0].dataset.digest == ("ab" * 32)[:36]
    assert (
        url
        == f"http://localhost:5000/#/experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}?workflowType=machine_learning"
    )
    assert sorted(run.info.run_name for run in children) == ["baseline full", "trial 0", "trial 1"]
    for run in children:
        assert run.info.status == "FINISHED"
        assert run.info.end_time == run.info.start_time + 1000
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["targets_met"] == "2 of 4"
        assert run.data.params == {"hedge_strength": "0.3"}
    # The baseline is compared with, not searched for: its 0.9 is nobody's best.
    assert best_scores(uri, parent.info.run_id) == [(0, 0.4), (1, 0.7)]


def test_studies_recorded_at_once_are_each_complete(uri: str) -> None:
    names = [f"demo-{number}" for number in range(3)]
    with contextlib.ExitStack() as at_the_end:
        recorders = [
            at_the_end.enter_context(Recorder.open(uri, EXPERIMENT, replace(STUDY, study_id=name, name=name)))
            for name in names
        ]
        for number in range(12):
            for recorder in recorders:
                recorder.record([trial(number)])
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    parents = {run.info.run_name: run.info.run_id for run in runs if "mlflow.parentRunId" not in run.data.tags}
    assert sorted(parents) == names
    for parent in parents.values():
        children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent]
        assert sorted(run.info.run_name for run in children) == sorted(f"trial {number}" for number in range(12))


def test_artifacts_lie_beside_the_database(uri: str, tmp_path: Path) -> None:
    figure = tmp_path / "heatmap.html"
    figure.write_text("<p>42</p>")
    with Recorder.open(uri, EXPERIMENT, STUDY) as recorder:
        recorder.artifact(figure, "figures")
    copies = list((tmp_path / "mlflow-artifacts").rglob("figures/heatmap.html"))
    assert [copy.read_text() for copy in copies] == ["<p>42</p>"]
    assert not list(tmp_path.rglob("mlruns"))


def test_recording_again_adds_only_what_is_missing(uri: str) -> None:
    with Recorder.open(uri, EXPERIMENT, STUDY) as recorder:
        recorder.record([trial(0, 0.4), trial(2, 0.6)])
        recorder.record([trial(0, 0.4)])
    with Recorder.open(uri, EXPERIMENT, STUDY) as recorder:
        recorder.record([trial(0, 0.4), trial(1, 0.5), trial(2, 0.6), trial(3, 0.1)])
    parent, children = recorded(uri)
    assert [run.info.run_name for run in children].count("trial 0") == 1
    assert len(children) == 4
    assert best_scores(uri, parent.info.run_id) == [(0, 0.4), (1, 0.5), (2, 0.6), (3, 0.6)]


def test_a_run_left_half_written_is_completed_and_not_doubled(uri: str) -> None:
    from mlflow import MlflowClient

    with Recorder.open(uri, EXPERIMENT, STUDY) as recorder:
        recorder.record([trial(0, 0.4)])
    _, (child,) = recorded(uri)
    MlflowClient(tracking_uri=uri).update_run(child.info.run_id, status="RUNNING")
    with Recorder.open(uri, EXPERIMENT, STUDY) as recorder:
        recorder.record([trial(0, 0.4)])
    _, (again,) = recorded(uri)
    assert (again.info.run_id, again.info.status) == (child.info.run_id, "FINISHED")
    assert len(MlflowClient(tracking_uri=uri).get_metric_history(child.info.run_id, "score")) == 1


@pytest.mark.parametrize(("stop", "status"), [(KeyboardInterrupt, "KILLED"), (ZeroDivisionError, "FAILED")])
def test_a_study_that_ends_early_still_writes_what_it_has(uri: str, stop: type[BaseException], status: str) -> None:
    with pytest.raises(stop), Recorder.open(uri, EXPERIMENT, STUDY) as recorder:
        recorder.record(trial(number) for number in range(5))
        raise stop
    parent, children = recorded(uri)
    assert parent.info.status == status
    assert [run.info.status for run in children] == ["FINISHED"] * 5


def test_a_metric_that_is_not_finite_is_named_and_not_sent(uri: str) -> None:
    with Recorder.open(uri, EXPERIMENT, STUDY) as recorder:
        recorder.record([trial(0, 0.0, sortino=math.inf, calmar=math.nan, cagr=-0.2)])
    _, (child,) = recorded(uri)
    assert child.data.metrics == {"score": 0.0, "cagr": -0.2}
    assert child.data.tags["not_finite"] == "sortino=inf, calmar=nan"


def test_a_store_that_fails_is_reported_and_the_rest_can_be_recorded_later(uri: str, tmp_path: Path) -> None:
    recorder = Recorder.open(uri, EXPERIMENT, STUDY)
    bad = TrialRecord(0, {"no#such\x00key": 1}, {"score": 0.5}, 1, 2)
    recorder.record([bad])
    with pytest.raises(TrackingError, match="MLflow stopped taking records"):
        for number in range(1, 5000):
            recorder.record([trial(number)])
    with pytest.raises(TrackingError, match="only what is missing is added"):
        recorder.close()
    parent, _ = recorded(uri)
    assert parent.info.status == "FAILED"
    with Recorder.open(uri, EXPERIMENT, STUDY) as recorder:
        recorder.record([trial(0), trial(1)])
    parent, children = recorded(uri)
    assert parent.info.status == "FINISHED"
    assert {run.info.run_name: run.info.status for run in children} == {
        "trial 0": "FINISHED",
        "trial 1": "FINISHED",
    }


def test_the_table_of_trials_opens_on_this_study_best_first(uri: str) -> None:
    from mlflow import MlflowClient

    columns: dict[Any, tuple[str, ...]] = {"metrics": ("score",), "tags": ("targets_met",)}
    with Recorder.open(uri, EXPERIMENT, replace(STUDY, columns=columns)) as recorder:
        recorder.record([trial(0, 0.4), trial(1, 0.7), trial("full", 0.1)])
        assert "viewStateShareKey=demo-1" in recorder.trials_url()
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    view = json.loads(experiment.tags["mlflow.sharedViewState.demo-1"])
    assert view["selectedColumns"] == view["columnOrder"] == ["metrics.`score`", "tags.`targets_met`"]
    runs = client.search_runs([experiment.experiment_id], view["searchFilter"], order_by=[f"{view['orderByKey']} DESC"])
    assert [run.info.run_name for run in runs] == ["trial 1", "trial 0", "baseline full"]


def test_the_file_has_statistics_and_no_loose_log_when_a_study_ends(uri: str, tmp_path: Path) -> None:
    with Recorder.open(uri, EXPERIMENT, STUDY) as recorder:
        recorder.record([trial(0)])
    connection = sqlite3.connect(tmp_path / "mlflow.db")
    assert connection.execute("SELECT count(*) FROM sqlite_stat1 WHERE tbl = 'runs'").fetchone()[0] > 0
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    log = tmp_path / "mlflow.db-wal"
    assert not log.exists() or log.stat().st_size == 0


def test_a_first_study_makes_its_own_store_and_prints_nothing(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from tracking.records import StudyRecord, TrialRecord\n"
        "from tracking.recorder import Recorder\n"
        "with Recorder.open(sys.argv[1], 'quiet', StudyRecord('quiet-1', 'quiet')) as recorder:\n"
        "    recorder.record([TrialRecord(0, {}, {'score': 0.5}, 1000, 2000)])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{tmp_path}/mlflow.db"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("sqlite:///{tmp}/missing/mlflow.db", "the folder .*missing does not exist"),
        ("sqlite:///{tmp}", "is a folder"),
        ("sqlite:///{tmp}/notes.txt", "is not a SQLite database"),
        ("sqlite:///{tmp}/optuna.db", "holds something else than MLflow records \\(studies\\)"),
        ("sqlite:///{tmp}/a%20b.db", "a path with '%' in it"),
        ("sqlite:///{tmp}/a.db?mode=ro", "options after '\\?' are not supported"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("http://127.0.0.1:1", "no answer .*start the server"),
        ("postgresql://ann:secret@127.0.0.1:1/mlflow", "no database answers at 127.0.0.1:1"),
        ("file:///tmp/mlruns", "no longer records into a folder"),
        ("./mlruns", "no longer records into a folder"),
        ("mlflow.db", "a kind of address is needed"),
        ("ftp://somewhere", "'ftp' is not a kind of address known here"),
    ],
)
def test_an_address_that_cannot_record_is_refused_at_once(tmp_path: Path, address: str, complaint: str) -> None:
    (tmp_path / "notes.txt").write_text("not a database, only some words of text")
    with sqlite3.connect(tmp_path / "optuna.db") as connection:
        connection.execute("CREATE TABLE studies (id INTEGER)")
    connection.close()
    before = sorted(tmp_path.rglob("*"))
    start = time.monotonic()
    with pytest.raises(TrackingError, match=complaint) as caught:
        check_tracking_uri(address.format(tmp=tmp_path))
    assert time.monotonic() - start < 3
    assert "secret" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_absent_file_is_a_good_address_and_is_not_created(tmp_path: Path) -> None:
    check_tracking_uri(f"sqlite:///{tmp_path}/new.db")
    assert not list(tmp_path.iterdir())


def test_a_deleted_experiment_is_refused_with_the_way_back(uri: str) -> None:
    from mlflow import MlflowClient

    with Recorder.open(uri, EXPERIMENT, STUDY):
        pass
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(TrackingError, match=f"mlflow experiments restore -x {experiment.experiment_id}"):
        Recorder.open(uri, EXPERIMENT, STUDY)


def test_the_ui_is_one_command_for_a_file_and_none_for_a_server() -> None:
    assert ui_command("sqlite:///my runs.db") == "hedgegrid mlflow --backend 'sqlite:///my runs.db'"
    assert ui_command("http://localhost:5000") is None


@pytest.fixture
def server(tmp_path: Path, fresh_store: Path) -> Iterator[str]:
    """A real MLflow server on a free loopback port."""
    server = Server(tmp_path, fresh_store)
    server.start()
    try:
        server.wait()
        yield server.uri
    finally:
        server.kill()


def test_a_server_takes_the_same_records(server: str, capfd: pytest.CaptureFixture[str]) -> None:
    with Recorder.open(server, EXPERIMENT, STUDY) as recorder:
        recorder.record([trial(0, 0.4), trial("full")])
        recorder.text("study.yaml", "name: demo\n")
        assert recorder.study_url().startswith(f"{server}/#/experiments/")
    parent, children = recorded(server)
    assert parent.info.status == "FINISHED"
    assert {run.info.run_name for run in children} == {"trial 0", "baseline full"}
    assert best_scores(server, parent.info.run_id) == [(0, 0.4)]
    assert capfd.readouterr().out == ""
