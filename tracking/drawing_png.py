"""Draws a figure as a PNG with matplotlib, through its object API: no window system, no global state, no browser."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure as Sheet
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from tracking.axes import labelled, log_ticks
from tracking.palette import FAINT, GRID, INK, MARK, PAPER, text_on
from tracking.panels import Axis, Chart, Figure, Heatmap, takes_a_row
from tracking.png_marks import draw_marks

DOTS_PER_INCH = 150
WIDTH = 12.8  # inches: 1920 dots, sharp on a page 1280 wide
ROW_HEIGHT = {1: 6.2, 2: 3.9}  # inches per row of panels
LOW_ROW = 3.3
AIR = 0.12  # inches above and below every panel and the title
LETTERS_TITLE, LETTERS_NOTE, LETTERS_LEGEND = 105, 185, 185  # that fit in a line
LABEL = 22  # dots from one tick label to the next
LETTERS_ACROSS = 150  # tick labels longer than this over the whole width are turned


def png(figure: Figure, path: Path) -> None:
    """Write the figure to `path`, 1920 dots wide."""
    rows = max(figure.rows, 1)
    layout = ConstrainedLayoutEngine(h_pad=AIR, w_pad=0.1)
    sheet = Sheet(
        figsize=(WIDTH, 0.9 + rows * ROW_HEIGHT.get(rows, LOW_ROW)),
        dpi=DOTS_PER_INCH,
        layout=layout,
        facecolor=PAPER,
    )
    canvas = FigureCanvasAgg(sheet)
    title = sheet.suptitle(
        fill(figure.title, LETTERS_TITLE), x=0.012, ha="left", fontsize=15, fontweight="bold", color=INK
    )
    if figure.note:
        sheet.supxlabel(fill(figure.note, LETTERS_NOTE), x=0.012, ha="left", fontsize=9.5, color=FAINT)
    if figure.panels:
        _draw_panels(sheet, figure)
        _draw_legend(sheet, layout, title)
    for text in sheet.findobj(Text):
        text.set_parse_math(False)  # a dollar sign is one, and begins no formula
    # savefig would draw everything twice
    canvas.print_png(path, metadata={"Software": "hedgegrid"})  # type: ignore[no-untyped-call]


def _draw_panels(sheet: Sheet, figure: Figure) -> None:
    heights = [row[-1].height if isinstance(row[-1], Chart) else 1.0 for row in figure.grid]
    grid = sheet.subplots(
        figure.rows,
        figure.columns,
        squeeze=False,
        sharex=figure.share == "x",
        sharey=figure.share == "y",
        height_ratios=heights,
    )
    shown: list[Axes] = []
    for number, (row, panels) in enumerate(zip(grid, figure.grid, strict=True)):
        if takes_a_row(panels[0]):
            row[0].set_subplotspec(row[0].get_gridspec()[number, :])
        shown.extend(row[: len(panels)])
        for axes in row[len(panels) :]:
            axes.set_visible(False)
    for axes, panel in zip(shown, figure.panels, strict=True):
        axes.set_title(panel.title, loc="left", fontsize=11.5, color=INK)
        axes.tick_params(labelsize=9.5, colors=FAINT, length=0)
        axes.spines[:].set_visible(False)
        if isinstance(panel, Heatmap):
            _draw_heatmap(axes, panel)
        else:
            _draw_chart(axes, panel)
    if isinstance(figure.panels[-1], Heatmap):
        maps = [axes for axes, panel in zip(shown, figure.panels, strict=True) if isinstance(panel, Heatmap)]
        _draw_scale(sheet, figure.panels[-1], maps)
    for axes in sheet.axes:
        axes.xaxis.label.set(color=INK, fontsize=11)
        axes.yaxis.label.set(color=INK, fontsize=11)
    if figure.share == "x":
        for axes in grid[:-1].flat:
            axes.set_xlabel("")
    if figure.share == "y":
        for axes in grid[:, 1:].flat:
            axes.set_ylabel("")


def _draw_legend(sheet: Sheet, layout: ConstrainedLayoutEngine, title: Text) -> None:
    """One legend for all panels, between the title and them, where it hides nothing."""
    found: dict[str, Any] = {}
    for axes in sheet.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    if not found:
        return
    widest = max(len(name) for name in found) + 8
    columns = min(len(found), max(LETTERS_LEGEND // widest, 1))
    below = sheet.get_figheight() - AIR - title.get_window_extent().height / sheet.dpi  # inches
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (0.0, below / sheet.get_figheight())}
    look: dict[str, Any] = {"frameon": False, "fontsize": 9.5, "labelcolor": INK, "borderaxespad": 0.2}
    legend = sheet.legend(found.values(), found.keys(), ncols=columns, **place, **look)
    # The layout makes room for the title, but knows a legend beside the panels only.
    legend.set_in_layout(False)
    height = legend.get_window_extent().height / sheet.bbox.height
    layout.set(rect=(0.0, 0.0, 1.0, 1.0 - height))


def _draw_heatmap(axes: Axes, panel: Heatmap) -> None:
    rows, columns = panel.grid.shape
    axes.imshow(panel.grid, cmap=_colours(panel), norm=_range(panel), origin="lower", aspect="auto")
    # White seams between the cells.
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=PAPER, linewidth=0.0 if panel.crowded else 1.5)
    axes.tick_params(which="minor", length=0)
    _label_categories(axes.xaxis, panel.x)
    _label_categories(axes.yaxis, panel.y)
    if panel.readable:
        for (row, column), value in np.ndenumerate(panel.grid):
            if np.isfinite(value):
                colour = text_on(panel.depth(value))
                label = panel.quantity.text(value)
                text = axes.text(column, row, label, ha="center", va="center", fontsize=8.5, color=colour)
                text.set_in_layout(False)  # it lies within its cell: a hundred boxes less to measure
    if panel.mark:
        row, column = panel.mark
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=MARK, linewidth=2.6, zorder=5))


def _draw_scale(sheet: Sheet, panel: Heatmap, axes: list[Any]) -> None:
    from matplotlib.cm import ScalarMappable

    bar = sheet.colorbar(ScalarMappable(_range(panel), _colours(panel)), ax=axes, pad=0.015, aspect=32)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=9.5, colors=FAINT, length=0)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: panel.quantity.text(value)))
    bar.set_label(panel.quantity.label)


def _colours(panel: Heatmap) -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list("scale", panel.colours)


def _range(panel: Heatmap) -> Normalize:
    # One value only: a range of its own width keeps it in the middle of the scale.
    spread = (abs(panel.low) or 1.0) * 0.5 if panel.high == panel.low else 0.0
    return Normalize(panel.low - spread, panel.high + spread)


def _draw_chart(axes: Axes, panel: Chart) -> None:
    axes.set_axisbelow(True)
    axes.grid(color=GRID, linewidth=0.9)
    _style(axes.xaxis, panel.x)
    _style(axes.yaxis, panel.y)
    draw_marks(axes, panel)


def _style(axis: Any, meaning: Axis) -> None:
    axis.set_label_text(meaning.label)
    if meaning.style == "category":
        _label_categories(axis, meaning)
        axis.axes.margins(x=0.1)
    elif meaning.style != "date":
        axis.set_major_formatter(FuncFormatter(lambda value, _: meaning.text(value)))
        axis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
    across = axis.axis_name == "x"
    if meaning.log and meaning.limits is not None:
        (axis.axes.set_xscale if across else axis.axes.set_yscale)("log")
        axis.set_major_locator(FixedLocator(log_ticks(*meaning.limits)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: meaning.text(value)))
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
    if meaning.limits is not None:
        (axis.axes.set_xlim if across else axis.axes.set_ylim)(*meaning.limits)


def _label_categories(axis: Any, meaning: Axis) -> None:
    axis.set_label_text(meaning.label)
    room = axis.axes.bbox.width if axis.axis_name == "x" else axis.axes.bbox.height
    shown = labelled(len(meaning.categories), room, LABEL)
    words = [meaning.categories[place] for place in shown]
    axis.set_ticks(list(shown), labels=words)
    letters = sum(len(name) + 2 for name in words)
    if axis.axis_name == "x" and letters > LETTERS_ACROSS / axis.axes.get_subplotspec().get_gridspec().ncols:
        axis.set_tick_params(rotation=60)
