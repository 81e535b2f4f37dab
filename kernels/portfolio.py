"""A portfolio of books: equal capital in each, set back to equal after every bar."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from kernels.account import Outcome
from kernels.blocks import FIRST_RETURN, SUMS, Blocks, BlockStatistics, BlockSums, accumulate
from kernels.errors import InputError
from kernels.state import leaves

MEANS = ("turnover", "cost", "gross", "net", "hedged")  # fractions of capital
COUNTS = ("orders", "trades", "wins")


def combine(members: Sequence[BlockStatistics], blocks: Blocks) -> BlockStatistics:
    """Block statistics of the portfolio of `members`, each of them one configuration bar by bar (`Engine.bars`).

    The portfolio's bar return is the mean of its members' on the same bar of the same scenario; its turnover, cost and
    positions are the means of theirs, its orders and trades their sum. All must have the same bars and scenarios
    (InputError); `blocks` is the partition of these bars that is wanted.
    """
    first = members[0]
    for member in members:
        if member.values.shape[1:] != first.values.shape[1:] or not np.array_equal(
            member.blocks.timestamps, first.blocks.timestamps
        ):
            raise InputError(
                "portfolio: its members must have the same bars and scenarios, got "
                + ", ".join(_shape(m) for m in members)
            )
    both = np.stack([member.values for member in members])  # (members, F, T, S)
    total = {name: both[:, SUMS.index(name)].sum(axis=0) for name in ("r1", *MEANS, *COUNTS)}  # (T, S)
    mean = {name: total[name] / len(members) for name in ("r1", *MEANS)}
    S = first.values.shape[2]
    out = np.empty((len(SUMS), len(blocks), S))
    start = leaves(BlockSums())
    for b, (begin, end) in enumerate(pairwise(blocks.edges - FIRST_RETURN)):
        sums = BlockSums(*(np.full(S, leaf.start) for leaf in start.values()))
        for t in range(begin, end):
            outcome = Outcome(
                bar_return=mean["r1"][t],
                **{name: mean[name][t] for name in MEANS},
                **{name: total[name][t] for name in COUNTS},
            )
            sums = accumulate(sums, outcome)
        for row, value in enumerate(leaves(sums).values()):
            out[row, b] = value
    return BlockStatistics(blocks, out)


def _shape(member: BlockStatistics) -> str:
    bars, scenarios = member.values.shape[1:]
    return f"{bars} bars x {scenarios} from {member.blocks.timestamps[0].astype('datetime64[D]')}"
