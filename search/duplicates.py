"""Configurations that come up again: told apart by their exact values, and not backtested twice.

A backtest gives the same numbers whenever it is run, so the metrics of an earlier trial are those of its repetition.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kernels.market import FloatArray
from search.dimension import IntArray
from search.space import Space

MOST = 131_072  # configurations whose metrics are remembered: some 30 numbers each, 32 MB


@dataclass(frozen=True, slots=True)
class Repeats:
    """Which rows of a table are to be backtested, and where the metrics of every row are found then.

    `source` (rows,) counts on from the `remembered` configurations of `Known` into those that are new.
    """

    new: IntArray
    source: IntArray
    remembered: int


def canonical(space: Space, configurations: pd.DataFrame) -> FloatArray:
    """The searched values (C, searched) as numbers, equal to the bit where two configurations are the same one.

    Zero has no sign, a parameter that is off is one NaN, and a word is its place among the words there are.
    """
    columns = [_numbers(space, name, configurations[name]) for name in space.searched]
    return np.column_stack(columns) if columns else np.zeros((len(configurations), 1))


def distinct(space: Space, tables: Iterable[pd.DataFrame]) -> int:
    """How many different configurations the tables hold, in one pass; eight bytes of memory each.

    Two of a million would share a digest of 64 bits once in thirty million such counts.
    """
    seen: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
    for table in tables:
        seen = np.asarray(np.union1d(seen, digests(canonical(space, table))), dtype=np.uint64)
    return len(seen)


def digests(rows: FloatArray) -> NDArray[np.uint64]:
    """64 bits (C,) for each row (C, columns) of numbers; equal rows have equal ones, whatever table they stand in."""
    return np.asarray(pd.util.hash_pandas_object(pd.DataFrame(rows), index=False), dtype=np.uint64)


class Known:
    """Metrics of the configurations of a study that were told, as far as there is room for them.

    What there is no room for, and what could not be computed, is backtested again: to the same numbers.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._place: dict[bytes, int] = {}
        self._metrics = pd.DataFrame()

    @property
    def full(self) -> bool:
        """Whether there is room for no more."""
        return len(self._place) >= MOST

    def split(self, configurations: pd.DataFrame) -> Repeats:
        """What of a batch has to be backtested: each configuration that is not known, once."""
        rows = canonical(self._space, configurations)
        known = len(self._place)
        new: list[int] = []
        first: dict[bytes, int] = {}
        source = np.empty(len(rows), dtype=np.int64)
        for i, row in enumerate(rows):
            key = row.tobytes()
            place = self._place.get(key)
            if place is None:
                if key not in first:
                    first[key] = known + len(new)
                    new.append(i)
                place = first[key]
            source[i] = place
        return Repeats(np.array(new, dtype=np.int64), source, known)

    def complete(self, repeats: Repeats, metrics: pd.DataFrame) -> pd.DataFrame:
        """The metrics of every row of a batch, from those of its new configurations."""
        if len(repeats.new) == len(repeats.source):
            return metrics.reset_index(drop=True)
        metrics = metrics.reset_index(drop=True)
        if not repeats.remembered:
            return metrics.iloc[repeats.source].reset_index(drop=True)
        before = self._metrics.iloc[: repeats.remembered][list(metrics.columns)]
        both = pd.concat([before, metrics], ignore_index=True) if len(metrics) else before
        return both.iloc[repeats.source].reset_index(drop=True)

    def add(self, configurations: pd.DataFrame, metrics: pd.DataFrame) -> None:
        """Remember what was computed of new configurations (the same rows)."""
        keys = [row.tobytes() for row in canonical(self._space, configurations)]
        computed = (
            (metrics["status"] != "quarantined").to_numpy() if "status" in metrics else np.ones(len(keys), dtype=bool)
        )
        kept: list[int] = []
        for i, key in enumerate(keys):
            if not self.full and computed[i] and key not in self._place:
                self._place[key] = len(self._place)
                kept.append(i)
        rows = metrics.iloc[kept]
        self._metrics = pd.concat([self._metrics, rows], ignore_index=True) if len(self._metrics) else rows


def known(space: Space, tables: Iterable[pd.DataFrame]) -> Known:
    """What the results of a study that is resumed say of its configurations, the latest left out where there are many."""
    found = Known(space)
    parameters = [p.name for p in space.strategy.parameters]
    names = {space.measured(name): name for name in parameters}
    for table in tables:
        if found.full:
            break
        found.add(table, table.drop(columns=parameters).rename(columns=names))
    return found


def _numbers(space: Space, name: str, values: pd.Series) -> FloatArray:
    words = space.strategy.parameter(name).choices
    if words:
        places = {word: float(place) for place, word in enumerate(words)}
        return np.array([places.get(value, np.nan) for value in values])
    numbers = values.to_numpy(dtype=np.float64) + 0.0  # -0.0 + 0.0 is 0.0
    return np.where(np.isnan(numbers), np.nan, numbers)
