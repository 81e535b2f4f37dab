"""What is measured of `option_hedge`: the grid of a study file, on simulated paths that need no other file."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmarks import cases
from kernels import STRATEGIES, Costs
from kernels.blocks import Blocks
from kernels.engine import Engine, switched_off
from kernels.launch import Backend, Launch
from kernels.option_market import Contract, OptionMarket, gbm

STRATEGY = STRATEGIES["option_hedge"]
FILE = Path(__file__).resolve().parent.parent / "configs" / "studies" / "option_hedge_megacaps.yaml"
STUDY: dict[str, Any] = yaml.safe_load(FILE.read_text())
COSTS = Costs(**STUDY["costs"])
PATHS: int = STUDY["market"]["scenarios"]


def grid() -> pd.DataFrame:
    """Every configuration of the study: rebalance times x bands x gamma ratios x exposures."""
    searched = STUDY["strategy"]["search"]
    return pd.DataFrame(list(product(*searched.values())), columns=list(searched)).astype(float)


def spread(count: int) -> pd.DataFrame:
    """`count` configurations of the grid, from one end of it to the other."""
    whole = grid()
    return whole.iloc[[i * len(whole) // count for i in range(count)]].reset_index(drop=True)


def paths(count: int = PATHS, seed: int = 0) -> OptionMarket:
    """The study's contract, rate and bars on geometric Brownian motion instead of its calibrated model."""
    market = STUDY["market"]
    return gbm(
        ("SIM",),
        scenarios=count,
        bars=int(market["days"] / market["step_days"]) + 1,
        step_days=float(market["step_days"]),
        contract=Contract(**market["contract"]),
        rate=market["rate"],
        seed=seed,
    )


def market() -> tuple[OptionMarket, str]:
    """The paths and what they are."""
    made = paths()
    return made, f"simulated (gbm, seed 0, {made.n_scenarios:,} paths), costs and grid of {FILE.name}"


def engine(made: OptionMarket, backend: Backend, configurations: pd.DataFrame) -> Engine:
    """An engine for these configurations at the study's costs."""
    return Engine(made, STRATEGY, COSTS, backend, switched_off(STRATEGY, configurations))


def launch(made: OptionMarket, configurations: pd.DataFrame) -> tuple[Launch, Blocks]:
    """All of these configurations in one launch, and the blocks."""
    only, blocks = cases.launch(made, configurations, STRATEGY)
    return replace(only, costs=COSTS.fractions), blocks


def path_steps(made: OptionMarket, configurations: int) -> int:
    """Configurations x paths x bars: the unit of work."""
    return configurations * made.n_scenarios * made.n_bars
