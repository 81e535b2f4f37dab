"""What a configuration holds bar by bar, and what its rule asks for after the last bar: what a trader does next."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from kernels.account import CASH_PER_ASSET, execute, value
from kernels.engine import Engine
from kernels.market import FloatArray
from kernels.market_calendar import DateArray
from kernels.option_book import OPTION_BOOK
from kernels.option_market import OptionMarket, black_scholes_pricer, write_cycles

LAST_DIGITS = 1e-9  # relative; greeks of the same option computed twice agree far closer


@dataclass(frozen=True)
class Positions:
    """Positions of accounts of cash and units, as shares of the capital, of which every asset has 1 / A.

    `weights` (T, A) are held after each bar's order, at that bar's close; an order that fills at the next bar counts as
    filled, but for the last bar's, which has no next one. `now` (A,) is held at the last close before that order, `target`
    (A,) once it is filled, `trade` (A,) whether there is one. `growth` (T,) is that of 1.
    """

    timestamps: DateArray
    growth: FloatArray
    weights: FloatArray
    prices: FloatArray  # (A,) last closes
    now: FloatArray
    target: FloatArray
    trade: FloatArray


@dataclass(frozen=True)
class Hedges:
    """Hedges of a book of options, per option owed: `shares` and `second` options (T, A) held after each bar.

    `now` is what the book of each asset does at the last bar, as if the history went on; None where that cannot be told.
    """

    timestamps: DateArray
    growth: FloatArray  # (T,)
    shares: FloatArray
    second: FloatArray
    now: list[HedgeNow] | None


@dataclass(frozen=True)
class HedgeNow:
    """One asset at the last bar. `opens`: its option has expired and the next one is sold now. `options` are owed per unit
    of capital; `held` is what was held before this bar, `shares` and `second` what to hold from here, per option owed."""

    ticker: str
    opens: bool
    strike: float
    days_left: float
    options: float
    spot: float
    held: tuple[float, float]
    shares: float
    second: float


def positions(engine: Engine, configuration: pd.DataFrame) -> Positions:
    """The positions of one row; TypeError where the strategy's account is not cash and units per asset."""
    if engine.strategy.account is not CASH_PER_ASSET:
        raise TypeError(f"positions: {engine.strategy.name} keeps an account of its own")
    market, A = engine.market, engine.market.n_assets
    growth, weights = np.empty(market.n_bars), np.empty((market.n_bars, A))
    watched, seen = _watched(engine, market.n_bars - 1)
    planes: dict[str, FloatArray] = {}
    for _, t, planes, carried in watched.walk(configuration):
        growth[t] = carried.sums.growth[0]
        weights[t] = _shares_of_capital(carried.account, planes, value(carried.account, planes))
    bar, order = seen[0]
    bar.fill, bar.fillable = bar.close, 1.0  # as if the order were filled at the close it was placed after
    with np.errstate(all="ignore"):  # as the backend runs it
        _, after = execute(order, bar.account, bar, bar.costs, A)
    worth = value(bar.account, planes)
    return Positions(
        market.timestamps,
        growth,
        weights,
        planes["close"][:, 0],
        _shares_of_capital(bar.account, planes, worth),
        _shares_of_capital(after, planes, worth),
        (after.units != bar.account.units)[:, 0],
    )


def hedges(engine: Engine, configuration: pd.DataFrame) -> Hedges:
    """The hedges of one row on a market of one history; TypeError where the strategy keeps no book of options."""
    market = engine.market
    if engine.strategy.account is not OPTION_BOOK or not isinstance(market, OptionMarket):
        raise TypeError(f"hedges: {engine.strategy.name} keeps no book of options")
    growth = np.empty(market.n_bars)
    shares, second = np.empty((2, market.n_bars, market.n_assets))
    for _, t, _, carried in engine.walk(configuration):
        growth[t] = carried.sums.growth[0]
        shares[t], second[t] = carried.account.shares[:, 0], carried.account.second[:, 0]
    longer = one_bar_longer(market)
    now = None if longer is None else _now(replace(engine, market=longer), configuration, market.n_bars - 1)
    return Hedges(market.timestamps, growth, shares, second, now)


def one_bar_longer(market: OptionMarket) -> OptionMarket | None:
    """The market with its last bar once more, so that its book goes on where the history ends; None where its options are
    not marked by Black-Scholes at the market's volatility, so that what comes next cannot be marked."""
    stamps = market.timestamps
    longer = write_cycles(
        market.tickers,
        np.append(stamps, stamps[-1] + (stamps[-1] - stamps[-2])),
        np.concatenate([market.spot, market.spot[:, -1:]], axis=1),
        market.contract,
        black_scholes_pricer(
            np.concatenate([market.volatility, market.volatility[:, -1:]], axis=1), market.rate, market.dividend_yield
        ),
        rate=market.rate,
        dividend_yield=market.dividend_yield,
        bars_per_year=market.bars_per_year,
    )
    for name in ("strike", "tau", "delta", "gamma", "second_delta", "second_gamma"):
        same, known = getattr(longer, name)[:, : market.n_bars - 1], getattr(market, name)[:, :-1]
        if not np.allclose(same, known, rtol=LAST_DIGITS, atol=LAST_DIGITS):
            return None
    return longer


def _now(engine: Engine, configuration: pd.DataFrame, last: int) -> list[HedgeNow]:
    market = engine.market
    assert isinstance(market, OptionMarket)
    watched, seen = _watched(engine, last)
    held = after = None
    for _, t, _, carried in watched.walk(configuration):
        if t == last:
            held, after = seen[0][0].account, carried.account
    assert held is not None
    assert after is not None
    options = np.broadcast_to(seen[0][1].next_exposure, held.shares.shape)
    opens = bool(market.opens[last])
    capital = market.spot[0, last] if opens else market.capital[0, last]
    return [
        HedgeNow(
            ticker,
            opens,
            float(market.strike[0, last, a]),
            float(market.tau[0, last, a]) * 365.0,
            float(options[a, 0]) / float(capital[a]),
            float(market.spot[0, last, a]),
            (float(held.shares[a, 0]), float(held.second[a, 0])),
            float(after.shares[a, 0]),
            float(after.second[a, 0]),
        )
        for a, ticker in enumerate(market.tickers)
    ]


def _watched(engine: Engine, last: int) -> tuple[Engine, list[tuple[Any, Any]]]:
    """The same engine, and a list that gets bar `last` as the rule saw it and the order it gave."""
    seen: list[tuple[Any, Any]] = []
    rule, bars = engine.strategy.step, itertools.count()

    def step(bar: Any, state: Any, p: Any) -> tuple[Any, Any]:
        order, after = rule(bar, state, p)
        if next(bars) == last:
            seen.append((bar, order))
        return order, after

    return replace(engine, strategy=replace(engine.strategy, step=step)), seen


def _shares_of_capital(account: Any, planes: dict[str, FloatArray], worth: FloatArray) -> FloatArray:
    """(A,) positions over the value of each account, over A; 0 where an account is worth nothing any more."""
    held = account.units * planes["close"]
    shares = np.divide(held, worth, out=np.zeros_like(held), where=worth > 0.0)
    return np.asarray(shares[:, 0] / len(shares))
