"""CMA-ES, computed anew from the trials told: nothing of its state is stored, and nothing unpickled.

Source: N. Hansen, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772; the algorithm is the package `cmaes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from cmaes import CMA
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from kernels.market import FloatArray

SIGMA = 1 / 6  # of each range: the first generation fills the space to three standard deviations


class CovarianceAdaptation:
    """Proposes trial n from the generations of `population` trials before it. Numbers only."""

    def __init__(self, *, seed: int, population: int) -> None:
        self._seed = seed
        self._population = population

    def sample_relative(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Mapping[str, Any]:
        """A draw from the distribution as adapted by every whole generation told."""
        told = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        ranges = {name: _Range(d) for name, d in search_space.items()}
        optimizer = self._start(len(ranges))
        for first in range(0, len(told) - self._population + 1, self._population):
            if optimizer.should_stop():  # converged, or degenerate: what is left of the study is a new search
                optimizer = self._start(len(ranges))
            optimizer.tell(
                [
                    (np.array([r.to_unit(t.params[name]) for name, r in ranges.items()]), -float(t.value or 0.0))
                    for t in told[first : first + self._population]
                ]
            )
        if optimizer.should_stop():
            optimizer = self._start(len(ranges))
        optimizer.reseed_rng(self._seed)
        point: FloatArray = optimizer.ask()
        return {name: r.from_unit(float(u)) for (name, r), u in zip(ranges.items(), point, strict=True)}

    def _start(self, n: int) -> CMA:
        box = np.tile([0.0, 1.0], (n, 1))
        return CMA(mean=np.full(n, 0.5), sigma=SIGMA, bounds=box, population_size=self._population)


class _Range:
    """A numeric distribution laid on [0, 1]; every step owns an equal share of it."""

    def __init__(self, distribution: BaseDistribution) -> None:
        assert isinstance(distribution, (FloatDistribution, IntDistribution))
        self._of = distribution
        half = (distribution.step or 0.0) / 2
        ends = np.array([distribution.low - half, distribution.high + half])
        self._low, self._high = (float(end) for end in (np.log(ends) if distribution.log else ends))

    def to_unit(self, value: float) -> float:
        position = float(np.log(value)) if self._of.log else value
        return (position - self._low) / (self._high - self._low)

    def from_unit(self, u: float) -> float | int:
        position = self._low + u * (self._high - self._low)
        value = float(np.exp(position)) if self._of.log else position
        if self._of.step:
            value = self._of.low + round((value - self._of.low) / self._of.step) * self._of.step
        value = min(max(value, self._of.low), self._of.high)
        return int(value) if isinstance(self._of, IntDistribution) else value
