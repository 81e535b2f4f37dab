"""What a price history must be: each rule says which rows break it, and what to do about them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kernels.market_calendar import DateArray, Gap, when

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
Columns = dict[str, FloatArray]

# Adjusted prices are rounded to about seven digits by those who publish them, each column for itself.
RANGE_TOLERANCE = 1e-6
SHOWN = 5  # mistakes of one kind that are named before the rest are only counted


def cell_problems(
    where: str, tickers: Sequence[str], stamps: DateArray, columns: Columns, present: BoolArray
) -> list[str]:
    """Prices and volumes that cannot be, where `present` (T, A) says there is a bar.

    One sentence per column and kind, naming the first cell and counting the rest.
    """
    problems = []

    def refuse(name: str, bad: BoolArray, rule: str) -> None:
        bad = bad & present
        if bad.any():
            t, a = np.argwhere(bad)[0]
            problems.append(
                f"{where}: column '{name}' is {columns[name][t, a]:g} for {tickers[a]} at {when(stamps[t])}"
                f"{and_more(int(bad.sum()) - 1)}; {rule}; correct or remove these rows"
            )

    for name, values in columns.items():
        refuse(name, np.isnan(values), f"every {'volume' if name == 'volume' else 'price'} must be there")
        refuse(name, np.isinf(values), "infinite values cannot be traded")
        if name == "volume":
            refuse(name, values < 0, "volume is 0 or more")
        else:
            refuse(name, np.isfinite(values) & (values <= 0), "prices are above 0")
    inside = {name: columns[name] for name in ("open", "close") if name in columns}
    if "high" in columns:
        below = np.any([columns["high"] < v * (1 - RANGE_TOLERANCE) for v in inside.values()], axis=0)
        refuse("high", below, "high is the largest price of its bar, but open or close is above it")
    if "low" in columns:
        above = np.any([columns["low"] > v * (1 + RANGE_TOLERANCE) for v in inside.values()], axis=0)
        refuse("low", above, "low is the smallest price of its bar, but open or close is below it")
    return problems


def order_problems(where: str, tickers: Sequence[str], asset: IntArray, stamps: DateArray) -> list[str]:
    """Rows that stand twice or out of order."""
    problems = []
    by_asset = np.argsort(asset, kind="stable")
    here = np.diff(asset[by_asset]) == 0
    back = np.flatnonzero(here & (np.diff(stamps[by_asset]) < np.timedelta64(0, "us")))
    if back.size:
        i, j = by_asset[back[0]], by_asset[back[0] + 1]
        problems.append(
            f"{where}: timestamps of {tickers[asset[i]]} must increase, got {when(stamps[j])} after "
            f"{when(stamps[i])} ({count(back.size, 'such step')} in the file); sort the rows by timestamp"
        )
    order = np.lexsort((stamps, asset))
    twice = np.flatnonzero((np.diff(asset[order]) == 0) & (np.diff(stamps[order]) == np.timedelta64(0, "us")))
    if twice.size:
        row = order[twice[0]]
        problems.append(
            f"{where}: {tickers[asset[row]]} has more than one row for {when(stamps[row])} "
            f"({count(twice.size, 'duplicate row')} in the file); keep one row per ticker and timestamp"
        )
    return problems


def listing_problems(
    where: str, tickers: Sequence[str], stamps: DateArray, present: BoolArray, before_listing: str
) -> list[str]:
    """Tickers that lack bars which others have."""
    problems = []
    for a, ticker in enumerate(tickers):
        lacking = np.flatnonzero(~present[:, a])
        listed = int(present[:, a].argmax())
        late = bool(lacking.size) and lacking.size == listed
        if not lacking.size or (late and before_listing == "flat"):
            continue
        step = (
            f"it is listed at {when(stamps[listed])}: start the study there, leave it out, "
            "or set market.before_listing: flat to hold it at its first open before"
            if late
            else "fill these bars in the file, or leave the ticker out with market.tickers"
        )
        holes = lacking if before_listing == "refuse" else lacking[lacking >= listed]
        problems.append(
            f"{where}: {ticker} lacks {holes.size} of {len(stamps)} bars that other tickers have, "
            f"the first at {when(stamps[holes[0]])}; {step}"
        )
    more = len(problems) - SHOWN
    return problems if more <= 0 else [*problems[:SHOWN], f"{where}: {count(more, 'more ticker')} lack bars"]


def constant_problems(where: str, tickers: Sequence[str], close: FloatArray, present: BoolArray) -> list[str]:
    """Tickers whose price never moves."""
    still = []
    for a, ticker in enumerate(tickers):
        own = close[present[:, a], a]
        if own.size > 1 and (own == own[0]).all():
            still.append(f"{ticker} (always {own[0]:g})")
    if not still:
        return []
    return [f"{where}: close never moves for {some(still)}; there is nothing to hedge: leave it out"]


def gap_problem(where: str, gaps: Sequence[Gap]) -> str:
    """The sentence that refuses a time axis with holes."""
    first, missing = gaps[0], sum(gap.missing for gap in gaps)
    return (
        f"{where}: {count(len(gaps), 'gap')} in the common time axis, {count(missing, 'bar')} missing; "
        f"the first of {count(first.missing, 'bar')} between {when(first.after)} and {when(first.before)}; "
        "fill them in the file, or set market.gaps: keep to use the bars as they come"
    )


def and_more(n: int) -> str:
    """The rest of the rows that make the same mistake.

    >>> and_more(0), and_more(2)
    ('', ' (and in 2 more rows)')
    """
    return f" (and in {count(n, 'more row')})" if n else ""


def count(n: int, thing: str) -> str:
    """A number and its noun.

    >>> count(1, "bar"), count(2, "bar")
    ('1 bar', '2 bars')
    """
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def some(names: Sequence[str]) -> str:
    """A list of names that stays readable when there are thousands."""
    shown = 2 * SHOWN
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
