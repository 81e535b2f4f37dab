"""Histories of closes with implied volatilities, marked by Black-Scholes: the real one, or resampled ones."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cluster.option_config import BootstrapMarket, HistorySection, ImpliedConfig, OptionModelMarket
from cluster.table_columns import dates, numbers, rows_of
from cluster.tables import read_table
from kernels.errors import InputError
from kernels.heston_market import generator
from kernels.market import FloatArray
from kernels.market_calendar import DateArray
from kernels.market_rules import and_more
from kernels.market_table import ALIASES
from kernels.option_market import DAYS_PER_YEAR, Contract, OptionMarket, black_scholes_pricer, write_cycles

BARS_PER_YEAR = 252.0
LOWEST, HIGHEST = 0.01, 5.0  # implied volatilities: beyond these a file is in other units


def read_history(market: HistorySection, ticker: str) -> tuple[DateArray, FloatArray, FloatArray, int]:
    """Dates, closes and implied volatilities (T,) of one ticker, and how many of the volatilities are carried forward."""
    implied = market.implied
    closes = _column(market.path, ticker, market.close)
    symbol = implied.symbol or ticker
    vols = _column(implied.path or market.path, symbol, implied.column) * implied.scale
    where = f"{implied.path or market.path}, {symbol}"
    table = pd.DataFrame({"close": closes}).join(vols.rename("implied"))
    table = table.loc[market.start : market.end]
    table = table.loc[table["close"].first_valid_index() : table["close"].last_valid_index()]
    # a history begins with the first volatility, unless the study names its first day
    if market.start is None and table["implied"].notna().any():
        table = table.loc[table["implied"].first_valid_index() :]
    if len(table) < 2:
        raise InputError(
            f"{market.path}, {ticker}: {len(table)} closes between start and end; two are needed for a return"
        )
    problems = [
        *_unfit_closes(table["close"], f"{market.path}, {ticker}: {market.close}"),
        *_unfit_vols(table, implied, where),
    ]
    if problems:
        raise InputError(problems)
    stamps = table.index.to_numpy().astype("datetime64[us]")
    return stamps, table["close"].to_numpy(), table["implied"].ffill().to_numpy(), int(table["implied"].isna().sum())


def _unfit_closes(closes: pd.Series[float], name: str) -> list[str]:
    problems = []
    empty, wrong = closes.index[closes.isna()], closes[closes <= 0.0]
    if len(empty):
        more = and_more(len(empty) - 1)
        problems.append(f"{name} is empty on {empty[0]:%Y-%m-%d}{more}; leave out the rows of days without a close")
    if len(wrong):
        got = f"{wrong.iloc[0]:g} on {wrong.index[0]:%Y-%m-%d}{and_more(len(wrong) - 1)}"
        problems.append(f"{name} must be above 0, got {got}; correct the row")
    return problems


def _unfit_vols(table: pd.DataFrame, implied: ImpliedConfig, name: str) -> list[str]:
    """What is wrong with the implied volatilities that stand beside the closes."""
    problems = []
    vols, name = table["implied"], f"{name}: {implied.column}"
    wrong = vols[(vols <= LOWEST) | (vols >= HIGHEST)]
    if len(wrong):
        problems.append(
            f"{name} times implied.scale {implied.scale:g} must lie between {LOWEST:g} and {HIGHEST:g} per year, got "
            f"{wrong.iloc[0]:g} on {wrong.index[0]:%Y-%m-%d}{and_more(len(wrong) - 1)}; correct the row, or implied.scale "
            "(0.01 for percent)"
        )
    missing = table.index[vols.isna()]
    share = len(missing) / len(vols)
    if len(missing) == len(vols):
        problems.append(f"{name} is empty on all {len(vols)} days that have a close; take other dates")
    elif np.isnan(vols.iloc[0]):
        begins = vols.dropna().index[0]
        problems.append(
            f"{name} is missing on {table.index[0]:%Y-%m-%d}, the first day, which needs one; set market.start to "
            f"{begins:%Y-%m-%d}"
        )
    elif share > implied.max_missing:
        problems.append(
            f"{name} is missing on {len(missing)} of {len(vols)} days ({share:.0%}, the first {missing[0]:%Y-%m-%d}), "
            f"max_missing is {implied.max_missing:.0%}; take other dates or raise implied.max_missing"
        )
    return problems


def _column(path: str, symbol: str, column: str) -> pd.Series[float]:
    """One column of one symbol by date; InputError where there is none."""
    frame = read_table(path)
    names = {str(name).lower(): str(name) for name in frame.columns}
    time, ticker = (
        next((names[n] for n in (key, *ALIASES[key]) if n in names), None) for key in ("timestamp", "symbol")
    )
    missing = [
        f"{path}: column {name} is missing; there are {', '.join(map(str, frame.columns))}"
        for name, there in (("timestamp", time), ("symbol", ticker), (column, column in frame.columns or None))
        if there is None
    ]
    if missing or time is None or ticker is None:
        raise InputError(missing)
    rows = rows_of(frame, ticker, symbol, path)
    days, problems = dates(rows[time], path)
    values, unread = numbers(rows[column], path)
    if problems or unread:
        raise InputError([*problems, *unread])
    back = np.flatnonzero(np.diff(days) <= np.timedelta64(0, "D"))
    if back.size:
        at = int(back[0]) + 1
        raise InputError(
            f"{path}, row {rows.index[at]} ({symbol} {pd.Timestamp(days[at]):%Y-%m-%d}): dates must strictly increase, and the "
            f"row before is {pd.Timestamp(days[at - 1]):%Y-%m-%d}; sort the rows and keep one of each day"
        )
    return pd.Series(values, index=pd.DatetimeIndex(days), name=column)


def model_market(market: OptionModelMarket, ticker: str, contract: Contract) -> tuple[OptionMarket, tuple[str, ...]]:
    """The real history as one scenario, and what a report has to say of it."""
    stamps, close, implied, missing = read_history(market, ticker)
    paths = close[None, :, None]
    made = write_cycles(
        (ticker,),
        stamps,
        paths,
        contract,
        black_scholes_pricer(implied[None, :, None], market.rate, market.dividend_yield),
        rate=market.rate,
        dividend_yield=market.dividend_yield,
        bars_per_year=BARS_PER_YEAR,
    )
    return made, (_said(market, ticker, stamps, missing),)


def bootstrap_market(market: BootstrapMarket, ticker: str, contract: Contract) -> tuple[OptionMarket, tuple[str, ...]]:
    """S resampled histories, each of which begins at the last close and at the implied volatility of its first day."""
    stamps, close, implied, missing = read_history(market, ticker)
    T = market.length(DAYS_PER_YEAR / BARS_PER_YEAR)
    sessions = np.resize(np.diff(stamps), T - 1)  # weekends and holidays as the history has them from its start
    random = generator(market.seed, market.stream, ticker)
    days = stationary_bootstrap(random, len(close) - 1, (market.scenarios, T - 1), market.block_bars)
    # (S, T): the day that a path begins on is the one before its first return
    moves, changes = (np.diff(np.log(x))[days] for x in (close, implied))
    begin = np.zeros((market.scenarios, 1))
    spot = close[-1] * np.exp(np.concatenate([begin, np.cumsum(moves, axis=1)], axis=1))
    first = np.log(implied[days[:, :1]])
    volatility = np.exp(np.concatenate([first, first + np.cumsum(changes, axis=1)], axis=1)).clip(LOWEST, HIGHEST)
    made = write_cycles(
        (ticker,),
        np.concatenate([stamps[-1:], stamps[-1] + np.cumsum(sessions)]),
        spot[:, :, None],
        contract,
        black_scholes_pricer(volatility[:, :, None], market.rate, market.dividend_yield),
        rate=market.rate,
        dividend_yield=market.dividend_yield,
        bars_per_year=BARS_PER_YEAR,
    )
    blocks = (
        f"{ticker}: {market.scenarios} paths of {T} days resampled in blocks of {market.block_bars:g} days on average"
    )
    return made, (_said(market, ticker, stamps, missing), blocks)


def stationary_bootstrap(
    random: np.random.Generator, n: int, shape: tuple[int, int], block: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    """Indices into n observations, of `shape` (S, T): blocks of geometric length, `block` on average, that wrap round.

    Source: Politis, Romano (1994), Journal of the American Statistical Association 89, 1303-1313.
    """
    found = random.integers(0, n, shape)  # where a block would begin
    goes_on = random.random(shape) >= 1.0 / block
    for t in range(1, shape[1]):
        found[:, t] = np.where(goes_on[:, t], (found[:, t - 1] + 1) % n, found[:, t])
    return found


def _said(market: HistorySection, ticker: str, stamps: DateArray, missing: int) -> str:
    return (
        f"{ticker}: {len(stamps)} days, {pd.Timestamp(stamps[0]):%Y-%m-%d} to {pd.Timestamp(stamps[-1]):%Y-%m-%d}; European "
        f"marks at {market.implied.column} whatever the strike and tenor; strikes pair with {market.close} as the file has it: "
        f"where it is adjusted, dividends count as reinvested; {missing} implied volatilities carried forward"
    )
