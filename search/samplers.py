"""The samplers by name, and whether one fits a study: points known beforehand, points learnt, and samplers of a user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import pandas as pd
from optuna.distributions import CategoricalDistribution
from optuna.samplers import NSGAIISampler, TPESampler

from kernels.errors import InputError
from search import own_sampler
from search.cloud import Cloud
from search.cma import CovarianceAdaptation
from search.gaussian import gaussian
from search.learner import Learner
from search.sampler_names import SAMPLERS, SEPARATOR, unknown
from search.space import Space

POINTS: Mapping[str, Callable[[Space, int, int, int], pd.DataFrame]] = {
    "grid": lambda space, first, n, seed: space.grid_rows(first, first + n),
    "random": lambda space, first, n, seed: space.random(n, seed, first),
    "sobol": lambda space, first, n, seed: space.sobol(n, seed, first),
}
"""Result-independent samplers: (space, first trial, how many, seed) -> configurations."""


STARTUP = 10  # trials that `tpe` draws at random, as Optuna does unless told otherwise
LEARNERS: Mapping[str, Learner] = {
    "tpe": Learner(lambda seed, batch: TPESampler(seed=seed, n_startup_trials=STARTUP), blind=STARTUP),
    "cmaes": Learner(
        lambda seed, batch: CovarianceAdaptation(seed=seed, population=batch),
        smallest_batch=4,
        numbers_only=True,
        several_objectives=False,
    ),
    "nsga2": Learner(lambda seed, batch: NSGAIISampler(seed=seed, population_size=batch), smallest_batch=2),
    "gp": Learner(lambda seed, batch: gaussian(seed), needs="torch"),
}
PACKAGES = {"torch": "PyTorch"}  # by the module that a learner needs, as its makers call them


def learner(sampler: str, options: Mapping[str, Any] | None = None) -> Learner:
    """The learner of that name, or a user's own `package.module:ClassName`; InputError where that is none."""
    return own_sampler.learner(sampler, options or {}) if SEPARATOR in sampler else LEARNERS[sampler]


def spec(sampler: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The sampler in plain values (JSON): equal for equal proposals."""
    if SEPARATOR not in sampler:
        return {"sampler": sampler}
    return {"sampler": sampler, **own_sampler.spec(sampler, options or {})}


def check(
    sampler: str,
    space: Space,
    *,
    trials: int | None,
    batch: int,
    seed: int,
    cloud: Cloud | None = None,
    options: Mapping[str, Any] | None = None,
    pareto: bool = False,
) -> int:
    """How many trials the study has; InputError with everything that is wrong about its search settings.

    A grid has as many as it has points: `trials` may be left out, or be no smaller, so that a grid is never
    cut off where the study file seems to ask for all of it.
    """
    problems: list[str] = []
    own = SEPARATOR in sampler
    if sampler not in SAMPLERS and not own:
        problems.append(f"search.sampler: {unknown(sampler)}")
    if options and not own:
        problems.append(
            f"search.sampler_options: are for a sampler of your own, written as package.module:ClassName, and {sampler} "
            "takes none; leave them out, or write such as optuna.samplers:TPESampler"
        )
    if batch < 1:
        problems.append(f"search.batch: at least 1 is needed, got {batch}")
    if seed < 0:
        problems.append(f"search.seed: seed >= 0 must hold, got {seed}")
    if trials is not None and trials < 1:
        problems.append(f"search.trials: at least 1 is needed, got {trials}")
    elif trials is None and sampler != "grid":
        problems.append("search.trials: is needed; only a grid knows its own number of trials")
    if sampler != "grid" and not space.searched:
        problems.append(f"strategy.search: {sampler} has nothing to search; name a parameter or use sampler: grid")
    if sampler in LEARNERS:
        problems += _unfit(sampler, space, batch, pareto=pareto)
    if own:
        problems += own_sampler.problems(sampler, options or {}, space, batch=batch, pareto=pareto)
    if cloud and pareto:
        problems.append(
            "search.configs_per_trial: a cloud tells one statistic of its scores, objective: pareto the metrics of one "
            f"configuration, got {cloud.size}; take 1, or objective: score"
        )
    if cloud:
        problems += cloud.problems()
        if space.searched and (idle := cloud.idle(space)):
            problems.append(idle)
        if sampler in POINTS:
            problems.append(
                f"search.configs_per_trial: {sampler} does not learn, so a cloud round its points has nothing to tell it "
                f"and covers the space less evenly, got {cloud.size}; take 1, or one of {', '.join(LEARNERS)}"
            )
    count = trials or 0
    if sampler == "grid":
        try:
            count = space.grid_size()
        except InputError as error:
            problems += error.problems
        else:
            if trials is not None and 1 <= trials < count:
                problems.append(
                    f"search.trials: the grid has {count} points, got trials={trials}; leave trials out, "
                    "make the grid coarser, or use sampler: sobol"
                )
    if problems:
        raise InputError(problems)
    return count


def _unfit(sampler: str, space: Space, batch: int, *, pareto: bool) -> Sequence[str]:
    """Why a learning sampler cannot search this space in batches of this size."""
    learner = LEARNERS[sampler]
    problems: list[str] = []
    if learner.needs and find_spec(learner.needs) is None:
        problems.append(
            f"search.sampler: {sampler} needs {PACKAGES[learner.needs]}, which is not installed; "
            f"pip install 'hedgegrid[{sampler}]' (its build for CPUs is enough), or use sampler: tpe"
        )
    if pareto and not learner.several_objectives:
        able = [name for name, other in LEARNERS.items() if other.several_objectives]
        problems.append(
            f"search.sampler: {sampler} learns from one score, and objective: pareto has several; use "
            f"{', '.join([*able, *POINTS])}, or objective: score"
        )
    if 1 <= batch < learner.smallest_batch:
        problems.append(
            f"search.batch: {sampler} needs at least {learner.smallest_batch}, "
            f"since its batch is its population, got {batch}"
        )
    if learner.numbers_only:
        lists = [name for name, d in space.distributions().items() if isinstance(d, CategoricalDistribution)]
        problems += [
            f"strategy.search.{name}: {sampler} moves numbers along ranges and cannot learn from a list; "
            "give {low, high}, hold it fixed, or use sampler: tpe"
            for name in lists
        ]
    return problems
