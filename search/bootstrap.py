"""Other histories that might have been: bars drawn in blocks from the one there was (the stationary bootstrap).

Sources: Politis and Romano (1994), "The Stationary Bootstrap"; block length by Politis and White (2004) with the correction
of Patton, Politis and White (2009).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from kernels.market import FloatArray
from search.seeds import seed_of

CELLS = 2**18  # bars of replicates that are measured together: 2 MiB a sum


def block_length(returns: FloatArray) -> float:
    """The mean length of blocks, in bars, that suits one series (n,) best; at least 1.

    Its autocorrelations count up to the lag from which max(5, log10 n) of them in a row are within
    2 sqrt(log10(n) / n); with a flat-top window, b = (2 g^2 / d)^(1/3) n^(1/3). At most min(3 sqrt(n), n / 3).
    """
    n = len(returns)
    centred = returns - returns.mean()
    if n < 9 or not centred.any():
        return 1.0
    run = max(5, int(math.log10(n)))
    most = min(math.ceil(math.sqrt(n)) + run, n - 2)
    covariance, correlation = np.zeros(most + 1), np.zeros(most + 1)
    for lag in range(most + 1):
        product = centred[lag:] @ centred[: n - lag]
        covariance[lag] = product / n
        power = math.sqrt((centred[lag + 1 :] @ centred[lag + 1 :]) * (centred[: -(lag + 1)] @ centred[: -(lag + 1)]))
        correlation[lag] = abs(product) / power if power > 0.0 else 0.0
    small = correlation < 2.0 * math.sqrt(math.log10(n) / n)
    starts = (lag for lag in range(most - run + 1) if small[lag : lag + run].all())
    window = min(2 * max(next(starts, most), 1), most)
    lags = np.arange(1, window + 1)
    weight = np.where(lags / window <= 0.5, 1.0, 2.0 * (1.0 - lags / window))
    g = 2.0 * (weight * lags * covariance[1 : window + 1]).sum()
    spectrum = covariance[0] + 2.0 * (weight * covariance[1 : window + 1]).sum()
    if spectrum == 0.0:
        return 1.0
    length = (g * g / spectrum**2) ** (1 / 3) * n ** (1 / 3)
    return float(min(max(length, 1.0), math.ceil(min(3.0 * math.sqrt(n), n / 3.0))))


def resample(n: int, length: float, replicates: int, seed: int | Sequence[int]) -> NDArray[np.int64]:
    """(R, n) numbers of the bars that each replicate is made of: blocks of geometric length, round the end of the history.

    >>> drawn = resample(1000, 10.0, 50, seed=3)
    >>> drawn.shape, round(float((np.diff(drawn, axis=1) % 1000 == 1).mean()), 1)  # 9 of 10 go on with the next bar
    ((50, 1000), 0.9)
    """
    rng = np.random.default_rng(seed)
    new = rng.random((replicates, n)) < 1.0 / max(length, 1.0)
    new[:, 0] = True
    where = np.broadcast_to(np.arange(n), new.shape)
    since = np.maximum.accumulate(np.where(new, where, 0), axis=1)  # where the current block began
    starts = rng.integers(n, size=new.shape)
    return np.asarray((np.take_along_axis(starts, since, axis=1) + where - since) % n)


def draws(n: int, length: float, replicates: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """The same replicates, some at a time: memory does not grow with their number."""
    together = max(1, CELLS // n)
    for first in range(0, replicates, together):
        yield resample(n, length, min(together, replicates - first), seed_of(seed, first, 0))


def weights(drawn: NDArray[np.int64]) -> FloatArray:
    """(R, n) share of each bar in each replicate: a replicate's mean is weights @ returns.

    >>> weights(np.array([[0, 1, 1, 3]]))
    array([[0.25, 0.5 , 0.  , 0.25]])
    """
    R, n = drawn.shape
    counts = np.zeros((R, n))
    for row, bars in zip(counts, drawn, strict=True):
        row += np.bincount(bars, minlength=n)
    counts /= n
    return counts
