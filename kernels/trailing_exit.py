"""A stop that follows a position's best profit, and leaves within the bar: a state machine per asset, for a shared account.

It watches what is held, not what is wanted. The level that stood at the last close is what a bar is held against, so the
order of its high and its low does not matter; only then does the bar's own range move the level.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kernels.ops import Value, as_number, maximum, minimum, sign, where
from kernels.state import per_asset


class Trail(NamedTuple):
    """Of the position that is held: the stop, whose sign is its direction (0: none), the best price, bars held."""

    stop: Any = per_asset(0.0)
    best: Any = per_asset(0.0)
    bars: Any = per_asset(0.0)


class Exit(NamedTuple):
    """Where a stop closed the position during the bar (0: none did), and which ones are to be closed with the next fill."""

    price: Value
    overdue: Value


def trailing_exit(trail: Trail, units: Value, entry: Value, watched: Value, bar: Any, p: Any) -> tuple[Exit, Trail]:
    """One bar of it. g is the best profit since entry, by the bars' highs (a short's: lows).

    The stop is p.initial_stop beyond the entry; from g >= p.break_even_from at the entry; from p.lock_from it keeps
    p.lock_share of g; from p.trail_from it follows the best price at p.trail_atr average true ranges: the last of these that
    g reaches, whatever the order of the numbers. It only moves towards the profit. It is hit where the bar's low (a short's:
    high) reaches it, and fills there, or at the open beyond it. A position of p.max_hold_bars or more whose profit at the
    close is below p.min_profit is overdue. Where `watched` does not hold nothing is.
    """
    side = sign(units)
    held = watched & (side != 0.0)
    fresh = sign(trail.stop) != side
    late = fresh & (bar.costs.late > 0.0)  # bought at this bar's close: its range came before
    level = where(fresh, entry * (1.0 - side * p.initial_stop), abs(trail.stop))
    long = side > 0.0
    reached = where(long, bar.low <= level, bar.high >= level)
    hit = held & ~late & reached
    price = where(long, minimum(bar.open, level), maximum(bar.open, level))

    seen = where(
        long, maximum(bar.high, where(fresh, entry, trail.best)), minimum(bar.low, where(fresh, entry, trail.best))
    )
    best = where(late, entry, seen)
    per_entry = 1.0 / where(entry > 0.0, entry, 1.0)
    gain = side * (best * per_entry - 1.0)
    initial = where(gain >= p.break_even_from, entry, entry * (1.0 - side * p.initial_stop))
    locked = where(gain >= p.lock_from, entry * (1.0 + side * p.lock_share * gain), initial)
    follows = (gain >= p.trail_from) & (bar.atr > 0.0)
    wanted = where(follows, best - side * p.trail_atr * bar.atr, locked)
    stop = maximum(side * level, side * wanted)  # a short's are negative: the lower price is the larger number

    bars = where(fresh, 1.0, trail.bars + 1.0)
    overdue = held & ~hit & (bars >= p.max_hold_bars) & (side * (bar.close * per_entry - 1.0) < p.min_profit)
    stays = as_number(held & ~hit)
    return Exit(where(hit, price, 0.0), overdue), Trail(stays * stop, stays * best, stays * bars)
