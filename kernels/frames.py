"""Candles of several sizes made from a market's bars, and how far their votes on its direction agree.

A frame is `bar`, `4x` (every four bars, from the first on), `1d` (a UTC day) or `1w` (a week from Monday). Only COMPLETED
candles count: the value at bar t is of the last candle that has closed by the close of bar t. A day or week closes with the
bar that reaches its end or, where no bar does (Friday's, of a week that ends on Sunday), with the first bar of the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.errors import InputError
from kernels.market import FloatArray, Market
from kernels.windows import trailing

FRAMES = ("bar", "4x", "1d", "1w")
DAY, WEEK = np.timedelta64(1, "D"), np.timedelta64(7, "D")
FULL_VOTE = 2.0  # standard deviations of a random walk that make a vote of 1
IntArray = NDArray[np.int64]


class Candles(NamedTuple):
    """The candles of a frame, (G, A), and for each bar the last one that is complete, (T,); -1 where none is."""

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray | None
    last: IntArray


def frames_of(step: np.timedelta64) -> tuple[str, ...]:
    """The frames that bars of this size allow, from the finest: those that are longer than a bar, of one length only one.

    >>> frames_of(np.timedelta64(1, "h")), frames_of(np.timedelta64(1, "D")), frames_of(np.timedelta64(7, "D"))
    (('bar', '4x', '1d', '1w'), ('bar', '4x', '1w'), ('bar', '4x'))
    """
    length = _lengths(step)
    calendar = [frame for frame in ("1d", "1w") if length[frame] > step]
    fours = [] if length["4x"] in [length[frame] for frame in calendar] else ["4x"]  # 6 hours: the day has its name
    return tuple(sorted(("bar", *fours, *calendar), key=lambda frame: length[frame]))


def frame_problems(market: Market, frames: Sequence[str], windows: Sequence[float] | FloatArray = ()) -> list[str]:
    """The sentences that refuse frames which a market's bars do not allow, and windows that its candles do not fill."""
    step = market.calendar.step
    allowed = frames_of(step)
    can = f"bars of {_spoken(step)} allow {', '.join(allowed)}"
    problems = [] if frames else [f"frames: at least one is needed, got none; {can}"]
    for frame in dict.fromkeys(frames):
        if frame not in FRAMES:
            problems.append(f"frames: unknown frame {frame!r}; {can}")
        elif frame not in allowed:
            why = "finer than the bar" if _lengths(step)[frame] < step else "as long as another frame"
            problems.append(f"frames: {frame!r} is {why}; {can}")
        else:
            if list(frames).count(frame) > 1:
                problems.append(f"frames: {frame!r} is there twice; keep one")
            there = int(candles(market, frame).last[-1]) + 1
            problems += [
                f"frames: a vote of {frame!r} needs frame_window + 1 = {window + 1:g} completed candles, {market.n_bars} bars "
                f"make {there}; take a shorter window, leave {frame!r} out, or give more bars"
                for window in sorted(set(windows))
                if window + 1 > there
            ]
    return problems


def candles(market: Market, frame: str) -> Candles:
    """The candles of one frame. A market of closes only has its close as open, high and low.

    A first candle that had begun before the data has what the data has of it.
    """
    T = market.n_bars
    starts, closed = _edges(market, frame)
    first = np.flatnonzero(starts)
    group = np.cumsum(starts) - 1
    ends = np.append(first[1:], T) - 1
    close = market.close
    return Candles(
        open=(close if market.open is None else market.open)[first],
        high=np.maximum.reduceat(close if market.high is None else market.high, first),
        low=np.minimum.reduceat(close if market.low is None else market.low, first),
        close=close[ends],
        volume=None if market.volume is None else np.add.reduceat(market.volume, first),
        last=np.where(closed, group, group - 1),
    )


