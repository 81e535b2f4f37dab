"""What of a history the search sees, what it does not, and the stretches on which its winner is judged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cluster.selection_config import SelectionConfig
from kernels.blocks import Blocks
from kernels.errors import InputError
from kernels.market import Market
from kernels.option_market import OptionMarket
from search.periods import Fold, Periods, Range, bars_of, even, walk
from search.targets import Targets

SHARE = 0.25  # of the bars that the search does not see, where the study does not say
BLOCKS, FEWEST_BLOCKS = 12, 4
FOLDS = 5
PER_BLOCK = 2  # months at least, where the number of blocks is left to us


@dataclass(frozen=True)
class Holdout:
    """The whole history, and its first bar that the search does not see."""

    market: Market
    first: int

    @property
    def bars(self) -> int:
        """How many it does not see."""
        return self.market.n_bars - self.first


def hide(
    market: Market | OptionMarket, selection: SelectionConfig, *, looks_back: int, rule: str
) -> tuple[Market | OptionMarket, Holdout | None]:
    """The market that the search sees, and what is hidden from it, if anything.

    `looks_back`: bars before the first order of the strategy `rule`, with the largest of its parameters. InputError where
    the part asked for is shorter than that, leaves too little, or the market is no history of prices.
    """
    share = selection.holdout
    if share == 0.0:
        return market, None
    if not isinstance(market, Market):
        if share is None:
            return market, None
        raise InputError(
            f"selection.holdout: {share:g} of a market of options cannot be hidden, since a cycle would be cut; give 0 and "
            "keep days back with market.end, or search simulated paths, whose winner is tried on others"
        )
    T = market.n_bars
    hidden = round(T * (SHARE if share is None else share))
    fits = hidden > looks_back and T - hidden > looks_back + 1
    if not fits:
        if share is None:
            return market, None
        raise InputError(_too_short(T, hidden, looks_back, rule, share))
    return market.until(T - hidden), Holdout(market, T - hidden)


def _too_short(bars: int, hidden: int, looks_back: int, rule: str, share: float) -> str:
    least, most = (looks_back + 1) / bars, (bars - looks_back - 2) / bars
    told = f"selection.holdout: {share:g} of {bars:,} bars hides {hidden:,} and shows {bars - hidden:,}"
    needs = f"{rule} looks back up to {looks_back:,} bars with these parameters and both must be longer"
    if math.ceil(least * 1000) / 1000 > most:
        return f"{told}; {needs}, which no share makes them; give 0, take a longer history, or search shorter windows"
    return (
        f"{told}; {needs}; give {math.ceil(least * 1000) / 1000:g} to {math.floor(most * 1000) / 1000:g}, or 0 for none"
    )


def periods(
    market: Market | OptionMarket, selection: SelectionConfig, targets: Targets, *, looks_back: int, rule: str
) -> Periods | None:
    """The stretches on which every configuration is looked at beside the whole; None where there are many paths.

    InputError where blocks or folds that the study asks for do not fit.
    """
    if market.n_scenarios > 1:
        return None
    months = Blocks.monthly(market)
    problems: list[str] = []
    blocks = _blocks(months, selection.blocks, problems)
    folds = _folds(months, selection, looks_back, rule, problems)
    if problems:
        raise InputError(problems)
    return Periods(blocks, folds, targets, market.bars_per_year)


def _blocks(months: Blocks, asked: int | None, problems: list[str]) -> tuple[Range, ...]:
    n = len(months)
    count = asked if asked is not None else min(BLOCKS, n // PER_BLOCK // 2 * 2)
    if asked is None and count < FEWEST_BLOCKS:
        count = 0
    if count % 2:
        problems.append(
            f"selection.blocks: an even number is needed, since each half is compared with the other, got {count}; "
            f"take {count - 1} or {count + 1}"
        )
    elif count > n:
        problems.append(
            f"selection.blocks: a block is at least a month, and the search sees {n} months, got {count} blocks; "
            f"take at most {n // 2 * 2}, or a longer history"
        )
    return even(months, count) if count and not problems else ()


def _folds(
    months: Blocks, selection: SelectionConfig, looks_back: int, rule: str, problems: list[str]
) -> tuple[Fold, ...]:
    asked = selection.folds
    for count in range(FOLDS if asked is None else asked, 0, -1):
        folds = walk(months, count, rolling=selection.window == "rolling") if len(months) > 1 else ()
        shortest = int(np.min(bars_of(months, [fold.test for fold in folds]))) if folds else 0
        if shortest > looks_back:
            if asked is not None and count < asked:
                break
            return folds
    else:
        count = 0
    if asked:
        what = f"take {'at most ' + str(count) if count else '0'}, a longer history, or shorter windows"
        problems.append(
            f"selection.folds: {asked} folds in the second half of {int(months.edges[-1]):,} bars do not test more than "
            f"the {looks_back:,} bars that {rule} looks back; {what}"
        )
    return ()
