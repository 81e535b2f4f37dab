"""A figure as data: what is shown, in which units, with which finding as its title; drawn elsewhere, twice.

Every number that a reader sees in the HTML or the PNG stands in one of these classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tracking.palette import SIGNED, scale

FloatArray = NDArray[np.float64]
Array = NDArray[Any]
MOST_SEAMED = 26  # cells beside each other that have seams


@dataclass(frozen=True, slots=True)
class Quantity:
    """A column that is shown: a metric or a parameter. `good` is +1 where more is better, -1 where less is.

    `decimals` are those of a number whose digits after the point matter, as a correlation's; others have significant digits.
    """

    name: str
    unit: str = ""
    good: int = 0
    decimals: int | None = None

    @property
    def percent(self) -> bool:
        """Whether it is a fraction, shown in per cent."""
        return self.unit.startswith("fraction")

    @property
    def label(self) -> str:
        """The name with its unit, for an axis.

        >>> Quantity("cagr", "fraction/year").label, Quantity("lookback", "bars").label, Quantity("score").label
        ('cagr (% / year)', 'lookback (bars)', 'score')
        """
        unit = self.unit.replace("fraction", "%").replace("/", " / ")
        return f"{self.name} ({unit})" if unit and unit not in ("%", "ratio", "count") else self.name

    def text(self, value: float) -> str:
        """A value as it is read: three significant digits, or per cent, or so many decimals.

        >>> Quantity("cagr", "fraction/year").text(0.4874), Quantity("score").text(0.7)
        ('48.7%', '0.700')
        >>> Quantity("cost", "fraction/year").text(0.00041)
        '0.041%'
        >>> Quantity("correlation", decimals=2).text(-0.001)
        '0.00'
        """
        if not math.isfinite(value):
            return "none"
        if self.decimals is not None:
            return f"{round(value, self.decimals) + 0.0:.{self.decimals}f}"  # and never -0.00
        if self.percent:
            if abs(value) < 1e-6:
                return "0.0%"  # and never -0.0%
            if abs(value) < 0.00995:
                return f"{100 * value:#.2g}%"
            return f"{100 * value:.1f}%" if abs(value) < 10 else f"{100 * value:,.0f}%"
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


@dataclass(frozen=True, slots=True)
class Axis:
    """A chart's axis. `growth` is of multiples (2x); categories sit at 0, 1, 2, ...

    `limits` are its ends where the marks should not decide; a logarithmic axis (`log`) has them always.
    """

    label: str
    style: Literal["number", "percent", "growth", "date", "category"] = "number"
    categories: tuple[str, ...] = ()
    log: bool = False
    limits: tuple[float, float] | None = None

    def text(self, value: float) -> str:
        """A tick's label.

        >>> Axis("error", "percent").text(0.025), Axis("wealth", "growth").text(2.0)
        ('2.5%', '2x')
        """
        if self.style == "percent":
            return f"{100 * value:.4g}%"
        return f"{value:,.6g}" + ("x" if self.style == "growth" else "")


@dataclass(frozen=True, slots=True)
class Line:
    """A curve through (N,) points; `stepped` holds each value until the next; `dots` shows the points too."""

    name: str
    x: Array
    y: FloatArray
    colour: str
    width: float = 1.8
    stepped: bool = False
    dots: bool = False
    dashed: bool = False
    listed: bool = True


@dataclass(frozen=True, slots=True)
class Band:
    """The area between two (N,) curves."""

    name: str
    x: Array
    low: FloatArray
    high: FloatArray
    colour: str
    listed: bool = True


@dataclass(frozen=True, slots=True)
class Points:
    """(N,) single points, `size` pixels wide; `words` say what each of them is when it is pointed at."""

    name: str
    x: Array
    y: FloatArray
    colour: str
    size: float = 7
    symbol: Literal["circle", "star", "diamond", "square"] = "circle"
    opacity: float = 1.0
    words: tuple[str, ...] = ()
    listed: bool = True


@dataclass(frozen=True, slots=True)
class Bars:
    """(N,) bars from `low` to `high` at the places `at` of the chart's category axis, along its other axis."""

    name: str
    at: FloatArray
    low: FloatArray
    high: FloatArray
    colour: str
    listed: bool = True


