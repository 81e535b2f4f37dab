"""The array language of a bar step: every operation it may use, on NumPy arrays and on symbols alike.

Arithmetic (`+ - * /`), comparisons and `& | ~` are ordinary operators. The functions here are the rest. On arrays they
run at once, and that is their meaning; on symbols (`kernels.trace`) they record one operation for the compiled backends.

Shapes: a value is (C,) per configuration, (A, C) per configuration and asset, or anything that broadcasts to these.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kernels.trace import Symbol, apply, reduce_assets

Value = Any  # a number, an array (C,) or (A, C), or a symbol of one


def _symbolic(*values: Value) -> bool:
    return Symbol in map(type, values)  # a quarter of the time of any(isinstance ...), on every operation of every bar


def _plain(a: Value, b: Value) -> bool:
    """Two plain numbers: a live trader's question of one order, which NumPy would answer forty times as slowly."""
    return type(a) is float and type(b) is float


def where(condition: Value, chosen: Value, otherwise: Value) -> Value:
    """`chosen` where `condition` holds, else `otherwise`; both are computed."""
    if type(condition) is bool and _plain(chosen, otherwise):
        return chosen if condition else otherwise
    if _symbolic(condition, chosen, otherwise):
        return apply("where", condition, chosen, otherwise)
    return np.where(condition, chosen, otherwise)


def minimum(a: Value, b: Value) -> Value:
    """The smaller of two; `b` where they compare equal or either is NaN (as the processors' own instruction does).

    >>> minimum(np.array([1.0, np.nan]), 2.0)
    array([1., 2.])
    """
    if _plain(a, b):
        return a if a < b else b
    return apply("minimum", a, b) if _symbolic(a, b) else np.where(np.less(a, b), a, b)


def maximum(a: Value, b: Value) -> Value:
    """The larger of two; `b` where they compare equal or either is NaN."""
    if _plain(a, b):
        return a if a > b else b
    return apply("maximum", a, b) if _symbolic(a, b) else np.where(np.greater(a, b), a, b)


def clip(x: Value, low: Value, high: Value) -> Value:
    """`x` held between `low` and `high`."""
    return minimum(maximum(x, low), high)


def sqrt(x: Value) -> Value:
    """Square root."""
    return apply("sqrt", x) if _symbolic(x) else np.sqrt(x)


def exp(x: Value) -> Value:
    """e^x. Compiled backends agree with NumPy to an ulp or two, not to the bit; so do `log` and `norm_cdf`."""
    return apply("exp", x) if _symbolic(x) else np.exp(x)


def log(x: Value) -> Value:
    """Natural logarithm."""
    return apply("log", x) if _symbolic(x) else np.log(x)


def floor(x: Value) -> Value:
    """The largest whole number not above `x`."""
    return apply("floor", x) if _symbolic(x) else np.floor(x)


def sign(x: Value) -> Value:
    """-1, 0 or 1; 0 for NaN.

    >>> sign(np.array([-2.0, 0.0, 5.0, np.nan]))
    array([-1.,  0.,  1.,  0.])
    """
    return where(x > 0.0, 1.0, where(x < 0.0, -1.0, 0.0))


def as_number(condition: Value) -> Value:
    """1 where `condition` holds, else 0."""
    return where(condition, 1.0, 0.0)


def rarely(condition: Value) -> Value:
    """`condition`, one of planes without assets that holds on few bars: compiled for one asset, a bar on which none of these
    holds is run without all that depends on them."""
    return apply("rarely", condition) if _symbolic(condition) else condition


def wide(x: Value) -> Value:
    """`x` in float64 from here on, whatever the precision of the state: for sums over many bars."""
    return apply("wide", x) if _symbolic(x) else np.asarray(x, dtype=np.float64)


def sum_assets(x: Value) -> Value:
    """Sum over assets, (A, C) -> (C,), added in asset order so that no batch size changes a bit."""
    if _symbolic(x):
        return reduce_assets("sum", x)
    total = x[0]
    for row in x[1:]:
        total = total + row
    return total


def max_assets(x: Value) -> Value:
    """Largest over assets, (A, C) -> (C,)."""
    if _symbolic(x):
        return reduce_assets("max", x)
    best = np.full(x.shape[1:], -np.inf)
    for row in x:
        best = maximum(best, row)
    return best


def min_assets(x: Value) -> Value:
    """Smallest over assets, (A, C) -> (C,)."""
    return -max_assets(-x)


def norm_cdf(x: Value) -> Value:
    """Standard normal distribution function, within 1e-15 of the exact value.

    Source: Hart (1968) as given by West (2005), "Better approximations to cumulative normal functions", Wilmott.

    >>> norm_cdf(np.array([-8.0, -1.0, 0.0, 2.0])).round(12).tolist()
    [0.0, 0.158655253931, 0.5, 0.977249868052]
    """
    z = abs(x)
    top = 3.52624965998911e-02
    for c in (
        0.700383064443688,
        6.37396220353165,
        33.912866078383,
        112.079291497871,
        221.213596169931,
        220.206867912376,
    ):
        top = top * z + c
    bottom = 8.83883476483184e-02
    for c in (
        1.75566716318264,
        16.064177579207,
        86.7807322029461,
        296.564248779674,
        637.333633378831,
        793.826512519948,
        440.413735824752,
    ):
        bottom = bottom * z + c
    density = exp(-0.5 * z * z)
    fraction = z + 0.65
    for c in (4.0, 3.0, 2.0, 1.0):
        fraction = z + c / fraction
    tail = where(z < 7.07106781186547, density * top / bottom, density / (fraction * math.sqrt(2.0 * math.pi)))
    return where(x > 0.0, 1.0 - tail, tail)
