"""A study watched from another terminal: what its folder tells while it runs, when it has ended, when it was killed."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from drivers import ONE_BATCH, UNTRACKED, Driver, backtests_begun, progress, wait_for
from rich.console import Console
from studies import TRIALS, Watch, option_plans, run_one, small_plan, write_study

from cluster import job, output
from cluster.cli import main
from cluster.dispatch import Answer, Chunk, Fleet, Ready, WorkerPool
from cluster.live import Live
from cluster.pool import Event, LocalPool
from cluster.progress import PROGRESS, read_progress
from cluster.status import State, find, look
from cluster.status_view import show
from cluster.worker import Task
from kernels.errors import InputError
from search.lock import held, release


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the small study in it; runs draw no pictures."""
    write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(output, "draw", lambda *_: ())
    return tmp_path


def status(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """What `hedgegrid status ... --json` says of one study."""
    (found,) = json.loads(printed(capsys, *words))["studies"]
    assert isinstance(found, dict)
    return found


def printed(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What `hedgegrid status` prints."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["hedgegrid", "status", *words])
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code or 0) == code
    return out + err


def test_a_killed_driver_is_told_from_one_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    driver = Driver(*ONE_BATCH)
    wait_for(backtests_begun)
    written = progress().written
    wait_for(lambda: progress().written > written and progress().configurations.done > 0)  # no batch has ended
    told = status(capsys, "small.yaml", "--json")
    assert told["state"] == "running"
    assert told["progress"]["trials"] == {"done": 0, "of": 1}
    assert 0 < told["progress"]["configurations"]["done"] < 40_000
    assert told["progress"]["pid"] == driver.pid
    assert told["again"] is None

    os.kill(driver.pid, signal.SIGKILL)
    assert driver.end() == -signal.SIGKILL
    told = status(capsys, "small.yaml", "--json")
    assert told["state"] == "died"
    assert f"process {driver.pid}" in told["told"]
    assert told["again"].endswith("--resume")


def test_a_finished_study_is_told_by_file_name_and_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run_one(small_plan(folder, UNTRACKED))
    best = outcome.found.best.iloc[0]
    for word in ("small.yaml", "small", "runs/small", f"{folder}/runs/small"):
        found = status(capsys, word, "--json")
        assert (found["state"], found["again"]) == ("finished", None)
        assert found["progress"]["trials"] == found["progress"]["configurations"] == {"done": TRIALS, "of": TRIALS}
        assert found["progress"]["best"] == {"score": best["score"], "trial": best["trial"]}
    text = printed(capsys, "small", "--watch")  # which has ended already
    assert "small: finished" in text
    assert f"score {best['score']:.3f}, trial {best['trial']}" in text


def test_a_resumed_study_knows_the_best_trial_of_its_earlier_runs(folder: Path) -> None:
    best = run_one(small_plan(folder, UNTRACKED)).found.best.iloc[0]
    run_one(small_plan(folder, UNTRACKED), resume=True)
    found = progress().best
    assert found
    assert (found.score, found.trial) == (best["score"], best["trial"])


def test_a_failure_is_told_with_its_reason(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(output, "write", full)
    with pytest.raises(OSError, match="No space"):
        run_one(small_plan(folder, UNTRACKED))
    text = printed(capsys, "small")
    assert "small: failed" in text
    assert "No space left on device" in text
    assert "continue with:\n  hedgegrid run runs/small/study.yaml --resume" in text


def test_what_cannot_be_written_of_the_progress_ends_no_study(folder: Path) -> None:
    (folder / "runs" / "small" / PROGRESS).mkdir(parents=True)  # in its place, as unwritable as a full disk
    outcome = run_one(small_plan(folder, UNTRACKED))
    assert outcome.evaluated == TRIALS
    found = look(outcome.folder)
    assert (found.progress, found.told) == (None, "no progress is written there, a run has it now")
    release(outcome.folder)
    assert look(outcome.folder).state == "finished"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"study": "small"}', '{"trials": 3}'])
def test_a_progress_that_cannot_be_read_is_none(folder: Path, content: str) -> None:
    (folder / PROGRESS).write_text(content)
    assert read_progress(folder) is None


@pytest.mark.parametrize(
    ("host", "seconds", "state", "told"),
    [
        ("here", 3600, "died", "is gone"),
        ("elsewhere", 2, "running", "process 7 on elsewhere (from here its lock cannot be seen"),
        ("elsewhere", 3600, "silent", "may have died during 'backtests': process 7 on elsewhere says nothing"),
    ],
)
def test_a_driver_without_a_lock_is_judged_by_where_it_runs_and_when_it_spoke(
    folder: Path, host: str, seconds: int, state: State, told: str
) -> None:
    plan = small_plan(folder, UNTRACKED)
    run_one(plan)
    assert held(plan.folder)
    release(plan.folder)
    assert held(plan.folder) is False
    when = (pd.Timestamp.now("UTC") - pd.Timedelta(seconds=seconds)).isoformat()
    there = progress().host if host == "here" else host
    content = json.loads((plan.folder / PROGRESS).read_text())
    content |= {"phase": "backtests", "host": there, "pid": 7, "written": when}
    (plan.folder / PROGRESS).write_text(json.dumps(content))
    found = look(plan.folder)
    assert found.state == state
    assert told in found.told
    assert (found.again is None) == (state == "running")


def test_the_studies_of_a_file_are_one_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job.run(option_plans(folder, "market.scenarios=2"), Watch())
    for word in ("calls.yaml", "calls"):
        text = printed(capsys, word)
        for name in ("calls-NEAR", "calls-FAR"):
            assert re.search(rf"{name} +│ finished +│ +6 of 6 │ +6 of 6 │ score [\d.]+, trial \d ", text)


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("smal", "no study smal has begun in runs/; did you mean small?"),
        ("xyz", "no study xyz has begun in runs/; studies there: small; --runs names another folder"),
        ("calls.yaml", "calls.yaml: no study calls-NEAR, calls-FAR has begun in runs/; studies there: small;"),
    ],
)
def test_a_study_that_is_not_there_is_answered_with_those_that_are(
    folder: Path, capsys: pytest.CaptureFixture[str], word: str, answer: str
) -> None:
    run_one(small_plan(folder, UNTRACKED))
    option_plans(folder)  # whose file is there
    assert answer in printed(capsys, word, code=2)
    assert "there are no studies" in printed(capsys, word, "--runs", "elsewhere", code=2)


