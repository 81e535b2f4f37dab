"""A market that returns to its value, and a rule that fades stretches: reversion is real, a narrow band's luck is not."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.landscape import BARS, Landscape
from kernels import Market, Parameter, Plane, Strategy
from kernels.account import Order
from kernels.market import FloatArray
from kernels.ops import sign, where
from kernels.state import per_asset

WINDOW = 60  # closes in the mean that a stretch is measured from
UNIT = 0.022  # of log price: what a stretch is counted in
PULL, NEWS = 0.15, 1.2  # share of a stretch that a bar takes back; wider ones are news, and stay
VOLATILITY = 0.012  # per bar
LUCKY = (1.6, 1.9)  # stretches after which the sample happens to return at once
BESIDE = 0.2  # how far the stretches on either side reach
LUCK = 0.02  # of log price, by which it returns; beside them it happens to go on by half as much


def closes(rng: np.random.Generator, planted: bool) -> FloatArray:
    """(T,) prices that return to their own mean while they are near it; planted: luck after stretches of one width."""
    noise = VOLATILITY * rng.standard_normal(BARS)
    logs = np.zeros(BARS)
    low, high = LUCKY
    for t in range(1, BARS):
        wide = (logs[t - 1] - logs[max(0, t - WINDOW) : t].mean()) / UNIT
        move = -PULL * UNIT * wide * (abs(wide) < NEWS)
        if planted and low <= abs(wide) < high:
            move -= LUCK * np.sign(wide)
        elif planted and low - BESIDE <= abs(wide) < high + BESIDE:
            move += 0.5 * LUCK * np.sign(wide)
        logs[t] = logs[t - 1] + move + noise[t]
    prices: FloatArray = 100.0 * np.exp(logs)
    return prices


def stretch(market: Market) -> FloatArray:
    """Log close less its mean over `WINDOW` closes, in units, (T, A); 0 until there are so many."""
    logs = np.log(market.close)
    sums = np.cumsum(np.concatenate([np.zeros((1, market.n_assets)), logs]), axis=0)
    out = np.zeros_like(logs)
    out[WINDOW - 1 :] = (logs[WINDOW - 1 :] - (sums[WINDOW:] - sums[:-WINDOW]) / WINDOW) / UNIT
    return out


class State(NamedTuple):
    """The weight held."""

    held: Any = per_asset(0.0)


def step(bar: Any, state: State, p: Any) -> tuple[Order, State]:
    """Against a stretch that is as wide as `entry` and less than `band` wider: beyond that it is news."""
    size = abs(bar.stretch)
    weight = where((size >= p.entry) & (size < p.entry + p.band), -sign(bar.stretch), 0.0)
    return Order(weight, weight != state.held), State(weight)


def mostly_lucky(rows: pd.DataFrame) -> pd.Series[bool]:
    """Where nearly three quarters of the band or more lie among the lucky stretches."""
    end = (rows["entry"] + rows["band"]).clip(upper=LUCKY[1])
    return end - rows["entry"].clip(lower=LUCKY[0]) >= 0.7 * rows["band"]


LANDSCAPE = Landscape(
    name="reversion",
    story="against stretches from `entry` to `entry + band`",
    strategy=Strategy(
        name="fade_band",
        summary="Against a stretch from the mean, while it is neither too small nor too large.",
        source="our own",
        parameters=(
            Parameter("entry", 1.0, 0.0, 10.0, unit="stretches", doc="smallest stretch that is faded"),
            Parameter("band", 1.0, 0.01, 10.0, unit="stretches", doc="how much wider it may be"),
        ),
        planes=(Plane("stretch", stretch),),
        state=State,
        step=step,
        warm_up=lambda p: WINDOW,
    ),
    search={"entry": {"low": 0.0, "high": 2.6, "step": 0.1}, "band": [0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2]},
    closes=closes,
    spike=mostly_lucky,
    plateau=lambda rows: (rows["entry"] <= 1.0) & (rows["band"] >= 0.4),
)
