"""Strategies made to be hard to schedule: reductions in several stages, state in every form, numbers of every kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from kernels import STRATEGIES, Market, Parameter, Plane, Strategy
from kernels.account import Order
from kernels.indicators import log_returns, realised_volatility, shifted, trailing_sums
from kernels.market import FloatArray
from kernels.ops import (
    as_number,
    clip,
    exp,
    floor,
    log,
    max_assets,
    maximum,
    min_assets,
    minimum,
    norm_cdf,
    sign,
    sqrt,
    sum_assets,
    where,
)
from kernels.state import per_asset, scalar


def _momentum(market: Market, window: FloatArray) -> FloatArray:
    return shifted(trailing_sums(log_returns(market), window), missing=0.0)


def _volatility(market: Market, window: FloatArray) -> FloatArray:
    return shifted(realised_volatility(market, window), missing=0.0)


def _weekday(market: Market) -> FloatArray:
    return (market.timestamps.astype("datetime64[D]").astype(int) % 7).astype(np.float64)


def _warm_up(parameters: Mapping[str, Any]) -> int:
    return int(parameters["window"]) + 1


WINDOW = Parameter("window", 20, 5, 60, unit="bars", integer=True)
PLANES = (
    Plane("momentum", _momentum, keys=("window",)),
    Plane("volatility", _volatility, keys=("window",)),
    Plane("weekday", _weekday),
)


def _strategy(name: str, state: Any, step: Any, *parameters: Parameter) -> Strategy:
    return Strategy(name, f"{name}, for tests", "tests", (WINDOW, *parameters), PLANES, state, step, _warm_up)


class Budget(NamedTuple):
    last: Any = per_asset(0.0)
    crowded: Any = scalar(0.0)


def budget_step(bar: Any, state: Budget, p: Any) -> tuple[Order, Budget]:
    """Inverse-volatility weights that sum to one, the largest capped, all cut while too many bars were crowded."""
    raw = where(bar.volatility > 0.0, 1.0 / maximum(bar.volatility, 0.05), 0.0)
    share = raw / maximum(sum_assets(raw), 1e-12)  # second stage
    largest = max_assets(share)
    capped = share * minimum(1.0, p.cap / maximum(largest, 1e-12))  # third stage
    crowded = where(largest > p.cap, state.crowded + 1.0, state.crowded * p.memory)
    weight = capped * sign(bar.momentum) * where(crowded > p.patience, 0.5, 1.0)
    trade = (abs(weight - state.last) > 0.02) & (bar.weekday == 0.0)
    return Order(weight, trade), Budget(where(trade, weight, state.last), crowded)


class Pair(NamedTuple):
    left: Any = per_asset(1.0)
    right: Any = per_asset(-2.0)


class Tangle(NamedTuple):
    pair: Any = Pair()
    average: Any = per_asset(0.0)  # becomes a bare reduction
    spread: Any = per_asset(0.0)  # becomes a number made of reductions
    gross: Any = per_asset(0.0)  # becomes a reduction of the last stage
    reach: Any = per_asset(0.0)  # becomes a number made of one
    missing: Any = scalar(np.nan)
    high: Any = per_asset(-np.inf)
    low: Any = scalar(np.inf)
    limit: Any = per_asset(0.0)  # becomes a bare parameter
    product: Any = scalar(0.0)  # becomes a bare set-up value
    copied: Any = per_asset(0.0)  # becomes a bare plane
    shared: Any = per_asset(0.0)  # becomes work that is the same for all configurations
    early: Any = per_asset(0.0)  # known in the first stage, its old value read in the fourth
    today: Any = per_asset(0.0)  # known and read in the first stage
    yesterday: Any = per_asset(0.0)  # a bare copy of the one before
    idle: Any = scalar(3.0)  # read by nothing
    constant: Any = per_asset(0.25)
    count: Any = scalar(0.0)


def tangle_step(bar: Any, state: Tangle, p: Any) -> tuple[Order, Tangle]:
    """Distances from the mean over assets, in three stages, with state swapped, copied and read late."""
    _dead = state.idle + p.scale  # work that nothing reads
    x = bar.momentum * p.scale + 0.125 * state.today
    up = x > state.average  # crosses all stages as a condition
    mean = sum_assets(x) * (1.0 / 3.0)
    away = x - mean  # second stage
    variance = sum_assets(away * away)
    score = away / sqrt(maximum(variance, 1e-8))  # third stage
    top, bottom = max_assets(score), min_assets(score)
    wild = top - bottom > p.scale * p.limit  # decided per configuration
    late = (
        score * state.pair.left + state.pair.right * 0.125 + state.early - state.yesterday
    )  # fourth stage reads state of the first
    weight = where(up & ~wild | (score == top), clip(late, -p.limit, p.limit), state.constant * state.shared)
    weight = weight / (1.0 + 0.25 * state.gross + maximum(state.reach, 0.0))
    weight = where(state.missing == state.missing, weight, 0.5 * weight)  # NaN is unlike itself
    weight = weight + 0.0625 * (state.spread + state.copied + state.limit) / (1.0 + abs(state.high - state.low))
    ready = bar.volatility > 0.0
    weight = where(ready & (state.product != 0.0), weight, 0.0)
    trade = (abs(weight) < 3.0) & where(wild, state.count > 2.0, bar.weekday >= 2.0)
    new = state._replace(
        pair=Pair(left=state.pair.right, right=state.pair.left),
        average=sum_assets(as_number(up)),
        early=bar.momentum * p.limit,
        today=bar.momentum * bar.momentum * p.scale,
        yesterday=state.today,
        gross=sum_assets(abs(weight)),
        reach=max_assets(weight) * p.scale,
        missing=where(wild, np.nan, 1.0),
        spread=top - bottom,
        high=maximum(bar.close, state.high),
        low=minimum(min_assets(bar.close), state.low),
        limit=p.limit,
        product=p.limit * p.scale,
        copied=bar.momentum,
        shared=1.0 / (1.0 + bar.close),
        constant=0.25,
        count=where(wild, 0.0, state.count + 1.0),
    )
    return Order(weight, trade), new


class Curve(NamedTuple):
    slow: Any = per_asset(0.0)


def curve_step(bar: Any, state: Curve, p: Any) -> tuple[Order, Curve]:
    """A position along the normal distribution function: every function whose last bit may differ."""
    slow = state.slow + p.scale * 0.1 * (bar.momentum - state.slow)
    likely = norm_cdf(4.0 * slow)
    ready = bar.volatility > 0.0
    width = log(1.0 + exp(-bar.volatility)) + floor(10.0 * likely) * 0.1
    return Order(where(ready, (likely - 0.5) * minimum(width, p.limit), 0.0), ready), Curve(slow)


SCALE = Parameter("scale", 1.0, 0.25, 2.0)
LIMIT = Parameter("limit", 1.0, 0.25, 4.0)
BUDGET = _strategy(
    "budget",
    Budget,
    budget_step,
    Parameter("cap", 0.5, 0.2, 1.0),
    Parameter("memory", 0.5, 0.0, 1.0),
    Parameter("patience", 3.0, 0.0, 20.0, unit="bars"),
)
TANGLE = _strategy("tangle", Tangle, tangle_step, SCALE, LIMIT)
CURVE = _strategy("curve", Curve, curve_step, SCALE, LIMIT)


def _narrowed(strategy: Strategy, **longest: int) -> Strategy:
    """The strategy with shorter windows, so that short histories fill them, and all its parts in use: a kernel of it takes
    Numba a quarter of a minute."""
    return replace(
        strategy,
        parameters=tuple(
            replace(p, default=longest[p.name], low=longest[p.name] // 2, high=longest[p.name])
            if p.name in longest
            else replace(p, default=p.low if p.default is None else p.default, optional=False)
            for p in strategy.parameters
        ),
    )


PORTFOLIO = _narrowed(
    STRATEGIES["portfolio_hedge"],
    base_window=30,
    kelly_window=40,
    kelly_least=20,
    regime_window=20,
    regime_memory=50,
    confirm_bars=4,
    frame_window=4,
    correlation_window=30,
    beta_window=30,
    put_tenor=20,
)
CATALOGUE = [PORTFOLIO if name == PORTFOLIO.name else strategy for name, strategy in STRATEGIES.items()]
SHORTEST = {
    "option_hedge": 12,
    "portfolio_hedge": 110,
}  # bars that an option of a day needs, that all windows are full in
