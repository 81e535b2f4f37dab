r"""The reality check of the Sharpe ratios of very many configurations, the same to the bit however they are cut and shared.

It means `reality_check.excess` of `risk_adjusted` series. From replicate to replicate only y = z - SR / 2 z^2 changes; its
mean in each is one matrix product, which is most of the work. So y is rounded to a grid, for each configuration a power
of two, on which every sum of the product is a whole number that single precision holds exactly. Then neither the order of
adding, nor the shape of the product, nor threads, nor another machine's library change a bit; and it takes half the time
of double precision.

The price: half a step of the grid. With whole numbers up to 2^24 for sums of 1024 bars, at most sqrt(2 * 1024) times the
length of y there, some 32 deviations, a step is about 2^-13 of a deviation. Rounding is then noise of 2^-13 / sqrt(12) a bar,
which moves a statistic (in standard errors) by about 1e-4.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from kernels.market import FloatArray
from search.bootstrap import resample
from search.reality_check import Excess, merged

BARS = 1024  # at most, added up in single precision, then in double: these of a tile stay in a core's cache
TILE = 256  # configurations in one product
WIDTH = 16  # of a tile, at least: numpy adds up a single column in another order than several
HELD = 2.0**24  # whole numbers that single precision holds
DRAWN = 50  # replicates drawn at a time: drawing takes many times the memory of what is kept
ROUNDED = 2.0**-16  # more than a few operations in single precision add to a number, as a share of it
CONSTANT = 1e-12  # share of the mean square below which a variance is rounding
SAME = 4.0  # steps of the grid a bar: series that differ by less are the same


@dataclass(frozen=True)
class Replicates:
    """How often each of R bootstrap replicates has each of n bars, in pieces (R + 1, bars) of equal length, or nearly so.

    Row 0 is the history itself, each bar once. `reach` is the greatest Euclidean length of a row of any piece.
    """

    pieces: tuple[NDArray[np.float32], ...]
    reach: float

    @classmethod
    def drawn(cls, n: int, length: float, replicates: int, seed: int) -> Replicates:
        """The stationary bootstrap of n bars in blocks of that mean length: the same arguments draw the same."""
        counts = np.ones((replicates + 1, n), dtype=np.float32)
        for first in range(0, replicates, DRAWN):
            drawn = resample(n, length, min(DRAWN, replicates - first), (seed, first))
            for row, bars in enumerate(drawn, start=first + 1):
                counts[row] = np.bincount(bars, minlength=n)
        pieces = tuple(np.ascontiguousarray(counts[:, bars]) for bars in _pieces(n))
        return cls(pieces, math.sqrt(max(float((piece * piece).sum(axis=1).max()) for piece in pieces)))

    @property
    def weights(self) -> FloatArray:
        """(R, n), as `search.bootstrap.weights` has them."""
        counts = np.concatenate(self.pieces, axis=1, dtype=np.float64)[1:]
        return np.asarray(counts / counts.shape[1])


class _Means(NamedTuple):
    """Of c configurations, those that fill up a narrow tile among them: Sharpe ratios per bar, and means of y."""

    sharpe: FloatArray  # (c,)
    known: NDArray[np.bool_]  # (c,) they are no filling, their returns are finite and leave some equity
    step: FloatArray  # (c,) of the grid
    luck: FloatArray  # (R, c) mean of y in each replicate, less that in the history


class Check:
    """The check of configurations against one baseline, its returns (n,); those of cash are zeros."""

    def __init__(self, replicates: Replicates, baseline: FloatArray) -> None:
        self._replicates, self._n = replicates, len(baseline)
        self._baseline = self._means(baseline[:, None])

    def of(self, returns: FloatArray, threads: int = 1) -> Excess:
        """The largest excess of some configurations, returns (n, C); invalid ones do not count, as `kernels.metrics` has it."""
        tiles = [returns[:, first : first + TILE] for first in range(0, returns.shape[1], TILE)]
        with _libraries().limit(limits=1, user_api="blas"):  # its threads would wait for each other at every tile
            if min(threads, len(tiles)) < 2:
                return merged(map(self._tile, tiles))
            with ThreadPoolExecutor(threads, "hedgegrid-survey") as side_by_side:
                return merged(side_by_side.map(self._tile, tiles))

    def _tile(self, returns: FloatArray) -> Excess:
        base, own = self._baseline, self._means(returns)
        luck = own.luck
        luck -= base.luck[:, :1]
        error = np.sqrt(np.einsum("ij,ij->j", luck, luck) / len(luck) - luck.mean(axis=0) ** 2)
        told = own.known & (error > SAME * np.maximum(own.step, base.step[0]) / math.sqrt(self._n))
        count = int(np.count_nonzero(own.known))
        if not told.any():
            nothing = np.full(len(luck), -np.inf)
            return Excess(-math.inf, nothing, nothing, count)
        found = np.where(told, (own.sharpe - base.sharpe[0]) / np.where(told, error, 1.0), -np.inf)
        luck *= np.where(told, 1.0 / np.where(told, error, 1.0), 0.0)
        luck[:, ~told] = -np.inf
        least_favourable = consistent = luck.max(axis=1)
        hopeless = told & (found < -math.sqrt(2.0 * math.log(math.log(self._n))))
        if hopeless.any():
            luck[:, hopeless] += found[hopeless]
            consistent = luck.max(axis=1)
        return Excess(float(found.max()), consistent, least_favourable, count)

    def _means(self, returns: FloatArray) -> _Means:
        (n, c), pieces = returns.shape, _pieces(self._n)
        returns = np.ascontiguousarray(returns) if returns.strides[1] != returns.itemsize else returns
        if c < WIDTH:
            returns = np.concatenate([returns, np.zeros((n, WIDTH - c))], axis=1)
        with np.errstate(invalid="ignore", over="ignore"):
            sums = np.stack([returns[bars].sum(axis=0) for bars in pieces])  # (pieces, c)
            squares = np.stack([np.einsum("ij,ij->j", returns[bars], returns[bars]) for bars in pieces])
            mean, square = sums.sum(axis=0) / n, squares.sum(axis=0) / n
            variance = square - mean * mean
        known = np.isfinite(variance) & ~_ruined(returns, pieces, squares) & (np.arange(len(mean)) < c)
        moving = known & (np.where(known, variance, 0.0) > CONSTANT * np.where(known, square, 0.0))
        scale = np.where(moving, 1.0 / np.sqrt(np.where(moving, variance, 1.0)), 0.0)
        sharpe = np.where(moving, mean, 0.0) * scale
        longest = np.sqrt(np.where(moving, squares, 0.0).max(axis=0)) * scale
        step = self._step(longest, sharpe)
        # y, but for a constant that is in every mean: rho (1 + SR^2) - SR / 2 rho^2, where rho = r / sd
        linear = ((1.0 + sharpe * sharpe) * scale / step).astype(np.float32)
        squared = (-0.5 * sharpe * scale * scale / step).astype(np.float32)
        total = np.zeros((len(self._replicates.pieces[0]), len(mean)))
        for bars, counts in zip(pieces, self._replicates.pieces, strict=True):
            with np.errstate(invalid="ignore", over="ignore"):
                r = returns[bars].astype(np.float32)
            if not moving.all():
                r[:, ~moving] = 0.0
            y = r * squared
            y += linear
            y *= r
            np.rint(y, out=y)
            total += counts @ y
        luck = total[1:]
        luck -= total[0].copy()
        luck *= step / self._n
        return _Means(sharpe, known, np.where(moving, step, 0.0), luck)

    def _step(self, longest: FloatArray, sharpe: FloatArray) -> FloatArray:
        """Steps (c,) so coarse that no sum over a piece exceeds `HELD`; `longest` is the greatest length of rho in a piece.

        |sum of counts * y| <= |counts| |y| by Cauchy and Schwarz, and |y| <= |rho| (1 + SR^2 + SR / 2 |rho|); rounding to
        the grid adds half a step at most for each count, of which a piece has no more than |counts|^2.
        """
        most = self._replicates.reach * longest * (1.0 + sharpe * sharpe + 0.5 * np.abs(sharpe) * longest)
        least = most * (1.0 + ROUNDED) / (HELD - self._replicates.reach**2)
        return np.asarray(np.exp2(np.ceil(np.log2(np.maximum(least, 2.0**-60)))))


def _ruined(returns: FloatArray, pieces: list[slice], squares: FloatArray) -> NDArray[np.bool_]:
    """(c,) whether a bar leaves nothing of the equity. Where sums of squares (pieces, c) are below 1, none does."""
    ruined = np.zeros(returns.shape[1], dtype=np.bool_)
    for bars, square in zip(pieces, squares, strict=True):
        near = np.flatnonzero(square >= 1.0)
        if len(near):
            ruined[near] |= returns[bars][:, near].min(axis=0) <= -1.0
    return ruined


@cache
def _libraries() -> ThreadpoolController:
    """What may be told how many threads to use; looking for it takes milliseconds."""
    return ThreadpoolController()


def _pieces(n: int) -> list[slice]:
    """n bars in the fewest pieces of at most `BARS`."""
    count = -(-n // BARS)
    return [slice(n * i // count, n * (i + 1) // count) for i in range(count)]
