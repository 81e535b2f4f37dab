"""Every plane of a portfolio rule, with small windows: what the claims that hold for all of them are tested on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from histories import history

from kernels import Market
from kernels.correlation import EWMA, beta, correlation, correlation_factors, correlation_regime, mean_correlation
from kernels.frames import alignment, candles, frame_problems, frames_of, votes
from kernels.indicators import equal_weight_returns
from kernels.market import FloatArray
from kernels.regime import RegimeRule, asset_regimes, market_regime
from kernels.second_market import cross_correlation, values_as_of
from kernels.sizing_planes import kelly, range_ratio, wins_and_losses

STARTS = 120  # bars after which every window here is full
RULE = RegimeRule(window=10, memory=40, trend_strength=4.0, confirm_bars=2, min_bars=4)
TWO = np.array([12.0, 30.0])
OTHER = replace(
    history(700, 1, seed=3), timestamps=np.datetime64("2019-12-20", "us") + np.arange(700) * np.timedelta64(1, "D")
)


def hourly(market: Market) -> Market:
    """The same bars an hour apart, from 05:00 of a Thursday."""
    hours = np.arange(market.n_bars) * np.timedelta64(1, "h")
    return replace(market, timestamps=np.datetime64("2020-01-02T05", "us") + hours)


def sessions(market: Market) -> Market:
    """The same bars on weekdays, some of them holidays."""
    days = np.arange("2020-01-02", "2023-01-01", dtype="datetime64[D]")
    days = days[np.is_busday(days) & (np.arange(len(days)) % 31 != 20)]
    return replace(market, timestamps=days[: market.n_bars].astype("datetime64[us]"), bars_per_year=252.0)


def of_frames(market: Market) -> FloatArray:
    """The last completed candle's open, high, low, close of each frame, and the vote of 2 candles of them, (T, A, ...)."""
    parts = []
    for frame in frames_of(market.calendar.step):
        made = candles(market, frame)
        there = made.last[:, None] >= 0
        parts += [np.where(there, x[made.last], 0.0) / market.close[0] for x in made[:4]]
        if not frame_problems(market.until(STARTS), [frame], [2]):  # 5 days of hours make no week
            parts.append(votes(market, frame, 2))
    return np.stack(parts, axis=-1)


def late(bank: FloatArray) -> FloatArray:
    """A bank (K, T, A) with the time in front."""
    return np.moveaxis(bank, 1, 0)


# Each gives (T, ...).
PLANES: dict[str, Callable[[Market], FloatArray]] = {
    "correlation": partial(correlation, window=20),
    "EWMA correlation": partial(correlation, window=40, decay=EWMA),
    "mean correlation": partial(mean_correlation, window=20),
    "beta": partial(beta, hedge="X1", window=20, decay=0.97),
    "correlation regime": lambda market: correlation_regime(mean_correlation(market, 20), 50),
    "cross-market correlation": partial(cross_correlation, other=OTHER, ticker="X0", window=25),
    "second market": partial(values_as_of, other=OTHER, ticker="X0"),
    "index": equal_weight_returns,
    "regime of the market": partial(market_regime, rule=RULE),
    "regime of the market by another's volatility": lambda market: market_regime(
        market, RULE, values_as_of(market, OTHER, "X0")
    ),
    "regime of each asset": partial(asset_regimes, rule=RULE),
    "candles and votes of days": of_frames,
    "candles and votes of hours": lambda market: of_frames(hourly(market)),
    "candles and votes of sessions": lambda market: of_frames(sessions(market)),
    "alignment": lambda market: late(alignment(market, np.array([3.0, 5.0]))),
    "alignment of sessions": lambda market: late(alignment(sessions(market), np.array([3.0]))),
    "range ratio": partial(range_ratio, window=30, atr_window=7),
    "kelly": lambda market: late(kelly(market, TWO, minimum=8.0)),
    "kelly of a short": lambda market: late(kelly(market, TWO, minimum=8.0, side=-1.0)),
    "wins and losses": lambda market: late(np.concatenate(wins_and_losses(market, TWO))),
}
FACTORS = partial(correlation_factors, window=20)
