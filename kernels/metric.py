"""What can be asked of a configuration: the catalogue of metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kernels.market import FloatArray

TAIL = 0.05  # the share of outcomes that an expected shortfall of 95 % is the mean of


class Across(NamedTuple):
    """How a metric of all paths together is made: `how` takes a (C, S) array of each metric named and gives (C,)."""

    of: tuple[str, ...]
    how: Callable[..., FloatArray]


def expected_shortfall(outcomes: FloatArray) -> FloatArray:
    """Minus the mean of the lowest `TAIL` of (C, N) outcomes, (C,); the outcome at the edge counts by its share.

    Source: Acerbi, Tasche (2002), Journal of Banking and Finance 26, 1487-1503.

    >>> expected_shortfall(np.arange(30.0)[None] - 10.0).round(3)  # one and a half outcomes: (10 + 9 / 2) / 1.5
    array([9.667])
    """
    count = TAIL * outcomes.shape[1]
    if count <= 1.0:
        return np.asarray(0.0 - outcomes.min(axis=1))
    kept = int(np.ceil(count))
    weights = np.minimum(count - np.arange(kept), 1.0)
    worst = np.sort(np.partition(outcomes, kept - 1, axis=1)[:, :kept], axis=1)
    return np.asarray(0.0 - (worst * weights).sum(axis=1) / count)  # never minus zero


@dataclass(frozen=True, slots=True)
class Metric:
    """A measured property: `good` is +1 where more is better, -1 where less is, 0 where neither.

    A metric is measured on each path and then taken over paths. One that belongs to all paths together says how it comes
    `across` them; on a single history it is estimated from that history, as its `doc` says.
    """

    name: str
    good: int
    unit: str
    doc: str
    across: Across | None = None


_CATALOGUE = (
    Metric("total_return", +1, "fraction", "E - 1, with E the compounded growth"),
    Metric(
        "cagr",
        +1,
        "fraction/year",
        "(1 + total_return)^(365 / days) - 1, days from the first return's date to the last's",
    ),
    Metric(
        "volatility",
        -1,
        "fraction/year",
        "sample standard deviation of the bar returns * sqrt(bars per year)",
    ),
    Metric(
        "sharpe",
        +1,
        "ratio",
        "mean / sample standard deviation of the bar returns * sqrt(bars per year); 0 at zero variance",
    ),
    Metric("sortino", +1, "ratio", "mean / root mean square of min(r, 0), * sqrt(bars per year)"),
    Metric("calmar", +1, "ratio", "cagr / max_drawdown"),
    Metric(
        "max_drawdown",
        -1,
        "fraction",
        "deepest fall of the compounded growth from its running peak, positive",
    ),
    Metric("cagr_to_volatility", +1, "ratio", 'cagr / volatility (printed as "Sharpe" in some published tables)'),
    Metric(
        "cagr_to_loss_deviation",
        +1,
        "ratio",
        "cagr / (sample standard deviation of the negative returns * sqrt(bars per year))",
    ),
    Metric(
        "consistency",
        +1,
        "fraction",
        "share of calendar months (of blocks, where blocks are not months) with a positive return",
    ),
    Metric(
        "win_rate",
        +1,
        "fraction",
        "closed positions that left the account richer / closed positions; 0 without any",
    ),
    Metric("profit_factor", +1, "ratio", "sum of positive bar returns / sum of negative ones"),
    Metric("skew", +1, "ratio", "third standardised moment of the bar returns"),
    Metric("kurtosis", -1, "ratio", "fourth standardised moment of the bar returns (3 for a normal distribution)"),
    Metric(
        "expected_shortfall_95",
        -1,
        "fraction",
        "mean loss in the worst 5 % of paths (of one history: of its calendar months), as a positive number",
        Across(("total_return",), expected_shortfall),
    ),
    Metric("turnover", -1, "1/year", "traded notional / equity, per year"),
    Metric("orders", 0, "count", "executed orders"),
    Metric("trades", 0, "count", "positions closed or reversed"),
    Metric("cost_paid", -1, "fraction/year", "fees and slippage / equity, per year"),
    Metric("exposure", 0, "fraction", "mean gross position / equity"),
    Metric("net_exposure", 0, "fraction", "mean net position / equity"),
    Metric("hedged_share", 0, "fraction", "mean share of assets held short"),
)
METRICS: dict[str, Metric] = {m.name: m for m in _CATALOGUE}
OF_RETURNS = (
    *("total_return", "cagr", "volatility", "sharpe", "sortino", "calmar", "max_drawdown", "cagr_to_volatility"),
    *("cagr_to_loss_deviation", "consistency", "profit_factor", "skew", "kurtosis", "expected_shortfall_95"),
)
"""Metrics that a series of bar returns and its calendar decide: no orders, costs or positions are needed for them."""
