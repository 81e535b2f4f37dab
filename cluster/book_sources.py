"""The market of a study with its long book: what `book:` names is read, and put on the market's bars as it was known."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from cluster import sources
from cluster.book_config import BookConfig, VolatilityConfig
from cluster.config import StudyConfig
from cluster.option_config import OptionMarketConfig
from cluster.option_history import HIGHEST, LOWEST
from cluster.tables import read_table
from kernels import STRATEGIES, Strategy
from kernels.errors import InputError
from kernels.long_book import LongBook, book_problems
from kernels.market import PRICES, FloatArray, Market
from kernels.market_calendar import when
from kernels.market_rules import count, some
from kernels.option_market import OptionMarket
from kernels.second_market import as_of, values_as_of

OLDEST = np.timedelta64(10, "D")  # a value may be: over holidays, New York's exchange closed for 7 days at most


def market_of(config: StudyConfig) -> Market | OptionMarket:
    """The market of a study, with its book; InputError with everything wrong about either."""
    if config.book is None:
        return sources.load(config.market, config.smallest_rebalance_days)
    if isinstance(config.market, OptionMarketConfig):
        raise InputError(
            f"book: a market of options ({config.market.source}) is one ticker's and has no book; remove the section, or "
            "take a market of prices and a strategy that trades a book"
        )
    problems: list[str] = []
    market = volatility = beside = None
    try:
        market = sources.load(config.market)
    except InputError as error:
        problems += error.problems
    if (wanted := config.book.volatility) is not None:
        volatility = _read("book.volatility", wanted.path, wanted.symbol, wanted.column, problems)
        if volatility is not None:
            problems += _unfit_scale(wanted, volatility)
    if config.book.beside is not None:
        beside = _read("book.beside", config.book.beside.path, config.book.beside.ticker, "close", problems)
    if isinstance(market, Market):
        book = _book(config.book, market, volatility, beside, problems)
        if not problems:
            return market if config.book == BookConfig() else replace(market, book=book)
    raise InputError(problems)


def check_book(config: StudyConfig, strategy: Strategy) -> None:
    """Refuse (InputError) a `book:` that the strategy does not read."""
    if config.book is None or strategy.book or isinstance(config.market, OptionMarketConfig):
        return
    able = [each.name for each in STRATEGIES.values() if each.book]
    raise InputError(
        f"book: strategy '{strategy.name}' trades no book of all tickers and would not read it; remove the section, or take a "
        f"strategy that does{f' ({some(able)})' if able else ''}"
    )


def _book(
    wanted: BookConfig, market: Market, volatility: Market | None, beside: Market | None, problems: list[str]
) -> LongBook:
    """The book on the bars of its market; what is wrong with it is added to `problems`."""
    weights = None
    if wanted.weights is not None:
        unknown = _unknown_tickers(wanted.weights, market.tickers)
        problems += unknown
        weights = None if unknown else tuple(wanted.weights.get(ticker, 0.0) for ticker in market.tickers)
    implied = None
    if wanted.volatility is not None and volatility is not None:
        name = f"book.volatility: {volatility.tickers[0]} in {wanted.volatility.path}"
        problems += _uncovered(market, volatility, name)
        implied = wanted.volatility.scale * values_as_of(market, volatility, volatility.tickers[0])
    if wanted.beside is not None and beside is not None:
        uncovered = _uncovered(market, beside, f"book.beside: {beside.tickers[0]} in {wanted.beside.path}")
        problems += uncovered
        beside = None if uncovered else beside
    frames = None if wanted.frames is None else tuple(wanted.frames)
    book = LongBook(weights, wanted.hedge_asset, frames, implied, beside)
    problems += book_problems(market, book)
    # what is over after the last bar of the market is no data of this study
    try:
        return book.until(market, market.n_bars)
    except InputError as error:
        problems += error.problems
        return book


def _unknown_tickers(weights: Mapping[str, float], tickers: tuple[str, ...]) -> list[str]:
    problems = []
    for ticker in weights:
        if ticker not in tickers:
            near = difflib.get_close_matches(ticker, tickers, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            problems.append(f"book.weights: {ticker} is no ticker of the market; {hint}it has {some(tickers)}")
    return problems


def _read(key: str, path: str, symbol: str, column: str, problems: list[str]) -> Market | None:
    """One column of one symbol as a market of closes with its gaps, or None with what is wrong added to `problems`.

    Other columns are not looked at: the high and low of a volatility index often break what holds for prices.
    """
    try:
        return Market.from_frame(_closes(path, column), name=path, tickers=[symbol], gaps="keep")
    except InputError as error:
        problems += (f"{key}: {problem}" for problem in error.problems)
        return None


def _closes(path: str, column: str) -> pd.DataFrame:
    """A file's table with that column as its only price."""
    frame = read_table(path)
    there = {str(name).lower(): name for name in frame.columns}
    if column.lower() not in there:
        raise InputError(f"{path}: column {column} is missing; there are {', '.join(map(str, frame.columns))}")
    wanted = there[column.lower()]
    others = [there[name] for name in (*PRICES, "volume") if name in there and there[name] is not wanted]
    return frame.drop(columns=others).rename(columns={wanted: "close"})


