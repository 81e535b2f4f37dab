"""Whether the winner stands on a plateau or on a needle: how the configurations round it score, and how each parameter does.

A setting that is a little wrong should do nearly as well: what will be traded is never quite what was measured.
Everything is of the configurations that were evaluated; nothing is backtested for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kernels.market import FloatArray
from search.space import Space

REACH = 0.1  # of each searched range, to either side of the winner
BINS = 20  # of a profile, where a parameter has more values
SAME = 1e-9  # of a range: closer is the same value, written and read


@dataclass(frozen=True)
class Plateau:
    """The winner's neighbours, and a profile per searched parameter.

    A neighbour lies within `REACH` of each searched range of the winner, or one step where steps are coarser; words, and
    lists with `null`, must be the winner's own. `median`, `low` and `high` (quartiles) are of their scores, `meet` is the
    share that meets every target: NaN without neighbours.

    A profile has a row per value of its parameter, or per twentieth of its range where it has more than 20 values:
    `value` (the middle one; `low` and `high` are the ends in the range), `count`, `median` and `best` score of all
    configurations there, and `near_count`, `near_median`, `near_best` of those whose other parameters are near the winner's.
    """

    winner: float
    count: int
    median: float
    low: float
    high: float
    meet: float
    profiles: dict[str, pd.DataFrame]

    @property
    def line(self) -> str:
        """In a sentence."""
        if not self.count:
            return (
                f"nothing was tried within {REACH:.0%} of each range of the winner: whether it is a needle is not known"
            )
        are = "its one neighbour scores" if self.count == 1 else f"its {self.count:,} neighbours score"
        return (
            f"{are} {self.median:.2f} in the median (winner {self.winner:.2f}), {_share(self.meet)} of them "
            "meeting every target"
        )


def plateau(tables: Iterable[pd.DataFrame], space: Space, winner: pd.DataFrame, *, targets: int) -> Plateau:
    """Look at all configurations of a study once.

    `tables` (`Study.configurations`) have the parameters, `score`, `targets_met` and `status`; `winner` is one such row,
    `targets` how many there are. Configurations that could not be computed are passed over. Memory: 10 bytes and 2 per
    searched parameter for each configuration.
    """
    centre = space.to_unit(winner)[0] if space.dimensions else np.empty(0)
    dimensions = list(space.dimensions.values())
    reach = np.array([max(REACH, 1.0 / d.count if d.count else 0.0) if d.ordered else 0.0 for d in dimensions])
    bins = [d.count if d.count is not None and d.count <= BINS else BINS for d in dimensions]
    scores, met, close, cells, itself = [], [], [], [], []
    for table in tables:
        rows = table[(table["status"] != "quarantined").to_numpy()]
        u = space.to_unit(rows) if dimensions else np.empty((len(rows), 0))
        away = np.abs(u - centre)
        scores.append(rows["score"].to_numpy(dtype=np.float64))
        met.append(rows["targets_met"].to_numpy() == targets)
        close.append(away <= reach + SAME)  # (n, searched)
        itself.append((away <= SAME).all(axis=1))
        cells.append(np.clip((u * bins).astype(np.int64), 0, np.array(bins) - 1).astype(np.uint8))
    score, near = np.concatenate(scores), np.concatenate(close)
    neighbour = near.all(axis=1) & ~np.concatenate(itself)
    around = score[neighbour]
    low, median, high = np.quantile(around, [0.25, 0.5, 0.75]) if len(around) else np.full(3, np.nan)
    far = (~near).sum(axis=1)
    cell = np.concatenate(cells)
    profiles = {
        name: _profile(space, i, bins[i], score, cell[:, i], far - ~near[:, i] == 0)
        for i, name in enumerate(space.searched)
    }
    return Plateau(
        winner=float(winner["score"].iloc[0]),
        count=len(around),
        median=float(median),
        low=float(low),
        high=float(high),
        meet=float(np.concatenate(met)[neighbour].mean()) if len(around) else float("nan"),
        profiles=profiles,
    )


def _profile(
    space: Space, i: int, bins: int, score: FloatArray, cell: NDArray[np.uint8], near: NDArray[np.bool_]
) -> pd.DataFrame:
    """The profile of the i-th searched parameter; of places where nothing was tried the scores are NaN."""
    dimension = list(space.dimensions.values())[i]
    edges = np.arange(bins + 1) / bins
    inside = np.minimum(edges, np.nextafter(1.0, 0.0))
    table = pd.DataFrame(
        {
            "value": dimension.from_unit((edges[:-1] + edges[1:]) / 2),
            "low": dimension.from_unit(inside[:-1]),
            "high": dimension.from_unit(np.nextafter(inside[1:], 0.0)),
        }
    )
    for prefix, chosen in (("", slice(None)), ("near_", near)):
        groups = _by_cell(score[chosen], cell[chosen], bins)
        table[f"{prefix}count"] = [len(group) for group in groups]
        table[f"{prefix}median"] = [np.median(group) if len(group) else np.nan for group in groups]
        table[f"{prefix}best"] = [group.max() if len(group) else np.nan for group in groups]
    return table


def _by_cell(score: FloatArray, cell: NDArray[np.uint8], bins: int) -> list[FloatArray]:
    order = np.argsort(cell, kind="stable")  # of bytes: counted, not compared
    ends = np.cumsum(np.bincount(cell, minlength=bins))[:-1]
    return np.split(score[order], ends)


def _share(share: float) -> str:
    """A percentage that says all or none only where it is so."""
    return "all" if share == 1.0 else "none" if share == 0.0 else f"{min(max(share, 0.01), 0.99):.0%}"
