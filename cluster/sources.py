"""Where market data comes from: files, a data set that ships with a package, or a seeded simulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cluster.config import MarketConfig, Sp500Market, SyntheticMarket
from cluster.option_config import OptionMarketConfig
from cluster.option_sources import load_options
from cluster.tables import read_csv, read_parquet
from kernels.errors import InputError
from kernels.market import Market
from kernels.option_market import OptionMarket


def load(market: MarketConfig, step_days: float | None = None) -> Market | OptionMarket:
    """The market that a study names; InputError with everything wrong about its data.

    An option market has one ticker (`search.scope: per_ticker` makes a study of each; `load_options` gives all, with what a
    report has to say of them). `step_days` is the bar of a simulated one that does not name its own.
    """
    if isinstance(market, OptionMarketConfig):
        found = load_options(market, step_days)
        if len(found) > 1:
            raise InputError(
                f"market.tickers: an option market is one ticker's, got {', '.join(found)}; set search.scope: per_ticker"
            )
        return next(iter(found.values()))
    if isinstance(market, SyntheticMarket):
        return synthetic(market)
    if isinstance(market, Sp500Market):
        return Market.from_frame(
            _sp500(),
            name="market.source sp500",
            tickers=market.tickers,
            start=market.start,
            end=market.end,
            bars_per_year=market.bars_per_year,
        )
    return Market.from_frame(
        read_parquet(Path(market.path)) if market.source == "parquet" else read_csv(Path(market.path)),
        name=market.path,
        tickers=market.tickers,
        start=market.start,
        end=market.end,
        bars_per_year=market.bars_per_year,
        before_listing=market.before_listing,
        gaps=market.gaps,
    )


def _sp500() -> pd.DataFrame:
    """Daily closes of 20 US stocks, 1990 to 2022, as a long table."""
    try:
        from skfolio.datasets import load_sp500_dataset  # here, since it takes a second
    except ImportError:
        raise InputError(
            "market.source sp500: the data comes with skfolio, which is not installed; pip install 'hedgegrid[data]'"
        ) from None
    wide: pd.DataFrame = load_sp500_dataset()
    return wide.rename_axis("timestamp").reset_index().melt("timestamp", var_name="symbol", value_name="close")


def synthetic(market: SyntheticMarket) -> Market:
    r"""Seeded daily bars of a geometric Brownian motion that switches between calm and stressed times.

    dS/S = mu(regime) dt + sigma(regime) dW, with dW correlated over the assets. The regime is one Markov
    chain for all: stress lasts `stress_bars` on average and takes `stress_share` of the time, with volatility
    `stress_volatility` and the drift turned round. High and low are those of 16 steps inside each bar; every
    bar opens at the close before it. An asset's bars do not depend on how many assets or bars follow.
    """
    inside = 16  # steps of a bar: enough for high and low to differ from open and close
    t, a = market.bars, market.assets
    regime_source, common_source, *own_sources = np.random.SeedSequence(market.seed).spawn(a + 2)
    stressed = _regimes(market, np.random.default_rng(regime_source))  # (T,)
    volatility = np.where(stressed, market.stress_volatility, market.volatility)
    drift = np.where(stressed, -market.drift, market.drift)
    step = 1.0 / (market.bars_per_year * inside)
    common = np.random.default_rng(common_source).standard_normal((t, inside))
    columns: dict[str, Any] = {name: np.empty((t, a)) for name in ("open", "high", "low", "close", "volume")}
    for i, source in enumerate(own_sources):
        random = np.random.default_rng(source)
        noise = random.standard_normal((t, inside + 1))
        shock = np.sqrt(market.correlation) * common + np.sqrt(1.0 - market.correlation) * noise[:, :inside]
        moves = (drift - volatility**2 / 2)[:, None] * step + (volatility * np.sqrt(step))[:, None] * shock
        path = 100.0 * np.exp(np.append(0.0, np.cumsum(moves.ravel())))  # (T * inside + 1,)
        bars = np.lib.stride_tricks.sliding_window_view(path, inside + 1)[::inside]  # (T, inside + 1), ends shared
        columns["open"][:, i], columns["close"][:, i] = bars[:, 0], bars[:, -1]
        columns["high"][:, i], columns["low"][:, i] = bars.max(axis=1), bars.min(axis=1)
        columns["volume"][:, i] = 1e6 * volatility / market.volatility * np.exp(0.5 * noise[:, inside])
    start = np.datetime64(pd.to_datetime(market.start, utc=True).tz_localize(None), "us")
    return Market(
        tickers=tuple(f"SYN{i + 1}" for i in range(a)),
        timestamps=start + np.arange(t) * np.timedelta64(1, "D").astype("timedelta64[us]"),
        bars_per_year=market.bars_per_year,
        **columns,
    )


def _regimes(market: SyntheticMarket, random: np.random.Generator) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(T,) True in stressed times; the first bar is calm."""
    leave = 1.0 / market.stress_bars
    enter = leave * market.stress_share / (1.0 - market.stress_share)  # the chain's share of stress is then as asked
    stressed = np.zeros(market.bars, dtype=np.bool_)
    draws = random.random(market.bars)
    for i in range(1, market.bars):
        stressed[i] = draws[i] >= leave if stressed[i - 1] else draws[i] < enter
    return stressed
