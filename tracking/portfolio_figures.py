"""Figures of a hedged portfolio: how its assets move together, what market a bar is in, and when its hedge was on.

Each function takes plain arrays, one value per bar, and gives a `Figure`. A bar's state holds until the next bar begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tracking.axes import around, growth_axis, outline
from tracking.palette import BEST, FAINT, INK, LOSS, OTHERS, PALE, TARGET
from tracking.panels import (
    Array,
    Axis,
    Band,
    Chart,
    Figure,
    FloatArray,
    Heatmap,
    Level,
    Line,
    Mark,
    Quantity,
    Stretches,
)

DEEP = 0.10  # below the high: a drawdown that a hedge is bought for
CORRELATION = Quantity("correlation", decimals=2)
LOW_NORMAL_HIGH = {"low": (OTHERS[4], 0.3), "normal": (PALE, 0.18), "high": (OTHERS[3], 0.35)}
LINES = ((BEST, 2.0), (INK, 1.0), (LOSS, 1.4))  # the one that is judged, the other kind, the second market
REGIMES = {  # colour, opacity and a short name of each label; others are grey
    "bull_trending": (TARGET, 0.4, "bull"),
    "bear_trending": (LOSS, 0.45, "bear"),
    "high_volatility": (OTHERS[2], 0.5, "high vol."),
    "low_volatility": (OTHERS[4], 0.4, "low vol."),
    "ranging": (PALE, 0.35, "ranging"),
}

Flags = NDArray[np.bool_]


def correlation_over_time(
    timestamps: Array,
    means: Mapping[str, FloatArray],
    regime: FloatArray,
    tickers: Sequence[str],
    matrix_at: Callable[[int], FloatArray],
    *,
    memory: int,
    beside: Mapping[str, FloatArray] | None = None,
) -> Figure:
    """Mean pairwise correlation over time, above the whole matrix at the calmest, the middle, the closest and the last bar.

    `means` (T,) each, NaN until known, the one that is judged first; `regime` (T,) 0 low, 1 normal, 2 high, by where that
    one stands among its last `memory` values; `matrix_at(bar)` (A, A); `beside` (T,) the mean correlation with a second
    market, by the words for it.
    """
    name = "correlation_over_time"
    judged = next(iter(means.values()))
    known = np.isfinite(judged)
    if not known.any():
        return Figure(name, "Correlation: no bar has a window of returns", ())
    lines = {**means, **(beside or {})}
    shown = outline(np.column_stack(list(lines.values())))
    marks: list[Mark] = []
    for number, (word, look) in enumerate(LOW_NORMAL_HIGH.items()):
        own = known & (regime == number)
        marks.append(_shaded(f"{word}: {_share(own, known)} of bars", timestamps, own, *look))
    for (word, values), (colour, width) in zip(lines.items(), LINES, strict=False):
        marks.append(Line(word, timestamps[shown], values[shown], colour, width))
    panels: list[Chart | Heatmap] = [
        Chart(Axis("", "date"), Axis("mean correlation"), tuple(marks), height=0.85, alone=True)
    ]
    note = f"{len(tickers)} asset{'' if len(tickers) == 1 else 's'}, {known.sum():,} bars with a whole window of log returns."
    note += f" Low, normal, high: in which third of its last {memory} values the thick line stands; normal until known."
    if len(tickers) == 1:
        return Figure(name, "One asset moves with itself alone: its correlation is 1", tuple(panels), note)
    assets = tuple(tickers)
    for words, bar in telling_bars(judged).items():
        title = f"{words}, {_day(timestamps, bar)}: mean {CORRELATION.text(judged[bar])}"
        # From the top left to the bottom right, as a table is read.
        across, down = Axis("", "category", assets), Axis("", "category", assets[::-1])
        panels.append(Heatmap(across, down, matrix_at(bar)[::-1], CORRELATION, -1.0, 1.0, None, title, signed=True))
    least, most = (_day(timestamps, bar) for bar in (int(np.nanargmin(judged)), int(np.nanargmax(judged))))
    low, high, end = (CORRELATION.text(value) for value in (np.nanmin(judged), np.nanmax(judged), judged[known][-1]))
    title = f"Assets moved together least on {least} (mean correlation {low}) and most on {most} "
    title += f"({high}); at the end it is {end}"
    return Figure(name, title, tuple(panels), note, columns=2)


def telling_bars(mean: FloatArray) -> dict[str, int]:
    """Bars at which a mean correlation (T,) is least, nearest its median, largest, and last known; none of them twice.

    >>> telling_bars(np.array([np.nan, 0.5, 0.1, 0.9]))
    {'least': 2, 'middle': 1, 'most': 3}
    """
    known = np.flatnonzero(np.isfinite(mean))
    values = mean[known]
    found = {
        "least": known[values.argmin()],
        "middle": known[np.abs(values - np.median(values)).argmin()],
        "most": known[values.argmax()],
        "last": known[-1],
    }
    return {words: int(bar) for n, (words, bar) in enumerate(found.items()) if bar not in list(found.values())[:n]}


def regimes_over_price(
    timestamps: Array, price: FloatArray, labels: NDArray[np.int64], names: Sequence[str], *, unknown: int = 0
) -> Figure:
    """An index (T,) with the market's label of each bar (T,), its position in `names`, behind it and in lanes below it.

    The first `unknown` bars could have no label of their own yet.
    """
    name = "regimes_over_price"
    if len(price) < 2:
        return Figure(name, "Regimes: two bars are needed, there are not so many", ())
    growth = price / price[0]
    shown = outline(growth[:, None])
    moves = np.diff(np.log(growth))
    behind: list[Mark] = []
    lanes: list[Mark] = []
    after: dict[str, float] = {}
    for number, label in enumerate(names):
        colour, opacity, _ = REGIMES.get(label, (PALE, 0.3, label))
        own = labels == number
        behind.append(_shaded(f"{label}: {_share(own)} of bars", timestamps, own, colour, opacity))
        top = 1.0 - number / len(names)
        place = {"bottom": top - 0.88 / len(names), "top": top - 0.12 / len(names)}
        lanes.append(_shaded("", timestamps, own, colour, 0.9, **place, listed=False))
        if own[:-1].any():
            after[label] = float(moves[own[:-1]].mean())
    behind.append(Line("equal-weight index", timestamps[shown], growth[shown], INK, 1.5))
    # A line that nobody sees gives the lanes their dates.
    lanes.append(Line("", timestamps[[0, -1]], np.full(2, -1.0), PALE, 1.0, listed=False))
    short = tuple(REGIMES[label][2] if label in REGIMES else label for label in names)[::-1]
    rows = Axis("", "category", short, limits=(-0.5, len(names) - 0.5))
    time = Axis("", "date")
    panels = (Chart(time, growth_axis(growth), tuple(behind), height=2.2), Chart(time, rows, tuple(lanes)))
    often = int(np.bincount(labels, minlength=len(names)).argmax())
    title = f"The market was {names[often]} in {_share(labels == often)} of the bars"
    best, worst = max(after, key=lambda label: after[label]), min(after, key=lambda label: after[label])
    if best != worst:
        title += f"; the next bar gained most after {best} ({after[best]:+.2%} on average)"
        title += f", least after {worst} ({after[worst]:+.2%})"
    note = f"{len(price):,} bars; a label is of what was known at its bar's close."
    note += f" The first {unknown:,} could have none of their own and are {names[int(labels[0])]}." if unknown else ""
    return Figure(name, title, panels, note, share="x")


def hedge_over_drawdown(
    timestamps: Array,
    drawdown: FloatArray,
    armed: Flags,
    exposure: FloatArray,
    *,
    name: str,
    trigger: float | None = None,
    unhedged: FloatArray | None = None,
) -> Figure:
    """When the hedge of a book was on, over its drawdown (T,) beside that of the same book without it, and its exposure.

    Drawdowns are not positive; `exposure` is what the hedge looks at, `trigger` where it arms.
    """
    kind = "hedge_over_drawdown"
    if not len(drawdown):
        return Figure(kind, "The hedge: no bar to show", ())
    curves = [drawdown, exposure, *([] if unhedged is None else [unhedged])]
    shown = outline(np.column_stack(curves))
    days = timestamps[shown]
    whole = np.ones(len(armed), dtype=np.bool_)
    upper: list[Mark] = [_shaded(f"the hedge is on: {_share(armed)} of bars", timestamps, armed, OTHERS[3], 0.4)]
    fall = drawdown[shown]
    label = f"{name}: worst drawdown {_percent(-drawdown.min())}"
    upper += [
        Band(label, days, fall, np.zeros_like(fall), BEST, listed=False),
        Line(label, days, fall, BEST, 1.7),
    ]
    if unhedged is not None:
        label = f"the same without the hedge: {_percent(-unhedged.min())}"
        upper.append(Line(label, days, unhedged[shown], LOSS, 1.3))
    lower: list[Mark] = [_shaded("", timestamps, armed, OTHERS[3], 0.4, listed=False)]
    lower.append(Line("exposure", days, exposure[shown], INK, 1.2, listed=False))
    ends = [0.0, float(np.nanmax(exposure, initial=0.0))]
    if trigger is not None:
        lower.append(Level("y", trigger, f"arms above {trigger:.3g}", FAINT))
        ends.append(trigger)
    time = Axis("", "date")
    high = Axis("exposure", limits=(0.0, around(0.0, max(ends), room=0.12)[1]))
    panels = (
        Chart(time, Axis("drawdown", "percent"), tuple(upper), height=1.6),
        Chart(time, high, tuple(lower)),
    )
    deep = (drawdown if unhedged is None else unhedged) < -DEEP
    below = f"more than {DEEP:.0%} below the {'' if unhedged is None else 'unhedged '}high"
    title = f"The hedge was on {_share(armed, whole)} of the time" if armed.any() else "The hedge was never on"
    if armed.any():
        title += f" and in {_share(armed & deep, deep)} of the bars {below}" if deep.any() else f"; no bar was {below}"
    if unhedged is not None:
        title += f"; worst drawdown {_percent(-drawdown.min())}, without it {_percent(-unhedged.min())}"
    note = f"{len(drawdown):,} bars. On at a bar: its order is the hedged one."
    note += " Above the trigger the hedge may be off still: its other conditions must hold too." if trigger else ""
    return Figure(kind, title, panels, note, share="x")


def runs(timestamps: Array, on: Flags) -> tuple[Array, Array]:
    """Where stretches of (T,) bars that are on begin, and where the first bar after each begins.

    >>> runs(np.arange(5.0), np.array([True, True, False, False, True]))
    (array([0., 4.]), array([2., 5.]))
    """
    edges = np.diff(on.astype(np.int8), prepend=0, append=0)
    step = timestamps[-1:] - timestamps[-2:-1] if len(timestamps) > 1 else np.zeros_like(timestamps - timestamps)
    begins = np.concatenate([timestamps, timestamps[-1:] + step])
    return begins[:-1][edges[:-1] == 1], begins[np.flatnonzero(edges == -1)]


def _shaded(
    name: str,
    timestamps: Array,
    on: Flags,
    colour: str,
    opacity: float,
    *,
    bottom: float = 0.0,
    top: float = 1.0,
    listed: bool = True,
) -> Stretches:
    low, high = runs(timestamps, on)
    return Stretches(name, low, high, colour, opacity, bottom, top, listed)


def _share(on: Flags, of: Flags | None = None) -> str:
    """The share of bars that are on, in words where a rounded number would say none or all and it is not so.

    >>> _share(np.arange(1000) < 3), _share(np.arange(4) < 1), _share(np.zeros(4, bool))
    ('less than 1%', '25%', '0%')
    """
    count, whole = int(on.sum()), len(on) if of is None else int(of.sum())
    told = f"{count / max(whole, 1):.0%}"
    if told == "0%" and count:
        return "less than 1%"
    return "more than 99%" if told == "100%" and count < whole else told


def _percent(share: float) -> str:
    return Quantity("", "fraction").text(float(share))


def _day(timestamps: Array, bar: int) -> str:
    return str(timestamps[bar].astype("datetime64[D]"))
