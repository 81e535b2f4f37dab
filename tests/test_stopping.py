"""Ctrl-C and SIGTERM: what is under way is finished, nothing is lost, and the study goes on to the same results."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from drivers import ONE_BATCH, PATIENCE, UNTRACKED, Driver, backtests_begun, has, progress, wait_for
from studies import LEARNING, TRIALS, Watch, option_plans, run_one, same, small_plan, write_study

from cluster import job, output, stopping
from cluster.status import look
from cluster.stopping import INTERRUPTED, Stop
from search.lock import release

SLOW = ("search.sampler=random", "search.trials=400", "search.batch=10", "market.bars=1500", UNTRACKED)
RAY = ("compute.pool=ray", "compute.workers=2")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the small study in it; runs draw no pictures."""
    write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(output, "draw", lambda *_: ())
    return tmp_path


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
    assert not any(progress().events.values())
    assert not Path("runs/small/events.jsonl").exists()
    same(resumed(folder, *SLOW), uninterrupted(folder, *SLOW))


def test_a_second_ctrl_c_does_not_wait_for_the_batch() -> None:
    driver = Driver(*ONE_BATCH)
    wait_for(lambda: backtests_begun() and progress().configurations.done > 0)  # the baselines are done
    driver.press(b"\x03")
    wait_for(lambda: "press Ctrl-C again" in driver.text)
    assert progress().trials.done == 0
    began = time.monotonic()
    driver.press(b"\x03")
    assert driver.end() == INTERRUPTED
    assert time.monotonic() - began < stopping.CLOSING_SECONDS + 5.0  # the batch takes minutes
    assert "interrupted, 0 of 1 trials done; what was finished is kept, continue with:" in driver.text


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


@pytest.mark.parametrize(
    ("sampler", "done"),
    [("sobol", [2, 0]), ("tpe", [2, 2])],
    ids=["streams: what no worker has yet is taken back", "both had a batch under way"],
)
def test_a_wish_to_stop_is_for_all_studies_of_a_run(folder: Path, sampler: str, done: list[int]) -> None:
    overrides = ("market.scenarios=2", "search.batch=2", "search.trials=6", f"search.sampler={sampler}")
    plans, watch = option_plans(folder, *overrides), Watch()
    with pytest.raises(KeyboardInterrupt):
        job.run(plans, watch, stop=lambda: bool(watch.rows))
    assert [progress(plan.config.name).trials.done for plan in plans] == done
    outcomes = job.run(plans, Watch(), resume=True)
    assert [outcome.evaluated for outcome in outcomes] == [6 - trials for trials in done]


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
