r"""Several objectives: which metrics a study holds against each other, and in what order that puts its configurations.

Configurations are ordered by achievement, the targets being the reference point and |T - R| the scale. With z_i the margin
of objective i (`search.targets`), over the objectives that have a target::

    achievement = min_i z_i + rho sum_i z_i,    rho = 0.001

Those that meet every target stand before those that do not. Since achievement rises with every margin, and equal ones are
ordered by the objectives themselves, the first of all is never dominated: it is the reference-point pick, a study's winner.

Source: Wierzbicki (1980), The use of reference objectives in multiobjective optimization.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from optuna.study import StudyDirection

from kernels.errors import InputError
from kernels.market import FloatArray
from search.hint import hint
from search.space import Space
from search.targets import Targets

RHO = 1e-3  # so small that the worst margin decides, so large that float64 tells the rest


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric of which more (+1) or less (-1) is better; `column` is its name in a study's results."""

    metric: str
    column: str
    direction: int
    targeted: bool


@dataclass(frozen=True)
class Objectives:
    """The metrics held against each other; every target of the study is a constraint."""

    each: tuple[Objective, ...]
    targets: Targets

    @classmethod
    def of(cls, names: Sequence[str] | None, targets: Targets, space: Space) -> Objectives:
        """The objectives of a study file, the targets' metrics where it names none; InputError with every mistake.

        Better is what a metric's target says, else what the metric is known for.
        """
        wanted = {target.metric: target.direction for target in targets.targets}
        listed = list(wanted if names is None else names)
        metrics = space.strategy.metrics
        directions = {name: wanted.get(name) or metrics[name].good for name in listed if name in metrics}
        problems = list(_refused(listed, targets, space, directions))
        if problems:
            raise InputError(problems)
        return cls(tuple(Objective(n, space.measured(n), directions[n], n in wanted) for n in listed), targets)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(objective.metric for objective in self.each)

    @property
    def spec(self) -> dict[str, str]:
        """The objectives in plain values (JSON)."""
        return {o.metric: "maximize" if o.direction > 0 else "minimize" for o in self.each}

    @property
    def directions(self) -> list[StudyDirection]:
        """The same for Optuna."""
        return [StudyDirection.MAXIMIZE if o.direction > 0 else StudyDirection.MINIMIZE for o in self.each]

    def values(self, rows: pd.DataFrame) -> FloatArray:
        """(N, objectives), larger is better, of N rows of results."""
        table = rows[[o.column for o in self.each]].to_numpy(dtype=np.float64, na_value=np.nan)
        oriented: FloatArray = table * np.array([float(o.direction) for o in self.each])
        return oriented

    def standing(self, rows: pd.DataFrame) -> NDArray[np.int64]:
        """(N,) 2 where every target is met, 1 where not, 0 where a configuration is not "ok" or an objective not finite."""
        valid = (rows["status"] == "ok").to_numpy() & np.isfinite(self.values(rows)).all(axis=1)
        met = (rows["targets_met"] == len(self.targets.metrics)).to_numpy()
        return np.where(valid, 1 + met.astype(np.int64), 0)

    def achievement(self, rows: pd.DataFrame) -> FloatArray:
        """(N,) how far beyond the targets, in the scale of the one that is worst kept; below 0 where one is missed."""
        margins = rows[[f"margin_{o.metric}" for o in self.each if o.targeted]].to_numpy(dtype=np.float64)
        worst, total = margins[:, 0], margins[:, 0]
        for margin in margins.T[1:]:
            worst, total = np.minimum(worst, margin), total + margin
        return np.asarray(worst + RHO * total)

    def best_first(self, rows: pd.DataFrame) -> NDArray[np.intp]:
        """(N,) positions of the rows: by standing, then achievement, then the objectives in their order; then as they stand."""
        standing = self.standing(rows)
        keys = [self.achievement(rows), *self.values(rows).T]
        known = [np.where(standing > 0, key, 0.0) for key in keys]
        return np.lexsort([-key for key in reversed([standing, *known])])

    def told(self, rows: pd.DataFrame) -> list[list[float]]:
        """What Optuna is told of each row: its objectives, all of them the worst there is where the row has no standing."""
        worst = [-o.direction * math.inf for o in self.each]
        values = rows[[o.column for o in self.each]].to_numpy(dtype=np.float64, na_value=np.nan).tolist()
        return [value if known else worst for value, known in zip(values, self.standing(rows) > 0, strict=True)]

    def carriers(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows with the margins that Optuna is told as constraints: none is kept where the row has no standing."""
        margins = [f"margin_{metric}" for metric in self.targets.metrics]
        known = rows[margins].where(pd.Series(self.standing(rows) > 0, index=rows.index), np.nan)
        return rows.assign(**{name: known[name] for name in margins})


def _refused(listed: Sequence[str], targets: Targets, space: Space, directions: dict[str, int]) -> Iterator[str]:
    """What is wrong with these objectives."""
    where, metrics = "search.objectives", space.strategy.metrics
    for name in dict.fromkeys(listed):
        if name not in metrics:
            yield f"{where}: objective on unknown metric '{name}'; {hint(name, metrics, 'metrics')}"
        elif directions[name] == 0:
            yield (
                f"{where}: neither more nor less of {name} is better; give it a target (at_least or at_most), or leave it out"
            )
        if listed.count(name) > 1:
            yield f"{where}: {name} is listed {listed.count(name)} times; list it once"
    if len(set(listed)) < 2:
        yield (
            f"{where}: pareto holds at least two metrics against each other, got {', '.join(listed) or 'none'}; "
            "list another, or use objective: score"
        )
    if listed and not set(listed) & set(targets.metrics):
        yield (
            f"{where}: at least one needs a target, by which the winner is picked from the front; targets are on "
            f"{', '.join(targets.metrics)}, got {', '.join(listed)}"
        )
