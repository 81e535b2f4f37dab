"""How good the best of so many worthless configurations would look, and what that leaves of the winner's Sharpe ratio."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kernels.market import FloatArray
from search.sharpe import deflated_sharpe, minimum_years, probabilistic_sharpe, worthless_spread

SURE = 0.95  # probability from which a winner's Sharpe ratio counts as more than luck


@dataclass(frozen=True, slots=True)
class Luck:
    """What chance alone would show. Sharpe ratios a year; `deflated` is a probability, NaN where the winner never moves.

    `probabilistic` is the probability that the winner's true Sharpe ratio is above zero had it been the only one tried.
    `effective` is how many independent configurations those `tried` are worth, `deflated_effective` the probability if
    only so many had been. `needed` years of data keep the best of so many worthless configurations at a Sharpe ratio of 1
    or below.
    """

    tried: int
    years: float
    expected: float
    probabilistic: float
    deflated: float
    effective: float
    deflated_effective: float
    needed: float


def luck(
    sharpes: FloatArray,
    *,
    tried: int,
    effective: float,
    sharpe: float,
    skew: float,
    kurtosis: float,
    bars: int,
    bars_per_year: float,
) -> Luck:
    """Judge a winner by all that was tried.

    `sharpes` are the Sharpe ratios a year of every valid configuration of those `tried`, the winner's among them; the
    others are the winner's, over so many bars.

    >>> import numpy as np
    >>> tried = np.random.default_rng(0).normal(0.0, 0.4, 1000)
    >>> noise = {"skew": 0.0, "kurtosis": 3.0, "bars": 1500, "bars_per_year": 250.0}
    >>> found = luck(tried, tried=1000, effective=1000.0, sharpe=tried.max(), **noise)
    >>> round(found.expected, 2), round(float(tried.max()), 2), round(found.deflated, 2), round(found.needed, 1)
    (1.27, 1.23, 0.46, 10.6)
    """
    annual = math.sqrt(bars_per_year)
    spread = worthless_spread(sharpes / annual, bars)
    deflated, best = deflated_sharpe(sharpe / annual, bars, skew, kurtosis, trials=tried, spread=spread)
    of_effective, _ = deflated_sharpe(sharpe / annual, bars, skew, kurtosis, trials=effective, spread=spread)
    alone = float(probabilistic_sharpe(sharpe / annual, bars, skew, kurtosis))
    years = bars / bars_per_year
    return Luck(tried, years, best * annual, alone, deflated, effective, of_effective, minimum_years(tried))
