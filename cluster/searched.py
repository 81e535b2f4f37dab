"""What a reader must know of the search itself: where it began and ended, what was tried twice, what moves nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from cluster.plan import Plan
from cluster.winner import task_here
from search.dead import MOST_VALUES, SETTINGS, Dead, dead_by_probing, dead_of_grid
from search.study import Study

PROBING = {"numpy": 5e7, "numba": 2e9, "cuda": 2e9}  # bar-steps that a probe may take: some seconds on one core


def look_for_dead(plan: Plan, study: Study, best: pd.DataFrame) -> list[Dead]:
    """The parameters, or values of them, that move no metric; of a study that is no grid probed on this machine, round
    the first of its `best` trials and random configurations."""
    if study.sampler == "grid":
        return dead_of_grid(study.space, study.targets, study.tables())
    each = plan.market.n_bars * plan.market.n_assets * plan.market.n_scenarios * len(plan.space.searched) * MOST_VALUES
    engine = task_here(plan).engine()
    settings = int(np.clip(PROBING[engine.backend.name] // max(each, 1), 2, SETTINGS))
    names = [p.name for p in plan.strategy.parameters]
    random = plan.space.random(settings - 1, plan.config.search.seed)
    around = pd.concat([best.iloc[:1][names], random], ignore_index=True)
    return dead_by_probing(plan.space, plan.targets, around, engine.metrics)


def searched(plan: Plan, study: Study, distinct: int, dead: Sequence[Dead]) -> list[str]:
    """Sentences on how a finished study was searched."""
    told = []
    if study.trials < plan.trials:
        done, most = math.ceil(study.trials / plan.batch), math.ceil(plan.trials / plan.batch)
        waited = plan.config.search.patience
        told.append(f"The search stopped after {done:,} batches of {most:,}: {waited:,} without improvement.")
    if study.warm_start is not None:
        warm = study.warm_start
        shown = f"{len(warm.rows):,} of the {warm.trials:,} trials"
        left = warm.trials - warm.fitting
        why = f"; {left:,} lie outside the present space" if left else ""
        data = "" if warm.found == plan.market.digest else ", which ran on other data"
        told.append(f"The search was shown {shown} of {warm.study}{data}, scored by the present targets{why}.")
    tried = study.trials * plan.config.search.configs_per_trial
    if distinct < tried:
        told.append(
            f"Of {tried:,} configurations {distinct:,} are different ones"
            + ("." if study.sampler in ("random", "sobol") else "; what came up again was not backtested again.")
        )
    return [*told, *(f"{each.sentence}." for each in dead)]
