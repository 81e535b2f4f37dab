"""Studies whose driver is killed with SIGKILL at random moments and resumed, compared with one that nobody touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pandas as pd
from studies import write_study

ROOT = Path(__file__).resolve().parent.parent
KILLS = 4  # of one study at most, so that it ends
SAMPLERS = {
    "sobol": ("search.sampler=sobol", "search.trials=60", "search.batch=4"),
    "tpe": ("search.sampler=tpe", "search.trials=24", "search.batch=2"),
}
SETTINGS = (
    "strategy.search.hedge_threshold={low: -0.3, high: -0.05}",
    "compute={backend: numpy, pool: ray, workers: 2}",
    "tracking.enabled=false",
    "market.bars=2000",
)


class Drivers:
    """One study per sampler in `folder`, run once without harm."""

    def __init__(self, folder: Path, random: Random) -> None:
        self._folder, self._random = folder, random
        self._study = write_study(folder)
        self._right: dict[str, pd.DataFrame] = {}

    def play(self, sampler: str) -> tuple[int, int, int, int]:
        """Run a study with its driver killed again and again: kills, then trials missing, doubled, and wrong."""
        if sampler not in self._right:
            self._right[sampler] = self._run(sampler, "untouched", kills=0)[0]
        found, kills = self._run(sampler, "killed", kills=self._random.randint(1, KILLS))
        shutil.rmtree(self._folder / f"{sampler}-killed")
        right = self._right[sampler]
        missing = len(set(right["trial"]) - set(found["trial"]))
        doubled = int(found["trial"].duplicated().sum())
        both = right.merge(found, how="inner")  # rows that are equal to the last bit
        return kills, missing, doubled, len(right) - len(both) - missing

    def _run(self, sampler: str, name: str, kills: int) -> tuple[pd.DataFrame, int]:
        runs = self._folder / f"{sampler}-{name}"
        opened, done, resume = runs / "small" / "search.json", 0, False
        while True:
            driver = self._start(sampler, runs, resume=resume)
            if kills > done:
                while driver.poll() is None and not opened.exists():
                    time.sleep(0.05)
                with_luck = time.monotonic() + self._random.uniform(0.0, 10.0)  # starting Ray, computing, or drawing
                while driver.poll() is None and time.monotonic() < with_luck:
                    time.sleep(0.02)
                if driver.poll() is None:
                    os.kill(driver.pid, signal.SIGKILL)
                    done += 1
            _, told = driver.communicate()
            if driver.returncode == 0:
                return pd.read_parquet(runs / "small" / "configs.parquet"), done
            if driver.returncode != -signal.SIGKILL:
                raise RuntimeError(f"a driver ended by itself with {driver.returncode}: {told.decode()[-2000:]}")
            resume = opened.exists()

    def _start(self, sampler: str, runs: Path, *, resume: bool) -> subprocess.Popen[bytes]:
        settings = [word for each in (*SETTINGS, *SAMPLERS[sampler]) for word in ("--set", each)]
        return subprocess.Popen(
            [sys.executable, "-m", "cluster", "run", self._study, "--runs", runs, *settings, "--quiet"]
            + ["--resume"] * resume,
            cwd=ROOT,
            env={**os.environ, "RAY_TMPDIR": str(self._folder)},  # what a killed driver leaves there goes with it
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