def test_a_watch_ends_with_the_run(folder: Path) -> None:
    plan = small_plan(folder, UNTRACKED)
    shown = io.StringIO()
    run = threading.Thread(target=job.run, args=([plan], Watch()))
    run.start()
    wait_for(lambda: (plan.folder / PROGRESS).exists())
    show(Console(file=shown, force_terminal=True, width=120), find("small", Path("runs")), watch=True, to_json=False)
    run.join()
    assert "small: running" in shown.getvalue()
    assert "small: finished" in shown.getvalue()


def test_looking_changes_nothing(folder: Path) -> None:
    plan = small_plan(folder, UNTRACKED)
    run_one(plan)
    release(plan.folder)
    before = {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("*")}
    assert look(find("small", Path("runs"))[0]).state == "finished"
    assert {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("*")} == before
    with pytest.raises(InputError):
        find("none", folder / "nowhere")
    assert not (folder / "nowhere").exists()


# ---- the bar


class Crew(Fleet):
    """Four workers, of which three come to stand ready."""

    where = "4 workers"

    def __init__(self) -> None:
        self.started = 0

    def now(self) -> float:
        return 0.0

    def start(self) -> int:
        self.started += 1
        return self.started

    def send(self, worker: int, chunk: Chunk, rows: pa.Table) -> None:
        raise InterruptedError

    def wait(self, seconds: float) -> Sequence[Answer]:
        return [Ready(worker) for worker in (1, 2, 3)]


def ready_crew(task: Task) -> WorkerPool:
    """A pool that has heard of its ready workers; they never get to compute anything."""
    pool = WorkerPool([task], Crew(), workers=4)
    pool.submit(0, pd.DataFrame({"row": range(5)}))
    with pytest.raises(InterruptedError):
        pool.result(Watch())
    assert (pool.ready, pool.under_way) == (3, 5)
    return pool


def test_a_bar_shows_the_workers_where_there_are_some_and_what_was_retried(folder: Path) -> None:
    plan = small_plan(folder, UNTRACKED)
    for pool, told in ((LocalPool([plan.task]), False), (ready_crew(plan.task), True)):
        shown = io.StringIO()
        live = Live(Console(file=shown, force_terminal=True, width=160, color_system=None))
        live.started([plan], pool, [0])
        live.happened(Event("chunks_retried", "chunk 0-63 runs again"))
        live.advanced(5)
        live.close()
        assert ("3 of 4 workers, 1 retry" in shown.getvalue()) == told
