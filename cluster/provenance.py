"""Where a configuration comes from, and what it was measured to do: what best.yaml and its like say of it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from cluster.identity import Identity
from cluster.plan import Plan
from search.cloud import SUMMARY


def described(plan: Plan, row: pd.Series) -> dict[str, Any]:
    """A row of the study's results: parameters (None: off), scores and margins by the plan's targets, metrics, costs."""
    targets = plan.targets
    return {
        "strategy": plan.strategy.name,
        "parameters": {p.name: row[p.name] for p in plan.strategy.parameters},
        "status": str(row["status"]),
        "score": row["score"],
        **{name: row[name] for name in SUMMARY if name in row},
        "targets_met": f"{int(row['targets_met'])} of {len(targets.metrics)}",
        "margins": {metric: row[f"margin_{metric}"] for metric in targets.metrics},
        "metrics": {metric: row[plan.space.measured(metric)] for metric in plan.strategy.metrics},
        "costs": plan.config.costs.model_dump(),
        **plan.config.risk_limits.told,
    }


def provenance(plan: Plan, identity: Identity, row: pd.Series, *, tried: int) -> dict[str, Any]:
    """The study, trial, data, code and versions behind a row of results; `tried` configurations were."""
    return {
        "study": plan.config.name,
        "trial": int(row["trial"]),
        "configurations_tried": tried,
        "seed": plan.config.search.seed,
        "score_spec": plan.targets.score_spec,
        **asdict(identity),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def plain(value: Any) -> Any:
    """The same in the values that JSON has: what is missing, off or not finite is null.

    >>> plain({"a": np.float64(0.5), "b": [np.inf, None, 3]})
    {'a': 0.5, 'b': [None, None, 3]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
