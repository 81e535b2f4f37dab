"""Small studies that are quick everywhere, and what is left of one when it has run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from cluster import job, output
from cluster.config import load_study, studies
from cluster.dispatch import Limits, WorkerPool
from cluster.plan import Plan, make_plan
from cluster.pool import Event, Pool
from cluster.ray_fleet import RayFleet
from cluster.worker import Task

SMALL: dict[str, Any] = {
    "name": "small",
    "question": "Does a small study leave everything behind that a large one does?",
    "market": {"source": "synthetic", "bars": 300, "assets": 2},
    "strategy": {
        "name": "tsmom_hedge",
        "fixed": {"lookback": 20, "vol_window": 20},
        "search": {"hedge_threshold": [-0.05, -0.1, -0.2], "hedge_strength": {"low": 0.25, "high": 1.0, "step": 0.25}},
        "compare": {"disabled": {"short_mode": "disabled"}, "full": {"short_mode": "full"}},
    },
    "search": {"sampler": "grid", "batch": 5, "seed": 3},
    "compute": {"backend": "numpy"},
}
TRIALS = 12  # 3 thresholds times 4 strengths
LEARNING = (
    "search.sampler=tpe",
    "search.trials=12",
    "strategy.search.hedge_threshold={low: -0.3, high: -0.05}",
)


OPTIONS: dict[str, Any] = {
    "name": "calls",
    "market": {
        **{"source": "gbm", "tickers": ["NEAR", "FAR"], "scenarios": 25, "days": 61, "step_days": 1, "seed": 4},
        **{"volatility": 0.2, "implied_volatility": 0.25},
    },
    "strategy": {
        "name": "option_hedge",
        "search": {"rebalance_days": [1, 5], "exposure": [0.5, 1.0, 2.0]},
        "compare": {"unhedged": {"hedge_ratio": 0.0}},
    },
    "costs": {"fee_bps": 1, "slippage_bps": 1, "option_spread": 0.01},
    "search": {"sampler": "grid", "scope": "per_ticker"},
    "compute": {"backend": "numba"},
    "tracking": {"enabled": False},
}


def write_study(folder: Path) -> Path:
    """The small study as a file, its records in a database beside it."""
    path = folder / "small.yaml"
    content = {**SMALL, "tracking": {"uri": f"sqlite:///{folder}/mlflow.db"}}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def small_plan(folder: Path, *overrides: str) -> Plan:
    """The small study, ready to run, its results under `folder/runs`."""
    path = folder / "small.yaml"
    return make_plan(load_study(path if path.exists() else write_study(folder), overrides), folder / "runs")


def option_plans(folder: Path, *overrides: str) -> list[Plan]:
    """The study of sold calls of each ticker, ready to run: its file in `folder`, its results under `folder/runs`."""
    path = folder / "calls.yaml"
    path.write_text(yaml.safe_dump(OPTIONS, sort_keys=False))
    return [make_plan(each, folder / "runs") for each in studies(load_study(path, overrides))]


class Watch:
    """A display that keeps what it was told."""

    def __init__(self) -> None:
        self.done_before: list[int] = []
        self.configurations = self.configurations_left_out = 0
        self.events: list[Event] = []
        self.rows: list[pd.DataFrame] = []
        self.order: list[str] = []  # of the studies, batch by batch

    def started(self, plans: Sequence[Plan], pool: Pool, done: Sequence[int]) -> None:
        self.done_before = list(done)

    def advanced(self, configurations: int) -> None:
        self.configurations += configurations

    def happened(self, event: Event) -> None:
        self.events.append(event)

    def scored(self, plan: Plan, rows: pd.DataFrame) -> None:
        self.order.append(plan.config.name)
        self.rows.append(rows)

    def left_out(self, plan: Plan, trials: int) -> None:
        self.configurations_left_out += trials * plan.config.search.configs_per_trial

    def checking(self) -> None:
        pass

    def finishing(self) -> None:
        pass


def on_ray(*tasks: Task, workers: int, threads: int = 1, limits: Limits | None = None) -> WorkerPool:
    """A pool of Ray workers for those tasks."""
    fleet = RayFleet(tasks, workers=workers, gpus=0, threads=threads, address=None)
    return WorkerPool(tasks, fleet, workers, limits)


def run_one(plan: Plan, display: job.Display | None = None, *, resume: bool = False) -> job.Outcome:
    """Run one study alone."""
    (outcome,) = job.run([plan], display or Watch(), resume=resume)
    return outcome


def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies draw nothing from now on: that takes most of a small study's time."""
    monkeypatch.setattr(output, "draw", lambda *_: ())


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Equal tables, to the last bit."""
    pd.testing.assert_frame_equal(one, other, check_exact=True)
