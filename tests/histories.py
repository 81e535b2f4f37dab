"""Small seeded price histories with everything in them that a rule can trip over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from kernels import Market, Strategy
from kernels.long_book import LongBook
from kernels.market import FloatArray
from kernels.option_market import Contract, OptionMarket, black_scholes_pricer, write_cycles

AnyMarket = Market | OptionMarket
OPTION_STEP = 3 / 32  # days: finer than any rebalance that may be asked for, and exact in binary


def history(T: int = 400, A: int = 3, seed: int = 7) -> Market:
    """Daily bars of A assets: calm and wild stretches, gaps through any stop, a halt without trading, a crash."""
    rng = np.random.default_rng(seed)
    wild = rng.random((T, A)) < 0.1
    moves = np.where(wild, 0.12, 0.02) * rng.standard_normal((T, A))
    overnight = np.where(rng.random((T, A)) < 0.05, 0.15, 0.002) * rng.standard_normal((T, A))
    halted = np.zeros((T, A), dtype=bool)
    halted[T // 2 : T // 2 + T // 12, 0] = True  # long enough that a window of 6 to 30 bars sees no return at all
    moves[halted] = overnight[halted] = 0.0
    moves[3 * T // 4] -= 0.4
    close = 100.0 * np.exp(np.cumsum(moves + overnight, axis=0))
    open_ = np.concatenate([close[:1], close[:-1]]) * np.exp(overnight)
    reach = np.where(halted, 0.0, np.abs(rng.normal(0.0, 0.01, (T, A))))
    high, low = np.maximum(open_, close) * (1.0 + reach), np.minimum(open_, close) * (1.0 - reach)
    volume = np.where(halted, 0.0, rng.lognormal(8.0, 2.0, (T, A)))
    return Market(
        tickers=tuple(f"X{a}" for a in range(A)),
        timestamps=np.datetime64("2020-01-01", "us") + np.arange(T) * np.timedelta64(1, "D"),
        close=close,
        open=open_,
        high=high,
        low=low,
        volume=volume,
    )


def option_history(T: int = 400, A: int = 3, seed: int = 7) -> OptionMarket:
    """Two scenarios of A underliers, as wild as `history`, with a short-lived option of some kind sold or bought on them.

    Bars of 3/32 days from the end of January: three months with 400 bars, a roll every 32.
    """
    rng = np.random.default_rng(seed)
    spot = np.stack([history(T, A, seed).close, history(T, A, seed + 1).close])
    volatility = 0.5 * np.exp(0.1 * np.cumsum(rng.standard_normal(spot.shape), axis=1).clip(-15.0, 15.0))
    microseconds = (np.arange(T) * OPTION_STEP * 86_400e6).astype(np.int64).astype("timedelta64[us]")
    contract = Contract(("call", "put", "straddle")[seed % 3], ("sell", "buy")[seed // 3 % 2], 3.0, 0.98)
    stamps = np.datetime64("2020-01-29", "us") + microseconds
    return options_on(tuple(f"X{a}" for a in range(A)), stamps, spot, volatility, contract)


def options_on(
    tickers: tuple[str, ...], stamps: np.ndarray, spot: FloatArray, volatility: FloatArray, contract: Contract
) -> OptionMarket:
    return write_cycles(
        tickers,
        stamps,
        spot,
        contract,
        black_scholes_pricer(volatility, 0.03, 0.01),
        rate=0.03,
        dividend_yield=0.01,
        bars_per_year=365 / OPTION_STEP,
    )


def market_for(strategy: Strategy, T: int = 400, A: int = 3, seed: int = 7) -> AnyMarket:
    """A history of the kind that a strategy trades."""
    if strategy.market is OptionMarket:
        return option_history(T, A, seed)
    market = history(T, A, seed)
    return replace(market, book=LongBook(hedge_asset=market.tickers[-1])) if strategy.book else market


def part(
    market: AnyMarket, bars: slice = slice(None), assets: list[int] | None = None, scale: float = 1.0
) -> AnyMarket:
    """Some bars and assets of a market, its prices (not its volumes) multiplied by `scale`; options are sold anew."""
    chosen = list(range(market.n_assets)) if assets is None else assets
    if isinstance(market, OptionMarket):
        stamps = market.timestamps[bars]
        days = float((stamps[-1] - stamps[0]) / np.timedelta64(1, "D"))
        contract = replace(market.contract, tenor_days=min(market.contract.tenor_days, days))
        spot, volatility = market.spot[:, bars][..., chosen] * scale, market.volatility[:, bars][..., chosen]
        return options_on(tuple(market.tickers[a] for a in chosen), stamps, spot, volatility, contract)
    columns: dict[str, Any] = {
        name: array[bars][:, chosen] * (1.0 if name == "volume" else scale) for name, array in market.columns.items()
    }
    return Market(
        tickers=tuple(market.tickers[a] for a in chosen),
        timestamps=market.timestamps[bars],
        bars_per_year=market.bars_per_year,
        book=market.book,
        **columns,
    )
