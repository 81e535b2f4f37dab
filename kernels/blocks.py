"""Block statistics: what a kernel returns, and how statistics of any set of blocks compose from them.

A block is a contiguous range of bars. Per configuration and block the kernel keeps the sums in `BlockSums`; the state of
the strategy and the account carries over block edges, so a partition never changes a total.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.account import CASH_PER_ASSET, Accounting, NoParts, Outcome
from kernels.market import FloatArray, Market
from kernels.market_calendar import DateArray
from kernels.ops import as_number, maximum, minimum, wide
from kernels.option_market import OptionMarket
from kernels.state import accumulator, leaves

FIRST_RETURN = 1  # the first bar has no return: no order can have been filled before it


class BlockSums(NamedTuple):
    """Sufficient statistics of the bar returns r of one block, (C,) each, and the account's own `parts`."""

    r1: Any = accumulator(0.0)  # sum r
    r2: Any = accumulator(0.0)  # sum r^2
    r3: Any = accumulator(0.0)
    r4: Any = accumulator(0.0)
    losses: Any = accumulator(0.0)  # bars with r < 0
    loss1: Any = accumulator(0.0)  # sum min(r, 0)
    loss2: Any = accumulator(0.0)  # sum min(r, 0)^2
    turnover: Any = accumulator(0.0)
    cost: Any = accumulator(0.0)
    gross: Any = accumulator(0.0)
    net: Any = accumulator(0.0)
    hedged: Any = accumulator(0.0)
    orders: Any = accumulator(0.0)
    trades: Any = accumulator(0.0)
    wins: Any = accumulator(0.0)
    growth: Any = accumulator(1.0)  # E = prod (1 + r)
    peak: Any = accumulator(-np.inf)  # P, the highest E within the block
    trough: Any = accumulator(np.inf)  # m, the lowest
    drawdown: Any = accumulator(-np.inf)  # D, the deepest 1 - E / P
    parts: Any = NoParts()


def accumulate(sums: BlockSums, outcome: Outcome) -> BlockSums:
    """Add one bar."""
    r = wide(outcome.bar_return)
    square = r * r
    loss = minimum(r, 0.0)
    growth = sums.growth * (1.0 + r)
    peak = maximum(growth, sums.peak)
    return BlockSums(
        r1=sums.r1 + r,
        r2=sums.r2 + square,
        r3=sums.r3 + square * r,
        r4=sums.r4 + square * square,
        losses=sums.losses + as_number(r < 0.0),
        loss1=sums.loss1 + loss,
        loss2=sums.loss2 + loss * loss,
        turnover=sums.turnover + outcome.turnover,
        cost=sums.cost + outcome.cost,
        gross=sums.gross + outcome.gross,
        net=sums.net + outcome.net,
        hedged=sums.hedged + outcome.hedged,
        orders=sums.orders + outcome.orders,
        trades=sums.trades + outcome.trades,
        wins=sums.wins + outcome.wins,
        growth=growth,
        peak=peak,
        trough=minimum(growth, sums.trough),
        drawdown=maximum(1.0 - growth / peak, sums.drawdown),
        parts=type(sums.parts)(*(kept + part for kept, part in zip(sums.parts, outcome.parts, strict=True))),
    )


class BarReturn(NamedTuple):
    """Of a block only the sum of its returns: all that is kept where nothing but the returns of bars is wanted."""

    r1: Any = accumulator(0.0)


def add_return(sums: BarReturn, outcome: Outcome) -> BarReturn:
    """Add one bar."""
    return BarReturn(sums.r1 + wide(outcome.bar_return))


Kept = Literal["sums", "returns"]  # of a block: `BlockSums`, or `BarReturn` alone

SUMS = tuple(leaves(BlockSums()))
JOINED = ("growth", "peak", "trough", "drawdown")  # the drawdown monoid; all other sums add


def sums_of(account: Accounting) -> tuple[str, ...]:
    """What a kernel returns for a strategy with this account: `SUMS`, then `parts.<name>` of its own."""
    return tuple(leaves(BlockSums(parts=account.parts())))


