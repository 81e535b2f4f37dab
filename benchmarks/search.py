"""Searches of one space on the same budget of configurations: how good, how soon, and how good on other paths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from benchmarks.table import Table
from kernels import METRICS, STRATEGIES, Costs
from kernels.backends.numba import NumbaBackend
from kernels.engine import Engine
from kernels.heston import HestonParameters
from kernels.heston_market import heston
from kernels.option_market import Contract, OptionMarket
from search.cloud import Cloud
from search.space import Space
from search.study import Study
from search.targets import Targets

# what configs/studies/option_hedge_megacaps.yaml searches
GRID = {
    "rebalance_days": [1, 2, 3, 4, 5, 6, 8, 10, 15, 20],
    "band": [0.0, 0.02, 0.05, 0.1, 0.15, 0.2],
    "gamma_hedge_ratio": [0.0, 0.25, 0.5, 0.75, 1.0],
    "exposure": [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0],
}
RANGES = {name: {"low": min(values), "high": max(values)} for name, values in GRID.items()}
COSTS = Costs(fee_bps=1, slippage_bps=2, option_spread=0.01)
TARGETS = Targets.of(None, metrics=METRICS)  # the same as that study's
BUDGET = 3300
BATCH = 16  # trials, as a study that learns has by default
CLOUDS = (1, 8, 32)
SEEDS = range(5)
PATHS, OTHER_PATHS = 200, 2000
SEED = 20260814  # of the paths


@dataclass(frozen=True)
class Found:
    """What one study found: its best score, configurations and launches until the goal (infinity: never), the score
    on other paths of the trial it would recommend."""

    best: float
    configurations: float
    launches: float
    elsewhere: float


def market() -> tuple[OptionMarket, str]:
    """The paths that every search sees, and what they are."""
    return option_market(PATHS, "train"), f"simulated (Heston, seed {SEED}, {PATHS:,} paths)"


def samplers(seen: OptionMarket) -> Table:
    """The grid, Sobol points, and both learning samplers with and without clouds."""
    space = Space.of(STRATEGIES["option_hedge"], search=RANGES)
    grid = Space.of(STRATEGIES["option_hedge"], search=GRID)
    here, there = engine(space, seen), engine(space, option_market(OTHER_PATHS, "holdout"))
    goal = run_study("grid", grid, 0, 1, np.inf, here, there)
    rows = [("grid", "1", _four(goal.best), f"{BUDGET:,}", "1", "", _four(goal.elsewhere))]
    for sampler, size in contestants():
        found = [run_study(sampler, space, seed, size, goal.best, here, there) for seed in SEEDS]
        rows.append((sampler, str(size), *summary(found)))
    return Table(
        f"{BUDGET:,} configurations of option_hedge: the best score, and how soon the grid's best was reached",
        (
            "sampler",
            "configurations per trial",
            "best score (lowest, highest)",
            "configurations to the grid's best",
            "launches to it",
            "reached",
            "score on other paths",
        ),
        tuple(rows),
        f"Medians over {len(SEEDS)} seeds, one that never reached it counted as later than any. The "
        f"other paths are {OTHER_PATHS:,} of another stream, on which the first trial of each study's own ranking is "
        "scored. The grid has 10 rebalance times x 6 bands x 5 gamma ratios x 11 exposures; "
        f"the others search the same ranges continuously, {BATCH} trials to a launch.",
    )


def contestants() -> Iterator[tuple[str, int]]:
    yield "sobol", 1
    yield from ((sampler, size) for sampler in ("tpe", "cmaes") for size in CLOUDS)


def option_market(paths: int, stream: str) -> OptionMarket:
    return heston(
        "SIM",
        parameters=HestonParameters(v0=0.07, kappa=4.0, theta=0.08, xi=0.7, rho=-0.5),
        scenarios=paths,
        bars=61,
        step_days=1.0,
        contract=Contract(tenor_days=30.0),
        seed=SEED,
        stream=stream,
        drift=0.04,
        rate=0.04,
        variance_risk_premium=-2.0,
    )


def engine(space: Space, market: OptionMarket) -> Engine:
    return Engine(market, space.strategy, COSTS, NumbaBackend(), frozenset(space.none_everywhere))


def run_study(sampler: str, space: Space, seed: int, size: int, goal: float, here: Engine, there: Engine) -> Found:
    """One study, run as `hedgegrid run` runs it: ask, backtest, tell."""
    with TemporaryDirectory() as folder:
        study = Study.open(
            Path(folder),
            "benchmark",
            space,
            TARGETS,
            sampler=sampler,
            trials=None if sampler == "grid" else BUDGET // size,
            batch=BUDGET if sampler == "grid" else BATCH,
            seed=seed,
            cloud=Cloud(size) if size > 1 else None,
        )
        evaluated, launches, best, reached = 0, 0, 0.0, (np.inf, np.inf)
        while (batch := study.ask()) is not None:
            metrics = here.metrics(batch.configurations)
            study.tell(batch, metrics)
            evaluated += len(metrics)
            launches += 1
            best = max(best, float(TARGETS.score(metrics)["score"].max()))
            if best >= goal and reached[0] == np.inf:
                reached = (evaluated, launches)
        chosen = study.best(1)[[p.name for p in space.strategy.parameters]]
    return Found(best, *reached, elsewhere=float(TARGETS.score(there.metrics(chosen))["score"].iloc[0]))


def summary(found: list[Found]) -> tuple[str, ...]:
    each = pd.DataFrame(found)
    middle = each.median()
    reached = int(np.isfinite(each["configurations"]).sum())
    soon = [f"{middle[n]:,.0f}" if np.isfinite(middle[n]) else "not reached" for n in ("configurations", "launches")]
    best = f"{_four(middle['best'])} ({_four(each['best'].min())}, {_four(each['best'].max())})"
    return best, *soon, f"{reached} of {len(found)}", _four(middle["elsewhere"])


def _four(score: float) -> str:
    return f"{score:.4f}"
