"""A trending market, and momentum that skips some bars: the trends are real, an echo at one lag is not."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from benchmarks.landscape import BARS, Landscape
from kernels import Market, Parameter, Plane, Strategy
from kernels.account import Order
from kernels.market import FloatArray
from kernels.state import per_asset

TREND_BARS = (80, 161)  # a trend's length, from and to before
DRIFT, VOLATILITY = 0.0021, 0.01  # per bar
ECHO_SKIP, ECHO = 11, 0.25  # planted: what the rule must skip to meet it, and the share of noise that comes back
REVERSED = 0.6  # of it, comes back with the other sign one bar sooner and later, so that longer moves see nothing


def closes(rng: np.random.Generator, planted: bool) -> FloatArray:
    """(T,) prices: drift up and down in turns, and normal noise; planted: noise that comes back at two lags."""
    lengths = rng.integers(*TREND_BARS, size=BARS // TREND_BARS[0] + 1)
    trend = np.repeat(np.where(np.arange(len(lengths)) % 2 == 0, DRIFT, -DRIFT), lengths)[:BARS]
    noise = rng.standard_normal(BARS)
    if planted:
        k = ECHO_SKIP + 1  # a signal of one bar is held over the next
        rest = np.sqrt(1.0 - 2.0 * (1.0 + REVERSED**2) * ECHO**2)  # which keeps the variance at 1
        for t in range(k + 2, BARS):
            before = noise[t - k - 2 : t - k + 2]  # lags k + 2, k + 1, k, k - 1
            echo = before[1] + before[2] - REVERSED * (before[0] + before[3])
            noise[t] = ECHO * echo + rest * noise[t]
    prices: FloatArray = 100.0 * np.exp(np.cumsum(trend + VOLATILITY * noise))
    return prices


def momentum(market: Market, skip: FloatArray, width: FloatArray) -> FloatArray:
    """Sign of the move over `width` bars that ended `skip` bars ago, bank (K, T, A); 0 until there are so many."""
    out = np.zeros((len(skip), *market.close.shape))
    for slot, (late, early) in enumerate(zip(skip.astype(int), (skip + width).astype(int), strict=True)):
        end = market.n_bars - late
        out[slot, early:] = np.sign(market.close[early - late : end] - market.close[: end - (early - late)])
    return out


class State(NamedTuple):
    """The weight held."""

    held: Any = per_asset(0.0)


def step(bar: Any, state: State, p: Any) -> tuple[Order, State]:
    """Long after a rise, short after a fall."""
    return Order(bar.momentum, bar.momentum != state.held), State(bar.momentum)


LANDSCAPE = Landscape(
    name="trends",
    story="momentum over `width` bars, the last `skip` left out",
    strategy=Strategy(
        name="skip_momentum",
        summary="Long after a rise over some bars, short after a fall, the last bars left out.",
        source="Jegadeesh and Titman (1993), Journal of Finance 48, 65-91",
        parameters=(
            Parameter("skip", 0, 0, 250, unit="bars", integer=True, doc="last bars that are left out"),
            Parameter("width", 20, 1, 250, unit="bars", integer=True, doc="bars of the move"),
        ),
        planes=(Plane("momentum", momentum, keys=("skip", "width")),),
        state=State,
        step=step,
        warm_up=lambda p: int(p["skip"] + p["width"]),
    ),
    search={"skip": {"low": 0, "high": 19}, "width": [1, 2, 3, 5, 8, 12, 18, 25, 32, 40]},
    closes=closes,
    spike=lambda rows: rows["skip"].between(ECHO_SKIP - 1, ECHO_SKIP + 1) & (rows["width"] <= 3),
    plateau=lambda rows: rows["width"] >= 8,
)
