"""How busy the machines are stands on the study's own run, beside its trials and harming none of them."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from studies import TRIALS, run_one, small_plan

from tracking.machine import watched
from tracking.recorder import Recorder
from tracking.records import StudyRecord, TrialRecord

STUDY = StudyRecord(study_id="busy-1", name="busy")


def history(uri: str, name: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("busy")
    assert experiment is not None
    (parent,) = client.search_runs([experiment.experiment_id], "attributes.run_name = 'busy'")
    return list(client.get_metric_history(parent.info.run_id, name))


def test_what_is_measured_becomes_system_metrics_of_the_studys_run(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with Recorder.open(uri, "busy", STUDY) as recorder:
        recorder.measured({"ray_nodes": 2, "ray_workers": 4, "nothing": math.nan})
        recorder.record([TrialRecord(0, {}, {"score": 0.5}, 0, 1)])
        time.sleep(1.1)
        recorder.measured({"ray_workers": 3})
    with Recorder.open(uri, "busy", STUDY) as recorder:  # resumed: the same axis goes on
        recorder.measured({"ray_workers": 1})
    points = history(uri, "system/ray_workers")
    assert [point.value for point in points] == [4, 3, 1]
    assert points[0].step == 0
    assert points[0].step < points[1].step <= points[2].step
    assert len(history(uri, "system/ray_nodes")) == 1
    assert history(uri, "system/nothing") == []


def test_measuring_never_waits_and_never_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracking.recorder.WAITING", 20)
    recorder = Recorder.open(f"sqlite:///{tmp_path}/mlflow.db", "busy", STUDY)
    with recorder._turn:  # nothing is written meanwhile
        for _ in range(60):
            recorder.measured({"ray_workers": 1})
    recorder.close()
    recorder.measured({"ray_workers": 2})  # too late


def test_the_machine_is_measured_until_the_block_ends() -> None:
    told: list[dict[str, float]] = []
    enough = threading.Event()

    def tell(values: Any) -> None:
        told.append(dict(values))
        if len(told) == 3:
            enough.set()

    with watched([tell], every=0.1, first=0.1):
        until = time.monotonic() + 20
        while not enough.is_set() and time.monotonic() < until:
            math.factorial(2000)
    count = len(told)
    assert all(0 <= values["cpu_utilization_percentage"] <= 100 for values in told)
    assert any(values["cpu_utilization_percentage"] > 0 for values in told)  # this test is at work
    assert all(values["system_memory_usage_megabytes"] > 0 for values in told)
    assert count >= 3
    time.sleep(0.3)
    assert len(told) == count
    assert "machine-watch" not in {thread.name for thread in threading.enumerate()}


class OneDevice:
    """MLflow's monitor of GPUs, as it answers where there is one."""

    def collect_metrics(self) -> None:
        pass

    def aggregate_metrics(self) -> dict[str, float]:
        return {"gpu_0_utilization_percentage": 97.0, "gpu_0_memory_usage_megabytes": 4321.0}

    def clear_metrics(self) -> None:
        pass


def test_devices_are_measured_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlflow.system_metrics.metrics.gpu_monitor.GPUMonitor", OneDevice)
    told: list[dict[str, float]] = []
    first = threading.Event()

    def tell(values: Any) -> None:
        told.append(dict(values))
        first.set()

    with watched([tell], first=0.0):
        assert first.wait(20)
    assert told[0]["gpu_0_utilization_percentage"] == 97.0
    assert "cpu_utilization_percentage" in told[0]


@pytest.mark.parametrize("asked_for", [True, False])
def test_a_study_has_system_metrics_unless_it_says_no(
    asked_for: bool, tmp_path: Path, undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    from cluster import running

    monkeypatch.setattr(running, "watched", lambda tell: watched(tell, every=0.2, first=0.0))
    overrides = ["tracking.experiment=busy", f"tracking.system_metrics={str(asked_for).lower()}"]
    plan = small_plan(tmp_path, *overrides)
    run_one(plan)
    client = MlflowClient(tracking_uri=plan.config.tracking.uri)
    experiment = client.get_experiment_by_name("busy")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    measured = {run.info.run_name for run in runs if any(name.startswith("system/") for name in run.data.metrics)}
    assert measured == ({parent.info.run_name} if asked_for else set())
    assert len(runs) == TRIALS + 3
