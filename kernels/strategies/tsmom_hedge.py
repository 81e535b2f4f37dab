"""Volume-weighted time-series momentum, shorted only as a hedge while the asset is in drawdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kernels.account import Order
from kernels.indicators import drawdown, log_returns, realised_volatility, shifted, trailing_sums, true_range_average
from kernels.market import FloatArray, Market
from kernels.ops import clip, minimum, where
from kernels.state import per_asset
from kernels.stops import stop_loss, trailing_stop
from kernels.strategy import Parameter, Plane, Strategy

SHORT_MODES = ("disabled", "hedge_only", "full")
DISABLED, HEDGE_ONLY, FULL = (float(i) for i in range(3))


def signal(market: Market, lookback: FloatArray) -> FloatArray:
    """Sign of yesterday's volume-weighted momentum, bank (K, T, A); 0 while it is missing.

    m_t = sum_k r_{t-k} ln(1 + V_{t-k}) / sum_k ln(1 + V_{t-k}),  k = 0 .. lookback - 1; equal weights without volume
    """
    weight = np.ones_like(market.close) if market.volume is None else np.log1p(market.volume)
    # The denominator is positive wherever the sign can be other than 0, so the numerator's sign is the signal.
    momentum = trailing_sums(log_returns(market) * weight, lookback)
    return shifted(np.sign(momentum), missing=0.0)


def inverse_volatility(market: Market, vol_window: FloatArray) -> FloatArray:
    """1 / yesterday's annualised volatility of log returns (ddof 1), bank (K, T, A); 0 while it is missing."""
    with np.errstate(divide="ignore"):
        return shifted(1.0 / realised_volatility(market, vol_window), missing=0.0)


class Rule(NamedTuple):
    """What both stops watch (signed prices), and the last executed target weight."""

    stop: Any = per_asset(0.0)
    trail: Any = per_asset(0.0)
    last: Any = per_asset(0.0)


def step(bar: Any, state: Rule, p: Any) -> tuple[Order, Rule]:
    """g = sign(m) vol_target / max(sigma, min_volatility); shorts by mode; cap; stops; order when the target moved."""
    momentum = bar.signal * minimum(p.vol_target * bar.inverse_volatility, p.vol_target / p.min_volatility)
    armed = (p.short_mode == HEDGE_ONLY) & (bar.drawdown < p.hedge_threshold)
    short = where(p.short_mode == FULL, momentum, where(armed, p.hedge_strength * momentum, 0.0))
    weight = clip(where(momentum < 0.0, short, momentum), -p.max_leverage, p.max_leverage)

    weight, stop = stop_loss(weight, state.stop, bar.close, p.stop_loss)
    distance = None if p.trailing_stop_atr is None else p.trailing_stop_atr * bar.atr
    weight, trail = trailing_stop(weight, state.trail, bar.high, bar.low, bar.close, distance)

    moved = abs(weight - state.last) >= p.rebalance_threshold
    trade = moved | ((state.last == 0.0) & (weight != 0.0))
    return Order(weight, trade), Rule(stop, trail, where(trade, weight, state.last))


def warm_up(parameters: Mapping[str, Any]) -> int:
    """The first bar that can hold a signal: both windows filled, then shifted by one."""
    return int(max(parameters["lookback"], parameters["vol_window"])) + 1


def in_desk_words(p: Mapping[str, Any]) -> str:
    """A configuration as an instruction.

    >>> in_desk_words({p.name: p.default for p in STRATEGY.parameters} | {"short_mode": "disabled"})
    'size each asset to 35% volatility of 30 bars, at most 2 x; long while it gained over 30 bars, else flat; stop at 10% loss'
    """
    told = f"size each asset to {p['vol_target']:.0%} volatility of {p['vol_window']:g} bars, at most {p['max_leverage']:g} x"
    told += f"; long while it gained over {p['lookback']:g} bars, else "
    told += {
        "disabled": "flat",
        "full": "short",
        "hedge_only": f"short {p['hedge_strength']:.3g} of that size once {-p['hedge_threshold']:.1%} below its high",
    }[p["short_mode"]]
    if p["stop_loss"] is not None:
        told += f"; stop at {p['stop_loss']:.0%} loss"
    if p["trailing_stop_atr"] is not None:
        told += f"; trailing stop of {p['trailing_stop_atr']:.3g} average true ranges"
    return told


STRATEGY = Strategy(
    name="tsmom_hedge",
    summary="Volume-weighted time-series momentum at a volatility target; shorts only as a hedge in drawdown.",
    source="Moskowitz, Ooi, Pedersen (2012), Journal of Financial Economics 104, 228-250; hedge rule: docs/tsmom_hedge.md",
    parameters=(
        Parameter("lookback", 30, 6, 365, unit="bars", integer=True, doc="momentum window"),
        Parameter("vol_window", 30, 6, 365, unit="bars", integer=True, doc="volatility window"),
        Parameter("vol_target", 0.35, 0.05, 1.0, unit="per year", doc="volatility each position aims at"),
        Parameter("min_volatility", 0.05, 0.01, 0.2, unit="per year", doc="floor of the measured volatility"),
        Parameter("short_mode", "hedge_only", choices=SHORT_MODES, doc="which negative signals become shorts"),
        Parameter("hedge_threshold", -0.07, -0.5, -0.01, doc="drawdown of the asset below which shorts are allowed"),
        Parameter("hedge_strength", 0.3, 0.0, 1.0, doc="share of the full short that is taken"),
        Parameter("max_leverage", 2.0, 0.5, 10.0, doc="largest |weight| of an asset"),
        Parameter(
            "stop_loss",
            0.10,
            0.02,
            0.5,
            optional=True,
            doc="fall of the close from entry that closes for a bar",
        ),
        Parameter(
            "trailing_stop_atr",
            None,
            0.5,
            10.0,
            unit="ATR",
            optional=True,
            doc="distance from the best price",
        ),
        Parameter("rebalance_threshold", 0.05, 0.0, 0.5, doc="smallest change of target weight that is traded"),
    ),
    planes=(
        Plane("signal", signal, keys=("lookback",)),
        Plane("inverse_volatility", inverse_volatility, keys=("vol_window",)),
        Plane("drawdown", drawdown),
        Plane("atr", true_range_average),
    ),
    state=Rule,
    step=step,
    warm_up=warm_up,
    say=in_desk_words,
    notes=(
        "The drawdown is from the asset's own highest close since the first bar, so a shallow threshold is armed on most days.",
    ),
)
