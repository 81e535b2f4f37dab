"""A small study of which some prices are hidden, what there is of them, and what lies in its folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from studies import run_one, small_plan

from cluster.kept import Kept, open_kept
from cluster.plan import Plan
from kernels import Market
from search.lock import release

BARS, HIDDEN = 300, 75


def prices(folder: Path, *, otherwise: int | None = None) -> Path:
    """The prices of the small study in a file; `otherwise` is a seed of other prices for the hidden bars."""
    market = small_plan(folder, "selection.holdout=0", "tracking.enabled=false").market
    assert isinstance(market, Market)
    tables = []
    for a, ticker in enumerate(market.tickers):
        columns = {name: column[:, a].copy() for name, column in market.columns.items()}
        if otherwise is not None:
            factor = np.exp(np.random.default_rng(otherwise).normal(0.0, 0.5, HIDDEN))
            for name in ("open", "high", "low", "close"):
                columns[name][-HIDDEN:] *= factor
        stamps = pd.DatetimeIndex(market.timestamps).tz_localize("UTC").strftime("%Y-%m-%d")
        tables.append(pd.DataFrame({"timestamp": stamps, "symbol": ticker, **columns}))
    path = folder / "prices.csv"
    pd.concat(tables).to_csv(path, index=False)
    return path


def planned(folder: Path, *overrides: str, otherwise: int | None = None) -> Plan:
    folder.mkdir(exist_ok=True)
    path = prices(folder, otherwise=otherwise)
    market = f"market={{source: csv, path: {path}, bars_per_year: 365}}"
    return small_plan(folder, "tracking.enabled=false", market, *overrides)


def finish(folder: Path) -> Plan:
    """The study in that folder, finished; its hold-out is closed."""
    plan = planned(folder)
    run_one(plan)
    return plan


@contextmanager
def copied(finished: Plan, folder: Path) -> Iterator[Kept]:
    """A copy of a finished study in that folder, opened."""
    runs = folder / "runs"
    shutil.copytree(finished.folder.parent, runs)
    yield open_kept(runs / "small")
    release(runs / "small")


def files(folder: Path) -> dict[str, bytes]:
    """Everything that lies there."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
