"""What a quant works out in pandas before the bars of `portfolio_hedge` are walked, for one configuration: whole columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from scipy.special import ndtr

from kernels.account import Costs
from kernels.frames import frames_of
from kernels.long_book import LongBook
from kernels.market import FloatArray, Market
from kernels.regime import REGIMES

Rule = Mapping[str, Any]
EWMA_DECAY = 0.94
ATR_BARS, RANGE_BARS = 14, 90
PUT_BARS, PUT_PREMIUM = 60, 1.2
FINER = ("bar", "4x", "1d", "1w")  # where a day has four bars or more; else a day is finer than four bars


class Signals(NamedTuple):
    """All that does not depend on what is held. (T, A) unless said."""

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    fill: FloatArray
    side: FloatArray  # -1, 0, 1
    size: FloatArray  # before agreement, and before the bounds that drawdown moves
    agreed: FloatArray  # what agreement makes of it; NaN where nothing new is opened
    calm: FloatArray  # what the regime makes of it
    atr: FloatArray
    correlation: FloatArray  # (T, A, A); 0 until known
    mean_rho: FloatArray  # (T,)
    volatility: FloatArray
    beta: FloatArray
    allowed: FloatArray  # (T,) whether the market's regime allows a hedge
    hedge: int  # column of the hedge asset
    put_price: FloatArray  # (T,)
    put_gain: FloatArray  # (T,)
    put_rolls: FloatArray  # (T,)
    years: float  # of a bar


def signals(market: Market, rule: Rule, costs: Costs) -> Signals:
    """Every signal of one configuration."""
    book = market.book or LongBook()
    index = pd.DatetimeIndex(market.timestamps)
    close, opened, high, low = (
        pd.DataFrame(market.close if column is None else column, index=index, columns=list(market.tickers))
        for column in (market.close, market.open, market.high, market.low)
    )
    fill = close if costs.fill == "close" else (close if costs.fill == "next_close" else opened).shift(-1)
    returns = cast("pd.DataFrame", np.log(close / close.shift()))
    atr = true_range(high, low, close).ewm(alpha=1 / ATR_BARS, adjust=False).mean()
    atr.iloc[: ATR_BARS - 1] = np.nan
    base = base_weights(book, returns, rule)
    size = base.abs() if rule["sizing"] == "off" else kelly_sizes(base, book, close, atr, rule)
    market_label, calm = regimes(close, returns, book, rule)
    correlation, mean_rho = correlations(returns, rule)
    hedge = book.hedge_column(market.tickers)
    price, gain, rolls = puts(close.iloc[:, hedge], returns.iloc[:, hedge], book, rule, market.bars_per_year)
    columns = [opened, high, low, close, fill, np.sign(base), size]
    return Signals(
        *(column.to_numpy() for column in columns),
        agreed=agreement(market, index, book, rule),
        calm=calm,
        atr=atr.fillna(0.0).to_numpy(),
        correlation=correlation,
        mean_rho=mean_rho,
        volatility=deviation(returns, rule["correlation_window"], market.bars_per_year).fillna(0.0).to_numpy(),
        beta=betas(returns, hedge, rule["beta_window"]),
        allowed=hedge_regimes(market_label, rule["hedge_regimes"]),
        hedge=hedge,
        put_price=price,
        put_gain=gain,
        put_rolls=rolls,
        years=1.0 / market.bars_per_year,
    )


def deviation(returns: pd.DataFrame, window: int, bars_per_year: float) -> pd.DataFrame:
    """Volatility per year."""
    return returns.rolling(window).std() * np.sqrt(bars_per_year)


def true_range(high: pd.DataFrame, low: pd.DataFrame, close: pd.DataFrame) -> pd.DataFrame:
    """max(H - L, |H - C_prev|, |L - C_prev|), the first bar's H - L."""
    before = close.shift()
    return cast("pd.DataFrame", np.fmax(high - low, np.fmax((high - before).abs(), (low - before).abs())))


