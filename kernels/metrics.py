"""Metrics of a configuration, composed from its block statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kernels.blocks import BlockStatistics
from kernels.market import FloatArray

DAYS_PER_YEAR = 365.0


@dataclass(frozen=True, slots=True)
class Metric:
    """A measured property: `good` is +1 where more is better, -1 where less is, 0 where neither."""

    name: str
    good: int
    unit: str
    doc: str


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
    Metric("turnover", -1, "1/year", "traded notional / equity, per year"),
    Metric("orders", 0, "count", "executed orders"),
    Metric("trades", 0, "count", "positions closed or reversed"),
    Metric("cost_paid", -1, "fraction/year", "fees and slippage / equity, per year"),
    Metric("exposure", 0, "fraction", "mean gross position / equity"),
    Metric("net_exposure", 0, "fraction", "mean net position / equity"),
    Metric("hedged_share", 0, "fraction", "mean share of assets held short"),
)
METRICS: dict[str, Metric] = {m.name: m for m in _CATALOGUE}


OverPaths = Literal["median", "mean"] | float  # or the quantile of that share


def aggregate(
    statistics: BlockStatistics, bars_per_year: float, scenarios: int, how: OverPaths = "median"
) -> pd.DataFrame:
    """Every metric of C configurations over their S paths (S * C columns, the first scenario's configurations first).

    A metric is computed on each path, then its median over paths is taken, or the mean, or a quantile (0.05: one path in
    twenty is below it); never a metric of the mean path. A configuration with an invalid path is invalid.
    """
    values, ok = measure(statistics, bars_per_year)
    paths = values.reshape(len(METRICS), scenarios, -1)
    with np.errstate(invalid="ignore"):
        if how == "mean":
            over = paths.mean(axis=1)
        else:
            share = 0.5 if how == "median" else how
            contiguous = np.ascontiguousarray(paths.transpose(0, 2, 1))  # a path after the other: quantiles sort them
            over = np.quantile(contiguous, share, axis=2, overwrite_input=True)
            stuck = np.isnan(over)  # beside a ratio that is infinite there is nothing to interpolate
            over[stuck] = np.quantile(contiguous[stuck], share, axis=1, method="lower")
    return _frame(over, np.asarray(ok.reshape(scenarios, -1).all(axis=0)))


def metrics(statistics: BlockStatistics, bars_per_year: float, chosen: NDArray[np.int64] | None = None) -> pd.DataFrame:
    """Every metric of the chosen blocks (all by default), one row per configuration, and `status`.

    `status` is "invalid" where the equity reached zero or a sum is not finite; the metrics are then NaN.
    """
    return _frame(*measure(statistics, bars_per_year, chosen))


def _frame(values: FloatArray, ok: NDArray[np.bool_]) -> pd.DataFrame:
    values[:, ~ok] = np.nan
    return pd.DataFrame(values.T, columns=list(METRICS)).assign(status=np.where(ok, "ok", "invalid"))


def _ratio(top: FloatArray, bottom: FloatArray, empty: float = 0.0) -> FloatArray:
    """top / bottom; 0 / 0 is `empty`, and a sign over zero is an infinity of that sign."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((top == 0.0) & (bottom == 0.0), empty, top / bottom)


def measure(
    statistics: BlockStatistics, bars_per_year: float, chosen: NDArray[np.int64] | None = None
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Every metric of the chosen blocks as rows of (M, C), in the catalogue's order, and which configurations are valid."""
    blocks = statistics.blocks
    picked = np.arange(len(blocks)) if chosen is None else np.asarray(chosen, dtype=np.int64)
    s = statistics.compose(picked)
    n = float(blocks.bars[picked].sum())
    years, days = n / bars_per_year, blocks.days(picked)
    annual = np.sqrt(bars_per_year)
    ok = s["trough"] > 0.0
    for total in s.values():
        ok &= np.isfinite(total)

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = s["r1"] / n
        spread = np.maximum(s["r2"] - n * mean**2, 0.0)
        spread = np.where(spread <= 4 * np.finfo(float).eps * s["r2"], 0.0, spread)  # rounding of two equal terms
        deviation = np.sqrt(spread / max(n - 1.0, 1.0))
        variance = spread / n  # the moments' own
        third = s["r3"] / n - 3.0 * mean * s["r2"] / n + 2.0 * mean**3
        fourth = s["r4"] / n - 4.0 * mean * s["r3"] / n + 6.0 * mean**2 * s["r2"] / n - 3.0 * mean**4
        losses = s["losses"]
        loss_spread = np.maximum(s["loss2"] - _ratio(s["loss1"] ** 2, losses), 0.0)
        loss_spread = np.where(loss_spread <= 4 * np.finfo(float).eps * s["loss2"], 0.0, loss_spread)
        loss_deviation = np.where(losses > 1.0, np.sqrt(loss_spread / np.maximum(losses - 1.0, 1.0)), 0.0)
        cagr = s["growth"] ** (DAYS_PER_YEAR / days) - 1.0 if days > 0.0 else np.full_like(mean, np.nan)
        flat = deviation == 0.0
        months = statistics.of("growth")[picked] > 1.0
        found = {
            "total_return": s["growth"] - 1.0,
            "cagr": cagr,
            "volatility": deviation * annual,
            "sharpe": np.where(flat, 0.0, mean / np.where(flat, 1.0, deviation) * annual),
            "sortino": _ratio(mean * annual, np.sqrt(s["loss2"] / n)),
            "calmar": _ratio(cagr, s["drawdown"]),
            "max_drawdown": s["drawdown"],
            "cagr_to_volatility": _ratio(cagr, deviation * annual),
            "cagr_to_loss_deviation": _ratio(cagr, loss_deviation * annual),
            "consistency": months.mean(axis=0),
            "win_rate": _ratio(s["wins"], s["trades"]),
            "profit_factor": _ratio(s["r1"] - s["loss1"], 0.0 - s["loss1"]),  # never minus zero
            "skew": np.where(flat, 0.0, third / np.where(flat, 1.0, variance) ** 1.5),
            "kurtosis": np.where(flat, 0.0, fourth / np.where(flat, 1.0, variance) ** 2),
            "turnover": s["turnover"] / years,
            "orders": s["orders"],
            "trades": s["trades"],
            "cost_paid": s["cost"] / years,
            "exposure": s["gross"] / n,
            "net_exposure": s["net"] / n,
            "hedged_share": s["hedged"] / n,
        }
    values = np.empty((len(METRICS), len(ok)))
    for row, name in enumerate(METRICS):
        values[row] = found[name]
    return values, ok
