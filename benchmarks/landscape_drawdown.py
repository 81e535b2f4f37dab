"""A market of long rises and long falls, and a hedge of drawdowns: the falls are real, a rebound's date is not."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from benchmarks.landscape import BARS, Landscape
from kernels import Market, Parameter, Plane, Strategy
from kernels.account import Order
from kernels.market import FloatArray
from kernels.ops import maximum, where
from kernels.state import per_asset

VOLATILITY = 0.005  # per bar
RISE, FALL = 0.003, -0.01  # per bar
RISE_BARS, FALL_BARS = (200, 300), (30, 45)  # how long they last, from and to before
DIP, DIP_EVERY = -0.045, 30  # a fall within one bar that leads to nothing, and bars of a rise between two
REBOUND_BARS, FURTHER = 4, 0.055  # planted: so many bars after a dip a fall of so much, and back the next bar


def closes(rng: np.random.Generator, planted: bool) -> FloatArray:
    """(T,) prices: rises with dips, falls of a third; planted: each dip falls and rebounds on the same days after it."""
    drift, dips = np.empty(0), []
    while len(drift) < BARS:
        rise, fall = int(rng.integers(*RISE_BARS)), int(rng.integers(*FALL_BARS))
        dips += list(len(drift) + np.arange(DIP_EVERY, rise - DIP_EVERY, DIP_EVERY))
        drift = np.concatenate([drift, np.full(rise, RISE), np.full(fall, FALL)])
    moves = drift[:BARS] + VOLATILITY * rng.standard_normal(BARS)
    for dip in (d for d in dips if d + REBOUND_BARS + 1 < BARS):
        moves[dip] += DIP
        if planted:
            moves[dip + REBOUND_BARS] -= FURTHER
            moves[dip + REBOUND_BARS + 1] += FURTHER
    prices: FloatArray = 100.0 * np.exp(np.cumsum(moves))
    return prices


def drawdown(market: Market) -> FloatArray:
    """1 - close / highest of the last 60 closes, (T, A)."""
    close = market.close
    peaks = np.array([close[max(0, t - 59) : t + 1].max(axis=0) for t in range(len(close))])
    return np.asarray(1.0 - close / peaks)


class State(NamedTuple):
    """The weight held, bars that the hedge still lasts, and whether the drawdown under way was hedged already."""

    held: Any = per_asset(0.0)
    left: Any = per_asset(0.0)
    hedged: Any = per_asset(0.0)


def step(bar: Any, state: State, p: Any) -> tuple[Order, State]:
    """Long; short for `hold` bars from the first close of a drawdown that is as deep as `depth`."""
    deep = bar.drawdown >= p.depth
    starts = deep & (state.hedged == 0.0)
    left = where(starts, p.hold, maximum(state.left - 1.0, 0.0))
    weight = where(left > 0.0, -1.0, 1.0)
    hedged = where(deep, 1.0, where(bar.drawdown < 0.5 * p.depth, 0.0, state.hedged))
    return Order(weight, weight != state.held), State(weight, left, hedged)


LANDSCAPE = Landscape(
    name="drawdowns",
    story="short for `hold` bars once a drawdown is as deep as `depth`",
    strategy=Strategy(
        name="timed_hedge",
        summary="Long; short for some bars once a drawdown is deep enough, once per drawdown.",
        source="our own",
        parameters=(
            Parameter("depth", 0.1, 0.001, 0.9, doc="drawdown that is hedged"),
            Parameter("hold", 20, 1, 250, unit="bars", integer=True, doc="bars that a hedge lasts"),
        ),
        planes=(Plane("drawdown", drawdown),),
        state=State,
        step=step,
        warm_up=lambda p: 2,
    ),
    search={"depth": [0.02, 0.03, 0.04, 0.08, 0.1, 0.12, 0.14, 0.16], "hold": {"low": 2, "high": 30, "log": True}},
    closes=closes,
    spike=lambda rows: (rows["depth"] <= 0.04) & (rows["hold"] == REBOUND_BARS),
    plateau=lambda rows: (rows["depth"] >= 0.1) & (rows["hold"] >= 10),
)
