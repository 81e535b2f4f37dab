"""The parts of a history that a winner is judged on: even blocks for cross-validation, folds for walking forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kernels.blocks import Blocks, BlockStatistics
from kernels.metrics import measure
from search.targets import Targets

Range = tuple[int, int]  # the first block of statistics, and the one after the last
SUM, SQUARES, SCORE = "block_sum_", "block_squares_", "fold_score_"


@dataclass(frozen=True, slots=True)
class Fold:
    """A stretch on which configurations are compared, and the one after it on which the best is tried."""

    train: Range
    test: Range


@dataclass(frozen=True)
class Periods:
    """What is kept of every configuration beside its metrics.

    `blocks` are S stretches of about even length: of each the sum and the sum of squares of the bar returns. `folds` are
    those of walking forward: of each the score on its training stretch. All in blocks of statistics (calendar months).
    """

    blocks: tuple[Range, ...]
    folds: tuple[Fold, ...]
    targets: Targets
    bars_per_year: float
    columns: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        names = [f"{kind}{b:02d}" for kind in (SUM, SQUARES) for b in range(len(self.blocks))]
        names += [f"{SCORE}{k:02d}" for k in range(len(self.folds))]
        object.__setattr__(self, "columns", tuple(names))

    def keep(self, statistics: BlockStatistics) -> pd.DataFrame:
        """(C, columns) of C configurations; float32, whose rounding is far below a block's own noise."""
        kept = np.empty((len(self.columns), statistics.values.shape[2]), dtype=np.float32)  # noqa: PD011 - an array
        S = len(self.blocks)
        with np.errstate(over="ignore"):
            for b, block in enumerate(self.blocks):
                sums = statistics.composed(np.arange(*block))
                kept[b], kept[S + b] = sums["r1"], sums["r2"]
            for k, fold in enumerate(self.folds):
                kept[2 * S + k] = self.score(statistics, fold.train)["score"]
        return pd.DataFrame(kept.T, columns=list(self.columns))

    def score(self, statistics: BlockStatistics, stretch: Range) -> pd.DataFrame:
        """Metrics that have a target, score, targets_met, status and margins on one stretch; a row per configuration."""
        values, ok = measure(statistics, self.bars_per_year, np.arange(*stretch), self.targets.metrics)
        metrics = pd.DataFrame(values.T, columns=list(self.targets.metrics))
        scores = self.targets.score(metrics.assign(status=np.where(ok, "ok", "invalid")))
        return pd.concat([metrics, scores], axis="columns")


def is_kept(column: str) -> bool:
    """Whether a column of results is one of `Periods.columns`.

    >>> is_kept("block_sum_03"), is_kept("sharpe")
    (True, False)
    """
    return column.startswith((SUM, SQUARES, SCORE))


def is_result(column: str) -> bool:
    """Whether a column is of the results themselves."""
    return not is_kept(column)


def is_over_time(column: str) -> bool:
    """Whether a column says what is kept of a configuration over time, or which configuration that is."""
    return is_kept(column) or column in ("trial", "status")


def only(wanted: Callable[[str], bool], table: pd.DataFrame) -> pd.DataFrame:
    """The columns of a table that are wanted."""
    return table[[name for name in table.columns if wanted(name)]]


def even(blocks: Blocks, count: int) -> tuple[Range, ...]:
    """`count` runs of blocks with about as many bars each, at most one per block.

    >>> even(Blocks(np.array([1, 5, 9, 13, 17, 21]), np.arange(21).astype("datetime64[D]")), 2)
    ((0, 2), (2, 5))
    """
    ends = np.cumsum(blocks.bars)
    cuts = [0]
    for k in range(1, count):
        wanted = ends[-1] * k / count
        nearest = 1 + int(np.abs(ends - wanted).argmin())
        cuts.append(min(max(nearest, cuts[-1] + 1), len(blocks) - (count - k)))
    return tuple(pairwise([*cuts, len(blocks)]))


def walk(blocks: Blocks, count: int, *, rolling: bool) -> tuple[Fold, ...]:
    """`count` folds whose tests make up the second half of the blocks; each trains on all before its test, or (`rolling`)
    on as much as the first does."""
    (first, half), (_, end) = even(blocks, 2)
    rest = Blocks(blocks.edges[half:], blocks.timestamps)
    tests = [(half + a, half + b) for a, b in even(rest, count)] if end - half >= count else []
    length = half - first
    return tuple(Fold((a - length if rolling else first, a), (a, b)) for a, b in tests)


def bars_of(blocks: Blocks, stretches: Sequence[Range]) -> NDArray[np.int64]:
    """Bars in each stretch."""
    return np.array([int(blocks.bars[a:b].sum()) for a, b in stretches], dtype=np.int64)
