"""The samplers by name: those whose points are known beforehand, and those that learn from scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler

from kernels.errors import InputError
from search.cloud import Cloud
from search.cma import CovarianceAdaptation
from search.hint import hint
from search.seeds import SAMPLER, seed_of
from search.space import Space
from search.warm_start import shown_to

POINTS: Mapping[str, Callable[[Space, int, int, int], pd.DataFrame]] = {
    "grid": lambda space, first, n, seed: space.grid_rows(first, first + n),
    "random": lambda space, first, n, seed: space.random(n, seed, first),
    "sobol": lambda space, first, n, seed: space.sobol(n, seed, first),
}
"""Result-independent samplers: (space, first trial, how many, seed) -> configurations."""


class Proposer(Protocol):
    """What a learner makes: most of Optuna's samplers are one."""

    def sample_relative(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Mapping[str, Any]:
        """The parameters of a trial; none of them where there is too little to learn from."""
        ...


@dataclass(frozen=True, slots=True)
class Learner:
    """A sampler that learns. `make(seed, batch)`; the batch is its generation, where it has generations."""

    make: Callable[[int, int], Proposer]
    smallest_batch: int = 1
    numbers_only: bool = False
    blind: int = 0  # trials that have been told before its proposals depend on them


STARTUP = 10  # trials that `tpe` draws at random, as Optuna does unless told otherwise
LEARNERS: Mapping[str, Learner] = {
    "tpe": Learner(lambda seed, batch: TPESampler(seed=seed, n_startup_trials=STARTUP), blind=STARTUP),
    "cmaes": Learner(
        lambda seed, batch: CovarianceAdaptation(seed=seed, population=batch), smallest_batch=4, numbers_only=True
    ),
    "nsga2": Learner(lambda seed, batch: NSGAIISampler(seed=seed, population_size=batch), smallest_batch=2),
}
SAMPLERS = (*POINTS, *LEARNERS)


class SeededByTrial(BaseSampler):
    """A learning sampler whose proposals depend on the seed, the trial number and the stored trials alone.

    It draws from a fresh sampler for each trial and from a fresh generator for each parameter, so that a
    study that was stopped anywhere goes on to propose what it would have proposed.
    """

    def __init__(
        self,
        learner: Learner,
        space: Mapping[str, BaseDistribution],
        *,
        seed: int,
        batch: int,
        earlier: Sequence[optuna.trial.FrozenTrial] = (),
    ) -> None:
        self._learner = learner
        self._earlier = earlier
        self._space = {name: d for name, d in space.items() if not d.single()}
        self._seed = seed
        self._batch = batch

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Every parameter: the space of a study is known beforehand."""
        return self._space

    def sample_relative(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """What the learning sampler proposes; nothing while it has too few trials to learn from."""
        sampler = self._learner.make(seed_of(self._seed, trial.number, SAMPLER), self._batch)
        study = shown_to(sampler, study, self._earlier, self._batch)
        if isinstance(sampler, NSGAIISampler):
            # it orders parents it has just selected otherwise than those it reads back; let it always read them
            sampler.get_parent_population(study, sampler.get_trial_generation(study, trial))
        return dict(sampler.sample_relative(study, trial, search_space))

    def sample_independent(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A uniform draw, for what the learning sampler left open."""
        stream = 1 + list(self._space).index(param_name)
        uniform = RandomSampler(seed=seed_of(self._seed, trial.number, stream))
        return uniform.sample_independent(study, trial, param_name, param_distribution)


def check(sampler: str, space: Space, *, trials: int | None, batch: int, seed: int, cloud: Cloud | None = None) -> int:
    """How many trials the study has; InputError with everything that is wrong about its search settings.

    A grid has as many as it has points: `trials` may be left out, or be no smaller, so that a grid is never
    cut off where the study file seems to ask for all of it.
    """
    problems: list[str] = []
    if sampler not in SAMPLERS:
        problems.append(f"search.sampler: {sampler!r} is unknown; {hint(sampler, SAMPLERS, 'samplers')}")
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
        problems += _unfit(sampler, space, batch)
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


def _unfit(sampler: str, space: Space, batch: int) -> Sequence[str]:
    """Why a learning sampler cannot search this space in batches of this size."""
    learner = LEARNERS[sampler]
    problems: list[str] = []
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