def base_weights(book: LongBook, returns: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """The book's own, equal ones, or 1 / volatility over the sum of these; equal until all are known."""
    equal = pd.DataFrame(1.0 / returns.shape[1], index=returns.index, columns=returns.columns)
    if rule["base"] == "given" and book.weights is not None:
        return equal * 0.0 + np.array(book.weights)
    if rule["base"] != "inverse_volatility":
        return equal
    volatility = returns.rolling(rule["base_window"]).std()
    inverse = (1.0 / volatility).where(volatility > 0.0, 0.0).where(volatility.notna())
    total = inverse.sum(axis=1, skipna=False)
    return inverse.div(total, axis=0).where(
        (total > 0.0).to_numpy().repeat(returns.shape[1]).reshape(returns.shape), equal
    )


def kelly_sizes(base: pd.DataFrame, book: LongBook, close: pd.DataFrame, atr: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """The share of Kelly's f = p - (1 - p) / b of the trailing bars, the base weight while unknown, less in wide ranges."""
    given = rule["base"] == "given" and book.weights is not None
    result = close.pct_change().fillna(0.0) * (np.sign(np.array(book.weights)) if given else 1.0)
    trailing = {"window": rule["kelly_window"], "min_periods": 1}
    wins, losses = (
        (result > 0.0).astype(float).rolling(**trailing).sum(),
        (result < 0.0).astype(float).rolling(**trailing).sum(),
    )
    won, lost = result.clip(lower=0.0).rolling(**trailing).sum(), (-result.clip(upper=0.0)).rolling(**trailing).sum()
    counted = wins + losses
    p, mean_win, mean_loss = wins / counted, won / wins, (lost / losses).where(losses > 0.0, 0.0)
    f = (p - (1.0 - p) * mean_loss / mean_win).where(wins > 0.0, -1.0).clip(-1.0, 1.0)
    known = counted >= max(rule["kelly_least"], 1)
    size = (rule["kelly_fraction"] * f.clip(lower=0.0)).where(known, base.abs())
    ratio = (atr / atr.rolling(RANGE_BARS).mean()).fillna(1.0)
    factor = np.select(
        [ratio > rule["very_wide_ranges"], ratio > rule["wide_ranges"]],
        [rule["very_wide_size"], rule["wide_size"]],
        1.0,
    )
    return size * factor


def agreement(market: Market, index: pd.DatetimeIndex, book: LongBook, rule: Rule) -> FloatArray:
    """The bands of the weighted mean of the frames' votes; NaN below the least."""
    if rule["agreement"] == "off":
        return np.ones_like(market.close)
    frames = frames_of(market.calendar.step) if book.frames is None else book.frames
    order = FINER if market.calendar.step <= np.timedelta64(6, "h") else ("bar", "1d", "4x", "1w")
    votes = [frame_votes(market, index, f, rule["frame_window"]) for f in sorted(frames, key=order.index)]
    aligned = np.average(np.stack(votes), axis=0, weights=range(1, len(votes) + 1))
    given = rule["base"] == "given" and book.weights is not None
    a = aligned * (np.sign(np.array(book.weights)) if given else 1.0)
    bands = [a >= rule["agreement_strong"], a >= rule["agreement_fair"], a >= rule["agreement_least"]]
    sizes = np.select(bands, [rule["size_strong"], rule["size_fair"], rule["size_least"]], np.nan)
    return np.where(bands[2], sizes, np.nan)  # bands in any order: nothing opens below the least


def frame_votes(market: Market, index: pd.DatetimeIndex, frame: str, window: int) -> FloatArray:
    """The vote of one frame at each bar, of the candles that are complete by then: trend, momentum, volume."""
    position = np.arange(len(index))
    if frame == "bar":
        candle, complete = position, np.ones(len(index), dtype=bool)
    elif frame == "4x":
        candle, complete = position // 4, position % 4 == 3
    else:
        period = index.to_period("D" if frame == "1d" else "W-SUN")
        candle = np.asarray(pd.factorize(period)[0])
        complete = np.asarray(index + market.calendar.step > period.end_time)
    last = np.where(complete, candle, candle - 1)
    close = pd.DataFrame(market.close).groupby(candle).last()
    r = cast("pd.DataFrame", np.log(close / close.shift()))
    rms = np.sqrt((r * r).rolling(window).mean())
    log_price = cast("pd.DataFrame", np.log(close))
    newest = window // 2
    steps = np.arange(window) / window
    parts = [
        (log_price - log_price.rolling(window).mean()) / (rms * np.sqrt((steps * steps).sum())),
        r.rolling(newest).sum() / (rms * np.sqrt(newest)),
    ]
    if market.volume is not None:
        volume = pd.DataFrame(market.volume).groupby(candle).sum()
        sign = cast("pd.DataFrame", np.sign(r))
        spread = np.sqrt((volume * volume).rolling(window).sum() * (sign * sign).rolling(window).mean())
        parts.append((volume * sign).rolling(window).sum() / spread)
    known = rms.notna()
    votes = sum((part / 2.0).clip(-1.0, 1.0).fillna(0.0) for part in parts) / len(parts)
    whole = votes.where(known, 0.0).to_numpy()
    return np.where((last >= 0)[:, None], whole[last], 0.0)


def regimes(close: pd.DataFrame, returns: pd.DataFrame, book: LongBook, rule: Rule) -> tuple[FloatArray, FloatArray]:
    """The market's label (T,), and what the regime makes of each position (T, A)."""
    index = np.log1p(close.pct_change().mean(axis=1)).to_frame()
    judged = index.rolling(rule["regime_window"]).std()
    if book.implied is not None:
        judged = pd.DataFrame(book.implied, index=index.index, columns=index.columns)
        judged.iloc[0] = np.nan  # judged where there are returns
    market = labels(index, judged, rule)
    shares = np.array([rule[f"exposure_{name}"] for name in REGIMES])
    if rule["regime"] == "off":
        return market[:, 0], np.ones(close.shape)
    if rule["regime_of"] == "market":
        return market[:, 0], np.repeat(shares[market], close.shape[1], axis=1)
    return market[:, 0], shares[labels(returns, returns.rolling(rule["regime_window"]).std(), rule)]


def labels(returns: pd.DataFrame, judged: pd.DataFrame, rule: Rule) -> FloatArray:
    """Positions in REGIMES (T, A): volatility against its own quantiles, the line through the log price, hysteresis."""
    bull, bear, high, low, ranging = range(len(REGIMES))
    n = rule["regime_window"]
    top, bottom = (judged.rolling(rule["regime_memory"]).quantile(rule[q]) for q in ("vol_high", "vol_low"))
    time = pd.Series(np.arange(len(returns), dtype=float), index=returns.index)
    R = returns.fillna(0.0).cumsum().rolling(n).corr(time)
    trend = R * np.sqrt((n - 2) / (1.0 - R * R))
    moves = bottom < top
    strong = rule["trend_strength"]
    candidates = np.select(
        [
            (trend.isna() | top.isna() | bottom.isna()).to_numpy(),
            (moves & (judged >= top)).to_numpy(),
            trend >= strong,
            trend <= -strong,
            (moves & (judged <= bottom)).to_numpy(),
        ],
        [-1, high, bull, bear, low],
        ranging,
    )
    table = pd.DataFrame(candidates)
    begins = table != table.shift()
    row = begins.apply(lambda column: column.groupby(column.cumsum()).cumcount() + 1)
    ready = ((table >= 0) & (row >= rule["confirm_bars"])).to_numpy()
    out = np.empty_like(candidates)
    for a in range(candidates.shape[1]):
        label, changed = ranging, -len(out) - rule["min_bars"]
        for t, (candidate, good) in enumerate(zip(candidates[:, a].tolist(), ready[:, a].tolist(), strict=True)):
            if good and candidate != label and t - changed >= rule["min_bars"]:
                label, changed = candidate, t
            out[t, a] = label
    return out


def hedge_regimes(label: FloatArray, chosen: str) -> FloatArray:
    """Whether a hedge may be on in the market's regime, (T,)."""
    sets = {
        "any": REGIMES,
        "not_bull": REGIMES[1:],
        "bear_trending": ("bear_trending",),
        "high_volatility": ("high_volatility",),
        "bear_or_high_volatility": ("bear_trending", "high_volatility"),
    }
    return np.isin(label, [REGIMES.index(name) for name in sets[chosen]])


def correlations(returns: pd.DataFrame, rule: Rule) -> tuple[FloatArray, FloatArray]:
    """Correlation matrix (T, A, A) and its mean off the diagonal (T,): rolling, or EWMA cut off at the window."""
    T, A = returns.shape
    x = returns.to_numpy()
    i, j = np.triu_indices(A)
    moments = pd.DataFrame(np.concatenate([x, x[:, i] * x[:, j]], axis=1))
    window = rule["correlation_window"]
    if rule["correlation"] == "rolling":
        mean = moments.rolling(window).mean().to_numpy()
    else:
        past = EWMA_DECAY**window
        whole = (
            moments.ewm(alpha=1.0 - EWMA_DECAY).mean().mul(1.0 - EWMA_DECAY ** np.arange(T), axis=0)
        )  # sums: bar 0 has none
        cut = (whole - past * whole.shift(window).fillna(0.0)) / (1.0 - past)
        cut.iloc[:window] = np.nan
        mean = cut.to_numpy()
    covariance = mean[:, A:] - mean[:, i] * mean[:, j]
    spread = np.sqrt(np.maximum(covariance[:, i == j], 0.0))
    scale = spread[:, i] * spread[:, j]
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = np.where(scale > 0.0, covariance / scale, 0.0).clip(-1.0, 1.0)
    rho[:, i == j] = 1.0
    rho[:window] = 0.0
    C = np.empty((T, A, A))
    C[:, i, j] = C[:, j, i] = rho
    if A == 1:
        return C, rho[:, 0]
    return C, rho[:, i != j].mean(axis=1)


def betas(returns: pd.DataFrame, hedge: int, window: int) -> FloatArray:
    """cov(r_a, r_h) / var(r_h), (T, A); 0 until known."""
    own = returns.iloc[:, hedge]
    rolled = returns.rolling(window).cov(own).div(own.rolling(window).var(), axis=0)
    return rolled.replace([np.inf, -np.inf], np.nan).fillna(0.0).to_numpy()


def puts(
    spot: pd.Series, returns: pd.Series, book: LongBook, rule: Rule, bars_per_year: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mark of the put that runs from each bar, gain over the bar of the one that ran until it, where one follows another."""
    T, tenor = len(spot), rule["put_tenor"]
    age = np.arange(T) % tenor
    rolls = (age == 0).astype(float)
    if rule["hedge"] != "put":
        return np.zeros(T), np.zeros(T), rolls
    volatility = returns.rolling(PUT_BARS).std() * (PUT_PREMIUM * np.sqrt(bars_per_year))
    if book.implied is not None:
        volatility = pd.Series(book.implied, index=spot.index)
    strike = (rule["put_moneyness"] * spot).where(rolls > 0.0).ffill()
    known = volatility.where(rolls > 0.0).groupby(np.arange(T) // tenor).transform("first").notna()
    mark = put_value(spot, strike, (tenor - age) / bars_per_year, volatility).where(known, 0.0)
    at_end = (strike.shift() - spot).clip(lower=0.0).where(known.shift(fill_value=False), 0.0)
    ran = mark.where(rolls == 0.0, at_end)
    gain = (ran - mark.shift()).fillna(0.0)
    return mark.fillna(0.0).to_numpy(), gain.to_numpy(), rolls


def put_value(spot: pd.Series, strike: pd.Series, tau: FloatArray, volatility: pd.Series) -> pd.Series:
    """Black-Scholes without interest."""
    spread = volatility * np.sqrt(tau)
    d1 = np.log(spot / strike) / spread + spread / 2.0
    return pd.Series(strike * ndtr(spread - d1) - spot * ndtr(-d1), index=spot.index)
