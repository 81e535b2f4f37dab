"""`hedgegrid repair`: MLflow made again from a study's folder, whatever became of either."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crashes import assert_recorded_once
from studies import LEARNING, TRIALS, run_one, small_plan
from test_job import run_stopped
from typer.testing import CliRunner

from cluster.cli import app
from cluster.repair import repair
from kernels.errors import InputError
from search.lock import release
from tracking.entities import TRIAL_TAG
from tracking.recorder import Recorder
from tracking.records import StudyRecord

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, undrawn: None) -> dict[str, Path]:
    """Folders of a grid and a learning study, finished, and of a grid stopped after 5 trials; a store without a study."""
    folder = tmp_path_factory.mktemp("kept")
    with Recorder.open(f"sqlite:///{folder}/fresh.db", "another", StudyRecord("another", "warm")):
        pass
    kept = {"fresh": folder / "fresh.db"}
    for name, overrides in (("grid", ()), ("tpe", LEARNING), ("stopped", ())):
        kept[name] = folder / name
        kept[name].mkdir()
        shutil.copy(kept["fresh"], kept[name] / "mlflow.db")
        plan = small_plan(kept[name], *overrides)
        if name == "stopped":
            run_stopped(plan)
        else:
            run_one(plan)
    return kept


@pytest.fixture
def at(kept: dict[str, Path], tmp_path: Path) -> Iterator[Any]:
    """A copy of one of them in a folder of its own, its store beside it."""

    def copy(name: str) -> Path:
        shutil.copytree(kept[name], tmp_path, dirs_exist_ok=True)
        for path in (tmp_path / "small.yaml", tmp_path / "runs" / "small" / "study.yaml"):
            path.write_text(path.read_text().replace(str(kept[name]), str(tmp_path)))
        return tmp_path

    yield copy
    release(tmp_path / "runs" / "small")


def repaired(folder: Path) -> dict[str, tuple[str, str]]:
    (found,) = repair(folder / "runs" / "small", folder / "runs")
    return {what: (before, done) for what, before, done in found.rows}


def recorded(store: Path) -> dict[str, dict[str, Any]]:
    """Everything that the study's runs say, but for ids, times and how busy the machines were then."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{store}")
    runs = client.search_runs([client.get_experiment_by_name("hedgegrid/tsmom_hedge").experiment_id])
    return {
        run.info.run_name: {
            "status": run.info.status,
            "params": run.data.params,
            "metrics": {k: v for k, v in run.data.metrics.items() if not k.startswith("system/")},
            "tags": {k: v for k, v in run.data.tags.items() if k != "mlflow.parentRunId"},
            "files": [entry.path for entry in client.list_artifacts(run.info.run_id)],
        }
        for run in runs
    }


def everything(trials: int) -> set[str]:
    return {f"trial {number}" for number in range(trials)}


@pytest.mark.parametrize("name", ["grid", "tpe"])
def test_a_lost_store_is_made_again_wholly(kept: dict[str, Path], at: Any, name: str) -> None:
    folder = at(name)
    shutil.copy(kept["fresh"], folder / "mlflow.db")
    rows = repaired(folder)
    assert rows["runs of trials"] == ("0 in MLflow", f"{TRIALS + 2} added")
    assert rows["run of the study"] == ("not there", "FINISHED")
    assert_recorded_once(folder / "mlflow.db", everything(TRIALS))
    assert recorded(folder / "mlflow.db") == recorded(kept[name] / "mlflow.db")


def test_what_is_as_it_should_be_is_left_alone(at: Any) -> None:
    folder = at("grid")
    before = {path: path.read_bytes() for path in (folder / "runs").rglob("*") if path.is_file()}
    rows = repaired(folder)
    assert [done for _, done in rows.values()] == [""] * 5
    assert before == {path: path.read_bytes() for path in (folder / "runs").rglob("*") if path.is_file()}
    assert_recorded_once(folder / "mlflow.db", everything(TRIALS))