@dataclass(frozen=True)
class Blocks:
    """A partition of the bars that have a return, [1, T), into B contiguous ranges.

    `edges` is (B + 1,) bar numbers: block b holds bars edges[b] .. edges[b+1] - 1. `days` elapse between the first and
    the last bar of a run of blocks (`timestamps` are kept for that).
    """

    edges: NDArray[np.int64]
    timestamps: DateArray

    @classmethod
    def monthly(cls, market: Market | OptionMarket) -> Blocks:
        """One block per calendar month (UTC)."""
        months = market.timestamps[FIRST_RETURN:].astype("datetime64[M]")
        starts = np.flatnonzero(months[1:] != months[:-1]) + 1 + FIRST_RETURN
        return cls(np.concatenate([[FIRST_RETURN], starts, [market.n_bars]]).astype(np.int64), market.timestamps)

    @classmethod
    def bars_of(cls, market: Market | OptionMarket) -> Blocks:
        """A block per bar: what a kernel then keeps of a block is that bar's own outcome."""
        return cls(np.arange(FIRST_RETURN, market.n_bars + 1), market.timestamps)

    @classmethod
    def even(cls, market: Market, count: int) -> Blocks:
        """`count` blocks whose lengths differ by at most one bar."""
        edges = np.linspace(FIRST_RETURN, market.n_bars, count + 1).round().astype(np.int64)
        return cls(edges, market.timestamps)

    def cut_at(self, bar: int) -> Blocks:
        """The same with an edge before that bar too."""
        return Blocks(np.union1d(self.edges, [bar]), self.timestamps)

    def __len__(self) -> int:
        return len(self.edges) - 1

    @property
    def bars(self) -> NDArray[np.int64]:
        """(B,) returns in each block."""
        return np.diff(self.edges)

    def days(self, chosen: NDArray[np.int64]) -> float:
        """Calendar days from first to last bar of each unbroken run of the chosen blocks (sorted), summed."""
        breaks = np.flatnonzero(np.diff(chosen) != 1) + 1
        total = 0.0
        for run in np.split(chosen, breaks):
            first, last = self.timestamps[self.edges[run[0]]], self.timestamps[self.edges[run[-1] + 1] - 1]
            total += float((last - first) / np.timedelta64(1, "D"))
        return total


@dataclass(frozen=True)
class BlockStatistics:
    """`BlockSums` of every block: `values` is (F, B, C), F the sums that `sums_of` the account names."""

    blocks: Blocks
    values: FloatArray
    account: Accounting = CASH_PER_ASSET

    def of(self, name: str) -> FloatArray:
        """(B, C) of one sum."""
        return np.asarray(self.values[sums_of(self.account).index(name)])

    def compose(self, chosen: NDArray[np.int64] | None = None) -> dict[str, FloatArray]:
        """The same sums, (C,) each, for the chosen blocks (sorted; all by default) joined in order.

        Sums add; the drawdown monoid composes as E = Ea Eb, P = max(Pa, Ea Pb), m = min(ma, Ea mb),
        D = max(Da, Db, 1 - Ea mb / Pa).
        """
        total = self.composed(chosen)
        for name in sums_of(self.account):
            total[name]
        return total

    def composed(self, chosen: NDArray[np.int64] | None = None) -> Composed:
        """The same, each sum composed when it is first asked for."""
        picked = np.arange(len(self.blocks)) if chosen is None else np.asarray(chosen, dtype=np.int64)
        return Composed(self, picked)


class Composed(dict[str, FloatArray]):
    """The sums of some blocks joined, (C,) each, composed when they are first asked for."""

    def __init__(self, statistics: BlockStatistics, picked: NDArray[np.int64]) -> None:
        super().__init__()
        self._statistics, self._picked = statistics, picked

    def __missing__(self, name: str) -> FloatArray:
        if name in JOINED:
            self.update(self._joined())
        else:
            blocks = self._statistics.of(name)
            total = blocks[self._picked[0]]
            for b in self._picked[1:]:
                total = total + blocks[b]
            self[name] = total
        return self[name]

    def _joined(self) -> dict[str, FloatArray]:
        growths, peaks, troughs, drawdowns = (self._statistics.of(name) for name in JOINED)
        first = self._picked[0]
        growth, peak, trough, drawdown = growths[first], peaks[first], troughs[first], drawdowns[first]
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            for b in self._picked[1:]:
                below = growth * troughs[b]
                drawdown = np.fmax(np.fmax(drawdown, drawdowns[b]), 1.0 - below / peak)
                peak = np.maximum(peak, growth * peaks[b])
                trough = np.minimum(trough, below)
                growth = growth * growths[b]
        return dict(zip(JOINED, (growth, peak, trough, drawdown), strict=True))
