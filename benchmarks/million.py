"""A large study from its file to its figures, a process each: what it does beside backtests, and how much memory it takes.

`python -m benchmarks.million TRIALS` runs one and prints seconds and bytes as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
import yaml

from benchmarks import cases
from benchmarks.memory import peak_bytes
from benchmarks.pool_costs import SEARCHED
from benchmarks.table import Table
from cluster import job, pool
from cluster.config import load_study
from cluster.plan import Plan, make_plan
from cluster.pool import Event, Pool
from cluster.worker import Worker
from kernels.market import Market

TRIALS = (1_000_000, 4_000_000)
PARTS = ("records", "the winner examined", "files and figures")  # of what follows the backtests


class Silent:
    """A display that shows nothing."""

    def started(self, plans: Sequence[Plan], pool: Pool, done: Sequence[int]) -> None: ...

    def scored(self, plan: Plan, rows: pd.DataFrame) -> None: ...

    def left_out(self, plan: Plan, trials: int) -> None: ...

    def checking(self) -> None: ...

    def finishing(self) -> None: ...

    def advanced(self, configurations: int) -> None: ...

    def happened(self, event: Event) -> None: ...


class Timed(Worker):
    """A worker that sums the seconds of its backtests."""

    seconds = 0.0

    def run(self, task: int, chunk: pa.Table) -> pa.Table:
        began = time.perf_counter()
        metrics = super().run(task, chunk)
        Timed.seconds += time.perf_counter() - began
        return metrics


def main() -> None:
    """One study of the published market's two hedge parameters, recorded and drawn as any other."""
    pool.Worker = Timed  # type: ignore[misc]
    with TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        market = cases.market()[0]
        prices = {"timestamp": market.timestamps.repeat(market.n_assets), "symbol": market.tickers * market.n_bars}
        columns = {key: array.ravel() for key, array in market.columns.items()}
        pd.DataFrame(prices | columns).to_parquet(folder / "prices.parquet")
        where = f"{folder.resolve()}/prices.parquet"
        study = {
            "name": "million",
            "market": {"source": "parquet", "path": where, "bars_per_year": market.bars_per_year},
            "strategy": {"name": "tsmom_hedge", "search": SEARCHED},
            "search": {"sampler": "sobol", "trials": int(sys.argv[1]), "seed": 1},
            "tracking": {"uri": f"sqlite:///{folder.resolve()}/mlflow.db"},
        }
        (folder / "million.yaml").write_text(yaml.safe_dump(study))
        plan = make_plan(load_study(folder / "million.yaml"), folder / "runs")
        (outcome,) = job.run([plan], Silent())
    print(json.dumps({"seconds": outcome.seconds, "kernels": Timed.seconds, "peak_bytes": peak_bytes()}))


def study(_: Market) -> Table:
    """Seconds and memory of whole studies."""
    rows = []
    root = Path(__file__).resolve().parent.parent
    for trials in TRIALS:
        command = [sys.executable, "-m", "benchmarks.million", str(trials)]
        answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=root).stdout)
        seconds, kernels = answer["seconds"], answer["kernels"]
        until = seconds["backtests"] + seconds["search"]
        rows.append(
            (
                f"{trials:,}",
                f"{kernels:.1f}",
                f"{until:.1f}",
                f"{1 - kernels / until:.1%}",
                *(f"{seconds[part]:.1f}" for part in PARTS),
                f"{answer['peak_bytes'] / 2**20:,.0f}",
            )
        )
    return Table(
        "A study in this process, from its first trial to its last figure, seconds",
        ("trials", "backtests", "until all are committed", "share beside backtests", *PARTS, "peak MiB"),
        tuple(rows),
        f"All cores, MLflow in SQLite with the 2,000 best trials, all figures; load {os.getloadavg()[0]:.1f} after.",
    )


if __name__ == "__main__":
    main()
