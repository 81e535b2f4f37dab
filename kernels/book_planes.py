"""What a rule on one book of assets reads of each bar: base weights, its market's regime, and the puts it may hold.

Planes that are the same for all assets are repeated over them, since a plane that depends on parameters is a bank
(K, T, A). `market.book` (`kernels.long_book`) says what the market itself does not.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from kernels.black_scholes import quote
from kernels.correlation import EWMA, ROLLING, beta, correlation_factors, mean_correlation
from kernels.frames import alignment
from kernels.indicators import realised_volatility
from kernels.long_book import LongBook
from kernels.market import FloatArray, Market
from kernels.regime import RegimeRule, asset_regimes, market_regime
from kernels.sizing_planes import kelly

BASES = ("given", "equal", "inverse_volatility")
CORRELATIONS = ("rolling", "ewma")
DECAYS = (ROLLING, EWMA)  # of CORRELATIONS
PUT_VOL_WINDOW = 60  # bars of the volatility that marks puts where no implied one is known
PUT_PREMIUM = 1.2  # implied over realised volatility then: puts cost more than what their underlier has been doing
REGIME_KEYS = ("regime_window", "regime_memory", "vol_high", "vol_low", "trend_strength", "confirm_bars", "min_bars")


def base_weight(market: Market, base: FloatArray, base_window: FloatArray) -> FloatArray:
    """Signed base weights, bank (K, T, A), for `base` as positions in BASES.

    Given: those of the book, else equal. Equal: 1 / A each. Inverse volatility: 1 / volatility of `base_window` returns over
    the sum of these; equal until all are known, and 0 for an asset that does not move beside others that do.
    """
    A = market.n_assets
    book = _book(market)
    equal = np.full((market.n_bars, A), 1.0 / A)
    given = equal if book.weights is None else np.tile(book.weights, (market.n_bars, 1))
    out = np.empty((len(base), market.n_bars, A))
    for k, (kind, window) in enumerate(zip(base, base_window, strict=True)):
        if BASES[int(kind)] != "inverse_volatility":
            out[k] = given if BASES[int(kind)] == "given" else equal
            continue
        volatility = realised_volatility(market, np.array([window]))[0]
        with np.errstate(divide="ignore"):
            inverse = np.where(volatility > 0.0, 1.0 / volatility, 0.0)
        total = np.sort(inverse, axis=1).sum(axis=1, keepdims=True)
        known = ~np.isnan(volatility).any(axis=1, keepdims=True) & (total > 0.0)
        out[k] = np.where(known, inverse / np.where(known, total, 1.0), equal)
    return out


def kelly_long(market: Market, windows: FloatArray, least: FloatArray) -> FloatArray:
    """The whole Kelly fraction of a long position, bank (K, T, A); infinite while unknown."""
    return _kelly(market, windows, least, 1.0)


def kelly_short(market: Market, windows: FloatArray, least: FloatArray) -> FloatArray:
    """The same of a short position."""
    return _kelly(market, windows, least, -1.0)


def _kelly(market: Market, windows: FloatArray, least: FloatArray, side: float) -> FloatArray:
    return np.concatenate(
        [
            kelly(market, np.array([window]), minimum=float(count), side=side)
            for window, count in zip(windows, least, strict=True)
        ]
    )


def market_labels(market: Market, *keys: FloatArray) -> FloatArray:
    """The regime of the market for rows of REGIME_KEYS, bank (K, T, A), the same for every asset."""
    implied = _book(market).implied
    each = [market_regime(market, rule, implied) for rule in _rules(keys)]
    return np.repeat(np.stack(each)[:, :, None], market.n_assets, axis=2)


def asset_labels(market: Market, *keys: FloatArray) -> FloatArray:
    """The regime of each asset, bank (K, T, A)."""
    return np.stack([asset_regimes(market, rule) for rule in _rules(keys)])


def _rules(keys: tuple[FloatArray, ...]) -> list[RegimeRule]:
    return [
        RegimeRule(int(window), int(memory), float(high), float(low), float(trend), int(confirm), int(least))
        for window, memory, high, low, trend, confirm, least in zip(*keys, strict=True)
    ]


def agreement(market: Market, windows: FloatArray) -> FloatArray:
    """How far the book's frames agree on each asset, bank (K, T, A): -1 all down, 1 all up."""
    return alignment(market, windows, _book(market).frames)


def factors(market: Market, windows: FloatArray, kinds: FloatArray) -> FloatArray:
    """Factors of the correlation matrix, (K, A, T, A), for `kinds` as positions in CORRELATIONS."""
    return np.stack([correlation_factors(market, int(w), DECAYS[int(k)]) for w, k in zip(windows, kinds, strict=True)])