def votes(market: Market, frame: str, window: int) -> FloatArray:
    """The frame's vote on each asset at each bar, (T, A): -1 down to 1 up, 0 until window + 1 candles are complete.

    The mean of two or three votes on the log returns r of the last `window` candles, x/2 held between -1 and 1 of

        trend      ln(close) less its mean over the window, a sum of r_i with weights that fall with age
        momentum   the sum of the newest half of r
        volume     the sum of V_i sign(r_i), where the market has volume

    each over its standard deviation on a random walk of the same returns, sqrt(sum weight^2) sqrt(mean r^2) (sign(r) for the
    volume's). The mirrored history, 1 / price, has the negative of every vote.
    """
    if window < 2:
        raise InputError(f"frame_window: frame_window >= 2 candles must hold, got {window:g}")
    if problems := frame_problems(market, [frame], [window]):
        raise InputError(problems)
    made = candles(market, frame)
    returns = np.log(made.close[1:] / made.close[:-1])  # of candle g + 1
    age = np.arange(window - 1.0, -1.0, -1.0)
    falling = (window - 1.0 - age) / window  # the oldest return is the step into the window: it has no weight
    recent = (age < window // 2).astype(np.float64)
    vote = np.zeros((len(returns) + 1, market.n_assets))
    traded = iter(()) if made.volume is None else trailing(made.volume[1:], window)
    for bars, r in trailing(returns, window):
        parts = [_standing(r, falling), _standing(r, recent)]
        if made.volume is not None:
            _, V = next(traded)
            parts.append(_standing(np.sign(r), V))
        vote[bars.start + 1 : bars.stop + 1] = sum(parts) / len(parts)
    return np.where(made.last[:, None] >= 0, vote[made.last], 0.0)


def alignment(market: Market, windows: FloatArray, frames: Sequence[str] | None = None) -> FloatArray:
    """How far the frames agree, bank (K, T, A) for `windows[k]` candles: -1 all down to 1 all up.

    The weighted mean of their votes, the finest with weight 1, the next 2, and so on. A frame without enough candles yet
    votes 0: there is no full agreement before all can speak. Default: every frame that the bars allow.
    """
    chosen = frames_of(market.calendar.step) if frames is None else tuple(frames)
    if problems := frame_problems(market, chosen, windows):
        raise InputError(problems)
    length = _lengths(market.calendar.step)
    chosen = tuple(sorted(chosen, key=lambda frame: length[frame]))
    weights = range(1, len(chosen) + 1)
    out = np.zeros((len(windows), market.n_bars, market.n_assets))
    for k, window in enumerate(windows):
        for weight, frame in zip(weights, chosen, strict=True):
            out[k] += weight / sum(weights) * votes(market, frame, int(window))
    return out


def _standing(x: FloatArray, weight: FloatArray) -> FloatArray:
    """(bars, A): the weighted sum of x (bars, A, window) in standard deviations, over FULL_VOTE, between -1 and 1."""
    total = (x * weight).sum(axis=2)
    spread = np.sqrt((weight * weight).sum(axis=-1) * (x * x).mean(axis=2))
    return np.asarray(np.clip(total / np.where(spread > 0.0, spread, 1.0) / FULL_VOTE, -1.0, 1.0))


def _edges(market: Market, frame: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which bars begin a candle, and at the close of which one is complete. Bar t needs no bar after it for either."""
    T = market.n_bars
    if frame == "bar":
        return np.ones(T, dtype=np.bool_), np.ones(T, dtype=np.bool_)
    if frame == "4x":
        return np.arange(T) % 4 == 0, np.arange(T) % 4 == 3
    days = market.timestamps.astype("datetime64[D]")
    monday = days - ((days.astype(np.int64) + 3) % 7).astype("timedelta64[D]")  # day 0, 1970-01-01, was a Thursday
    begin, length = (days, DAY) if frame == "1d" else (monday, WEEK)
    closed = market.timestamps + market.calendar.step >= (begin + length).astype("datetime64[us]")
    # What comes of the same day after it was closed (a stray bar) begins another candle: a closed one never changes.
    starts = np.concatenate([[True], (begin[1:] != begin[:-1]) | closed[:-1]])
    return starts, closed


def _lengths(step: np.timedelta64) -> dict[str, np.timedelta64]:
    return {"bar": step, "4x": 4 * step, "1d": DAY, "1w": WEEK}


def _spoken(step: np.timedelta64) -> str:
    """A bar's size in words.

    >>> _spoken(np.timedelta64(14_400_000_000, "us")), _spoken(np.timedelta64(1, "D"))
    ('4 hours', '1 day')
    """
    minutes = step / np.timedelta64(1, "m")
    size, unit = next(((s, u) for s, u in ((1440, "day"), (60, "hour")) if minutes >= s), (1, "minute"))
    return f"{minutes / size:g} {unit}{'' if minutes == size else 's'}"
