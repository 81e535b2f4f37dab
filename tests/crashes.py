"""What tests of crashes share: drivers to kill, and what must hold when a killed study has been resumed to its end."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

ROOT = Path(__file__).resolve().parents[1]
RANGES = "strategy.search={hedge_threshold: {low: -0.3, high: -0.05}, hedge_strength: {low: 0.25, high: 1.0}}"
SHORT = ("market.bars=90", "search.batch=4")


def of(sampler: str) -> tuple[str, ...]:
    """Overrides that make the small study one of this sampler; `clouds`: TPE told of clouds."""
    if sampler == "grid":
        return SHORT
    if sampler == "clouds":
        cloud = ("search.configs_per_trial=4", "search.cloud_radius={start: 0.2, end: 0.1}")
        return (*SHORT, RANGES, "search.sampler=tpe", "search.trials=10", *cloud)
    return (*SHORT, RANGES, f"search.sampler={sampler}", "search.trials=10")


class Drivers:
    """A warm process that forks drivers, and a store with MLflow's tables in it (half a second's work) to begin with."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "driver.py"), str(folder / "fresh.db")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
            text=True,
        )
        self._taken = 0
        assert self._line() == "ready"

    def folder(self) -> Path:
        """An empty folder with a fresh store."""
        self._taken += 1
        folder = self._folder / f"study-{self._taken}"
        folder.mkdir()
        shutil.copy(self._folder / "fresh.db", folder / "mlflow.db")
        return folder

    def drive(self, folder: Path, overrides: Sequence[str], *, resume: bool = False, **how: Any) -> dict[str, Any]:
        """Run the small study there; `kill_at` a step (`torn`) or `after` seconds. How it ended."""
        request = {"folder": str(folder), "overrides": list(overrides), "resume": resume, **how}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        ended: dict[str, Any] = json.loads(self._line())
        assert "failed" not in ended, ended["failed"]
        return ended

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def results(folder: Path) -> dict[str, bytes]:
    """What a finished study found, without what is of one run alone."""
    study = folder / "runs" / "small"
    found = {name: (study / name).read_bytes() for name in ("configs.parquet", "trials.parquet", "baselines.parquet")}
    best = (study / "best.yaml").read_text()
    return {**found, "best.yaml": re.sub(r"study_(id|digest): .*", "", best).encode()}


def assert_each_trial_is_there_once(folder: Path, *, tracked: bool) -> None:
    """In Parquet, in Optuna's journal where the study learns, and in MLflow where it is tracked."""
    study = folder / "runs" / "small"
    trials = pd.read_parquet(study / "trials.parquet")["trial"].tolist()
    assert trials == list(range(len(trials)))
    if parts := sorted((study / "configs").glob("part-*.parquet")):
        assert [n for part in parts for n in pd.read_parquet(part)["trial"]] == trials
    if (study / "optuna.journal").exists():
        storage = JournalStorage(JournalFileBackend(str(study / "optuna.journal")))
        (kept,) = storage.get_all_studies()
        told = storage.get_all_trials(kept._study_id)
        assert [trial.number for trial in told] == trials
        assert {trial.state for trial in told} == {TrialState.COMPLETE}
    assert not list(study.rglob("*.partial"))
    if tracked:
        assert_recorded_once(folder / "mlflow.db", {f"trial {n}" for n in trials})


def assert_recorded_once(store: Path, trials: set[str]) -> None:
    """One finished run of the study, one of each trial and baseline under it, one point of each of its metrics."""
    with sqlite3.connect(store) as connection:
        runs = connection.execute(
            "SELECT r.run_uuid, r.name, r.status, t.value FROM runs r LEFT JOIN tags t "
            "ON t.run_uuid = r.run_uuid AND t.key = 'mlflow.parentRunId' "
            "WHERE r.lifecycle_stage = 'active' AND r.name <> 'warm'"
        ).fetchall()
        points = connection.execute("SELECT run_uuid, key, step, count(*) FROM metrics GROUP BY 1, 2, 3").fetchall()
    connection.close()
    (parent,) = [run_id for run_id, name, _, _ in runs if name == "small"]
    assert Counter(name for _, name, _, _ in runs) == Counter({"small", "baseline disabled", "baseline full"} | trials)
    assert {status for _, _, status, _ in runs} == {"FINISHED"}
    assert {above for run_id, _, _, above in runs if run_id != parent} == {parent}
    ours = {run_id for run_id, *_ in runs}
    assert {count for run_id, _, _, count in points if run_id in ours} == {1}
    best = sorted(step for run_id, key, step, _ in points if run_id == parent and key == "best_score")
    assert best == sorted(int(name.removeprefix("trial ")) for name in trials)
