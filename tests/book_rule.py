"""A small rule that reads everything of a long book: base weights, hedge asset, volatility, a second market, frames."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kernels import Market, Parameter, Plane, Strategy
from kernels.account import Order
from kernels.frames import FRAMES, candles
from kernels.long_book import LongBook
from kernels.market import FloatArray
from kernels.ops import where
from kernels.second_market import cross_correlation
from kernels.state import per_asset

WINDOW = 20


def book_of(market: Market) -> LongBook:
    """The market's book, or one that leaves everything open."""
    return LongBook() if market.book is None else market.book


def base_weight(market: Market) -> FloatArray:
    weights = book_of(market).weights
    return np.broadcast_to(1.0 / market.n_assets if weights is None else np.array(weights), market.close.shape)


def hedge_asset(market: Market) -> FloatArray:
    one_hot = np.arange(market.n_assets) == book_of(market).hedge_column(market.tickers)
    return np.broadcast_to(one_hot.astype(np.float64), market.close.shape)


def nervous(market: Market) -> FloatArray:
    """1 where the volatility is above its mean so far."""
    implied = book_of(market).implied
    if implied is None:
        return np.zeros(market.n_bars)
    known = ~np.isnan(implied)
    mean = np.cumsum(np.nan_to_num(implied)) / np.maximum(np.cumsum(known), 1)
    return np.where(known & (implied > mean), 1.0, 0.0)


def beside(market: Market) -> FloatArray:
    book = book_of(market)
    if book.beside is None or book.beside_ticker is None:
        return np.zeros(market.close.shape)
    return cross_correlation(market, book.beside, book.beside_ticker, WINDOW)


def candle(market: Market) -> FloatArray:
    """How often a candle of the coarsest frame has closed."""
    frames = book_of(market).frames or ("bar",)
    last = candles(market, max(frames, key=FRAMES.index)).last
    return (last + 1.0).astype(np.float64)


class State(NamedTuple):
    last: Any = per_asset(0.0)


def step(bar: Any, state: State, p: Any) -> tuple[Order, State]:
    weight = bar.base_weight * (1.0 - p.cut * bar.nervous) - p.strength * bar.hedge_asset * bar.nervous
    weight = where((bar.beside > p.crowded) | (bar.candle < 1.0), 0.5 * weight, weight)
    trade = abs(weight - state.last) >= 0.01
    return Order(weight, trade), State(where(trade, weight, state.last))


STRATEGY = Strategy(
    name="book_rule",
    summary="Less of a long book while volatility is high.",
    source="tests",
    parameters=(
        Parameter("cut", 0.5, 0.0, 1.0),
        Parameter("strength", 0.3, 0.0, 1.0),
        Parameter("crowded", 0.5, -1.0, 1.0),
    ),
    planes=tuple(Plane(each.__name__, each) for each in (base_weight, hedge_asset, nervous, beside, candle)),
    state=State,
    step=step,
    warm_up=lambda p: WINDOW + 1,
    book=True,
)
