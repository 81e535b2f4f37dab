"""`portfolio_hedge` with all five features on: the kernel beside the same rules in pandas, one configuration at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import cases, portfolio_way
from benchmarks.portfolio_signals import signals
from benchmarks.table import Table, rate, times
from benchmarks.timing import best_seconds
from kernels.backends.numba import NumbaBackend, source
from kernels.backends.numpy import CACHE_LANES, NumpyBackend
from kernels.book_hedge import METHODS
from kernels.engine import Engine, switched_off
from kernels.launch import Backend, layout
from kernels.market import Market
from kernels.strategies.portfolio_hedge import STRATEGY

ASSETS = (16, 64)  # of synthetic markets, beside the one that is given
CELLS = 8 * CACHE_LANES  # configurations times assets: arrays of one size for NumPy, whatever the assets
HEDGES = METHODS[1:]  # the first is none
AGREEMENT = 1e-11  # of a bar's return: tests/test_portfolio_referee.py says why
KERNEL, ENGINE, NUMPY = "HedgeGrid, one launch", "HedgeGrid, Engine.metrics", "HedgeGrid, NumPy backend"
WHOLE, LOOP = "pandas, signals and loop over bars", "pandas, its loop alone: signals given"


def configurations(count: int, seed: int = 4) -> pd.DataFrame:
    """All five features on, every hedge method in turn; numbers that no plane depends on."""
    random = np.random.default_rng(seed)
    drawn = {
        "hedge_exposure": (0.05, 0.4),
        "hedge_strength": (0.1, 1.0),
        "initial_stop": (0.01, 0.1),
        "position_cap": (0.05, 0.3),
        "rebalance_drift": (0.01, 0.1),
    }
    columns: dict[str, Any] = {name: random.uniform(*bounds, count) for name, bounds in drawn.items()}
    return pd.DataFrame(columns | {"hedge": np.resize(HEDGES, count)})


def ways(market: Market) -> Table:
    """CPU time per configuration on each market, one thread, after the returns of both were found the same."""
    rows: list[tuple[str, ...]] = []
    for each in (market, *(cases.synthetic(market.n_bars, A) for A in ASSETS)):
        steps = each.n_assets * each.n_bars
        spent = _spent(each)
        rows += [
            (
                f"{each.n_assets} assets: {way}",
                f"{s * 1e3:.3g}",
                rate(steps / s),
                times(s / spent[KERNEL]),
                times(s / spent[ENGINE]),
            )
            for way, s in spent.items()
        ]
    return Table(
        "portfolio_hedge, all five features on: CPU time of one thread per configuration",
        ("way", "CPU ms / configuration", "M bar-steps / CPU s", "of one launch", "of Engine.metrics"),
        tuple(rows),
        f"The same returns of every bar to {AGREEMENT:g}. HedgeGrid: Numba unless said, {CELLS:,} configurations over the "
        "number of assets, planes made before; metrics of monthly blocks in Engine.metrics alone. pandas: the mean of "
        f"{len(HEDGES)} configurations, one for each hedge method, bar returns only. Without compile and import times.",
    )


def _spent(market: Market) -> dict[str, float]:
    """CPU seconds per configuration of each way."""
    many = configurations(CELLS // market.n_assets)
    few = [{**portfolio_way.DEFAULTS, **row} for row in many.iloc[: len(HEDGES)].to_dict("records")]
    _agree(market, many.iloc[: len(HEDGES)], few)
    launch, blocks = cases.launch(market, many, STRATEGY)
    given = [signals(market, rule, cases.COSTS) for rule in few]
    engine = _engine(market, NumbaBackend(threads=1), many)
    runs: dict[str, tuple[int, Callable[[], object]]] = {
        KERNEL: (len(many), partial(NumbaBackend(threads=1).run, launch, blocks)),
        ENGINE: (len(many), partial(engine.metrics, many)),
        NUMPY: (len(many), partial(NumpyBackend().run, launch, blocks)),
        WHOLE: (len(few), lambda: [portfolio_way.returns(market, rule, cases.COSTS) for rule in few]),
        LOOP: (
            len(few),
            lambda: [portfolio_way.walked(s, rule, cases.COSTS) for s, rule in zip(given, few, strict=True)],
        ),
    }
    best = best_seconds({way: run for way, (_, run) in runs.items()}, seconds=2.0)
    return {way: best[way] / count for way, (count, _) in runs.items()}


def _agree(market: Market, table: pd.DataFrame, rules: list[dict[str, Any]]) -> None:
    """Raise unless pandas and the kernel return the same every bar."""
    ours = _engine(market, NumbaBackend(threads=1), table).returns(table)
    for rule, mine in zip(rules, ours.T, strict=True):
        far = np.abs(mine - portfolio_way.returns(market, rule, cases.COSTS)).max()
        if not far < AGREEMENT:
            raise AssertionError(
                f"{market.n_assets} assets, {rule['hedge']}: returns differ by {far:.3g}; {AGREEMENT} is allowed"
            )


def _engine(market: Market, backend: Backend, table: pd.DataFrame) -> Engine:
    return Engine(market, STRATEGY, cases.COSTS, backend, switched_off(STRATEGY, table))


def first(market: Market) -> Table:
    """What a market costs before its first configuration is done, in processes that find no compiled kernel."""
    rows = []
    for A in (market.n_assets, *ASSETS):
        with tempfile.TemporaryDirectory() as empty:
            command = [sys.executable, "-m", "benchmarks.portfolio", str(A), str(market.n_bars)]
            root = Path(__file__).resolve().parent.parent
            environment = {**os.environ, "HEDGEGRID_CACHE": empty}
            done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root, env=environment)
        answer = json.loads(done.stdout)
        rows.append((f"{A} assets", *(f"{answer[part]:.3g}" for part in ("planes", "compile", "source"))))
    return Table(
        "portfolio_hedge: before the first configuration, once",
        ("market", "planes, CPU s", "Numba compiles, CPU s", "generated source, kB"),
        tuple(rows),
        "Compiled once per machine, number of assets, and set of optional parameters that are None everywhere; then read from "
        "the disk. Planes: one set of windows.",
    )


def main() -> None:
    """Time planes and the first launch of ASSETS assets over BARS bars, printed as JSON."""
    A, bars = (int(word) for word in sys.argv[1:])
    market = cases.synthetic(bars, A)
    start = time.process_time()
    launch, blocks = cases.launch(market, configurations(64), STRATEGY)
    planes = time.process_time()
    backend = NumbaBackend(threads=1)
    backend.run(launch, blocks)
    compiled = time.process_time()
    backend.run(launch, blocks)
    seconds = compiled - planes - (time.process_time() - compiled)
    size = len(source(layout(launch)[0])) / 1e3
    print(json.dumps({"planes": planes - start, "compile": seconds, "source": size}))


if __name__ == "__main__":
    main()
