r"""How much of a Sharpe ratio is luck: its own noise, the number of configurations it was picked from, and a baseline.

All Sharpe ratios here are per bar: mean / standard deviation of the bar returns, not annual. N counts every
configuration that was tried on the data.

Sources: Lo (2002), "The Statistics of Sharpe Ratios"; Mertens (2002); Bailey and Lopez de Prado (2012), "The Sharpe Ratio
Efficient Frontier", and (2014), "The Deflated Sharpe Ratio"; Ledoit and Wolf (2008), "Robust Performance Hypothesis
Testing with the Sharpe Ratio".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.special import ndtr, ndtri

from kernels.market import FloatArray

EULER = 0.5772156649015329  # c, of Euler and Mascheroni
ROUNDING = 1e-12  # of the largest return: below it returns are all alike
WORTH_FINDING = 1.0  # the annual Sharpe ratio that the minimum length speaks of, unless told otherwise

Number = TypeVar("Number", float, FloatArray)


def probabilistic_sharpe(
    sharpe: Number, bars: int, skew: Number, kurtosis: Number, benchmark: float = 0.0
) -> FloatArray:
    r"""PSR: the probability that the true Sharpe ratio exceeds `benchmark`.

    PSR(b) = Phi[(SR - b) sqrt(n - 1) / sqrt(1 - g3 SR + (g4 - 1) / 4 SR^2)]

    g3 is the skew, g4 the kurtosis (3 for a normal), n the bars. NaN where the root is of nothing: returns of two values.
    Source: Bailey and Lopez de Prado (2012), equation 9.

    >>> float(probabilistic_sharpe(0.1, bars=401, skew=0.0, kurtosis=3.0).round(4))
    0.977
    """
    noise = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt(np.where(noise > 0.0, noise, np.nan))
        return np.asarray(ndtr((sharpe - benchmark) * math.sqrt(bars - 1.0) / spread))


def best_of(n: float) -> float:
    r"""The expected largest of n standard normal numbers, n >= 1; 0 for one.

    (1 - c) Phi^-1(1 - 1/n) + c Phi^-1(1 - 1/(n e))

    Source: Bailey and Lopez de Prado (2014), equation 5. An approximation, 5 % too small at n = 2 and closer from there.

    >>> [round(best_of(n), 3) for n in (1, 10, 1000, 1e6)]
    [0.0, 1.575, 3.255, 4.868]
    """
    if n <= 1.0:
        return 0.0
    return float((1.0 - EULER) * ndtri(1.0 - 1.0 / n) + EULER * ndtri(1.0 - 1.0 / (n * math.e)))


def deflated_sharpe(
    sharpe: float, bars: int, skew: float, kurtosis: float, *, trials: float, spread: float
) -> tuple[float, float]:
    """DSR and its benchmark: the probability that the winner's true Sharpe ratio is above zero, as picked from `trials`.

    `spread` is the standard deviation of the Sharpe ratios of all trials; the benchmark is what the best of so many would
    reach by luck, spread * `best_of(trials)`. Source: Bailey and Lopez de Prado (2014).

    The paper's own example, 2.5 a year over 5 years of 250 days:

    >>> dsr, luck = deflated_sharpe(2.5 / 250**0.5, 1250, -3.0, 10.0, trials=100, spread=(0.5 / 250) ** 0.5)
    >>> round(dsr, 4), round(luck, 4)
    (0.9004, 0.1132)
    """
    luck = spread * best_of(trials)
    return float(probabilistic_sharpe(sharpe, bars, skew, kurtosis, luck)), luck


def effective_trials(trials: int, correlation: float) -> float:
    """How many independent trials as many correlated ones are worth, rho + (1 - rho) N.

    `correlation` is the average over all pairs, taken as 0 where it is below. Source: Bailey and Lopez de Prado (2014),
    appendix A.3.

    >>> round(effective_trials(1000, 0.9), 1)
    100.9
    """
    rho = min(max(correlation, 0.0), 1.0)
    return rho + (1.0 - rho) * trials


def average_correlation(returns: FloatArray) -> float:
    r"""The mean correlation over all pairs of C series, (n, C); what never moves is left out. 0 where fewer than two move.

    With z_k the standardised series, Var(sum_k z_k) = C + C (C - 1) rho: no pair need be looked at by itself. The series
    may be sums of blocks of bars as well as bars.

    >>> x = np.random.default_rng(0).normal(size=(200, 1)) + np.random.default_rng(1).normal(size=(200, 4))
    >>> pairs = np.corrcoef(x, rowvar=False)[np.triu_indices(4, 1)]
    >>> bool(np.isclose(average_correlation(x), pairs.mean(), rtol=1e-12))
    True
    >>> round(effective_trials(4, average_correlation(x)), 1)
    2.5
    """
    centred = returns - returns.mean(axis=0)
    deviation = np.sqrt((centred * centred).mean(axis=0))
    moving = deviation > ROUNDING * np.abs(returns).max(axis=0)
    C = int(np.count_nonzero(moving))
    if C < 2:
        return 0.0
    together = centred[:, moving] @ (1.0 / deviation[moving])  # (n,)
    return float(((together * together).mean() - C) / (C * (C - 1.0)))


def worthless_spread(sharpes: FloatArray, bars: int) -> float:
    """How much the Sharpe ratios per bar of as many configurations without skill differ, as a standard deviation.

    That of the configurations tried, (N,), but at most 1 / sqrt(bars - 1), which it is of independent ones without skill
    (Lo 2002). What they differ by beyond that is no luck: some earn, or some pay more. Taken whole, the more of them
    earn, the less any of them could be believed.

    >>> round(worthless_spread(np.array([-0.2, 0.0, 0.2]), 401), 3), round(worthless_spread(np.array([0.01, 0.03]), 401), 3)
    (0.05, 0.014)
    """
    found = float(np.std(sharpes, ddof=1)) if len(sharpes) > 1 else 0.0
    return min(found, 1.0 / math.sqrt(max(bars - 1.0, 1.0)))


def minimum_years(trials: float, annual_sharpe: float = WORTH_FINDING) -> float:
    """Years of data below which the best of so many worthless strategies is expected to show that Sharpe ratio a year.

    Source: Bailey, Borwein, Lopez de Prado and Zhu (2014), "Pseudo-Mathematics and Financial Charlatanism", theorem 2.

    >>> [round(minimum_years(n), 1) for n in (80, 300, 1e5, 1e6)]
    [6.0, 8.4, 19.3, 23.7]
    """
    return (best_of(trials) / annual_sharpe) ** 2


@dataclass(frozen=True)
class SharpeDifference:
    """Difference of two Sharpe ratios per bar, its standard error, and the two-sided p-value of no difference."""

    difference: float
    error: float
    p_value: float


def sharpe_difference(returns: FloatArray, baseline: FloatArray) -> SharpeDifference:
    """Whether two strategies on the same bars, (n,) returns each, differ in their Sharpe ratios.

    The delta method on the means and mean squares, whose long-run covariance is estimated with the Parzen kernel and
    the automatic bandwidth of Andrews (1991), so that fat tails and changing volatility are allowed for.
    Source: Ledoit and Wolf (2008), section 3.1; NaN where either strategy never moves or both are the same.

    >>> x = np.random.default_rng(0).normal(0.05, 1.0, (2, 4000))
    >>> found = sharpe_difference(x[0], x[1])
    >>> round(found.error, 4), round(math.sqrt(2 / 4000), 4)  # of independent normal returns
    (0.0223, 0.0224)
    """
    n = len(returns)
    if returns.std() == 0.0 or baseline.std() == 0.0:
        return SharpeDifference(math.nan, math.nan, math.nan)
    returns, baseline = returns / returns.std(), baseline / baseline.std()  # so that leverage moves no bandwidth
    moments = np.stack([returns, baseline, returns * returns, baseline * baseline])  # (4, n)
    m1, m2, g1, g2 = moments.mean(axis=1)
    v1, v2 = g1 - m1 * m1, g2 - m2 * m2
    difference = m1 / math.sqrt(v1) - m2 / math.sqrt(v2)
    gradient = np.array([g1 / v1**1.5, -g2 / v2**1.5, -m1 / (2.0 * v1**1.5), m2 / (2.0 * v2**1.5)])
    covariance = long_run_covariance(moments - moments.mean(axis=1, keepdims=True))
    error = math.sqrt(max(float(gradient @ covariance @ gradient), 0.0) / n)
    p_value = float(2.0 * ndtr(-abs(difference) / error)) if error > 0.0 else math.nan
    return SharpeDifference(difference, error, p_value)


def long_run_covariance(centred: FloatArray) -> FloatArray:
    """Long-run covariance (k, k) of k centred series (k, n): Parzen's kernel, Andrews' bandwidth from AR(1) fits.

    Source: Andrews (1991), Econometrica 59, 817-858, equations 5.2, 6.2 and 6.4 with equal weights.
    """
    k, n = centred.shape
    now, before = centred[:, 1:], centred[:, :-1]
    power = (before * before).sum(axis=1)
    rho = np.clip(np.divide((now * before).sum(axis=1), power, out=np.zeros(k), where=power > 0.0), -0.97, 0.97)
    variance = ((now - rho[:, None] * before) ** 2).mean(axis=1)
    above = (4.0 * rho**2 * variance**2 / (1.0 - rho) ** 8).sum()
    below = (variance**2 / (1.0 - rho) ** 4).sum()
    width = 2.6614 * (above / below * n) ** 0.2 if below > 0.0 else 0.0
    scale = n / (n - k)
    total = centred @ centred.T / n
    for lag in range(1, min(n, math.ceil(width))):
        x = lag / width
        weight = 1.0 - 6.0 * x * x + 6.0 * x**3 if x <= 0.5 else 2.0 * (1.0 - x) ** 3
        crossed = centred[:, lag:] @ centred[:, :-lag].T / n
        total += weight * (crossed + crossed.T)
    return np.asarray(scale * total)
