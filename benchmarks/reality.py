"""The reality check beside the search that it judges: what 500 replicates add to the backtests of the same configurations."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import pool_costs
from benchmarks.table import Table
from benchmarks.timing import best_seconds
from cluster.config import load_study
from cluster.plan import make_plan
from cluster.selection_config import SelectionConfig
from cluster.worker import Inquiry, Task, Terms, Worker
from kernels.market import Market

ROOT = Path(__file__).resolve().parent.parent
BLOCK_LENGTH = 5.0  # bars
REPLICATES = SelectionConfig().replicates
BASELINE = '{"short_mode": "disabled", "stop_loss": null}'


def added(market: Market) -> Table:
    """Seconds of a search's backtests, scored and written as its workers do, and of its survey."""
    studies = (
        ("demo.yaml", demo(), 2048),
        ("the published market, two hedge parameters", pool_costs.task(market), 16_384),
    )
    rows = [_row(name, task, trials) for name, task, trials in studies]
    return Table(
        f"{REPLICATES} replicates of the reality check beside the backtests of the same configurations, one process",
        (
            "study",
            "assets x bars",
            "backtests/s",
            "surveyed/s",
            "added, of backtests",
            "same, CPU",
            "of it returns",
            "once a worker, s",
        ),
        tuple(rows),
        "Wall time of the whole work of a worker on chunks of a stream, and of a survey; the best of several rounds in turn. "
        f"Load {os.getloadavg()[0]:.1f} after.",
    )


def demo() -> Task:
    """The demo study, as workers are given it."""
    study = load_study(ROOT / "configs" / "studies" / "demo.yaml", ("tracking.enabled=false",))
    return make_plan(study, Path("runs")).task


def _row(name: str, task: Task, trials: int) -> tuple[str, ...]:
    worker = Worker(None, task)
    terms = Terms(BASELINE, REPLICATES, BLOCK_LENGTH, 0)
    inquiry = Inquiry(terms, None)
    worker.part(0, 0, 64)
    began = time.perf_counter()
    worker.survey(0, 0, 64, inquiry)
    once = time.perf_counter() - began
    assert task.points is not None
    table, engine = task.points.configurations(task.rule, 0, trials), task.engine()
    rivals: dict[str, Callable[[], object]] = {
        "backtests": lambda: worker.part(0, 0, trials),
        "survey": lambda: worker.survey(0, 0, trials, inquiry),
        "returns": lambda: [part.shape for _, part in engine.returns_by_launch(table)],
    }
    wall = best_seconds(rivals, at_least=4, clock=time.perf_counter)
    cpu = best_seconds(rivals, at_least=4)
    return (
        name,
        f"{task.market.n_assets} x {task.market.n_bars:,}",
        f"{trials / wall['backtests']:,.0f}",
        f"{trials / wall['survey']:,.0f}",
        f"{wall['survey'] / wall['backtests']:.0%}",
        f"{cpu['survey'] / cpu['backtests']:.0%}",
        f"{cpu['returns'] / cpu['survey']:.0%}",
        f"{once:.2f}",
    )
