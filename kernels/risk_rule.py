"""What limits on exposure, correlation and drawdown allow of an order: the rule itself, once, for a backtest and a live book.

Pure functions in the array language of `kernels.ops`: on plain numbers they answer a trader (`kernels.risk_limits`), on
arrays and symbols they are part of a bar step. Sizes and exposures are fractions of equity. Every function fails closed: a
NaN is never within a limit.
"""

from __future__ import annotations

from kernels.ops import Value, maximum, minimum, where

SMALLEST_MULTIPLIER = 0.1  # an order that a limit would cut below this share of itself is refused
LARGEST_OPTIMISER = 2.0  # an optimiser may at most double a size


def fits(limit: Value, exposure: Value, size: Value) -> Value:
    """Whether an order of `size` keeps the exposure within the limit: e + p <= L."""
    return exposure + size <= limit


def exposure_multiplier(limit: Value, exposure: Value, size: Value) -> Value:
    """What a limit on exposure leaves of an order: 1 where it fits, else the room a = max(0, L - e) / p, 0 where a < 0.1.

    `exposure` is what is held before the order, in its own direction (negative where it reduces a net position), `size`
    is above 0.

    >>> [round(float(exposure_multiplier(0.25, e, p)), 3) for e, p in ((0.0, 0.4), (0.15, 0.15), (0.1, 0.1), (0.24, 0.2))]
    [0.625, 0.667, 1.0, 0.0]
    """
    room = maximum(limit - exposure, 0.0) / size
    return where(fits(limit, exposure, size), 1.0, where(room >= SMALLEST_MULTIPLIER, room, 0.0))


def correlation_multiplier(harm: Value, limit: Value, cut: Value) -> Value:
    """What a limit on correlation leaves of an order: 1 up to it, then 1 - min(cut, (c - c_max) / (1 - c_max)).

    `harm` is the correlation with a held position times both directions (1 or -1): above 0 where the two lose together.
    NaN, a correlation that is not known, is treated as 1.

    >>> [round(float(correlation_multiplier(c, 0.85, 0.75)), 2) for c in (-0.95, 0.85, 0.9, 0.92, 0.9625, 1.0, float("nan"))]
    [1.0, 1.0, 0.67, 0.53, 0.25, 0.25, 0.25]
    """
    beyond = (harm - limit) / (1.0 - limit)
    return where(harm <= limit, 1.0, 1.0 - minimum(beyond, cut))


def drawdown_guard(
    daily_loss: Value, max_daily_loss: Value, drawdown: Value, max_drawdown: Value, losses: Value, max_losses: Value
) -> Value:
    """1 while the loss of the day, the drawdown from the peak and the losses in a row are all below their limits, else 0.

    >>> [float(drawdown_guard(loss, 0.05, 0.1, 0.2, 4.0, 5.0)) for loss in (0.04, 0.05)]
    [1.0, 0.0]
    """
    below = (daily_loss < max_daily_loss) & (drawdown < max_drawdown) & (losses < max_losses)
    return where(below, 1.0, 0.0)


def composed(base: Value, optimiser: Value, guard: Value, limits: Value) -> Value:
    """The final size: base * optimiser (0 to 2) * drawdown guard (0 or 1) * limits (0 to 1).

    >>> composed(20_000.0, 2.0, 1.0, 0.625)
    25000.0
    """
    return base * optimiser * guard * limits
