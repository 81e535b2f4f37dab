"""Whether one series of returns is better than another, in histories that might have been: both drawn alike, bar by bar.

What the two have in common is then in neither's favour, and two series that are equal are equal in every history.

Source: Politis and Romano (1994), "The Stationary Bootstrap".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd

from kernels.account import CASH_PER_ASSET
from kernels.blocks import Blocks, BlockStatistics, sums_of
from kernels.market import FloatArray
from kernels.metrics import measure
from search.bootstrap import block_length, draws

SURE = 0.95  # share of resampled histories from which one of two is called better
INTERVAL = (0.05, 0.95)  # quantiles of the difference: an interval of 90 %

Word = Literal["earned", "harmed", "not shown"]


def paired(
    returns: FloatArray,
    pairs: Sequence[tuple[int, int]],
    better: Mapping[str, int],
    blocks: Blocks,
    bars_per_year: float,
    *,
    replicates: int,
    seed: int,
) -> list[pd.DataFrame]:
    """Of each pair of series, numbers of columns of `returns` (n, K), a row per metric (index: its name): `low` and `high`,
    the ends of the interval of the first one's metric less the second's; `better`, the share of replicates in which it is
    the better one, where they are equal half.

    `better` names metrics of the returns (`kernels.metric.OF_RETURNS`), +1 where more is better, -1 where less is. `blocks`
    are the n bars: a replicate is measured on the same calendar. Blocks of bars are drawn as long as suits the series, or
    the difference of a pair, that needs the longest. A replicate without a finite metric is worse than one with.
    """
    if not pairs:
        return []
    used = sorted({column for pair in pairs for column in pair})
    series = [returns[:, column] for column in used] + [returns[:, a] - returns[:, b] for a, b in pairs]
    length = max(block_length(each) for each in series)
    names, signs = list(better), np.array(list(better.values()), dtype=np.float64)[:, None]
    parts: list[list[FloatArray]] = [[] for _ in pairs]
    for drawn in draws(len(returns), length, replicates, seed):
        order = np.ascontiguousarray(drawn.T)  # (n, R)
        found = {c: _worst(returns[:, c][order], blocks, bars_per_year, names, signs) for c in used}
        for part, (a, b) in zip(parts, pairs, strict=True):
            part.append(_less(found[a], found[b]))
    return [_compared(np.concatenate(part, axis=1), signs, names) for part in parts]


def is_sure(share: float) -> bool:
    """Whether that share of resampled histories is enough to call one of two the better one."""
    return share >= SURE


def word_of(better: Collection[float]) -> Word:
    """What a feature is called by the shares of resampled histories in which each metric is better with it.

    >>> word_of([0.4, 0.97]), word_of([0.02, 0.97]), word_of([0.02, 0.5]), word_of([0.5])
    ('earned', 'not shown', 'harmed', 'not shown')
    """
    gains, loses = any(is_sure(share) for share in better), any(is_sure(1.0 - share) for share in better)
    return "not shown" if gains == loses else "earned" if gains else "harmed"


def of_returns(returns: FloatArray, blocks: Blocks) -> BlockStatistics:
    """Statistics of returns (n, C) as far as they go, for n bars in `blocks`: sums of anything else are 0."""
    names = sums_of(CASH_PER_ASSET)
    out = np.zeros((len(names), len(blocks), returns.shape[1]))
    row = dict(zip(names, out, strict=True))
    edges = blocks.edges - blocks.edges[0]
    loss = np.minimum(returns, 0.0)
    square = returns * returns
    added = {"r1": returns, "r2": square, "r3": square * returns, "r4": square * square}
    added |= {"losses": (returns < 0.0).astype(np.float64), "loss1": loss, "loss2": loss * loss}
    for name, each in added.items():
        row[name][:] = np.add.reduceat(each, edges[:-1], axis=0)
    for block, (first, end) in enumerate(pairwise(edges)):
        grown = np.cumprod(1.0 + returns[first:end], axis=0)
        peak = np.maximum.accumulate(grown, axis=0)
        row["growth"][block], row["peak"][block], row["trough"][block] = grown[-1], peak[-1], grown.min(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            row["drawdown"][block] = (1.0 - grown / peak).max(axis=0)
    return BlockStatistics(blocks, out)


def _worst(
    returns: FloatArray, blocks: Blocks, bars_per_year: float, names: Sequence[str], signs: FloatArray
) -> FloatArray:
    """Metrics (M, R) of returns (n, R); one that is not there is the worst there can be."""
    values, ok = measure(of_returns(returns, blocks), bars_per_year, None, names)
    return np.where(ok & ~np.isnan(values), values, -np.inf * signs)


def _less(one: FloatArray, other: FloatArray) -> FloatArray:
    """The difference; 0 of two that are equal, both infinite ones too."""
    with np.errstate(invalid="ignore"):
        return np.where(one == other, 0.0, one - other)


def _compared(difference: FloatArray, signs: FloatArray, names: Sequence[str]) -> pd.DataFrame:
    low, high = np.quantile(difference, INTERVAL, axis=1, method="inverted_cdf")
    lead = signs * difference
    return pd.DataFrame(
        {"low": low, "high": high, "better": (lead > 0.0).mean(axis=1) + 0.5 * (lead == 0.0).mean(axis=1)},
        index=pd.Index(names, name="metric"),
    )
