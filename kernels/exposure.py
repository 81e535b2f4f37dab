"""What a book of correlated positions amounts to, in the array language: written for a bar step, good for arrays.

`factors` are the values that a bar has of each of `kernels.correlation.correlation_factors`: one per asset. Each costs a sum
over assets; all are in one stage.
"""

from __future__ import annotations

from collections.abc import Sequence

from kernels.ops import Value, as_number, maximum, sign, sqrt, sum_assets, where


def effective_exposure(weight: Value, factors: Sequence[Value]) -> Value:
    """e = sqrt(w' C w), (C,), for signed weights (A, C): what one position of the same risk would weigh.

    |w| of a single position, sum |w| of longs that move as one, 0 of a position and its perfect hedge; 0 until the
    correlation is known.
    """
    return sqrt(_quadratic(weight, factors))


def mean_pairwise(weight: Value, factors: Sequence[Value]) -> Value:
    """Mean correlation of all pairs of open positions, not below 0, (C,): 1 of one position, 0 of none.

    A short counts as the mirrored asset: a long and a short that move as one have -1, which is told as 0. So is that of
    several positions while the correlation is not known.
    """
    return _mean_of_pairs(_quadratic(sign(weight), factors), weight)


def mean_exposure(weight: Value, factors: Sequence[Value]) -> Value:
    """e = sum |w| * mean pairwise rho of the open positions, (C,): the other measure of exposure. |w| of one position."""
    return sum_assets(abs(weight)) * mean_pairwise(weight, factors)


def exposure(weight: Value, factors: Sequence[Value], by_mean: Value) -> Value:
    """`mean_exposure` where the condition `by_mean` holds, else `effective_exposure`: both for one pass over the factors."""
    form = _quadratic(where(by_mean, sign(weight), weight), factors)
    return where(by_mean, sum_assets(abs(weight)) * _mean_of_pairs(form, weight), sqrt(form))


def _mean_of_pairs(form: Value, weight: Value) -> Value:
    """From s' C s of the signs s: less its diagonal, over the pairs."""
    held = sum_assets(as_number(weight != 0.0))
    pairs = held * (held - 1.0)
    return where(pairs > 0.0, maximum(form - held, 0.0) / maximum(pairs, 1.0), held)


def _quadratic(x: Value, factors: Sequence[Value]) -> Value:
    """x' C x, summed factor after factor."""
    total: Value = 0.0
    for factor in factors:
        along = sum_assets(factor * x)
        total = total + along * along
    return total
