"""A cloud: the configurations of one trial, round the point that the sampler suggested.

A search for the single best configuration finds luck. One that is told the median of a cloud looks for plateaus,
where a setting may be a little wrong and still do well.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kernels.market import FloatArray
from search.hint import hint
from search.seeds import CLOUD, seed_of

if TYPE_CHECKING:  # a study file is read without Optuna
    from search.dimension import IntArray
    from search.space import Space

STATISTICS = ("median", "mean", "best")
LARGEST = 65_536  # configurations of a trial: as many as a batch of a grid
WIDEST = 0.5  # of a range to either side: a cloud as wide as the range
SUMMARY = ("cloud_score", "cloud_best", "cloud_median", "cloud_spread")
"""Columns of a trial's row: the statistic told, the best and the median score, their interquartile range."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """`size` configurations per trial: the point itself and `size - 1` scrambled Sobol points in a box round it.

    The box reaches `start` of each parameter's range to either side (in the logarithm where the range is
    logarithmic) in the first trial of a study, `end` in the last, geometrically between (None: `start` throughout);
    where it would leave the range it ends there. `statistic` of the scores, a word or a quantile, is what the
    sampler is told.
    """

    size: int
    start: float = 0.1
    end: float | None = None
    statistic: str | float = "median"

    def problems(self) -> list[str]:
        """Everything that is wrong about it, by the keys of a study file."""
        problems: list[str] = []
        if not 2 <= self.size <= LARGEST:
            problems.append(f"search.configs_per_trial: 2 to {LARGEST} make a cloud, got {self.size}")
        if not 0.0 < self._last <= self.start:
            problems.append(
                "search.cloud_radius: 0 < end <= start must hold, as a share of each range, "
                f"got start={self.start:g}, end={self._last:g}"
            )
        elif self.start > WIDEST:
            problems.append(f"search.cloud_radius: {too_wide(self.start)}")
        if isinstance(self.statistic, str):
            if self.statistic not in STATISTICS:
                problems.append(
                    f"search.cloud_statistic: {self.statistic!r} is unknown; {hint(self.statistic, STATISTICS, 'words')}, "
                    "or a quantile between 0 and 1"
                )
        elif not 0.0 < self.statistic < 1.0:
            problems.append(f"search.cloud_statistic: a quantile lies between 0 and 1, got {self.statistic:g}")
        return problems

    def idle(self, space: Space) -> str | None:
        """The sentence that refuses a cloud whose members could be nothing but the point itself.

        One that shrinks is asked about its last trial: from there on it would be point search at the price of a cloud.
        """
        finest = max((d.count or np.inf for d in space.dimensions.values() if d.ordered), default=1)
        if 0.5 / finest < self._last:
            return None
        alone = f"so a trial would be one configuration {self.size} times"
        if finest == 1:
            return (
                f"search.configs_per_trial: nothing in strategy.search has neighbours (lists of words, or with null, have "
                f"no order), {alone}; take 1, or search a range of numbers"
            )
        end = "" if self._last == self.start else " in the end"
        return (
            f"search.cloud_radius: {self._last:g} of each range{end} reaches no neighbour of any value in strategy.search, "
            f"{alone}; take more than {0.5 / finest:.3g}, or finer steps"
        )

    def spec(self, trials: int) -> dict[str, Any]:
        """The cloud in plain values (JSON): equal for equal clouds in a study of so many trials."""
        return {
            "configs_per_trial": self.size,
            "cloud_radius": {"start": self.start, "end": self._last},
            "cloud_statistic": self.statistic,
            "shrinks_over": trials if self.start != self._last else None,
        }

    def radius(self, number: int, trials: int) -> float:
        """The reach of trial `number` of a study of so many.

        >>> [round(Cloud(8, 0.2, 0.05).radius(n, 3), 3) for n in range(3)]
        [0.2, 0.1, 0.05]
        """
        return float(self.start * (self._last / self.start) ** (number / max(1, trials - 1)))

    def around(self, space: Space, points: pd.DataFrame, *, first: int, seed: int, trials: int) -> pd.DataFrame:
        """The clouds of trials `first` .. `first + n - 1` at their n points, `size` rows each, the point itself first.

        Trial n's rows depend on the seed, n and its point alone. What has no order (a list of words) stays as
        suggested. Steps that several Sobol points fall on are evaluated as often: every trial is of one size, and
        its statistic weighs each step by its share of the box.
        """
        n, ordered = len(points), np.array([d.ordered for d in space.dimensions.values()])
        centre = space.to_unit(points)  # (n, searched)
        reach = np.array([[self.radius(first + i, trials)] for i in range(n)]) * ordered
        low, high = np.maximum(centre - reach, 0.0), np.minimum(centre + reach, 1.0)
        sobol = np.stack([_sobol(len(ordered), self.size - 1, seed_of(seed, first + i, CLOUD)) for i in range(n)])
        u = low[:, None] + sobol * (high - low)[:, None]  # (n, size - 1, searched)
        both = pd.concat([points, space.from_unit(u.reshape(-1, len(ordered)))], ignore_index=True)
        others = n + np.arange(n * (self.size - 1)).reshape(n, -1)
        return both.iloc[np.column_stack([np.arange(n), others]).ravel()].reset_index(drop=True)

    def summary(self, scores: FloatArray) -> pd.DataFrame:
        """What is kept of each cloud's scores (n, size): the columns `SUMMARY`, n rows."""
        return pd.DataFrame([self._summary(row) for row in scores], columns=list(SUMMARY))

    def carriers(self, scores: FloatArray, told: FloatArray) -> IntArray:
        """The member (n,) that stands for each cloud (n, size): of the best score that is not above the one told (n,).

        Its margins are the trial's constraints: they are of a configuration that exists, where a statistic of each
        margin by itself could meet every target by another member.
        """
        # a mean of equal scores may lie an ulp below all of them
        within = np.where(scores <= np.maximum(told, scores.min(axis=1))[:, None], scores, -np.inf)
        members: IntArray = within.argmax(axis=1)
        return members

    @property
    def _last(self) -> float:
        return self.start if self.end is None else self.end

    def _summary(self, scores: FloatArray) -> tuple[float, float, float, float]:
        lower, median, upper = (float(q) for q in np.quantile(scores, [0.25, 0.5, 0.75]))
        best = float(scores.max())
        match self.statistic:
            case "median":
                told = median
            case "mean":
                told = float(scores.mean())
            case "best":
                told = best
            case share:
                told = float(np.quantile(scores, float(share)))
        return told, best, median, upper - lower


def too_wide(radius: float) -> str:
    """The sentence that refuses a radius beyond `WIDEST`.

    The wider a cloud, the less its scores say of its point: of one as wide as the range, only which half it lies in.
    """
    return (
        f"at most {WIDEST:g} of each range must hold, got {radius:g}: a cloud reaches so far to either side, so this "
        "one is wider than the range and says little of its point; take 0.1, or {start: 0.3, end: 0.05}"
    )


def _sobol(dimensions: int, n: int, seed: int) -> FloatArray:
    """The first n points of the Sobol sequence that `seed` scrambles."""
    from scipy.stats import qmc  # half a second; whoever reads a study file draws none

    with warnings.catch_warnings():
        # 31 points beside the suggested one are 32 together; that they alone are no power of two is meant
        warnings.filterwarnings("ignore", message="The balance properties", category=UserWarning)
        points: FloatArray = qmc.Sobol(dimensions, scramble=True, rng=seed).random(n)
    return points
