r"""How the choice of the best configuration does on blocks it was not made on, as whole histories stitched together.

Combinatorial purged cross-validation: the bars are cut into S blocks; for every combination of p of them (tested) the
configuration of the best Sharpe ratio on the others (training) is chosen, and its returns on the tested blocks are
kept. Each block is tested in C(S - 1, p - 1) combinations, so these returns make as many histories, none of which was
looked at by the choice that made it.

What training must not see: a decision at bar t knows prices of the bars up to the strategy's warm-up before it, so a
training block that begins within the warm-up after a tested block knows the tested prices, and is left out (the embargo,
in whole blocks). Before a tested block nothing is left out: the outcome of a bar is its own return, over when the
next begins, so no outcome of training reaches into the test (nothing to purge); and what the test knows of earlier prices was
known at that time, as it is when a strategy is traded.

Source: Lopez de Prado (2018), "Advances in Financial Machine Learning", sections 7.4 and 12.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from kernels.errors import InputError
from kernels.market import FloatArray
from search.block_sums import IntArray, best_on, sharpe_of

TESTED = 2  # blocks tested together, unless told otherwise


@dataclass(frozen=True)
class Purged:
    """K combinations of p tested blocks, and the phi = C(S - 1, p - 1) histories made of them.

    Sharpe ratios are per bar. `route` says which combination a history takes a block from.
    """

    chosen: IntArray  # (K,) configuration
    inside: FloatArray  # (K,) Sharpe ratio in training
    outside: FloatArray  # (K, p) on each tested block
    paths: FloatArray  # (phi,) of each history
    route: IntArray  # (phi, S)

    @property
    def loss(self) -> float:
        """Share of the histories that lose money."""
        return float((self.paths < 0.0).mean())


def purged(bars: IntArray, r1: FloatArray, r2: FloatArray, *, tested: int = TESTED, embargo_bars: int) -> Purged:
    """Choose on the blocks that are not tested and not within the embargo, and look at the tested ones.

    Parameters
    ----------
    bars
        (S,) bars in each block, in the order of time and without gaps.
    r1, r2
        (S, N) sum and sum of squares of the bar returns of each of N configurations.
    tested
        Blocks tested together, p.
    embargo_bars
        The strategy's warm-up.

    InputError where some combination leaves nothing to train on.

    >>> rng = np.random.default_rng(1)
    >>> r = rng.normal(0.0, 1.0, (6, 100, 50))  # 6 blocks of 100 bars, 50 configurations without skill
    >>> found = purged(np.full(6, 100), r.sum(axis=1), (r * r).sum(axis=1), embargo_bars=20)
    >>> found.chosen.shape, found.paths.shape, found.loss
    ((15,), (5,), 0.4)
    """
    S, N = r1.shape
    if N < 1:
        raise InputError("selection: at least one configuration is needed, got none that is valid")
    if not 1 <= tested < S:
        raise InputError(f"selection.tested: 1 <= tested < blocks must hold, got tested={tested}, blocks={S}")
    tests, trainings = splits(bars, tested, embargo_bars)
    if not all(len(training) for training in trainings):
        raise InputError(_too_short(int(bars.sum()), S, tested, embargo_bars))
    chosen, inside = best_on(bars, r1, r2, trainings)
    a, b = r1[tests, chosen[:, None]], r2[tests, chosen[:, None]]  # (K, p)
    route = histories(tests, S)
    blocks = np.arange(S)
    paths = sharpe_of(float(bars.sum()), r1[blocks, chosen[route]].sum(axis=1), r2[blocks, chosen[route]].sum(axis=1))
    return Purged(chosen, inside, sharpe_of(bars[tests].astype(np.float64), a, b), paths, route)


def splits(bars: IntArray, tested: int, embargo_bars: int) -> tuple[IntArray, list[IntArray]]:
    """Every combination of tested blocks (K, p), and the blocks left to train on for each.

    >>> tests, trainings = splits(np.full(5, 30), 2, embargo_bars=20)
    >>> tests[1].tolist(), trainings[1].tolist()
    ([0, 2], [4])
    """
    S = len(bars)
    end = np.cumsum(bars)
    since = (end - bars)[None, :] - end[:, None]  # (S, S) bars from the end of one block to the beginning of another
    spoilt = (since >= 0) & (since < embargo_bars) | np.eye(S, dtype=bool)
    tests = np.array(list(combinations(range(S), tested)), dtype=np.int64)
    return tests, [np.flatnonzero(~spoilt[test].any(axis=0)) for test in tests]


def histories(tests: IntArray, blocks: int) -> IntArray:
    """(phi, S) which combination each history takes each block from: its first history the first that tests it, ...

    >>> histories(np.array([[0, 1], [0, 2], [1, 2]]), 3)
    array([[0, 0, 1],
           [1, 2, 2]])
    """
    return np.stack([np.flatnonzero((tests == block).any(axis=1)) for block in range(blocks)], axis=1)


def _too_short(n: int, blocks: int, tested: int, embargo: int) -> str:
    """Why there is nothing to train on, with the number of blocks and the length of history that would do."""
    ways = []
    if fitting := [count for count in range(tested + 1, blocks) if _leaves(n // count, count, tested, embargo)]:
        ways.append(f"take {fitting[-1]} blocks")
    if (shortest := shortest_history(blocks, tested, embargo)) is not None:
        ways.append(f"a history of at least {shortest} bars")
    return (
        f"selection.blocks: {blocks} blocks of {n // blocks} bars leave nothing to train on beside {tested} tested and "
        f"the strategy's warm-up of {embargo} bars after each; "
        + (" or ".join(ways) or f"take more than {2 * tested} blocks")
    )


def shortest_history(blocks: int, tested: int, embargo: int) -> int | None:
    """Bars below which so many even blocks cannot be tested; None where they are too few whatever the history.

    >>> shortest_history(12, 2, 120)  # blocks of 30 bars: two tested, and four after each, leave two of twelve
    360
    """
    most = -(-blocks // tested) - 2  # whole blocks after each tested one that leave at least one
    if embargo > 0 and most < 1:
        return None
    return blocks * (-(-embargo // most) if embargo > 0 else 1)


def _leaves(length: int, blocks: int, tested: int, embargo: int) -> bool:
    """Whether every combination of blocks of this length leaves one to train on."""
    return length > 0 and tested * (1 + -(-embargo // length)) < blocks
