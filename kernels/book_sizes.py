"""How large a position of a protected book may be: agreement of frames, Kelly, ranges, drawdown and regime.

Pure functions in the array language; sizes are fractions of equity, and long and short are each other's mirror.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernels.ops import Value, clip, maximum, minimum, sign, where

UNKNOWN = float("inf")  # of a Kelly fraction


def agreement_size(alignment: Value, side: Value, before: Value, held: Value, p: Any) -> Value:
    """What the agreement of frames makes of a size, (A, C): `before` is what it made of it at the last bar.

    With a = side * alignment: 0.7 from a >= 0.45, 1.2 from 0.65, 1.5 from 0.80 (p.agreement_*, p.size_*), the last of these
    that a reaches. Below the first there is no new position: one that is held keeps its size, another has none.
    """
    agreed = side * alignment
    least = where((before > 0.0) & (sign(held) == side), before, 0.0)
    fair = where(agreed >= p.agreement_fair, p.size_fair, p.size_least)
    some = where(agreed >= p.agreement_strong, p.size_strong, fair)
    return where(agreed >= p.agreement_least, some, least)


def drawdown_cap(drawdown: Value, p: Any) -> Value:
    """The largest position at a drawdown of the book, (C,).

    p.position_cap up to p.cap_from, then down a straight line that is at p.cap_deep of it at p.cap_to, to no less than
    p.cap_floor of it: 5 %, 3 % and 1.5 % of equity at 5 %, 15 % and 22.5 % of drawdown.
    """
    slope = (1.0 - p.cap_deep) / (p.cap_to - p.cap_from)
    share = 1.0 - slope * (drawdown - p.cap_from)
    return p.position_cap * minimum(maximum(share, p.cap_floor), 1.0)


def kelly_size(base: Value, agreed: Value, kelly: Value, range_ratio: Value, drawdown: Value, p: Any) -> Value:
    """The size that replaces |base|, (A, C): p.kelly_fraction of Kelly's where that is known, less where ranges are wide.

    `agreed` is what agreement makes of it. `range_ratio` is the average true range over its mean: above 1.5 the size is 0.7
    of itself, above 1.2 it is 0.85 (p.very_wide_*, p.wide_*). At most `drawdown_cap`, then held between p.size_min and
    p.size_max, the latter where they cross; no position stays none.
    """
    fraction = where(kelly < UNKNOWN, p.kelly_fraction * maximum(kelly, 0.0), abs(base))
    wide = where(range_ratio > p.wide_ranges, p.wide_size, 1.0)
    size = fraction * agreed * where(range_ratio > p.very_wide_ranges, p.very_wide_size, wide)
    size = clip(minimum(size, drawdown_cap(drawdown, p)), p.size_min, p.size_max)
    return where(base * agreed == 0.0, 0.0, size)


def by_label(label: Value, values: Sequence[Value]) -> Value:
    """The value of a label, a whole number from 0: one of `values`."""
    chosen = values[-1]
    for number, value in reversed(list(enumerate(values[:-1]))):
        chosen = where(label == float(number), value, chosen)
    return chosen
