"""Invented tables of a hedging study, and the marks of a figure made from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tracking.panels import Chart, Figure, Line, Mark, Quantity

DAYS = Quantity("rebalance_days", "days")
EXPOSURE = Quantity("exposure")
ERROR = Quantity("hedging_error", "fraction", good=-1)
COST = Quantity("cost", "fraction/year", good=-1)
RETURN = Quantity("total_return", "fraction", good=+1)
DRAWDOWN = Quantity("max_drawdown", "fraction", good=-1)
LABELS = ["best", "daily", "no hedge"]
TIMES = np.array([0.1, 0.5, 1.0, 5.0, 20.0])


def theory(times: np.ndarray[Any, Any] = TIMES) -> pd.DataFrame:
    return pd.DataFrame({"rebalance_days": times, "hedging_error": 0.004 * np.sqrt(times)})


def trials(rows: int, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    times = rng.choice(TIMES, rows)
    return pd.DataFrame(
        {
            "rebalance_days": times,
            "exposure": rng.choice([0.5, 1.0, 1.5], rows),
            "hedging_error": 0.004 * np.sqrt(times) * rng.lognormal(0.0, 0.4, rows),
            "cost": 0.01 / np.sqrt(times) * rng.lognormal(0.0, 0.4, rows),
            "total_return": rng.normal(0.1, 0.1, rows),
            "max_drawdown": rng.uniform(0.01, 0.3, rows),
        }
    )


def named() -> pd.DataFrame:
    return pd.DataFrame({"hedging_error": [0.004, 0.02], "cost": [0.012, 0.001]}, index=["best", "no hedge"])


def parts() -> pd.DataFrame:
    columns = {"option": [0.38, 0.41], "shares": [-0.22, 0.0], "carry": [0.01, 0.02], "stock cost": [-0.03, 0.0]}
    return pd.DataFrame(columns, index=["best", "no hedge"])


def paths(count: int, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"label": np.repeat(LABELS, count), "total_return": rng.normal(0.1, 0.2, 3 * count)})
    return table.assign(max_drawdown=rng.uniform(0.0, 0.4, 3 * count))


def wealth(count: int, days: int = 60) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], pd.DataFrame]:
    rng = np.random.default_rng(4)
    grown = np.exp(np.cumsum(rng.normal(0.0, 0.01, (days, count)), axis=0))
    members = np.exp(np.cumsum(rng.normal(0.0, 0.01, (days, 2)), axis=0))
    times = np.datetime64("2024-01-01", "us") + np.arange(days).astype("timedelta64[D]")
    return times, grown, pd.DataFrame(members, columns=["AAPL", "MSFT"])


def marks(figure: Figure, kind: type[Mark], panel: int = 0) -> list[Any]:
    chart = figure.panels[panel]
    assert isinstance(chart, Chart)
    return [mark for mark in chart.marks if isinstance(mark, kind)]


def line(figure: Figure, name: str, panel: int = 0) -> Line:
    (found,) = (mark for mark in marks(figure, Line, panel) if mark.name.startswith(name))
    assert isinstance(found, Line)
    return found
