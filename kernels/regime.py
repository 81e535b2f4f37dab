"""What kind of market a bar is in: one label per bar, from the past alone, slow to change its mind.

A candidate per bar, the first of these that holds:

    high_volatility    realised volatility at or above the quantile `high` of its own last `memory` values
    bull_trending      trend >= trend_strength
    bear_trending      trend <= -trend_strength
    low_volatility     realised volatility at or below the quantile `low`
    ranging            otherwise

Realised volatility is the sample deviation of the last `window` log returns. Trend is the slope of the log price over
`window` bars, by least squares, over its standard error. Prices wander, so the errors of that line hang together and the
ratio is far from Student's t: half of all windows of 50 bars of a pure random walk have one beyond 6 on either side. It
measures how straight a move is; it does not test it.

A candidate becomes the label once it has come `confirm_bars` times in a row and the last change is `min_bars` ago.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.errors import InputError
from kernels.indicators import equal_weight_returns, log_returns
from kernels.market import FloatArray, Market
from kernels.windows import FLAT, trailing, trailing_quantile, window_problems

REGIMES = ("bull_trending", "bear_trending", "high_volatility", "low_volatility", "ranging")
BULL, BEAR, HIGH, LOW, RANGING = (float(i) for i in range(len(REGIMES)))


@dataclass(frozen=True, slots=True)
class RegimeRule:
    """The numbers of the rule above; windows in bars."""

    window: int = 50
    memory: int = 250
    high: float = 0.8
    low: float = 0.2
    trend_strength: float = 8.0
    confirm_bars: int = 3
    min_bars: int = 5

    def __post_init__(self) -> None:
        problems = [
            f"regime.{name}: {rule} must hold, got {value:g}"
            for name, rule, value, holds in (
                ("window", "window >= 3 bars", self.window, self.window >= 3),
                ("memory", "memory >= 2 bars", self.memory, self.memory >= 2),
                ("trend_strength", "trend_strength > 0", self.trend_strength, self.trend_strength > 0.0),
                ("confirm_bars", "confirm_bars >= 1", self.confirm_bars, self.confirm_bars >= 1),
                ("min_bars", "min_bars >= 0", self.min_bars, self.min_bars >= 0),
            )
            if not holds
        ]
        if not 0.0 <= self.low < self.high <= 1.0:
            problems.append(
                f"regime: 0 <= low < high <= 1 must hold for quantiles, got low={self.low:g}, high={self.high:g}"
            )
        if problems:
            raise InputError(problems)

    @property
    def warm_up(self) -> int:
        """The first bar that can have a candidate of its own: `window` returns, `memory` volatilities."""
        return self.window + self.memory - 1


def regime_number(label: str) -> float:
    """The number that stands for a label in a plane; InputError for a name that is none."""
    if label not in REGIMES:
        raise InputError(f"unknown regime {label!r}; choose from {', '.join(REGIMES)}")
    return float(REGIMES.index(label))


def asset_regimes(market: Market, rule: RegimeRule) -> FloatArray:
    """The label of each asset, (T, A), as its position in REGIMES; `ranging` until one is known."""
    return _labels(log_returns(market)[1:], rule)


def market_regime(market: Market, rule: RegimeRule, volatility: FloatArray | None = None) -> FloatArray:
    """The label of the market, (T,), from its equal-weight index; `ranging` until one is known.

    `volatility` (T,), where given, is judged instead of the realised one, in whatever unit: a VIX, as known at each bar
    (`kernels.second_market.as_of`); NaN where it has none yet.
    """
    if volatility is not None and volatility.shape != (market.n_bars,):
        raise InputError(
            f"regime: a volatility of {market.n_bars} bars is needed, one per bar of the market, got {volatility.shape}"
        )
    given = None if volatility is None else volatility[1:, None]
    return _labels(np.log1p(equal_weight_returns(market)[1:, None]), rule, given)[:, 0]


def trend_strength(returns: FloatArray, window: int) -> FloatArray:
    r"""Slope over standard error of the log price on time over `window` bars, from log returns (T, A); NaN until known.

    t = R sqrt((n - 2) / (1 - R^2)), R the correlation of log price and time: infinite on a straight line, 0 where the price
    stands still.
    """
    out = np.full(returns.shape, np.nan)
    time = np.arange(window) - (window - 1) / 2
    time /= np.sqrt((time * time).sum())
    for bars, moves in trailing(returns, window - 1):  # n prices have n - 1 returns
        path = np.concatenate([np.zeros_like(moves[:, :, :1]), np.cumsum(moves, axis=2)], axis=2)  # from its own start
        path -= path.mean(axis=2, keepdims=True)
        length = np.sqrt((path * path).sum(axis=2))
        R = (path * time).sum(axis=2) / np.where(length > 0.0, length, 1.0)
        beside = 1.0 - R * R
        with np.errstate(divide="ignore"):
            # A share of the variance below the rounding of `window` products is none.
            t = R * np.sqrt((window - 2) / np.where(beside > window * np.finfo(float).eps, beside, 0.0))
        out[bars] = t
    return out


def sample_deviation(returns: FloatArray, window: int) -> FloatArray:
    """Sample standard deviation (ddof 1) of the last `window` returns (T, A), each window by itself; NaN until known.

    Below FLAT it is 0: a price that grows evenly does not vary.
    """
    out = np.full(returns.shape, np.nan)
    for bars, moves in trailing(returns, window):
        deviation = moves.std(axis=2, ddof=1)
        out[bars] = np.where(deviation > FLAT, deviation, 0.0)
    return out


def settled(candidates: FloatArray, confirm_bars: int, min_bars: int, start: float) -> FloatArray:
    """Labels (T, A) that follow candidates (T, A) with hysteresis; a NaN is no candidate and keeps what is.

    A new label is taken at the bar that is its `confirm_bars`-th candidate in a row or a later one of that row, at least
    `min_bars` after the last change; before the first change there is none to wait for.
    """
    labels = np.empty_like(candidates)
    label = np.full(candidates.shape[1:], start)
    row = np.zeros(label.shape, dtype=np.int64)
    before = np.full(label.shape, np.nan)
    changed: NDArray[np.int64] = np.full(label.shape, -min_bars, dtype=np.int64)
    for t, candidate in enumerate(candidates):
        row = np.where(candidate == before, row + 1, 1)
        take = (candidate != label) & ~np.isnan(candidate) & (row >= confirm_bars) & (t - changed >= min_bars)
        label = np.where(take, candidate, label)
        changed = np.where(take, t, changed)
        before = candidate
        labels[t] = label
    return labels


def _labels(returns: FloatArray, rule: RegimeRule, volatility: FloatArray | None = None) -> FloatArray:
    """Labels (T, A) of T - 1 log returns."""
    problems = window_problems("regime_window", [rule.window], len(returns))
    problems += window_problems("window + memory of the regime", [rule.warm_up], len(returns))
    if problems:
        raise InputError(problems)
    judged = sample_deviation(returns, rule.window) if volatility is None else volatility
    top, bottom = (trailing_quantile(judged, rule.memory, share) for share in (rule.high, rule.low))
    trend = trend_strength(returns, rule.window)
    with np.errstate(invalid="ignore"):
        moved = bottom < top  # a volatility that never changes is neither high nor low
        candidate = np.full(returns.shape, RANGING)
        candidate[moved & (judged <= bottom)] = LOW
        candidate[trend <= -rule.trend_strength] = BEAR
        candidate[trend >= rule.trend_strength] = BULL
        candidate[moved & (judged >= top)] = HIGH
    candidate[np.isnan(trend) | np.isnan(top) | np.isnan(bottom)] = np.nan
    labels = settled(candidate, rule.confirm_bars, rule.min_bars, RANGING)
    return np.concatenate([np.full((1, labels.shape[1]), RANGING), labels])
