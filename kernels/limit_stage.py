"""The risk limits inside a bar: what they leave of all the orders that a rule wants at one close.

The rule is `kernels.risk_rule`, the one that `RiskLimits` asks about a live order. A rule calls

    limited = bar.limited(weight, held, regime)

after its hedge and before its stops. `weight` and `held` are signed fractions of the account's one equity at the close,
(A, C): what is wanted, and what is held; where the rule does not trade it wants what is held. `regime` is one label for the
whole book, a number of 0 or more, (C,) or of the bar; None skips that limit.

Several orders of one bar have no order among them:

- Reductions come first. What is left of `held` is the base; where the side turns, or nothing is wanted, it is 0. What is
  wanted beyond the base is an order. One of less than `SMALLEST` of equity is none, and is not made.
- An order in an asset that is still held is refused unless `pyramiding`.
- The limit on an asset is its own. Those on a direction and on a regime are shared in proportion: room of 0.2 for orders of
  0.1 and 0.3 cuts both to a half. An order refused because its asset is held takes no room.
- An order is cut by the closest of the other assets that are held after the reductions or ordered at this bar.
- The least multiplier counts, and one of 0 refuses. No order gets the room that another one's cut leaves.

An asset is held on one side, so `exposure: net` and `gross` are the same here. A position belongs to the regime in which it
was opened; one that was added to in another regime counts whole in every regime, which is never less than its parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from kernels.errors import InputError
from kernels.limit_planes import ASSET, RHO, UNKNOWN, compares
from kernels.market import Market
from kernels.ops import Value, as_number, maximum, minimum, sign, sum_assets, where
from kernels.option_market import OptionMarket
from kernels.risk_rule import correlation_multiplier, exposure_multiplier
from kernels.risk_settings import SECTION, Limits
from kernels.state import per_asset
from kernels.strategy import Strategy
from kernels.trace import Symbol

SMALLEST = 1e-6  # of equity: a cent of the 10,000 that an account starts with
IN_SEVERAL = -1.0  # the label of a position that was opened in several regimes


class Limited(NamedTuple):
    """What the limits leave of a bar's orders."""

    weight: Value  # (A, C), on the side that was wanted and never beyond it
    cuts: Value  # (C,), orders that were cut
    refusals: Value  # (C,), orders that were refused


class Opened(NamedTuple):
    """What the stage remembers: the label of the regime in which each asset's position was opened."""

    regime: Any = per_asset(IN_SEVERAL)


class NoStage(NamedTuple):
    """What is remembered where there are no limits."""


class Correlations(NamedTuple):
    """A bar's correlations: `rho[k]` of asset k with each asset (A, 1), and `asset`, the assets' numbers (A, 1)."""

    asset: Value
    rho: Sequence[Value]


class LimitStage:
    """The `bar.limited` of one bar. `opened` is what the next bar remembers."""

    def __init__(self, limits: Limits, n_assets: int, bar: Any, opened: Opened) -> None:
        self.opened, self.asked = opened, 0
        self._limits = limits
        self._correlations = None
        if compares(limits, n_assets):
            self._correlations = Correlations(getattr(bar, ASSET), getattr(bar, RHO))

    def __call__(self, weight: Value, held: Value, regime: Value = None) -> Limited:
        """What is left of the orders from `held` to `weight`."""
        self.asked += 1
        found, self.opened = limit(self._limits, weight, held, regime, self.opened, self._correlations)
        return found


def unlimited(weight: Value, held: Value, regime: Value = None) -> Limited:
    """The `bar.limited` of a bar without limits: the weight as it is, no operation."""
    return Limited(weight, 0.0, 0.0)


