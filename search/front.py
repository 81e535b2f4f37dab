"""The front: of all configurations tried those that no other beats in every objective at once, its knee, and the pick.

Sources: knee: Das (1999), Structural Optimization 18, 107-115; dominance: Kung, Luccio, Preparata (1975), Journal of the ACM
22, 469-476; pick: `search.objectives`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kernels.market import FloatArray
from search.objectives import Objectives

BoolArray = NDArray[np.bool_]
CHUNK = 512  # points compared at once with a tile of the front: a few megabytes, which stay in a core's cache
TILE = 2048
STRONGEST = 64  # of the front, which dominate most of what is dominated
FEWEST_FOR_KNEE = 3
NO_BULGE = 1e-9  # of the objectives' ranges: a straight front, to rounding


@dataclass(frozen=True)
class Front:
    """The front of a study.

    `rows` are as a study's results, best in the first objective first, with `knee` and `reference` (bool), each true of one
    row at most. Of configurations with equal objectives the earliest stands for all. `met` says whether they meet every
    target; where none does, the front is that of all valid configurations.
    """

    rows: pd.DataFrame
    met: bool

    @property
    def knee(self) -> pd.Series | None:
        """The row where the front bends most; None where it does not."""
        return self._marked("knee")

    @property
    def reference(self) -> pd.Series | None:
        """The pick; None where nothing is valid."""
        return self._marked("reference")

    def _marked(self, mark: str) -> pd.Series | None:
        found = self.rows[self.rows[mark]]
        return found.iloc[0] if len(found) else None


def front_of(objectives: Objectives, tables: Iterable[pd.DataFrame]) -> Front:
    """The front of results that come in pieces, in trial order; what is held is the front so far and one piece."""
    kept, best = pd.DataFrame(), 0  # the standing of what is kept
    for table in tables:
        if best == 0:
            kept = table.iloc[:0]
        standing = objectives.standing(table)
        top = int(standing.max(initial=0))
        if top == 0 or top < best:
            continue
        own = table[standing == top]
        own = own[non_dominated(objectives.values(own))]
        kept = pd.concat([kept, own], ignore_index=True) if top == best else own
        kept = kept[non_dominated(objectives.values(kept))]
        best = top
    if best == 0:
        return Front(kept.assign(knee=np.zeros(0, np.bool_), reference=np.zeros(0, np.bool_)), met=False)
    first = -objectives.values(kept)[:, 0]
    rows = kept.iloc[np.argsort(first, kind="stable")].reset_index(drop=True)
    bend = knee(objectives.values(rows))
    positions = np.arange(len(rows))
    rows["knee"] = positions == (-1 if bend is None else bend)
    rows["reference"] = positions == objectives.best_first(rows)[0]
    return Front(rows, met=best == 2)


def non_dominated(values: FloatArray) -> BoolArray:
    """(N,) which of N points (N, K), larger is better, no other dominates; of equal points the first.

    O(N log N) for two objectives. For more, O(N F) with F the size of the front: a point is compared with the front of those
    that stand before it by the sum of their ranks, since nothing that dominates it can stand behind.

    >>> non_dominated(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]))
    array([ True,  True, False, False])
    """
    kept = np.zeros(len(values), dtype=np.bool_)
    if len(values) == 0:
        return kept
    # ranks order points as their values do, and their sums are exact
    ranks = [np.unique(column, return_inverse=True)[1].astype(np.int32) for column in values.T]
    if len(ranks) == 2:
        order = np.lexsort((-ranks[1], -ranks[0]))
        second = ranks[1][order]
        beaten = np.maximum.accumulate(second)
        kept[order[0]] = True
        kept[order[1:]] = second[1:] > beaten[:-1]
        return kept
    order = np.argsort(-np.sum(ranks, axis=0, dtype=np.int64), kind="stable")
    points = np.stack([rank[order] for rank in ranks])  # (K, N)
    front = points[:, :0]
    for start in range(0, len(order), CHUNK):
        chunk = points[:, start : start + CHUNK]
        left = np.arange(chunk.shape[1])
        edges = [0, *range(STRONGEST, front.shape[1], TILE), front.shape[1]]
        for low, high in itertools.pairwise(edges):
            left = left[~_beaten(chunk[:, left], front[:, low:high]).any(axis=1)]
            if len(left) == 0:
                break
        # among themselves, too, only those before can dominate; equal ones leave the first
        left = left[~np.tril(_beaten(chunk[:, left], chunk[:, left]), -1).any(axis=1)]
        front = np.concatenate([front, chunk[:, left]], axis=1)
        kept[order[start + left]] = True
    return kept


def knee(values: FloatArray) -> int | None:
    """Position of the point of a front (N, K), larger is better, that lies farthest beyond the hyperplane through its extremes.

    Objectives are scaled to [0, 1] over the front. None of fewer than three points, and where none lies beyond it.

    >>> knee(np.array([[0.0, 1.0], [0.8, 0.8], [1.0, 0.0]])), knee(np.array([[0.0, 1.0], [0.2, 0.2], [1.0, 0.0]]))
    (1, None)
    """
    low, high = values.min(axis=0), values.max(axis=0)
    varied = high > low
    if len(values) < FEWEST_FOR_KNEE or varied.sum() < 2:
        return None
    unit = ((values - low) / np.where(varied, high - low, 1.0))[:, varied]
    normal = _normal(unit)
    beyond = ((unit * normal).sum(axis=1) - 1.0) / np.sqrt((normal**2).sum())
    top = int(beyond.argmax())
    return top if beyond[top] > NO_BULGE else None


def _normal(unit: FloatArray) -> FloatArray:
    """w, with w u = 1 on the hyperplane through the extremes; where they span none that bounds the front from below in every
    objective, through the best of each objective beside the worst of all others, as Deb and Jain (2014) do."""
    total = unit.sum(axis=1)
    extremes = np.array([unit[np.lexsort((-total, -unit[:, k]))[0]] for k in range(unit.shape[1])])
    even = np.ones(unit.shape[1])
    if np.linalg.cond(extremes) > 1e8:
        return even
    normal = np.linalg.solve(extremes, even)
    return normal if (normal > 0.0).all() else even


def _beaten(points: NDArray[np.int32], by: NDArray[np.int32]) -> BoolArray:
    """(n, m) whether point j of `by` (K, m) is in nothing below point i of `points` (K, n)."""
    beaten = np.ones((points.shape[1], by.shape[1]), dtype=np.bool_)
    for own, other in zip(points, by, strict=True):
        beaten &= own[:, None] <= other[None, :]
    return beaten
