"""A market's long book in a few words, for the plan of a study."""

from __future__ import annotations

import numpy as np

from kernels import Market
from kernels.long_book import LongBook
from kernels.market_calendar import when
from kernels.market_rules import some
from kernels.option_market import OptionMarket


def book_lines(market: Market | OptionMarket) -> list[str]:
    """What is traded and how it votes; then what else is looked at. Nothing where the market has no book."""
    if not isinstance(market, Market) or market.book is None:
        return []
    book = market.book
    lines = [
        f"{_weights(market, book)}; hedge asset {market.tickers[book.hedge_column(market.tickers)]}; frames "
        f"{', '.join(book.frames) if book.frames else 'all that the bars allow'}"
    ]
    beside = []
    if book.implied is not None:
        known = np.flatnonzero(~np.isnan(book.implied))
        values = book.implied[known]
        beside.append(
            f"volatility {values.min():.1%} to {values.max():.1%}, known from {when(market.timestamps[known[0]])}"
            if known.size
            else "a volatility that these bars do not know yet"
        )
    if book.beside is not None:
        first, last = when(book.beside.timestamps[0]), when(book.beside.timestamps[-1])
        beside.append(f"beside it {book.beside_ticker}, {book.beside.n_bars:,} bars, {first} to {last}")
    return [*lines, *(["; ".join(beside)] if beside else [])]


def _weights(market: Market, book: LongBook) -> str:
    if book.weights is None:
        return "weights as the strategy's parameter says"
    held = [f"{ticker} {w:g}" for ticker, w in zip(market.tickers, book.weights, strict=True) if w != 0.0]
    return f"weights {some(held)}{'' if len(held) == market.n_assets else ', others 0'}"
