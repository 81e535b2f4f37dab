"""Trials whose points are known beforehand: any process makes them, scores what they measured, and hands over a part."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from kernels.strategy import ParameterValue, Strategy
from search.dimension import Dimension
from search.parts import encoded
from search.samplers import POINTS
from search.space import Space
from search.targets import Targets


class Part(NamedTuple):
    """Trials `first` .. `first + rows - 1`, scored, as the bytes of the Parquet file that keeps them.

    `sha256` is the file's where it was written, so that it guards the way here too. `seconds` went into backtesting
    them, the rest of a worker's time into all else.
    """

    first: int
    rows: int
    file: pa.Buffer
    sha256: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Points:
    """What a worker must know of a study to make its trials from their numbers; the strategy it has already."""

    constants: Mapping[str, ParameterValue]
    dimensions: Mapping[str, Dimension]
    targets: Targets
    sampler: str
    seed: int

    def configurations(self, strategy: Strategy, first: int, end: int) -> pd.DataFrame:
        """The points of trials `first` .. `end - 1`."""
        return POINTS[self.sampler](self._space(strategy), first, end - first, self.seed)

    def part(self, strategy: Strategy, first: int, configurations: pd.DataFrame, metrics: pd.DataFrame) -> Part:
        """The trials from `first` on, scored and written."""
        rows = scored(self._space(strategy), self.targets, configurations, metrics)
        rows.insert(0, "trial", first + np.arange(len(rows)))
        file = encoded(rows)
        return Part(first, len(rows), file, hashlib.sha256(file).hexdigest())

    def _space(self, strategy: Strategy) -> Space:
        return Space(strategy, self.constants, self.dimensions)


def scored(space: Space, targets: Targets, configurations: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """One row per configuration: parameters, metrics (`Space.measured`), score, targets_met, status, margins."""
    metrics = metrics.reset_index(drop=True)
    measured = metrics.drop(columns="status", errors="ignore").rename(columns=space.measured)
    return pd.concat([configurations.reset_index(drop=True), measured, targets.score(metrics)], axis="columns")
