"""Metrics of a configuration, composed from its block statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kernels.blocks import BlockStatistics
from kernels.market import FloatArray
from kernels.metric import METRICS, Metric, expected_shortfall

DAYS_PER_YEAR = 365.0
ROUNDING = 4 * np.finfo(float).eps  # of the difference of two equal sums
CACHE_COLUMNS = 8192  # measured together: a few arrays of them stay in a core's cache, which takes half the time


OverPaths = Literal["median", "mean"] | float  # or the quantile of that share


def aggregate(
    statistics: BlockStatistics, bars_per_year: float, scenarios: int, how: OverPaths = "median"
) -> pd.DataFrame:
    """Every metric of C configurations over their S paths (S * C columns, the first scenario's configurations first).

    A metric is computed on each path, then its median over paths is taken, or the mean, or a quantile (0.05: one path in
    twenty is below it); never a metric of the mean path. Metrics that are of all paths together (`Metric.across`) are
    the same however the others are taken. A configuration with an invalid path is invalid. Of one scenario these are its
    `metrics`.
    """
    if scenarios == 1:
        return metrics(statistics, bars_per_year)
    catalogue = catalogue_of(statistics)
    values, ok = measure(statistics, bars_per_year)
    paths = values.reshape(len(catalogue), scenarios, -1)
    rows = dict(zip(catalogue, paths, strict=True))  # (S, C) each
    over = np.empty((len(catalogue), paths.shape[2]))
    with np.errstate(invalid="ignore"):
        for row, metric in enumerate(catalogue.values()):
            of = metric.across.of if metric.across else (metric.name,)
            by_path = [np.ascontiguousarray(rows[name].T) for name in of]  # (C, S): sums over a row know no other row
            if metric.across:
                over[row] = metric.across.how(*by_path)
            elif how == "mean":
                over[row] = by_path[0].mean(axis=1)
            else:
                over[row] = _quantile(by_path[0], 0.5 if how == "median" else how)
    return _frame(over, np.asarray(ok.reshape(scenarios, -1).all(axis=0)), catalogue)


def catalogue_of(statistics: BlockStatistics) -> dict[str, Metric]:
    """The metrics that these statistics give: the common ones, then those of the strategy's own account."""
    return METRICS | {metric.name: metric for metric in statistics.account.metrics}


def _quantile(paths: FloatArray, share: float) -> FloatArray:
    """The quantile of each row of (C, S), which is sorted in place: five times as fast as `np.quantile` finds it."""
    paths.sort(axis=1)
    place = share * (paths.shape[1] - 1)
    low = int(place)
    below, above = paths[:, low], paths[:, min(low + 1, paths.shape[1] - 1)]
    between = below + (above - below) * (place - low)
    return np.where(np.isfinite(between), between, below)  # beside an infinite ratio there is nothing to interpolate


def metrics(statistics: BlockStatistics, bars_per_year: float, chosen: NDArray[np.int64] | None = None) -> pd.DataFrame:
    """Every metric of the chosen blocks (all by default), one row per configuration, and `status`.

    `status` is "invalid" where the equity reached zero or a sum is not finite; the metrics are then NaN.
    """
    return _frame(*measure(statistics, bars_per_year, chosen), catalogue_of(statistics))


def _frame(values: FloatArray, ok: NDArray[np.bool_], catalogue: dict[str, Metric]) -> pd.DataFrame:
    values[:, ~ok] = np.nan
    return pd.DataFrame(values.T, columns=list(catalogue)).assign(status=np.where(ok, "ok", "invalid"))


def _ratio(top: FloatArray, bottom: FloatArray, empty: float = 0.0) -> FloatArray:
    """top / bottom; 0 / 0 is `empty`, and a sign over zero is an infinity of that sign."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _except((top == 0.0) & (bottom == 0.0), empty, top / bottom)


def _except(where: NDArray[np.bool_], number: float, values: FloatArray) -> FloatArray:
    """`values` with `number` in some places, in place: where there are few, ten times as fast as `np.where`."""
    if where.any():
        values[where] = number
    return values


def measure(
    statistics: BlockStatistics,
    bars_per_year: float,
    chosen: NDArray[np.int64] | None = None,
    names: Sequence[str] | None = None,
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Metrics of the chosen blocks as rows of (M, C), and which configurations are valid.

    Every metric in the catalogue's order, or the `names` asked for in theirs: then only the sums that these are made of
    are composed, and say what is valid.
    """
    picked = np.arange(len(statistics.blocks)) if chosen is None else np.asarray(chosen, dtype=np.int64)
    sums = statistics.values  # noqa: PD011 - an array
    C = sums.shape[2]
    values, ok = np.empty((len(catalogue_of(statistics) if names is None else names), C)), np.empty(C, dtype=bool)
    for first in range(0, C, CACHE_COLUMNS):
        part = slice(first, first + CACHE_COLUMNS)
        values[:, part], ok[part] = _measure(replace(statistics, values=sums[:, :, part]), bars_per_year, picked, names)
    return values, ok


def _measure(
    statistics: BlockStatistics, bars_per_year: float, picked: NDArray[np.int64], names: Sequence[str] | None
) -> tuple[list[FloatArray], NDArray[np.bool_]]:
    """The metrics asked for, (C,) each, and which configurations are valid."""
    blocks = statistics.blocks
    s = statistics.compose(picked) if names is None else statistics.composed(picked)
    n = float(blocks.bars[picked].sum())
    years, days = n / bars_per_year, blocks.days(picked)
    annual = np.sqrt(bars_per_year)

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = s["r1"] / n
        square = mean * mean
        spread = np.maximum(s["r2"] - n * square, 0.0)
        _except(spread <= ROUNDING * s["r2"], 0.0, spread)
        deviation = np.sqrt(spread / max(n - 1.0, 1.0))
        variance = spread / n  # the moments' own
        flat = deviation == 0.0
        months = statistics.of("growth")[picked]

        def third() -> FloatArray:
            return np.asarray(s["r3"] / n - 3.0 * mean * s["r2"] / n + 2.0 * mean * square)

        def fourth() -> FloatArray:
            return np.asarray(
                s["r4"] / n - 4.0 * mean * s["r3"] / n + 6.0 * square * s["r2"] / n - 3.0 * square * square
            )

        def loss_deviation() -> FloatArray:
            losses = s["losses"]
            loss_spread = np.maximum(s["loss2"] - _ratio(s["loss1"] * s["loss1"], losses), 0.0)
            _except(loss_spread <= ROUNDING * s["loss2"], 0.0, loss_spread)
            return _except(losses <= 1.0, 0.0, np.sqrt(loss_spread / np.maximum(losses - 1.0, 1.0)))

        @cache
        def cagr() -> FloatArray:
            return s["growth"] ** (DAYS_PER_YEAR / days) - 1.0 if days > 0.0 else np.full_like(mean, np.nan)

        formulas: dict[str, Callable[[], FloatArray]] = {
            "total_return": lambda: s["growth"] - 1.0,
            "cagr": cagr,
            "volatility": lambda: deviation * annual,
            "sharpe": lambda: _except(flat, 0.0, mean / deviation * annual),
            "sortino": lambda: _ratio(mean * annual, np.sqrt(s["loss2"] / n)),
            "calmar": lambda: _ratio(cagr(), s["drawdown"]),
            "max_drawdown": lambda: s["drawdown"],
            "cagr_to_volatility": lambda: _ratio(cagr(), deviation * annual),
            "cagr_to_loss_deviation": lambda: _ratio(cagr(), loss_deviation() * annual),
            "consistency": lambda: (months > 1.0).mean(axis=0),
            "win_rate": lambda: _ratio(s["wins"], s["trades"]),
            "profit_factor": lambda: _ratio(s["r1"] - s["loss1"], 0.0 - s["loss1"]),  # never minus zero
            "skew": lambda: _except(flat, 0.0, third() / (variance * np.sqrt(variance))),
            "kurtosis": lambda: _except(flat, 0.0, fourth() / (variance * variance)),
            "expected_shortfall_95": lambda: expected_shortfall(months.T - 1.0),
            "turnover": lambda: s["turnover"] / years,
            "orders": lambda: s["orders"],
            "trades": lambda: s["trades"],
            "cost_paid": lambda: s["cost"] / years,
            "exposure": lambda: s["gross"] / n,
            "net_exposure": lambda: s["net"] / n,
            "hedged_share": lambda: s["hedged"] / n,
        }
        wanted = catalogue_of(statistics) if names is None else names
        own = statistics.account.measure(s, n, years) if any(name not in formulas for name in wanted) else {}
        found = [formulas[name]() if name in formulas else own[name] for name in wanted]
    ok = s["trough"] > 0.0
    for total in s.values():
        ok &= np.isfinite(total)
    return found, ok
