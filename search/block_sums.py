"""Sharpe ratios of very many configurations over sets of blocks, and the best of them, from what a kernel keeps per block.

Everywhere here `bars` is (S,) bars in each block, `r1` and `r2` are (S, N) sums and sums of squares of the bar returns of
each of N configurations; Sharpe ratios are per bar.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from kernels.market import FloatArray

IntArray = NDArray[np.int64]

COLUMNS = 4096  # configurations looked at together: what a core's cache holds
ROUNDING = 1e-12  # of the sum of squares: below it returns are all alike


def tiles(r1: FloatArray, r2: FloatArray) -> Iterator[tuple[int, FloatArray, FloatArray]]:
    """Some configurations at a time: number of the first, and their sums."""
    for first in range(0, r1.shape[1], COLUMNS):
        part = slice(first, first + COLUMNS)
        yield first, np.ascontiguousarray(r1[:, part]), np.ascontiguousarray(r2[:, part])


def sharpe(bars: IntArray, r1: FloatArray, r2: FloatArray, chosen: IntArray) -> FloatArray:
    """(N,) over the chosen blocks; sums are taken block by block, whatever the number of columns.

    0 for one that never moves.
    """
    a, b = r1[chosen[0]].copy(), r2[chosen[0]].copy()
    for block in chosen[1:]:
        a += r1[block]
        b += r2[block]
    return sharpe_of(float(bars[chosen].sum()), a, b)


def sharpe_of(n: float | FloatArray, r1: FloatArray, r2: FloatArray) -> FloatArray:
    """Sharpe ratios of n bars from their sums and sums of squares, which are overwritten; 0 where nothing moves."""
    r1 /= n
    spread = r2 - n * r1 * r1
    flat = spread <= ROUNDING * r2
    spread[flat] = 1.0
    found = r1 / np.sqrt(spread / np.maximum(n - 1.0, 1.0))
    found[flat] = 0.0
    return np.asarray(found)


def best_on(
    bars: IntArray, r1: FloatArray, r2: FloatArray, sets: Sequence[IntArray] | IntArray
) -> tuple[IntArray, FloatArray]:
    """The configuration that is best on each of K sets of blocks, (K,), and its Sharpe ratio there; ties go to the first."""
    best, chosen = np.full(len(sets), -np.inf), np.zeros(len(sets), dtype=np.int64)
    for first, a, b in tiles(r1, r2):
        for k, blocks in enumerate(sets):
            found = sharpe(bars, a, b, blocks)
            top = int(found.argmax())
            if found[top] > best[k]:
                best[k], chosen[k] = found[top], first + top
    return chosen, best