def test_missing_half_written_and_doubled_runs_are_put_right(at: Any) -> None:
    from mlflow import MlflowClient

    folder = at("grid")
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("hedgegrid/tsmom_hedge").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    client.delete_run(runs["trial 3"].info.run_id)
    client.update_run(runs["trial 4"].info.run_id, status="RUNNING")
    client.update_run(runs["small"].info.run_id, status="RUNNING")
    client.create_run(experiment, tags=runs["trial 5"].data.tags, run_name="trial 5")
    rows = repaired(folder)
    assert rows["runs of trials"][1] == "1 added, 1 half-written ones completed, 1 doubled ones removed"
    assert rows["run of the study"] == ("RUNNING", "FINISHED")
    assert_recorded_once(folder / "mlflow.db", everything(TRIALS))


def test_a_study_that_died_is_said_to_have_and_can_still_go_on(at: Any) -> None:
    from mlflow import MlflowClient

    folder = at("stopped")
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("hedgegrid/tsmom_hedge").experiment_id])
    (parent,) = [run.info.run_id for run in runs if TRIAL_TAG not in run.data.tags]
    client.update_run(parent, status="RUNNING")  # as a kill leaves it
    rows = repaired(folder)
    assert rows["trials"] == (f"5 of {TRIALS} have results", "go on with `hedgegrid run STUDY --resume`")
    assert rows["run of the study"] == ("RUNNING", "KILLED")
    assert "(stopped; go on with" in recorded(folder / "mlflow.db")["small"]["tags"]["mlflow.note.content"]
    run_one(small_plan(folder), resume=True)
    assert_recorded_once(folder / "mlflow.db", everything(TRIALS))


def test_a_lost_manifest_is_made_again_where_the_files_are_whole(at: Any) -> None:
    folder = at("grid")
    study = folder / "runs" / "small"
    (study / "manifest.jsonl").unlink()
    assert repaired(folder)["manifest"][1] == "7 lines entered"  # three parts and four tables
    (study / "manifest.jsonl").unlink()
    part = study / "configs" / "part-000000005.parquet"
    damaged = bytearray(part.read_bytes())
    damaged[60] ^= 1
    part.write_bytes(damaged)
    with pytest.raises(InputError, match=r"part-000000005.parquet is damaged"):
        repair(study, folder / "runs")


def test_a_damaged_part_is_named_and_mlflow_left_as_it_is(at: Any) -> None:
    folder = at("grid")
    part = folder / "runs" / "small" / "configs" / "part-000000005.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    before = recorded(folder / "mlflow.db")
    with pytest.raises(InputError, match=r"part-000000005.parquet is damaged .*; remove it and resume the study"):
        repair(folder / "small.yaml", folder / "runs")
    assert recorded(folder / "mlflow.db") == before
    part.unlink()
    run_one(small_plan(folder), resume=True)
    assert_recorded_once(folder / "mlflow.db", everything(TRIALS))


def test_a_damaged_final_file_is_said_and_written_again_by_resume(at: Any) -> None:
    folder = at("grid")
    table = folder / "runs" / "small" / "configs.parquet"
    whole = table.read_bytes()
    table.write_bytes(whole[:-1])
    found, done = repaired(folder)["final files"]
    assert found.startswith("configs.parquet: it has")
    assert done == "go on with `hedgegrid run STUDY --resume`"
    run_one(small_plan(folder), resume=True)
    assert table.read_bytes() == whole


def test_a_study_that_another_driver_holds_is_not_repaired(at: Any) -> None:
    folder = at("grid") / "runs" / "small"
    hold = "import sys; from pathlib import Path; from search.lock import hold; hold(Path(sys.argv[1]))"
    hold += "; print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as driver:
        assert driver.stdout is not None
        driver.stdout.readline()
        with pytest.raises(InputError, match="is in use by another run of this study"):
            repair(folder, folder.parent)
        driver.communicate()


def test_the_command_says_in_one_table_what_it_did(at: Any, kept: dict[str, Path]) -> None:
    folder = at("grid")
    shutil.copy(kept["fresh"], folder / "mlflow.db")
    said = CliRunner().invoke(app, ["repair", str(folder / "small.yaml"), "--runs", str(folder / "runs")])
    assert said.exit_code == 0, said.output
    assert f"{TRIALS + 2} added" in said.output
    with pytest.raises(InputError, match="holds no study"):
        repair(folder, folder)


def test_no_study_is_made_where_there_is_none(tmp_path: Path) -> None:
    with contextlib.suppress(InputError):
        repair(tmp_path, tmp_path)
    assert not list(tmp_path.iterdir())