def limit(
    limits: Limits, weight: Value, held: Value, regime: Value, opened: Opened, correlations: Correlations | None
) -> tuple[Limited, Opened]:
    """The rule of the module's first lines; no correlation counts where there are none."""
    if regime is not None and _per_asset(regime):
        raise TypeError(
            "bar.limited takes one regime for the whole book: give a plane (T,) or a value per configuration"
        )
    side = sign(weight)
    base = where(side * held > 0.0, minimum(abs(held), abs(weight)), 0.0)
    size = abs(weight) - base
    ordered = size > SMALLEST
    asks = ordered if limits.pyramiding else ordered & (base <= 0.0)
    size = maximum(size, SMALLEST)  # nothing is divided by 0 where there is no order
    wanted = where(asks, size, 0.0)

    multiplier = exposure_multiplier(limits.symbol_limit, base, size)
    up = side > 0.0
    longs, shorts = sum_assets(where(up, wanted, 0.0)), sum_assets(where(up, 0.0, wanted))
    for_longs = _shared(limits.direction_limit, sum_assets(where(up, base, 0.0)), longs)
    for_shorts = _shared(limits.direction_limit, sum_assets(where(up, 0.0, base)), shorts)
    multiplier = minimum(multiplier, where(up, for_longs, for_shorts))
    if regime is not None:
        here = (opened.regime == regime) | (opened.regime == IN_SEVERAL)
        exposure = sum_assets(where(here, base, 0.0))
        multiplier = minimum(multiplier, _shared(limits.regime_limit, exposure, longs + shorts))
    if correlations is not None:
        open_side = where(asks | (base > 0.0), side, 0.0)
        harm = _harm(correlations, open_side, unknown_counts=limits.on_unknown == "cap")
        left = correlation_multiplier(harm, limits.correlation_limit, limits.correlation_cut)
        multiplier = minimum(multiplier, left)

    allowed = asks & (multiplier > 0.0)
    cut = multiplier < 1.0
    reduced = side * minimum(base + multiplier * size, abs(weight))
    found = Limited(
        where(allowed, where(cut, reduced, weight), side * base),
        cuts=sum_assets(as_number(allowed & cut)),
        refusals=sum_assets(as_number(ordered & ~allowed)),
    )
    if regime is None:
        return found, opened
    added = where((base > 0.0) & (opened.regime != regime), IN_SEVERAL, regime) if limits.pyramiding else regime
    return found, Opened(where(allowed, added, opened.regime))


def _shared(limit: float, exposure: Value, wanted: Value) -> Value:
    """What a limit leaves of each of several orders that want so much together."""
    return exposure_multiplier(limit, exposure, maximum(wanted, SMALLEST))


def _harm(correlations: Correlations, side: Value, *, unknown_counts: bool) -> Value:
    """The largest correlation of each asset with another one that is open, times both sides, (A, C); at least 0.

    Correlations are symmetric, so the one of k with every asset is that of every asset with k.
    """
    worst: Value = 0.0
    for k, rho in enumerate(correlations.rho):
        of_k = sum_assets(where(correlations.asset == float(k), side, 0.0))
        both = of_k * side
        harm = rho * both
        if unknown_counts:
            harm = where(rho == UNKNOWN, abs(both), harm)
        worst = maximum(worst, harm)
    return worst


def _per_asset(value: Value) -> bool:
    return value.per_asset if isinstance(value, Symbol) else getattr(value, "ndim", 0) > 1


def applied(limits: Limits | None, strategy: Strategy, market: Market | OptionMarket) -> Limits | None:
    """The limits that a backtest runs under, None where they are off; InputError where they have no meaning in it."""
    if limits is None or not limits.enabled:
        return None
    if not strategy.limited or not isinstance(market, Market):
        raise InputError(
            f"{SECTION}.enabled: strategy '{strategy.name}' does not ask the limits (bar.limited), so they would change "
            "nothing; set it to false, or take a strategy that declares limited=True on a market of prices"
        )
    if compares(limits, market.n_assets) and market.n_bars <= limits.correlation_common:
        raise InputError(
            f"{SECTION}.correlation_common: at most {market.n_bars - 1} must hold, since there are {market.n_bars - 1} "
            f"returns, got {limits.correlation_common}; take a smaller number or more bars, or correlation_cut: 0"
        )
    return limits
