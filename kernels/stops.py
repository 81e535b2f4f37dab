"""Stops on closes: a state machine per asset, driven by the weight that enters it.

A position opens at the close of the bar on which the entering weight turns non-zero or changes sign, and is not checked
on that bar. A hit makes the weight zero for this bar only; the next bar re-enters. A distance of None switches a stop off.

Each stop carries one price per asset whose sign is the direction of the watched position (0: none), which is half the
registers of a price and a direction.
"""

from __future__ import annotations

from kernels.ops import Value, maximum, sign, where


def stop_loss(weight: Value, entry: Value, close: Value, distance: Value | None) -> tuple[Value, Value]:
    """Leave when the close is further than `distance` (a fraction) beyond the entry close, strictly.

    Long: C < e (1 - p); short: C > e (1 + p). `entry` is carried: the entry close, negative for a short, 0 for none.
    """
    if distance is None:
        return weight, entry
    side = sign(weight)
    entered = side != sign(entry)
    entry = where(entered, side * close, entry)
    long_hit = (entry > 0.0) & (close < entry * (1.0 - distance))
    short_hit = (entry < 0.0) & (close > -entry * (1.0 + distance))
    hit = ~entered & (long_hit | short_hit)
    return where(hit, 0.0, weight), where(hit, 0.0, entry)


def trailing_stop(
    weight: Value, best: Value, high: Value, low: Value, close: Value, distance: Value | None
) -> tuple[Value, Value]:
    """Leave when the close is further than `distance` (in price) from the best price since entry, strictly.

    Long: C < hi - d; short: C > lo + d; the entry bar's own high and low count towards the best. `best` is carried: the
    highest high of a long, minus the lowest low of a short, 0 for none.
    """
    if distance is None:
        return weight, best
    side = sign(weight)
    entered = side != sign(best)
    extreme = where(side > 0.0, high, -low)
    best = where(entered, abs(side) * extreme, maximum(extreme, best))
    hit = ~entered & (side * close < best - distance)
    return where(hit, 0.0, weight), where(hit, 0.0, best)
