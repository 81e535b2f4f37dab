r"""Whether choosing the best configuration on some of the bars finds one that is good on the others.

Combinatorially symmetric cross-validation: the bars are cut into S even blocks; for every choice of S/2 of them the
best configuration on these blocks is ranked among all N on the rest::

    w = rank out of sample / (N + 1),  logit = ln(w / (1 - w)),  PBO = share of logits <= 0

Source: Bailey, Borwein, Lopez de Prado and Zhu (2017), "The Probability of Backtest Overfitting".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from kernels.errors import InputError
from kernels.market import FloatArray
from search.block_sums import best_on, sharpe, tiles


@dataclass(frozen=True)
class Overfitting:
    """K splits: who was chosen on one half, what it made there and on the other, per bar, and the logit of its rank."""

    chosen: NDArray[np.int64]  # (K,) configuration
    inside: FloatArray  # (K,) Sharpe ratio where it was chosen
    outside: FloatArray  # (K,) on the other half
    logits: FloatArray  # (K,)

    @property
    def probability(self) -> float:
        """PBO: how often the choice comes in at or below the median."""
        return float((self.logits <= 0.0).mean())

    @property
    def loss(self) -> float:
        """How often the choice loses money on the other half."""
        return float((self.outside < 0.0).mean())


def overfitting(bars: NDArray[np.int64], r1: FloatArray, r2: FloatArray) -> Overfitting:
    """Choose on every half of the blocks, look at the other half.

    Parameters
    ----------
    bars
        (S,) bars in each block, S even.
    r1, r2
        (S, N) sum and sum of squares of the bar returns of each of N configurations.

    Ties in sample go to the first configuration; ties out of sample share their mean rank. A configuration that never
    moves has a Sharpe ratio of 0.

    >>> rng = np.random.default_rng(1)
    >>> r = rng.normal(0.0, 1.0, (6, 100, 50))  # 6 blocks of 100 bars, 50 configurations without skill
    >>> round(overfitting(np.full(6, 100), r.sum(axis=1), (r * r).sum(axis=1)).probability, 2)
    0.3
    """
    S, N = r1.shape
    if S < 2 or S % 2:
        raise InputError(f"selection.blocks: an even number of blocks is needed, got {S}; take {max(2, S + S % 2)}")
    if N < 2:
        raise InputError(f"selection: at least 2 configurations are needed to choose from, got {N}")
    halves = np.array(
        list(combinations(range(S), S // 2))
    )  # (K, S / 2): the other half of the k-th is the k-th from the end
    chosen, inside = best_on(bars, r1, r2, halves)
    outside = np.array([sharpe(bars, r1[:, [c]], r2[:, [c]], h)[0] for c, h in zip(chosen, halves[::-1], strict=True)])
    rank = np.zeros(len(halves))  # 1 is the worst
    for _, a, b in tiles(r1, r2):
        for k, half in enumerate(halves[::-1]):
            found = sharpe(bars, a, b, half)
            rank[k] += np.count_nonzero(found < outside[k]) + np.count_nonzero(found == outside[k]) / 2
    w = (rank + 0.5) / (N + 1)
    return Overfitting(chosen, inside, outside, np.log(w / (1.0 - w)))
