"""Results that Optuna did not propose, entered in an Optuna study for its importances and plots."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, IntDistribution

from search.quiet import quiet
from search.space import Space
from search.targets import Targets

# entering a trial takes 80 microseconds, and whoever looks at the trials copies them at 100 each: about a second both
LARGEST = 10_000


def frozen_study(
    name: str, space: Space, targets: Targets, tables: Iterable[pd.DataFrame], *, done: int, seed: int
) -> optuna.Study:
    """An Optuna study in memory of at most `LARGEST` of the `done` results, numbered anew, in trial order.

    A larger study is sampled at random: every n-th point of a grid would hold some parameters still, and the
    best points alone would hide what matters.
    """
    with quiet():
        study = optuna.create_study(study_name=name, direction="maximize")
    chosen = np.ones(done, dtype=bool)
    if done > LARGEST:
        chosen[:] = False
        chosen[np.random.default_rng(seed).choice(done, LARGEST, replace=False)] = True
    distributions = space.distributions()
    position = 0
    for table in tables:
        rows = table[chosen[position : position + len(table)]]
        position += len(table)
        study.add_trials(
            optuna.create_trial(
                params={key: _param(d, row[key]) for key, d in distributions.items()},
                distributions=distributions,
                value=row["score"],
                user_attrs={"trial": row["trial"]},
                constraints=targets.constraints(row),
            )
            for row in rows.to_dict("records")
        )
    return study


def _param(distribution: BaseDistribution, value: Any) -> Any:
    """A table's value as Optuna spells it."""
    if isinstance(value, float) and math.isnan(value):
        return None
    return int(value) if isinstance(distribution, IntDistribution) else value
