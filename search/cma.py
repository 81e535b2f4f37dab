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
NARROWEST = SIGMA / 6  # that a warm start may begin with: its best trials may be one and the same
BEST_SHARE = 10  # of the trials of a warm start one in so many, the best, say where to begin


class CovarianceAdaptation:
    """Proposes trial n from the generations of `population` trials before it. Numbers only.

    Trials of a warm start (numbered below 0) are no generation of its own: they say where it begins, and how wide.
    """

    def __init__(self, *, seed: int, population: int) -> None:
        self._seed = seed
        self._population = population

    def sample_relative(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Mapping[str, Any]:
        """A draw from the distribution as adapted by every whole generation told."""
        seen = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        told = [t for t in seen if t.number >= 0]
        ranges = {name: _Range(d) for name, d in search_space.items()}
        optimizer = self._start(len(ranges), *_best_of([t for t in seen if t.number < 0], ranges))
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

    def _start(self, n: int, mean: FloatArray | None = None, spread: FloatArray | None = None) -> CMA:
        box = np.tile([0.0, 1.0], (n, 1))
        if mean is None or spread is None:
            return CMA(mean=np.full(n, 0.5), sigma=SIGMA, bounds=box, population_size=self._population)
        sigma = float(np.exp(np.log(spread).mean()))
        shape = np.diag((spread / sigma) ** 2)
        return CMA(mean=mean, sigma=sigma, bounds=box, population_size=self._population, cov=shape)


def _best_of(earlier: list[optuna.trial.FrozenTrial], ranges: dict[str, _Range]) -> tuple[FloatArray, ...]:
    """Mean and standard deviation, in each unit range, of the best of a warm start; nothing where there is none."""
    if not earlier:
        return ()
    ranked = sorted(earlier, key=lambda trial: -float(trial.value or 0.0))
    best = ranked[: max(1, len(ranked) // BEST_SHARE)]
    points = np.array([[r.to_unit(trial.params[name]) for name, r in ranges.items()] for trial in best])
    return points.mean(axis=0), np.clip(points.std(axis=0), NARROWEST, SIGMA)


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
