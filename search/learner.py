"""How a sampler that learns is asked, so that a study that was stopped anywhere goes on as if it had not been."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler
from optuna.trial import FrozenTrial

from search.seeds import SAMPLER, seed_of
from search.warm_start import shown_to


class Proposer(Protocol):
    """What a learner makes: most of Optuna's samplers are one."""

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Mapping[str, Any]:
        """The parameters of a trial; none of them where there is too little to learn from."""
        ...


@dataclass(frozen=True, slots=True)
class Learner:
    """A sampler that learns. `make(seed, batch)`; the batch is its generation, where it has generations.

    `needs` is a module that is not always installed. Where `own`, what it makes is any `BaseSampler` of a user's, which says
    which parameters it proposes together and is asked for the others one by one. `blind` is how many trials must have been told
    before its proposals depend on them.
    """

    make: Callable[[int, int], Proposer]
    smallest_batch: int = 1
    numbers_only: bool = False
    several_objectives: bool = True
    needs: str | None = None
    own: bool = False
    blind: int = 0


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
        earlier: Sequence[FrozenTrial] = (),
    ) -> None:
        self._learner = learner
        self._earlier = earlier
        self._space = {name: d for name, d in space.items() if not d.single()}
        self._seed = seed
        self._batch = batch

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every parameter: the space of a study is known beforehand."""
        return self._space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """What the learning sampler proposes; nothing while it has too few trials to learn from."""
        sampler = self._fresh(trial, SAMPLER)
        before = shown_to(sampler, study, trial, self._earlier, self._batch)
        if isinstance(sampler, NSGAIISampler):
            # it orders parents it has just selected otherwise than those it reads back; let it always read them
            sampler.get_parent_population(before, sampler.get_trial_generation(before, trial))
        if self._learner.own:
            assert isinstance(sampler, BaseSampler)
            search_space = sampler.infer_relative_search_space(before, trial)
        with warnings.catch_warnings():
            # a score of an invalid configuration is infinitely bad, which a Gaussian process clips and says each time
            warnings.filterwarnings("ignore", message="Clip non-finite values", category=UserWarning)
            return dict(sampler.sample_relative(before, trial, search_space))

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A uniform draw, for what the learning sampler left open; a user's own sampler is asked itself."""
        stream = 1 + list(self._space).index(param_name)
        if self._learner.own:
            sampler = self._fresh(trial, stream)
            assert isinstance(sampler, BaseSampler)
            before = shown_to(sampler, study, trial, self._earlier, self._batch)
            return sampler.sample_independent(before, trial, param_name, param_distribution)
        uniform = RandomSampler(seed=seed_of(self._seed, trial.number, stream))
        return uniform.sample_independent(study, trial, param_name, param_distribution)

    def _fresh(self, trial: FrozenTrial, stream: int) -> Proposer:
        return self._learner.make(seed_of(self._seed, trial.number, stream), self._batch)
