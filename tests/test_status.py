"""A study watched from another terminal, stopped by signals there, killed: what its folder tells, and that it goes on."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from rich.console import Console
from studies import LEARNING, TRIALS, Watch, option_plans, run_one, same, small_plan, write_study

from cluster import job, output, stopping
from cluster.cli import main
from cluster.dispatch import Answer, Chunk, Fleet, Ready, WorkerPool
from cluster.live import Live
from cluster.pool import Event, LocalPool
from cluster.progress import PROGRESS, Progress, read_progress
from cluster.status import State, find, look
from cluster.status_view import show
from cluster.stopping import INTERRUPTED, Stop
from cluster.worker import Task
from kernels.errors import InputError
from search.lock import held, release

UNTRACKED = "tracking.enabled=false"
SLOW = ("search.sampler=random", "search.trials=400", "search.batch=10", "market.bars=1500", UNTRACKED)
ONE_BATCH = ("search.sampler=random", "search.trials=40000", "search.batch=40000", "market.bars=1500", UNTRACKED)
RAY = ("compute.pool=ray", "compute.workers=2")
PATIENCE = 90.0  # seconds, of a test on a busy machine


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the small study in it; runs draw no pictures."""
    write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(output, "draw", lambda *_: ())
    return tmp_path


class Driver:
    """`hedgegrid run small.yaml` as a process of its own at a terminal of its own."""

    def __init__(self, *overrides: str, resume: bool = False) -> None:
        words = ["run", "small.yaml", *(word for o in overrides for word in ("--set", o)), *["--resume"] * resume]
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.environ |= {"TERM": "xterm-256color", "COLUMNS": "160"}
            os.execv(sys.executable, [sys.executable, "-W", "error", "-m", "cluster", *words])
        self._shown = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def press(self, keys: bytes) -> None:
        """Press keys; a terminal turns Ctrl-C into a signal to all processes of its foreground group."""
        os.write(self._terminal, keys)

    def end(self) -> int:
        """Wait for its end: the exit code, negative for a signal that killed it."""
        _, status = os.waitpid(self.pid, 0)
        self._reader.join(PATIENCE)
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(status)

    @property
    def text(self) -> str:
        """What the terminal has shown, without what moves its cursor."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._shown.decode())

    def _read(self) -> None:
        while True:
            try:
                self._shown += os.read(self._terminal, 65536)
            except OSError:  # the other end is closed
                return


def progress(study: str = "small") -> Progress:
    found = read_progress(Path("runs", study))
    assert found
    return found


def wait_for(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def has(trials: int) -> Callable[[], bool]:
    """Whether the study has committed so many trials."""

    def met() -> bool:
        found = read_progress(Path("runs", "small"))
        return found is not None and found.phase == "backtests" and found.trials.done >= trials

    return met


def resumed(folder: Path, *overrides: str) -> pd.DataFrame:
    """All results of the study, resumed to its end."""
    outcome = run_one(small_plan(folder, *overrides, "search.batch=400", "compute={backend: numpy}"), resume=True)
    assert outcome.evaluated < outcome.trials
    return pd.read_parquet(outcome.folder / "configs.parquet")


def uninterrupted(folder: Path, *overrides: str) -> pd.DataFrame:
    through = folder / "through"
    through.mkdir()
    outcome = run_one(small_plan(through, *overrides, "search.batch=400"))
    return pd.read_parquet(outcome.folder / "configs.parquet")


# ---- signals


def test_ctrl_c_finishes_the_batch_and_nothing_is_lost(folder: Path) -> None:
    driver = Driver(*SLOW)
    wait_for(has(20))
    seen = look(Path("runs/small"))
    assert (seen.state, seen.again) == ("running", None)
    driver.press(b"\x03")
    assert driver.end() == INTERRUPTED == 130
    assert re.search(r"finishing the batch under way \(about .+\); press Ctrl-C again to stop at once", driver.text)
    done = progress().trials.done
    assert done < 400
    assert done % 10 == 0
    assert f"interrupted, {done} of 400 trials done; what was finished is kept, continue with:" in driver.text
    assert "Traceback" not in driver.text
    ended = look(Path("runs/small"))
    assert ended.state == "interrupted"
    assert ended.again == f"hedgegrid run small.yaml {' '.join(f'--set {o}' for o in SLOW)} --resume"
    assert ended.again in driver.text.replace("\r\n", " ")
    table = resumed(folder, *SLOW)
    assert look(Path("runs/small")).state == "finished"
    same(table, uninterrupted(folder, *SLOW))


def test_signals_lose_no_worker_and_no_trial_where_ray_computes(folder: Path) -> None:
    pytest.importorskip("ray")
    driver = Driver(*SLOW, *RAY)
    wait_for(has(10))
    os.kill(driver.pid, signal.SIGTERM)  # which Ray would take for itself
    assert driver.end() == INTERRUPTED
    first = progress().trials.done
    assert f"interrupted, {first} of 400 trials done" in driver.text

    driver = Driver(*SLOW, *RAY, resume=True)
    wait_for(has(first + 10))
    assert progress().workers == 2
    assert "2 Ray workers" in progress().where
    driver.press(b"\x03")
    assert driver.end() == INTERRUPTED
    assert re.search(r"[012] of 2 workers", driver.text)
    assert progress().trials.done < 400
    assert progress().trials.done % 10 == 0
    assert not any(progress().events.values())
    assert not Path("runs/small/events.jsonl").exists()
    same(resumed(folder, *SLOW), uninterrupted(folder, *SLOW))


def test_a_second_ctrl_c_does_not_wait_for_the_batch() -> None:
    driver = Driver(*ONE_BATCH)
    wait_for(lambda: Path("runs/small", PROGRESS).exists() and progress().phase == "backtests")
    driver.press(b"\x03")
    wait_for(lambda: "press Ctrl-C again" in driver.text)
    assert progress().trials.done == 0
    began = time.monotonic()
    driver.press(b"\x03")
    assert driver.end() == INTERRUPTED
    assert time.monotonic() - began < stopping.CLOSING_SECONDS + 5.0  # the batch takes minutes
    assert "interrupted, 0 of 40,000 trials done; what was finished is kept, continue with:" in driver.text


def test_a_killed_driver_is_told_from_one_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    driver = Driver(*ONE_BATCH)
    wait_for(lambda: Path("runs/small", PROGRESS).exists() and progress().phase == "backtests")
    written = progress().written
    wait_for(lambda: progress().written > written and progress().configurations.done > 0)  # no batch has ended
    told = status(capsys, "small.yaml", "--json")
    assert told["state"] == "running"
    assert told["progress"]["trials"] == {"done": 0, "of": 40_000}
    assert 0 < told["progress"]["configurations"]["done"] < 40_000
    assert told["progress"]["pid"] == driver.pid
    assert told["again"] is None

    os.kill(driver.pid, signal.SIGKILL)
    assert driver.end() == -signal.SIGKILL
    told = status(capsys, "small.yaml", "--json")
    assert told["state"] == "died"
    assert f"process {driver.pid}" in told["told"]
    assert told["again"].endswith("--resume")


@pytest.mark.parametrize("overrides", [(), LEARNING], ids=["grid", "tpe"])
@pytest.mark.parametrize("batches", [0, 1, 2])
def test_a_run_wished_to_stop_ends_between_batches_and_resumes_to_the_same(
    folder: Path, overrides: tuple[str, ...], batches: int
) -> None:
    plan, watch = small_plan(folder, UNTRACKED, *overrides), Watch()
    with pytest.raises(KeyboardInterrupt):
        job.run([plan], watch, stop=lambda: len(watch.rows) == batches)
    assert progress().phase == "interrupted"
    assert progress().trials.done == 5 * batches
    release(plan.folder)
    outcome = run_one(plan, resume=batches > 0)
    assert outcome.evaluated == TRIALS - 5 * batches
    through = folder / "through"
    through.mkdir()
    same(
        pd.read_parquet(outcome.folder / "configs.parquet"),
        pd.read_parquet(run_one(small_plan(through, UNTRACKED, *overrides)).folder / "configs.parquet"),
    )


def test_a_wish_to_stop_is_for_all_studies_of_a_run(folder: Path) -> None:
    plans, watch = option_plans(folder, "market.scenarios=2", "search.batch=2"), Watch()
    with pytest.raises(KeyboardInterrupt):
        job.run(plans, watch, stop=lambda: bool(watch.rows))
    assert len(watch.rows) == 2  # the batches that both had under way
    assert [progress(plan.config.name).trials.done for plan in plans] == [2, 2]
    outcomes = job.run(plans, Watch(), resume=True)
    assert [outcome.evaluated for outcome in outcomes] == [4, 4]


def test_the_first_signal_is_a_wish_the_second_an_interrupt() -> None:
    said: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Stop(lambda: said.append("finishing"), lambda: said.append("left")) as stop:
        assert not stop()
        signal.raise_signal(signal.SIGTERM)
        assert stop()
        wait_for(lambda: bool(said))
        signal.raise_signal(signal.SIGINT)
    assert said == ["finishing"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Stop(lambda: None, lambda: None) as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


HANGING = """
import signal, time
from cluster import stopping
stopping.CLOSING_SECONDS = {seconds}
with stopping.Stop(lambda: None, lambda: print("left", flush=True)):
    try:
        for _ in range({signals}):
            signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        if {signals} > 2:
            signal.raise_signal(signal.SIGTERM)
        time.sleep(3600)  # a server that does not answer while records are closed
"""


@pytest.mark.parametrize(("signals", "seconds"), [(2, 0.1), (3, 3600.0)], ids=["time is up", "a third signal"])
def test_a_process_that_does_not_close_is_ended(signals: int, seconds: float) -> None:
    script = HANGING.format(signals=signals, seconds=seconds)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "left\n", "")


# ---- what a folder tells


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
