"""When a book of correlated positions is hedged, and how: less of everything, a short, cash, or puts."""

from __future__ import annotations

from typing import Any, NamedTuple

from kernels.exposure import exposure
from kernels.ops import Value, as_number, maximum, sign, sum_assets, where
from kernels.regime import BEAR, BULL, HIGH

METHODS = ("off", "reduce", "inverse", "cash", "put")
OFF, REDUCE, INVERSE, CASH, PUT = (float(i) for i in range(len(METHODS)))
REGIME_SETS = ("any", "not_bull", "bear_trending", "high_volatility", "bear_or_high_volatility")
ANY, NOT_BULL, BEAR_ONLY, HIGH_ONLY, BEAR_OR_HIGH = (float(i) for i in range(len(REGIME_SETS)))
MEASURES = ("effective", "mean")
MEAN = 1.0


class Hedged(NamedTuple):
    """The book after its hedge: weights (A, C), whether the hedge is on, exposure before it, and as shares of equity what
    is moved to cash and what puts cover, (C,) each."""

    weight: Value
    armed: Value
    exposure: Value
    moved: Value
    covered: Value


def hedge_book(weight: Value, was_armed: Value, label: Value, bar: Any, p: Any) -> Hedged:
    """Hedge the book while its exposure e is above p.hedge_exposure and the label of its market in p.hedge_regimes.

    e = sqrt(w' C w), or sum |w| times the mean correlation (p.exposure_measure). Once on, it goes off when e is below
    (1 - p.hedge_hysteresis) of the trigger, or with the regime. At p.hedge_strength s:

        reduce    every weight times 1 - s
        cash      the same, and what was moved earns the cash rate
        inverse   short s * e * beta of the hedge asset, beta that of the book per unit of e: sum_a w_a beta_a / e;
                  unadjusted, s * e against the side that the book is on
        put       puts on s * e * beta of the hedge asset, none for a book that gains where it falls
    """
    e = exposure(weight, bar.factors, p.exposure_measure == MEAN)
    trigger = p.hedge_exposure * where(was_armed > 0.0, 1.0 - p.hedge_hysteresis, 1.0)
    # A hedge of strength 0 is none: arming alone would rebalance the book.
    asked = (p.hedge != OFF) & (p.hedge_strength > 0.0)
    armed = asked & (e > trigger) & _in_regime(label, p.hedge_regimes)
    share = where(armed, p.hedge_strength, 0.0)
    own_beta = sum_assets(weight * bar.hedge_beta)  # of the whole book: beta per unit of e, times e
    short = where(p.beta_adjusted > 0.0, own_beta, e * sign(sum_assets(weight)))
    scaled = (p.hedge == REDUCE) | (p.hedge == CASH)
    kept = 1.0 - where(scaled, share, 0.0)
    shorted = where(p.hedge == INVERSE, share * short, 0.0)
    return Hedged(
        weight=weight * kept - bar.hedge_asset * shorted,
        armed=as_number(armed),
        exposure=e,
        moved=where(p.hedge == CASH, share * sum_assets(abs(weight)), 0.0),
        covered=where(p.hedge == PUT, share * maximum(own_beta, 0.0), 0.0),
    )


def _in_regime(label: Value, chosen: Value) -> Value:
    """Whether a label is in the set chosen of REGIME_SETS."""
    bear, high = label == BEAR, label == HIGH
    return (
        (chosen == ANY)
        | ((chosen == NOT_BULL) & (label != BULL))
        | (bear & ((chosen == BEAR_ONLY) | (chosen == BEAR_OR_HIGH)))
        | (high & ((chosen == HIGH_ONLY) | (chosen == BEAR_OR_HIGH)))
    )