def mean_rho(market: Market, windows: FloatArray, kinds: FloatArray) -> FloatArray:
    """Mean correlation of all pairs, bank (K, T, A), the same for every asset; 0 until known."""
    each = [mean_correlation(market, int(w), DECAYS[int(k)]) for w, k in zip(windows, kinds, strict=True)]
    return np.repeat(np.nan_to_num(np.stack(each))[:, :, None], market.n_assets, axis=2)


def volatility(market: Market, windows: FloatArray) -> FloatArray:
    """Volatility per year of each asset, bank (K, T, A); 0 until known."""
    return np.nan_to_num(realised_volatility(market, windows))


def hedge_beta(market: Market, windows: FloatArray) -> FloatArray:
    """Beta of each asset to the hedge asset, bank (K, T, A); 0 until known."""
    hedge = market.tickers[_book(market).hedge_column(market.tickers)]
    return np.stack([beta(market, hedge, int(window)) for window in windows])


def hedge_asset(market: Market) -> FloatArray:
    """1 for the hedge asset, else 0, (T, A)."""
    out = np.zeros((market.n_bars, market.n_assets))
    out[:, _book(market).hedge_column(market.tickers)] = 1.0
    return out


def years(market: Market) -> FloatArray:
    """The length of a bar in years, (T,)."""
    return np.full(market.n_bars, 1.0 / market.bars_per_year)


def put_price(market: Market, tenors: FloatArray, moneyness: FloatArray) -> FloatArray:
    """What the put on the hedge asset that runs from here costs, bank (K, T, A), in the column of the hedge asset; 0 while no
    volatility is known.

    One put runs after another: each is struck at `moneyness` times the price when it begins and ends `tenor` bars later.
    """
    return np.stack(
        [_in_column(market, _puts(market, int(n), float(m))[0]) for n, m in zip(tenors, moneyness, strict=True)]
    )


def put_gain(market: Market, tenors: FloatArray, moneyness: FloatArray) -> FloatArray:
    """What the put that ran until here gained over the bar, bank (K, T, A), in the column of the hedge asset."""
    return np.stack(
        [_in_column(market, _puts(market, int(n), float(m))[1]) for n, m in zip(tenors, moneyness, strict=True)]
    )


def put_rolls(market: Market, tenors: FloatArray, moneyness: FloatArray) -> FloatArray:
    """1 where a put ends and the next begins, else 0, bank (K, T, A), the same for every asset."""
    rolls = np.stack([np.arange(market.n_bars) % int(n) == 0 for n in tenors]).astype(float)
    return np.repeat(rolls[:, :, None], market.n_assets, axis=2)


def put_volatility(market: Market) -> FloatArray:
    """Volatility per year that puts on the hedge asset are marked at, (T,): the book's implied one, before that is known or
    without it `PUT_PREMIUM` times the realised one of `PUT_VOL_WINDOW` bars; NaN until known."""
    book = _book(market)
    realised = realised_volatility(market, np.array([float(PUT_VOL_WINDOW)]))[0]
    marked = PUT_PREMIUM * realised[:, book.hedge_column(market.tickers)]
    return np.asarray(marked if book.implied is None else np.where(np.isnan(book.implied), marked, book.implied))


def _puts(market: Market, tenor: int, moneyness: float) -> tuple[FloatArray, FloatArray]:
    """Price of the put that runs from each bar, and gain over the bar of the one that ran until it, (T,) each."""
    T = market.n_bars
    spot = market.close[:, _book(market).hedge_column(market.tickers)]
    volatility = put_volatility(market)
    price, gain = np.zeros(T), np.zeros(T)
    starts = [*range(0, T, tenor), T]
    for first, end in pairwise(starts):
        bars = np.arange(first, min(end + 1, T))  # the last is marked once more as it ends
        if np.isnan(volatility[first]):
            continue
        tau = (tenor - (bars - first)) / market.bars_per_year
        strike = np.full(len(bars), moneyness * spot[first])
        mark = quote("put", spot[bars], strike, tau, volatility[bars], rate=0.0).price
        price[bars[bars < end]] = mark[bars < end]
        gain[bars[1:]] = np.diff(mark)
    return price, gain


def _in_column(market: Market, plane: FloatArray) -> FloatArray:
    return hedge_asset(market) * plane[:, None]


def _book(market: Market) -> LongBook:
    return LongBook() if market.book is None else market.book
