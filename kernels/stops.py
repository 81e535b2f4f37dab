"""Stops on closes: a state machine per asset, driven by the weight that enters it.

Both stops share one machine. A position opens at the close of the bar on which the entering weight turns non-zero or
changes sign, and is not checked on that bar. A hit makes the weight zero for this bar only; the next bar re-enters.
A distance of None (`none` in a study) switches a stop off.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kernels.ops import Value, maximum, minimum, sign, where
from kernels.state import per_asset


class StopLoss(NamedTuple):
    """Direction of the watched position (-1, 0, 1) and the close it was entered at."""

    direction: Any = per_asset(0.0)
    entry: Any = per_asset(0.0)


class TrailingStop(NamedTuple):
    """Direction of the watched position, and the best price since its entry bar: highest high (long), lowest low (short)."""

    direction: Any = per_asset(0.0)
    best: Any = per_asset(0.0)


def stop_loss(weight: Value, state: StopLoss, close: Value, distance: Value | None) -> tuple[Value, StopLoss]:
    """Leave when the close is further than `distance` (a fraction) beyond the entry close, strictly.

    Long: C < e (1 - p); short: C > e (1 + p).
    """
    if distance is None:
        return weight, state
    side = sign(weight)
    entered = side != state.direction
    entry = where(entered, close, state.entry)
    long_hit = (state.direction > 0.0) & (close < entry * (1.0 - distance))
    short_hit = (state.direction < 0.0) & (close > entry * (1.0 + distance))
    hit = ~entered & (long_hit | short_hit)
    return where(hit, 0.0, weight), StopLoss(where(hit, 0.0, side), entry)


def trailing_stop(
    weight: Value, state: TrailingStop, high: Value, low: Value, close: Value, distance: Value | None
) -> tuple[Value, TrailingStop]:
    """Leave when the close is further than `distance` (in price) from the best price since entry, strictly.

    Long: C < hi - d; short: C > lo + d; the entry bar's own high and low count towards the best.
    """
    if distance is None:
        return weight, state
    side = sign(weight)
    entered = side != state.direction
    long = side > 0.0
    best = where(
        entered,
        where(long, high, low),
        where(long, maximum(state.best, high), minimum(state.best, low)),
    )
    hit = ~entered & ((long & (close < best - distance)) | ((side < 0.0) & (close > best + distance)))
    return where(hit, 0.0, weight), TrailingStop(where(hit, 0.0, side), best)
