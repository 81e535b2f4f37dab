"""A study whose optimum is known, without a market: what the search does, alone."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kernels.strategy import Parameter, Strategy
from search import samplers
from search.space import Space
from search.study import Study
from search.targets import Targets

HEDGE = Strategy(
    name="hedge",
    summary="a hedge",
    source="none",
    parameters=(
        Parameter("x", 0.5, 0.0, 1.0),
        Parameter("y", 0.5, 0.0, 1.0),
        Parameter("bars", 30, 6, 365, unit="bars", integer=True),
        Parameter("mode", "flat", choices=("flat", "hedge")),
        Parameter("stop", 0.1, 0.02, 0.5, optional=True),
    ),
    planes=(),
    state=None,
    step=lambda bar, state, p: state,
    warm_up=lambda p: 0,
)
# a Gaussian process takes a second for a proposal: it is tested apart, on few (tests/test_samplers.py)
LEARNERS = tuple(name for name in samplers.LEARNERS if name != "gp")
SAMPLERS = (*samplers.POINTS, *LEARNERS)
# every range has steps, so that a grid can be made of it too: 5 * 5 * 2 points
NUMBERS = Space.of(
    HEDGE,
    search={
        "x": {"low": 0, "high": 1, "step": 0.25},
        "y": {"low": 0, "high": 1, "step": 0.25},
        "bars": {"low": 10, "high": 40, "step": 30},
    },
)
MIXED = Space.of(
    HEDGE,
    search={
        "x": {"low": 0, "high": 1},
        "bars": {"low": 10, "high": 300, "log": True},
        "mode": ["flat", "hedge"],
        "stop": [None, 0.1, 0.2],
    },
)
TARGETS = Targets.of(
    {"sharpe": {"at_least": 1.0, "reservation": 0.0}, "cagr": {"at_least": 0.3, "reservation": 0.0}},
    metrics=["sharpe", "cagr"],
)


def planted(configurations: pd.DataFrame) -> pd.DataFrame:
    """Metrics with their optimum at x = 0.3, y = 0.7; one corner has no equity left, and an infinite ratio."""
    x, y = configurations["x"], configurations["y"]
    distance = (x - 0.3) ** 2 + (y - 0.7) ** 2 + (configurations["bars"] / 1000 - 0.03) ** 2
    return pd.DataFrame(
        {
            "sharpe": 1.5 - 6 * distance,
            "cagr": 0.4 - distance,
            "profit_factor": np.where(x > 0.8, np.inf, 1.5),
            "status": np.where((x > 0.9) & (y > 0.9), "invalid", "ok"),
        }
    )


def space_for(sampler: str) -> Space:
    return MIXED if sampler in ("tpe", "nsga2", "gp", "random", "sobol") else NUMBERS


def opened(folder: Path, sampler: str, **changed: Any) -> Study:
    if sampler == "gp" and find_spec("torch") is None:
        pytest.skip("gp needs PyTorch: pip install 'hedgegrid[gp]'")
    settings: dict[str, Any] = {"sampler": sampler, "trials": 20, "batch": 8, "seed": 7} | changed
    space = settings.pop("space", space_for(sampler))
    if sampler == "grid":
        settings["trials"] = None
    return Study.open(folder, "demo", space, settings.pop("targets", TARGETS), **settings)


def run(study: Study, batches: int | None = None) -> pd.DataFrame:
    while batches is None or batches > 0:
        batch = study.ask()
        if batch is None:
            break
        study.tell(batch, planted(batch.configurations))
        batches = None if batches is None else batches - 1
    return study.results()


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(a, b, check_exact=True)
