"""A store that is busy, or goes away and comes back, costs time or one sentence, and never a record."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server

import tracking.recorder
from tracking import store_file
from tracking.address import TrackingError
from tracking.entities import PARENT_TAG, STUDY_TAG, TRIAL_TAG
from tracking.recorder import Recorder
from tracking.records import StudyRecord, TrialRecord

STUDY = StudyRecord("demo-1", "demo", params={"seed": 1})
EXPERIMENT = "hedgegrid/tsmom_hedge"
TRIALS = 40


def trials(first: int = 0, end: int = TRIALS) -> list[TrialRecord]:
    """With the time of now, as every recording of a study has it."""
    now = int(time.time() * 1000)
    return [TrialRecord(n, {"x": n}, {"score": n / TRIALS, "cagr": 0.1}, now, now) for n in range(first, end)]


def assert_complete(uri: str) -> None:
    """One finished run per trial under the one of the study, one point per metric."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    assert {run.info.status for run in runs} == {"FINISHED"}
    (parent,) = [run for run in runs if TRIAL_TAG not in run.data.tags]
    children = [run for run in runs if run is not parent]
    assert sorted(int(run.data.tags[TRIAL_TAG]) for run in children) == list(range(TRIALS))
    assert {run.data.tags[PARENT_TAG] for run in children} == {parent.info.run_id}
    assert {run.data.metrics["score"] for run in children} == {n / TRIALS for n in range(TRIALS)}
    for run in children[:: TRIALS // 8]:
        assert len(client.get_metric_history(run.info.run_id, "score")) == 1
    best = client.get_metric_history(parent.info.run_id, "best_score")
    assert sorted(point.step for point in best) == list(range(TRIALS))


# ---- a file that another program has


@pytest.fixture
def store(tmp_path: Path, fresh_store: Path) -> Path:
    return Path(shutil.copy(fresh_store, tmp_path / "mlflow.db"))


@contextlib.contextmanager
def locked(store: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(store, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield other


def test_a_file_locked_for_a_while_is_waited_for(store: Path) -> None:
    uri = f"sqlite:///{store}"
    with Recorder.open(uri, EXPERIMENT, STUDY) as recorder:
        recorder.record(trials(0, 5))
        with locked(store) as other:
            recorder.record(trials(5))
            release = threading.Timer(7.0, other.execute, ["ROLLBACK"])  # longer than SQLite's own five seconds
            release.start()
            release.join()
    assert_complete(uri)


def test_a_file_locked_for_ever_stops_the_study_with_a_sentence(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_file, "WAIT_SECONDS", 0.5)
    monkeypatch.setattr(tracking.recorder, "PATIENCE_SECONDS", 0.5)
    uri = f"sqlite:///{store}"
    with (
        locked(store),
        pytest.raises(TrackingError, match=r"another program has held .*mlflow.db for 0.5 s; wait until"),
    ):
        Recorder.open(uri, EXPERIMENT, STUDY)
    recorder = Recorder.open(uri, EXPERIMENT, STUDY)
    with locked(store):
        since = time.monotonic()
        with pytest.raises(
            TrackingError, match=r"MLflow stopped taking records \(.*locked\); the study itself is kept"
        ):
            for _ in range(100):
                recorder.record(trials())
                time.sleep(0.05)
        with pytest.raises(TrackingError):
            recorder.close()
        assert time.monotonic() - since < 10
    with Recorder.open(uri, EXPERIMENT, STUDY) as again:
        again.record(trials())
    assert_complete(uri)


# ---- a server that goes away


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, fresh_store: Path) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"), fresh_store)
    server.start()
    server.wait()
    yield server
    server.kill()


def test_a_server_that_goes_away_and_comes_back_has_every_record_once(server: Server) -> None:
    with Recorder.open(server.uri, EXPERIMENT, STUDY) as recorder:
        recorder.record(trials(0, 10))
        while recorder.pending > 5:
            time.sleep(0.01)
        server.kill()  # in the middle of a request, or between two
        recorder.record(trials(10, 20))
        server.start()
        server.wait()
        recorder.record(trials(20))
    assert_complete(server.uri)


def test_a_server_that_stays_away_stops_the_study_with_a_sentence(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setattr(tracking.recorder, "PATIENCE_SECONDS", 2.0)
    recorder = Recorder.open(server.uri, "another", StudyRecord("demo-2", "demo"))
    recorder.record(trials(0, 5))
    while recorder.pending > 2:
        time.sleep(0.01)
    server.kill()
    since = time.monotonic()
    with pytest.raises(TrackingError, match=r"MLflow stopped taking records .*; the study itself is kept"):
        while True:
            recorder.record(trials(5, 6))
            time.sleep(0.05)
    with pytest.raises(TrackingError):
        recorder.close()
    assert time.monotonic() - since < 30


# ---- what a request that was repeated leaves


def test_runs_made_twice_are_one_again_when_the_study_is_opened(store: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{store}"
    with Recorder.open(uri, EXPERIMENT, STUDY) as recorder:
        recorder.record(trials(0, 30))
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    parent = client.create_run(experiment.experiment_id, run_name="demo", tags={STUDY_TAG: STUDY.study_id})
    for number in (3, 35):  # of one that is there, and of one that is not
        for _ in range(2):
            tags = {STUDY_TAG: STUDY.study_id, TRIAL_TAG: str(number), PARENT_TAG: parent.info.run_id}
            client.create_run(experiment.experiment_id, run_name=f"trial {number}", tags=tags)
    with Recorder.open(uri, EXPERIMENT, STUDY) as recorder:
        recorder.record(trials())
    assert recorder.removed == 4
    assert_complete(uri)
