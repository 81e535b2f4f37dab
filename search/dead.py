"""Dead parameters: values between which nothing changes, or nothing that a reader of the results would see.

A grid has tried every value in every setting of the other parameters, so its results tell. Of any other study the winner
and some random configurations are probed: each searched parameter alone is moved over its range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kernels.market import FloatArray
from kernels.strategy import ParameterValue
from search.dimension import Dimension, Values
from search.duplicates import digests
from search.space import Space
from search.targets import Targets

MOST_VALUES = 16  # of a parameter that is probed
SETTINGS = 9  # of the others it is probed in: the winner's, and random ones
HARDLY = 0.005  # of a margin: two decimals, as results are shown, do not tell such values apart
WORTH_TELLING = 0.25  # of the values looked at: of a range, two that lie close do hardly differ
NOTHING, MOST, LEAST = -1e300, 1e300, -9e299  # margins that are no numbers: equal to themselves, far from all others

Digests = NDArray[np.uint64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Dead:
    """Values of a parameter `tried` between which nothing changed, at so many `settings` of the other parameters.

    Numbers are all values looked at from the first to the last one; `everywhere`: there were no others. `moved` is the most
    by which a target's margin changed at any setting; where it is None no metric changed at all.
    """

    parameter: str
    tried: tuple[ParameterValue, ...]
    settings: int
    everywhere: bool
    moved: float | None = None

    @property
    def sentence(self) -> str:
        """It in words.

        >>> Dead("band", (0.1, 0.2, 0.3), 9, False).sentence
        'band: no effect on any metric between 0.1 and 0.3 (3 values at 9 settings of the other parameters)'
        >>> Dead("band", (0.1, 0.2), 9, False, 0.0012).sentence.split(" (")[0]
        'band: hardly any effect between 0.1 and 0.2, no margin moves by more than 0.0012'
        """
        what = "no effect on any metric" if self.moved is None else "hardly any effect"
        where = "anywhere that was looked at" if self.everywhere else f"between {self._ends}"
        much = "" if self.moved is None else f", no margin moves by more than {self.moved:.2g}"
        looked = f"{len(self.tried)} values at {self.settings:,} setting{'' if self.settings == 1 else 's'}"
        return f"{self.parameter}: {what} {where}{much} ({looked} of the other parameters)"

    @property
    def _ends(self) -> str:
        said = [_said(value) for value in self.tried]
        return f"{said[0]} and {said[-1]}" if _numbers(self.tried) else f"{', '.join(said[:-1])} and {said[-1]}"


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of configurations, of any shape: the digest of their metrics, their margins (a last axis of
    targets), and whether they could be computed."""

    metrics: Digests
    margins: FloatArray
    known: Mask

    def shaped(self, *shape: int) -> Measured:
        """The same, laid out otherwise."""
        margins = self.margins.reshape(*shape, self.margins.shape[-1])
        return Measured(self.metrics.reshape(shape), margins, self.known.reshape(shape))


def dead_of_grid(space: Space, targets: Targets, tables: Iterable[pd.DataFrame]) -> list[Dead]:
    """What the results of a whole grid, in trial order, say; eight bytes of memory a configuration, and as many a target."""
    columns = [space.measured(name) for name in space.strategy.metrics]
    parts = [_measured(table, [name for name in columns if name in table], targets) for table in tables]
    whole = Measured(
        np.concatenate([part.metrics for part in parts]),
        np.concatenate([part.margins for part in parts]),
        np.concatenate([part.known for part in parts]),
    )
    shape = [dimension.count or 1 for dimension in space.dimensions.values()]
    grid = whole.shaped(*shape)
    found = []
    for axis, (name, dimension) in enumerate(space.dimensions.items()):
        across = Measured(
            np.moveaxis(grid.metrics, axis, -1), np.moveaxis(grid.margins, axis, -2), np.moveaxis(grid.known, axis, -1)
        )
        values = dimension.pick(np.arange(shape[axis]))
        found += _found(name, _plain(values), across.shaped(-1, shape[axis]))
    return found


