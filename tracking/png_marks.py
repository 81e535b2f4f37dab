"""What matplotlib is told of each mark of a chart."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from tracking.panels import Band, Bars, Chart, Labels, Level, Line, Points, Span, Stretches, is_listed

SYMBOLS = {"circle": "o", "star": "*", "diamond": "D", "square": "s"}
SEE_THROUGH = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}


def draw_marks(axes: Axes, panel: Chart) -> None:
    """All marks of a chart, in their order."""
    for mark in panel.marks:
        label = mark.name if not isinstance(mark, Labels | Level) and is_listed(mark) else None
        match mark:
            case Line():
                _line(axes, mark, label)
            case Band():
                axes.fill_between(mark.x, mark.low, mark.high, color=mark.colour, alpha=0.16, linewidth=0, label=label)
            case Points():
                _points(axes, mark, label)
            case Bars():
                look: dict[str, Any] = {"color": mark.colour, "label": label, "zorder": 3}
                if panel.lying:
                    axes.barh(mark.at, mark.high - mark.low, height=0.62, left=mark.low, **look)
                else:
                    axes.bar(mark.at, mark.high - mark.low, width=0.62, bottom=mark.low, **look)
            case Labels():
                for x, y, words in zip(mark.x, mark.y, mark.words, strict=True):
                    _words(axes, words, (x, y), (6, 0), colour=mark.colour, ha="left", va="center")
            case Level():
                _level(axes, mark)
            case Span():
                shade = axes.axhspan if mark.axis == "y" else axes.axvspan
                shade(mark.low, mark.high, color=mark.colour, alpha=0.16, linewidth=0, label=label, zorder=0.5)
            case Stretches():
                _stretches(axes, mark, label)


def _line(axes: Axes, mark: Line, label: str | None) -> None:
    axes.plot(
        mark.x,
        mark.y,
        color=mark.colour,
        linewidth=mark.width,
        linestyle="--" if mark.dashed else "-",
        label=label,
        drawstyle="steps-post" if mark.stepped else "default",
        marker="o" if mark.dots else "",
        markersize=4,
        zorder=2 + mark.width,
    )


def _points(axes: Axes, mark: Points, label: str | None) -> None:
    named = mark.size > 7
    axes.scatter(
        mark.x,
        mark.y,
        # A pixel of a page is 0.7 points of a sheet; stars look smaller than discs of their width.
        s=(0.7 * mark.size * (1.4 if mark.symbol == "star" else 1.0)) ** 2,
        marker=SYMBOLS[mark.symbol],
        color=to_rgba(mark.colour, mark.opacity),
        linewidths=0.9 if named else 0,
        edgecolors="white" if named else "none",
        label=label,
        zorder=8 if named else 3,
    )


def _stretches(axes: Axes, mark: Stretches, label: str | None) -> None:
    axes.xaxis.update_units(mark.low)  # type: ignore[no-untyped-call]  # dates, where it is the first mark
    low, high = (np.asarray(axes.convert_xunits(ends)) for ends in (mark.low, mark.high))  # type: ignore[no-untyped-call]
    axes.broken_barh(
        list(zip(low, high - low, strict=True)),
        (mark.bottom, mark.top - mark.bottom),
        transform=axes.get_xaxis_transform(),
        facecolor=to_rgba(mark.colour, mark.opacity),
        linewidth=0,
        antialiased=False,  # no seam where one kind follows another
        label=label,
        zorder=0.6,  # the grid lies below
    )


def _level(axes: Axes, mark: Level) -> None:
    line: dict[str, Any] = {"color": mark.colour, "linewidth": 1.3, "linestyle": ":", "zorder": 2.5}
    if mark.axis == "y":
        axes.axhline(mark.value, **line)
        place, shift, ha, va = (1.0, mark.value), (0, 3), "right", "bottom"
    else:
        axes.axvline(mark.value, **line)
        place, shift, ha, va = (mark.value, 1.0), (4, -3), "left", "top"
    at = axes.get_yaxis_transform() if mark.axis == "y" else axes.get_xaxis_transform()
    if mark.words:
        _words(axes, mark.words, place, shift, colour=mark.colour, ha=ha, va=va, at=at)


def _words(
    axes: Axes,
    words: str,
    place: tuple[Any, Any],
    shift: tuple[float, float],
    *,
    colour: str,
    ha: str,
    va: str,
    at: Any = "data",
) -> None:
    text = axes.annotate(
        words,
        place,
        xytext=shift,
        xycoords=at,
        textcoords="offset points",
        color=colour,
        fontsize=9.5,
        ha=ha,
        va=va,
        bbox=SEE_THROUGH,
        zorder=9,
        annotation_clip=False,
    )
    text.set_in_layout(False)  # it lies within its panel