def _unfit_scale(wanted: VolatilityConfig, volatility: Market) -> list[str]:
    values: FloatArray = wanted.scale * volatility.close[:, 0]
    wrong = np.flatnonzero((values <= LOWEST) | (values >= HIGHEST))
    if not wrong.size:
        return []
    first = wrong[0]
    return [
        f"book.volatility: {wanted.column} of {wanted.symbol} in {wanted.path} times scale {wanted.scale:g} must lie between "
        f"{LOWEST:g} and {HIGHEST:g} per year, got {values[first]:g} on {when(volatility.timestamps[first])} "
        f"({count(int(wrong.size), 'such row')}); set scale (0.01 for percent), or correct the row"
    ]


def _uncovered(market: Market, other: Market, name: str) -> list[str]:
    """What bars of the market have no value of the other one, or one that is too old."""
    ends, begins = when(other.timestamps[-1]), when(other.timestamps[0])
    closes = market.timestamps + market.calendar.step
    late = np.flatnonzero(closes >= _next_close(other))
    if late.size == market.n_bars:
        return [
            f"{name} ends on {ends}, before the market begins on {when(market.timestamps[0])}; give a file of its days"
        ]
    if late.size:
        first, last = when(market.timestamps[late[0]]), when(market.timestamps[-1])
        bars = f"{count(int(late.size), 'bar')} of the market {'has' if late.size == 1 else 'have'} no value of it"
        return [
            f"{name} ends on {ends}: {bars}, {first} to {last}; set market.end to "
            f"{when(market.timestamps[late[0] - 1])}, or give a file that goes on"
        ]
    index = as_of(market, other)
    if index[-1] < 0:
        return [
            f"{name} begins on {begins}, after the market ends on {when(market.timestamps[-1])}; give a file of its days"
        ]
    age = closes - (other.timestamps[index] + other.calendar.step)
    old = np.flatnonzero((index >= 0) & (age > max(OLDEST, 2 * other.calendar.step)))
    if not old.size:
        return []
    first = old[0]
    return [
        f"{name} has no value between {when(other.timestamps[index[first]])} and "
        f"{when(other.timestamps[index[first] + 1])}: at {count(int(old.size), 'bar')} of the market the last one is more than "
        f"{max(OLDEST, 2 * other.calendar.step) / np.timedelta64(1, 'D'):g} days old; fill it in, or set market.start or "
        "market.end beside the hole"
    ]


def _next_close(other: Market) -> np.datetime64:
    """When the bar after the last one would be over: the next day, without weekends, of what has sessions."""
    last, step = other.timestamps[-1], other.calendar.step
    if other.calendar.round_the_clock or step >= np.timedelta64(5, "D"):
        return np.datetime64(last + 2 * step, "us")
    since_midnight = last - last.astype("datetime64[D]")
    following = np.busday_offset(last.astype("datetime64[D]") + 1, 0, roll="forward")
    return np.datetime64(following + since_midnight + step, "us")