def dead_by_probing(
    space: Space, targets: Targets, settings: pd.DataFrame, measure: Callable[[pd.DataFrame], pd.DataFrame]
) -> list[Dead]:
    """What `measure` (configurations to metrics and status) says when each searched parameter alone is moved over up to
    `MOST_VALUES` of its values in each of the `settings` (n configurations); one call of it for all."""
    n = len(settings)
    chosen = {name: _some(dimension) for name, dimension in space.dimensions.items()}
    if not chosen:
        return []
    probes = [
        settings.loc[settings.index.repeat(len(values))].assign(**{name: np.tile(values, n)})
        for name, values in chosen.items()
    ]
    metrics = measure(pd.concat(probes, ignore_index=True))
    scored = pd.concat([metrics, targets.score(metrics).drop(columns="status")], axis="columns")
    found, first = [], 0
    for name, values in chosen.items():
        rows = scored.iloc[first : first + n * len(values)]
        first += len(rows)
        found += _found(name, _plain(values), _measured(rows, [*metrics.columns.drop("status")], targets).shaped(n, -1))
    return found


def _found(name: str, values: Sequence[ParameterValue], across: Measured) -> list[Dead]:
    """The groups of values of a parameter that cannot be told apart at any setting; `across` is (settings, values)."""
    if len(values) < 2:
        return []
    settings = len(across.metrics)
    same = [group for group in _groups(values, lambda group: _equal(across, group)) if len(group) > 1]
    near = [group for group in _groups(values, lambda group: _moved(across, group) <= HARDLY) if len(group) > 1]
    near = [group for group in near if len(group) >= WORTH_TELLING * len(values)]
    groups = [(group, None) for group in same] + [(group, _moved(across, group)) for group in near if group not in same]
    return [Dead(name, _in_order(values, group), settings, len(group) == len(values), moved) for group, moved in groups]


def _groups(values: Sequence[ParameterValue], alike: Callable[[list[int]], bool]) -> list[list[int]]:
    """Values, by their places, put together as long as all of a group are `alike`. Only neighbours where they are numbers:
    what is dead between two of them is so between all that lie there."""
    order = list(range(len(values)))
    numbers = _numbers(values)
    if numbers:
        order.sort(key=lambda i: float(values[i] or 0.0))
    groups: list[list[int]] = []
    for i in order:
        candidates = groups[-1:] if numbers else groups
        joined = next((group for group in candidates if alike([*group, i])), None)
        if joined is None:
            groups.append([i])
        else:
            joined.append(i)
    return groups


def _in_order(values: Sequence[ParameterValue], group: list[int]) -> tuple[ParameterValue, ...]:
    """The values of a group as the study lists them, where that falls as evenly as it could rise."""
    listed = sorted(group)
    falls = group[::-1] == listed
    return tuple(values[i] for i in (listed if falls or not _numbers(values) else group))


def _equal(across: Measured, group: list[int]) -> bool:
    """Whether no metric tells the last value of a group from the one before it."""
    one, other = group[-2:]
    both = across.known[:, one] & across.known[:, other]
    return bool(both.any() and (across.metrics[both, one] == across.metrics[both, other]).all())


def _moved(across: Measured, group: list[int]) -> float:
    """The most by which a margin differs between any two values of a group, at any setting; infinite where no setting
    was computed."""
    margins = across.margins[:, group]  # (settings, group, targets)
    known = across.known[:, group].all(axis=1)
    return float(np.ptp(margins[known], axis=1).max()) if known.any() else np.inf


def _measured(rows: pd.DataFrame, metrics: list[str], targets: Targets) -> Measured:
    numbers = rows[metrics].to_numpy(dtype=np.float64) + 0.0  # zero has no sign
    margins = rows[[f"margin_{name}" for name in targets.metrics]].to_numpy(dtype=np.float64)
    status = rows["status"].to_numpy(dtype=object)
    return Measured(
        digests(np.where(np.isnan(numbers), np.nan, numbers)),
        np.nan_to_num(margins, nan=NOTHING, posinf=MOST, neginf=LEAST),
        np.asarray(status != "quarantined", dtype=np.bool_),
    )


def _some(dimension: Dimension) -> Values:
    """Values of a parameter, all or evenly chosen, in its order; both ends of a range among them."""
    if dimension.count is None:
        return dimension.from_unit(np.linspace(0.0, np.nextafter(1.0, 0.0), MOST_VALUES))
    places = np.linspace(0, dimension.count - 1, min(dimension.count, MOST_VALUES)).round().astype(np.int64)
    return dimension.pick(places)


def _plain(values: Values) -> list[ParameterValue]:
    return [None if isinstance(value, float) and np.isnan(value) else value for value in values.tolist()]


def _numbers(values: Sequence[ParameterValue]) -> bool:
    return all(isinstance(value, float) for value in values)


def _said(value: ParameterValue) -> str:
    return "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
