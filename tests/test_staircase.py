"""What each feature of a strategy bought, in and out of sample: exact at both ends, blind to the future, right where planted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hidden import files
from studies import run_one

from cluster.config import load_study
from cluster.conclusion import validate
from cluster.kept import open_kept
from cluster.plan import Plan, make_plan
from cluster.running import Outcome
from cluster.staircase import HIDDEN, WALKED, Staircase
from search.lock import release

pytestmark = pytest.mark.usefixtures("undrawn")
BARS = 800
RULE = Path(__file__).with_name("feature_rule.py")


def prices(folder: Path, bars: int = BARS, otherwise_from: int | None = None) -> Path:
    """Two months up and one down, in turns, of an asset; other prices from some bar on."""
    rng = np.random.default_rng(5)
    drift = np.where(np.arange(bars) % 90 < 60, 0.006, -0.010)
    log = drift + 0.012 * rng.standard_normal(bars)
    if otherwise_from is not None:
        log[otherwise_from:] = 0.03 * np.random.default_rng(6).standard_normal(bars - otherwise_from)
    close = 100.0 * np.exp(np.cumsum(log))
    open_ = np.concatenate([close[:1], close[:-1]])
    table = {
        "timestamp": pd.date_range("2020-01-01", periods=bars, tz="UTC").strftime("%Y-%m-%d"),
        **{"symbol": "A", "open": open_, "close": close, "volume": 1.0},
        **{"high": np.maximum(open_, close) * 1.001, "low": np.minimum(open_, close) * 0.999},
    }
    path = folder / "prices.csv"
    pd.DataFrame(table).to_csv(path, index=False)
    return path


def planned(folder: Path, *overrides: str, **made: int) -> Plan:
    """A study of all three features switched on; two numbers are searched."""
    folder.mkdir(exist_ok=True)
    study = {
        "name": "stairs",
        "market": {"source": "csv", "path": str(prices(folder, **made)), "bars_per_year": 365},
        "strategy": {
            "file": str(RULE),
            "name": "feature_rule",
            "fixed": {"guard": "on", "idle": "on", "churn": "on"},
            "search": {"window": [6, 10, 14], "size": [0.5, 0.6]},
            "compare": {"bare": {"guard": "off", "idle": "off", "churn": "off"}},
        },
        "costs": {"fee_bps": 20, "slippage_bps": 10},
        "targets": {
            "sharpe": {"at_least": 1.0, "reservation": 0.0},
            "max_drawdown": {"at_most": 0.1, "reservation": 0.3},
            "turnover": {"at_most": 10, "reservation": 100},
        },
        "search": {"sampler": "grid", "batch": 4, "seed": 3},
        "selection": {"replicates": 19},
        "compute": {"backend": "numpy"},
        "tracking": {"enabled": False},
    }
    path = folder / "stairs.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return make_plan(load_study(path, overrides), folder / "runs")


def staircase(outcome: Outcome) -> Staircase:
    assert outcome.found.staircase is not None
    return outcome.found.staircase


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_one(planned(tmp_path_factory.mktemp("stairs")))