@dataclass(frozen=True, slots=True)
class Labels:
    """(N,) words, each to the right of its point."""

    x: Array
    y: FloatArray
    words: tuple[str, ...]
    colour: str


@dataclass(frozen=True, slots=True)
class Level:
    """A value of one axis as a line across the whole panel, with `words` at its end."""

    axis: Literal["x", "y"]
    value: float
    words: str
    colour: str


@dataclass(frozen=True, slots=True)
class Span:
    """A range of one axis, numbers or dates, shaded across the whole panel."""

    name: str
    axis: Literal["x", "y"]
    low: Any
    high: Any
    colour: str
    listed: bool = True


@dataclass(frozen=True, slots=True)
class Stretches:
    """(N,) ranges of the x axis, numbers or dates, of one kind: shaded from `bottom` to `top`, shares of the panel's height.

    The legend names the kind even where it has none.
    """

    name: str
    low: Array
    high: Array
    colour: str
    opacity: float = 0.16
    bottom: float = 0.0
    top: float = 1.0
    listed: bool = True


Mark = Line | Band | Points | Bars | Labels | Level | Span | Stretches


def is_listed(mark: Mark) -> bool:
    """Whether the legend names the mark."""
    return not isinstance(mark, Labels | Level) and mark.listed


@dataclass(frozen=True, slots=True)
class Chart:
    """Marks over two axes, drawn in their order; `height` is relative to the figure's other panels.

    A chart that stands `alone` takes a whole row of the figure.
    """

    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    title: str = ""
    height: float = 1.0
    alone: bool = False

    @property
    def lying(self) -> bool:
        """Whether bars lie on their side: the categories stand on the vertical axis."""
        return self.y.style == "category"


@dataclass(frozen=True, slots=True)
class Heatmap:
    """A grid of values (rows, columns) over two labelled axes, NaN where nothing was tried.

    `low` and `high` end the colour scale, so that panels side by side share it; `mark` is the best cell. Of `signed` values
    the scale turns in its middle, which is 0.
    """

    x: Axis
    y: Axis
    grid: FloatArray
    quantity: Quantity
    low: float
    high: float
    mark: tuple[int, int] | None
    title: str = ""
    signed: bool = False

    @property
    def colours(self) -> tuple[str, ...]:
        """The colour scale from `low` to `high`."""
        return SIGNED if self.signed else scale(self.quantity.good)

    @property
    def crowded(self) -> bool:
        """Whether the cells are too small for seams between them."""
        return max(len(self.x.categories), len(self.y.categories)) > MOST_SEAMED

    @property
    def readable(self) -> bool:
        """Whether the cells are large enough to print their values."""
        rows, columns = self.grid.shape
        return bool(rows <= 18 and columns <= 12)

    def depth(self, value: float) -> float:
        """How deep a value's colour is: 0 worst (or lowest, or no sign), 1 best."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        if self.signed:
            return abs(2.0 * share - 1.0)
        return 1.0 - share if self.quantity.good < 0 else share


Panel = Chart | Heatmap


def takes_a_row(panel: Panel) -> bool:
    """Whether nothing stands beside the panel."""
    return isinstance(panel, Chart) and panel.alone


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels in `columns` columns, row by row, under a title that says what was found and a note that says how.

    `share` names the axis that every panel has in common.
    """

    name: str
    title: str
    panels: tuple[Panel, ...]
    note: str = ""
    columns: int = 1
    share: Literal["nothing", "x", "y"] = "nothing"

    @property
    def grid(self) -> list[tuple[Panel, ...]]:
        """The panels, row by row."""
        rows: list[tuple[Panel, ...]] = []
        for panel in self.panels:
            if not rows or len(rows[-1]) == self.columns or takes_a_row(panel) or takes_a_row(rows[-1][0]):
                rows.append((panel,))
            else:
                rows[-1] += (panel,)
        return rows

    @property
    def rows(self) -> int:
        """How many rows the panels take."""
        return len(self.grid)
