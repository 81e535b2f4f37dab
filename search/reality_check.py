r"""Whether the best of all configurations beats the baseline by more than the best of so many would by luck.

d_k is the return of configuration k less that of the baseline, bar by bar; d_k* its mean in a bootstrap replicate::

    V   = max_k mean(d_k) / se_k           what was found
    V*  = max_k (d_k* - m_k) / se_k        what luck finds, once per replicate
    p   = share of replicates with V* >= V

m_k = mean(d_k) is the least favourable case (White); where mean(d_k) / se_k < -sqrt(2 ln ln n) a configuration is so bad
that m_k = 0 (Hansen's consistent p-value). The maximum over configurations is the maximum over parts of them, so chunks are
looked at anywhere and merged in any order.

Sources: White (2000), "A Reality Check for Data Snooping"; Hansen (2005), "A Test for Superior Predictive Ability".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kernels.market import FloatArray

DIGITS = 10  # of a statistic that are compared: a matrix product's last bits depend on its shape
ROUNDING = 1e-12  # share of the largest return below which a difference is none


@dataclass(frozen=True)
class Excess:
    """The largest studentised excess over the baseline, of some configurations: found, and in each of R replicates."""

    found: float
    consistent: FloatArray  # (R,) Hansen
    least_favourable: FloatArray  # (R,) White
    configurations: int

    @property
    def p_value(self) -> float:
        """Hansen's consistent p-value."""
        return _share(self.consistent, self.found)

    @property
    def upper_p_value(self) -> float:
        """White's, which bad configurations make larger."""
        return _share(self.least_favourable, self.found)


def excess(returns: FloatArray, baseline: FloatArray, weights: FloatArray) -> Excess:
    """Look at some configurations: `returns` (n, C), `baseline` (n,), `weights` (R, n) from `search.bootstrap.weights`.

    A configuration that does not differ from the baseline says nothing; of none that does, found is minus infinity.
    """
    R, n = weights.shape
    difference = returns - baseline[:, None]
    least = ROUNDING * (np.abs(returns).max(axis=0) + np.abs(baseline).max())
    moving = (np.abs(difference - difference[0]) > least).any(axis=0) & np.isfinite(difference).all(axis=0)
    difference = difference[:, moving]
    C = difference.shape[1]
    if C == 0:
        nothing = np.full(R, -np.inf)
        return Excess(-math.inf, nothing, nothing, returns.shape[1])
    mean = difference.mean(axis=0)
    replicates = weights @ difference  # (R, C)
    error = replicates.std(axis=0)
    found = mean / error
    replicates -= mean
    replicates /= error
    least_favourable = replicates.max(axis=1)
    hopeless = found < -math.sqrt(2.0 * math.log(math.log(n)))
    replicates[:, hopeless] += found[hopeless]
    return Excess(
        round(float(found.max()), DIGITS),
        replicates.max(axis=1).round(DIGITS),
        least_favourable.round(DIGITS),
        returns.shape[1],
    )


def risk_adjusted(returns: FloatArray) -> FloatArray:
    r"""Series (n, C) whose means are the Sharpe ratios of `returns` (n, C) per bar, and which vary as estimates of them do.

    x = SR + z - SR / 2 (z^2 - 1),   z = (r - mean) / sd

    z is the share of a bar in the mean, the rest its share in the risk: of a hedge, which earns by less risk, means of
    returns see nothing. Compared by `excess`, such series say whether a Sharpe ratio is higher. sd is that of the n bars;
    what never moves has a Sharpe ratio of 0 that is certain.

    Source: the delta method, Lo (2002) for independent and Mertens (2002) for skewed, fat-tailed returns.

    >>> risk_adjusted(np.array([[0.01, 0.0], [0.03, 0.0]])).mean(axis=0)
    array([2., 0.])
    """
    mean, moving = returns.mean(axis=0), (returns != returns[0]).any(axis=0)
    deviation = np.where(moving, returns.std(axis=0), 1.0)
    sharpe = np.where(moving, mean / deviation, 0.0)
    z = np.where(moving, (returns - mean) / deviation, 0.0)
    return np.asarray(sharpe + z - 0.5 * sharpe * (z * z - moving))


def merged(parts: Iterable[Excess]) -> Excess:
    """Of all the configurations that the parts looked at, whatever their order."""
    first, *others = parts
    total = first
    for part in others:
        total = Excess(
            max(total.found, part.found),
            np.maximum(total.consistent, part.consistent),
            np.maximum(total.least_favourable, part.least_favourable),
            total.configurations + part.configurations,
        )
    return total


def _share(replicates: FloatArray, found: float) -> float:
    # the history itself is one of the ways it might have gone: never exactly zero (Davison and Hinkley 1997, 4.2)
    return float((1 + np.count_nonzero(replicates >= found)) / (1 + len(replicates)))
