"""How good the best of so many worthless configurations would look, and what that leaves of the winner's Sharpe ratio."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kernels.market import FloatArray
from search.sharpe import deflated_sharpe, minimum_years, worthless_spread

SURE = 0.95  # probability from which a winner's Sharpe ratio counts as more than luck


@dataclass(frozen=True, slots=True)
class Luck:
    """What chance alone would show. Sharpe ratios a year; `deflated` is a probability, NaN where the winner never moves.

    `needed` years of data keep the best of so many worthless configurations at a Sharpe ratio of 1 or below.
    """

    tried: int
    years: float
    expected: float
    deflated: float
    needed: float


def luck(
    sharpes: FloatArray, *, tried: int, sharpe: float, skew: float, kurtosis: float, bars: int, bars_per_year: float
) -> Luck:
    """Judge a winner by all that was tried.

    `sharpes` are the Sharpe ratios a year of every valid configuration of those `tried`, the winner's among them; the
    others are the winner's, over so many bars. They count as differing by luck by no more than worthless ones would
    (`worthless_spread`).

    >>> import numpy as np
    >>> tried = np.random.default_rng(0).normal(0.0, 0.4, 1000)
    >>> found = luck(tried, tried=1000, sharpe=tried.max(), skew=0.0, kurtosis=3.0, bars=1500, bars_per_year=250.0)
    >>> round(found.expected, 2), round(float(tried.max()), 2), round(found.deflated, 2), round(found.needed, 1)
    (1.27, 1.23, 0.46, 10.6)
    """
    annual = math.sqrt(bars_per_year)
    spread = worthless_spread(sharpes / annual, bars)
    deflated, expected = deflated_sharpe(sharpe / annual, bars, skew, kurtosis, trials=tried, spread=spread)
    return Luck(tried, bars / bars_per_year, expected * annual, deflated, minimum_years(tried))
