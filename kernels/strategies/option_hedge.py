"""Hedging a sold option: how often, how wide a band, how much of the delta, how much gamma, at what size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kernels.account import Costs
from kernels.indicators import trailing_sums
from kernels.market import FloatArray
from kernels.ops import exp, floor, log, maximum, minimum, norm_cdf, rarely, where
from kernels.option_book import OPTION_BOOK, HedgeOrder
from kernels.option_market import OptionMarket
from kernels.state import per_asset
from kernels.strategy import Asked, Parameter, Plane, Strategy

CENTRE, EDGE = 0.0, 1.0
OFF = np.inf  # what None is among configurations of which some set the parameter
SMALLEST_SPREAD, SMALLEST_CUBE = 1e-12, 1e-300  # keep a division and a logarithm finite where the result is not used
LARGEST_SCALE = 3.0  # of the exposure that `vol_target` may ask for
CLOCK = 1e-6  # days; a rebalance that is due at a bar is not missed by rounding


class Rule(NamedTuple):
    """Days since the last time to rebalance, and the size that `vol_target` gave the running cycle."""

    waited: Any = per_asset(0.0)
    scale: Any = per_asset(1.0)


def step(bar: Any, state: Rule, p: Any) -> tuple[HedgeOrder, Rule]:
    """Target = hedge_ratio * delta - n2 delta2, traded to at every roll, and when it is time and it has left the band.

    It is time on the first bar at or after every multiple of `rebalance_days` since the roll: 1.5 days on daily bars is
    every second and every third day's end by turns, never every second only.
    """
    delta = bar.delta
    if p.delta_vol_weight is not None:
        delta = where(p.delta_vol_weight > 0.0, _mixed_delta(bar, p.delta_vol_weight), delta)
    if p.skew_delta is not None:
        delta = delta + p.skew_delta * bar.skew
    second: Any = 0.0 * bar.second_delta
    if p.gamma_hedge_ratio is not None:
        second = where(bar.second_gamma > 0.0, p.gamma_hedge_ratio * (bar.gamma / bar.second_gamma), 0.0)
    target = p.hedge_ratio * delta - second * bar.second_delta

    waited = state.waited + bar.days
    distance = target - bar.account.shares
    half_width = p.band if p.risk_aversion is None else _band(bar, p)
    outside = abs(distance) > half_width
    edge = where(distance > 0.0, target - half_width, target + half_width)
    opens = rarely(bar.opens > 0.0)
    due = waited >= p.rebalance_days - CLOCK
    past = waited - p.rebalance_days * floor((waited + CLOCK) * (1.0 / p.rebalance_days))
    trade = (due & outside) | opens
    wanted = where((p.trade_to == EDGE) & ~opens, edge, target)

    scale = state.scale
    if p.vol_target is not None:
        aimed = where(p.vol_target < OFF, minimum(p.vol_target * bar.inverse_volatility, LARGEST_SCALE), 1.0)
        scale = where(opens, aimed, state.scale)
    order = HedgeOrder(wanted, second, trade, p.exposure * state.scale, p.exposure * scale)
    return order, Rule(where(opens, 0.0, where(due, past, waited)), scale)


def _mixed_delta(bar: Any, weight: Any) -> Any:
    """Delta at (1 - w) implied + w realised volatility."""
    volatility = bar.volatility + weight * (bar.realised - bar.volatility)
    spread = maximum(volatility * bar.root_tau, SMALLEST_SPREAD)
    d1 = bar.log_moneyness / spread + 0.5 * spread
    return bar.carry * (bar.calls * norm_cdf(d1) - bar.puts * norm_cdf(-d1))


def _band(bar: Any, p: Any) -> Any:
    """Half-width of the no-trade band: w = (3/2 c e^(-r tau) S Gamma^2 / a)^(1/3), where no `risk_aversion` is given `band`.

    Source: Whalley, Wilmott (1997), Mathematical Finance 7, 307-324.
    """
    cube = bar.band_cube * (bar.costs.fee + bar.costs.slippage) / p.risk_aversion
    width = where(cube > 0.0, exp(log(maximum(cube, SMALLEST_CUBE)) * (1.0 / 3.0)), 0.0)
    return where(p.risk_aversion < OFF, width, p.band)


def realised(market: OptionMarket, vol_window: FloatArray) -> FloatArray:
    """Volatility of the last `vol_window` log returns, (K, S, T, A) per year; the implied one until they are there."""
    S, T, A = market.spot.shape
    paths = np.moveaxis(market.spot, 0, 1).reshape(T, S * A)
    returns = np.concatenate([np.full((1, S * A), np.nan), np.log(paths[1:] / paths[:-1])])
    n = vol_window[:, None, None]
    mean = trailing_sums(returns, vol_window) / n
    variance = np.maximum(trailing_sums(returns * returns, vol_window) - n * mean * mean, 0.0) / (n - 1.0)
    found = np.moveaxis(np.sqrt(market.bars_per_year * variance).reshape(-1, T, S, A), 1, 2)
    return np.where(np.isnan(found), market.volatility, found)


def inverse_volatility(market: OptionMarket, vol_window: FloatArray) -> FloatArray:
    """1 / realised volatility, (K, S, T, A)."""
    with np.errstate(divide="ignore"):
        return 1.0 / realised(market, vol_window)


def skew(market: OptionMarket) -> FloatArray:
    """vega / (S sqrt(tau)), what a unit of `skew_delta` adds to delta, (S, T, A); 0 where nothing is owed."""
    return np.where(market.tau > 0.0, market.vega / (market.spot * np.sqrt(np.maximum(market.tau, 1e-300))), 0.0)


def band_cube(market: OptionMarket) -> FloatArray:
    """3/2 e^(-r tau) S Gamma^2, (S, T, A)."""
    return np.asarray(1.5 * np.exp(-market.rate * market.tau) * market.spot * market.gamma**2)


def log_moneyness(market: OptionMarket) -> FloatArray:
    """ln(F / K) of the option owed, (S, T, A); 0 where nothing is owed."""
    owed = market.strike > 0.0
    forward = market.spot * np.exp((market.rate - market.dividend_yield) * market.tau)
    return np.where(owed, np.log(forward / np.where(owed, market.strike, forward)), 0.0)


def carry(market: OptionMarket) -> FloatArray:
    """e^(-q tau), (S, T, A); 0 where nothing is owed."""
    return np.where(market.strike > 0.0, np.exp(-market.dividend_yield * market.tau), 0.0)


def too_fine(market: OptionMarket, asked: Asked, costs: Costs) -> list[str]:
    """The sentence that refuses to rebalance more often than the market has bars."""
    finest = float(np.min(asked.get("rebalance_days", np.inf)))
    if finest >= market.step_days - CLOCK:
        return []
    return [
        f"parameter 'rebalance_days': {finest:g} days asks for {in_words(finest)} bars; this market has "
        f"{in_words(market.step_days)} bars; ask for {market.step_days:g} days or more, or take a market with finer bars"
    ]


def in_words(days: float) -> str:
    """A length of time, below one day in hours.

    >>> in_words(1.0), in_words(0.1)
    ('1-day', '2.4-hour')
    """
    return f"{24.0 * days:.4g}-hour" if days < 1.0 - CLOCK else f"{days:.4g}-day"


def in_desk_words(p: Mapping[str, Any]) -> str:
    """A configuration as an instruction.

    >>> in_desk_words({p.name: p.default for p in STRATEGY.parameters} | {"rebalance_days": 2.0, "band": 0.05})
    'size 1 x capital; hold all of the delta; look every 2 days, trade when more than 0.05 shares per option off, to the target'
    """
    days, ratio = p["rebalance_days"], p["hedge_ratio"]
    clock = "day" if days == 1.0 else f"{24.0 * days:.4g} hours" if days < 1.0 else f"{days:.4g} days"
    size = f"size {p['exposure']:.3g} x capital"
    if p["vol_target"] is not None:
        size += f", scaled to {p['vol_target']:.0%} realised volatility"
    if ratio == 0.0 and not p["gamma_hedge_ratio"]:
        return f"{size}; no hedge"
    told = [size, f"hold {'all' if ratio == 1.0 else f'{ratio:.0%}'} of the delta"]
    if p["delta_vol_weight"]:
        told[-1] += f", taken {p['delta_vol_weight']:.0%} at the realised volatility of {p['vol_window']:g} bars"
    if p["skew_delta"]:
        told[-1] += f", tilted by {p['skew_delta']:+g} x vega / (S sqrt(tau))"
    where_to = "to the target" if p["trade_to"] == "centre" else "to the band's edge"
    if p["risk_aversion"] is not None:
        told.append(
            f"look every {clock}, trade outside the Whalley-Wilmott band of {p['risk_aversion']:.3g}, {where_to}"
        )
    elif p["band"] > 0.0:
        told.append(f"look every {clock}, trade when more than {p['band']:.3g} shares per option off, {where_to}")
    else:
        told.append(f"trade every {clock}")
    if p["gamma_hedge_ratio"]:
        told.append(f"offset {p['gamma_hedge_ratio']:.0%} of the gamma with the second option")
    return "; ".join(told)


STRATEGY = Strategy(
    name="option_hedge",
    summary="Sells an option per cycle and hedges it with shares and a second option, by calendar and band.",
    source="Black, Scholes (1973); Leland (1985), Journal of Finance 40; Whalley, Wilmott (1997); Hull, White (2017)",
    parameters=(
        Parameter("exposure", 1.0, 0.05, 3.0, doc="options' notional over capital"),
        Parameter("hedge_ratio", 1.0, 0.0, 1.5, doc="share of the delta held"),
        Parameter("rebalance_days", 1.0, 0.1, 20.0, unit="days", doc="time between rebalances, no finer than the bar"),
        Parameter("band", 0.0, 0.0, 0.5, unit="shares", doc="no trade within |target - held| (0: calendar only)"),
        Parameter("risk_aversion", None, 0.01, 100.0, optional=True, doc="Whalley-Wilmott band instead of `band`"),
        Parameter("trade_to", "centre", choices=("centre", "edge"), doc="where a trade that leaves the band goes"),
        Parameter(
            "delta_vol_weight", None, 0.0, 1.0, optional=True, off=0.0, doc="realised volatility's weight in delta"
        ),
        Parameter("vol_window", 20, 5, 120, unit="bars", integer=True, doc="window of the realised volatility"),
        Parameter("skew_delta", None, -1.0, 1.0, optional=True, off=0.0, doc="minimum-variance tilt of delta"),
        Parameter("gamma_hedge_ratio", None, 0.0, 1.0, optional=True, off=0.0, doc="share of gamma offset"),
        Parameter("vol_target", None, 0.05, 1.0, unit="per year", optional=True, doc="scales exposure, up to 3 times"),
    ),
    planes=(
        Plane("realised", realised, keys=("vol_window",)),
        Plane("inverse_volatility", inverse_volatility, keys=("vol_window",)),
        Plane("skew", skew),
        Plane("band_cube", band_cube),
        Plane("log_moneyness", log_moneyness),
        Plane("root_tau", lambda market: np.sqrt(market.tau)),
        Plane("carry", carry),
    ),
    state=Rule,
    step=step,
    account=OPTION_BOOK,
    warm_up=lambda parameters: 0,
    market=OptionMarket,
    unfit=too_fine,
    say=in_desk_words,
    notes=("Model marks are European; US single-stock options are American, whose early exercise is left out.",),
)
