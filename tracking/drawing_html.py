"""Describes figures to plotly, each twice: as it lies on a wide page, and on a narrow one where its panels are stacked."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tracking.axes import labelled, log_ticks
from tracking.html_marks import Description, across, escaped, safe, traces
from tracking.palette import FAINT, GRID, INK, MARK, PAPER
from tracking.panels import Axis, Chart, Figure, Heatmap, Labels, Level, Span, Stretches, takes_a_row

FONT = "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
LETTER = 7  # pixels of a letter of a tick label, with its air
SLANTED, UPRIGHT = 20, 14  # pixels from one tick label to the next, across and upwards
ROW = 44  # and upwards a category beside an axis
LEGEND_LINE = 36  # letters, where the script of a narrow page breaks names
LINE = 20  # pixels of a line of a legend
CELL = 40  # pixels that a number in a cell takes


@dataclass(frozen=True, slots=True)
class Form:
    """A page's width in pixels, those of a row of panels by how many rows there are, and how many ticks an axis has."""

    name: str
    pixels: int
    rows: tuple[int, ...]
    ticks: int
    margin: dict[str, int]


WIDE = Form("wide", 1060, (430, 310, 280), 8, {"l": 60, "r": 24, "b": 48})
NARROW = Form("narrow", 340, (300, 250, 240), 4, {"l": 10, "r": 12, "b": 44})


def script(figure: Figure) -> str:
    """The figure's traces and both layouts as JSON that can stand in a page: nothing in it ends a script."""
    return json.dumps(description(figure), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def description(figure: Figure) -> Description:
    """`data` for plotly, its layouts `wide` and `narrow`, and whether cells are `bare` on a narrow page: too small for
    their numbers."""
    data: list[Description] = []
    bare = False
    for number, panel in enumerate(figure.panels, start=1):
        axes = {"xaxis": _axis_name("x", number), "yaxis": _axis_name("y", number)}
        if isinstance(panel, Heatmap):
            data.append(_heatmap(panel, _fits(panel, WIDE, figure.columns)) | axes)
            bare = bare or not _fits(panel, NARROW, 1)
        else:
            data += [trace | axes for mark in panel.marks for trace in traces(mark, panel)]
    return {"data": data, "wide": layout(figure, WIDE), "narrow": layout(figure, NARROW), "bare": bare}


def layout(figure: Figure, form: Form) -> Description:
    """How the figure's panels lie on a page of that form."""
    if form is NARROW:
        figure = replace(figure, columns=1)
    places, height = _places(figure, form)
    titled = 26 if any(panel.title for row in figure.grid[:1] for panel in row) else 6
    margin = form.margin | {"t": 14 + titled + _legend_pixels(figure, form)}
    described: Description = {
        "template": "none",
        "height": height + margin["t"] + margin["b"],
        "font": {"family": FONT, "size": 13 if form is WIDE else 12, "color": INK},
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "margin": margin,
        "barmode": "overlay",
        "dragmode": "zoom" if form is WIDE else False,  # a finger scrolls the page
        "hoverlabel": {"bgcolor": PAPER, "font": {"family": FONT, "color": INK}},
        "hovermode": "x unified" if figure.share == "x" and form is WIDE else "closest",
        "legend": {"orientation": "h", "x": 0, "y": 1.0 + titled / height, "yanchor": "bottom", "maxheight": 1000},
        "annotations": [],
        "shapes": [],
    }
    top = 0.0  # of the highest heatmap
    for number, (panel, (wide, up)) in enumerate(zip(figure.panels, places, strict=True), start=1):
        x, y = (f"{letter}axis{'' if number == 1 else number}" for letter in "xy")
        turned = {"tickangle": -45} if _turned(panel, form, figure.columns) else {}
        room = (wide[1] - wide[0]) * form.pixels, (up[1] - up[0]) * height
        described[x] = (
            _axis(panel.x, panel, form, room[0] / SLANTED)
            | turned
            | {"domain": wide, "anchor": _axis_name("y", number)}
        )
        described[y] = _axis(panel.y, panel, form, room[1] / UPRIGHT) | {
            "domain": up,
            "anchor": _axis_name("x", number),
        }
        if number > 1 and figure.share != "nothing":
            described[{"x": x, "y": y}[figure.share]]["matches"] = figure.share
        if figure.share == "x" and number < len(figure.panels):
            described[x] |= {"title": None, "showticklabels": False}
        if figure.share == "y" and (number - 1) % figure.columns:
            described[y] |= {"title": None, "showticklabels": False}
        if panel.title:
            place = {"x": wide[0], "y": up[1], "xref": "paper", "yref": "paper", "xanchor": "left"}
            words = place | {"yanchor": "bottom", "text": safe(panel.title), "showarrow": False}
            described["annotations"].append(words)
        if isinstance(panel, Heatmap):
            described["shapes"] += _mark(panel, number)
            top = max(top, up[1])
            described["coloraxis"] = _colours(panel, form, height, top)
        else:
            for mark in panel.marks:
                if isinstance(mark, Level | Span | Stretches):
                    shape, beside = across(mark, panel, number)
                    described["shapes"].append(shape)
                    described["annotations"] += beside
    return described


def _axis_name(letter: str, number: int) -> str:
    return letter if number == 1 else f"{letter}{number}"


def _places(figure: Figure, form: Form) -> tuple[list[tuple[list[float], list[float]]], int]:
    """The shares across and up that each panel takes of what lies within the margins, and the pixels of that upwards."""
    rows = figure.grid
    if not rows:
        return [], form.rows[0]
    each = form.rows[min(len(rows), len(form.rows)) - 1]
    relative = [row[0].height if isinstance(row[0], Chart) else 1.0 for row in rows]
    if len(rows) == 1 and (named := max(len(panel.y.categories) for panel in rows[0])):
        each = min(each, ROW * named + 40)  # few lying bars need no tall figure
    tall = [each * len(rows) * height / sum(relative) for height in relative]
    gap = 18.0 if figure.share == "x" else 78.0
    air = [gap + max(_turned(panel, form, figure.columns) for panel in row) for row in rows[:-1]]
    whole = sum(tall) + sum(air)
    aside = 0.08
    places = []
    top = whole
    for row, height, below in zip(rows, tall, [*air, 0.0], strict=True):
        up = [max(top - height, 0.0) / whole, top / whole]
        columns = 1 if takes_a_row(row[0]) else figure.columns
        width = (1.0 - aside * (columns - 1)) / columns
        for column in range(len(row)):
            left = column * (width + aside)
            places.append(([left, left + width], up))
        top -= height + below
    return places, round(whole)


def _turned(panel: Chart | Heatmap, form: Form, columns: int) -> int:
    """Pixels that the panel's tick labels take below it beyond one line: long ones are turned."""
    words = panel.x.categories
    if not words or sum(map(len, words)) * LETTER < form.pixels / columns - len(words) * LETTER:
        return 0
    return min(LETTER * max(map(len, words)), 110)


def _legend_pixels(figure: Figure, form: Form) -> int:
    """The height of the legend: plotly lays its entries in columns as wide as the longest, unless one line takes all."""
    names = dict.fromkeys(
        mark.name for panel in figure.panels if isinstance(panel, Chart) for mark in panel.marks
        if not isinstance(mark, Labels | Level) and mark.listed
    )  # fmt: skip
    if not names:
        return 0
    lines = {name: -(-len(name) // LEGEND_LINE) if form is NARROW else 1 for name in names}
    wide = [50 + LETTER * min(len(name), LEGEND_LINE if form is NARROW else len(name)) for name in names]
    room = form.pixels - 70
    if sum(wide) <= room:
        return LINE * max(lines.values())
    columns = max(room // max(wide), 1)
    return LINE * (sum(lines.values()) if columns == 1 else max(lines.values()) * -(-len(names) // columns))


def _axis(meaning: Axis, panel: Chart | Heatmap, form: Form, room: float) -> Description:
    """An axis with `room` for so many labels of categories."""
    axis: Description = {
        "title": {"text": safe(meaning.label), "standoff": 10, "font": {"size": 13 if form is WIDE else 12}},
        "gridcolor": GRID,
        "zeroline": False,
        "tickfont": {"color": FAINT},
        "automargin": True,
    }
    if meaning.style == "category":
        count = len(meaning.categories)
        shown = labelled(count, room, 1.0)
        words = escaped([meaning.categories[place] for place in shown])
        axis |= {"tickvals": list(shown), "ticktext": words, "range": [-0.5, count - 0.5]}
    else:
        axis |= {"nticks": form.ticks}
    if meaning.style == "percent":
        axis |= {"tickformat": "~%"}
    elif meaning.style == "growth":
        axis |= {"tickformat": "~g", "ticksuffix": "x"}
    elif meaning.style == "date":
        axis |= {"type": "date"}
    if meaning.log and meaning.limits is not None:
        ticks = log_ticks(*meaning.limits, form.ticks)
        axis |= {"type": "log", "tickvals": ticks, "ticktext": [meaning.text(tick) for tick in ticks]}
    if meaning.limits is not None:
        axis |= {"range": [math.log10(end) if meaning.log else end for end in meaning.limits]}
    if isinstance(panel, Heatmap):
        axis |= {"showgrid": False, "ticks": ""}
    return axis


def _heatmap(panel: Heatmap, with_numbers: bool) -> Description:
    known = np.isfinite(panel.grid)
    text = [
        [panel.quantity.text(value) if fine else "" for value, fine in zip(*pair, strict=True)]
        for pair in zip(panel.grid, known, strict=True)
    ]
    x, y, name = (safe(label) for label in (panel.x.label, panel.y.label, panel.quantity.name))
    hover = f"{x} %{{customdata[0]}}<br>{y} %{{customdata[1]}}<br><b>{name} %{{text}}</b><extra></extra>"
    return {
        "type": "heatmap",
        "z": [
            [float(v) if fine else None for v, fine in zip(*pair, strict=True)]
            for pair in zip(panel.grid, known, strict=True)
        ],
        "customdata": [[[x, y] for x in escaped(panel.x.categories)] for y in escaped(panel.y.categories)],
        "text": text,
        "texttemplate": "%{text}" if with_numbers else "",
        "textfont": {"size": 12},
        "hovertemplate": hover,
        "hoverongaps": False,
        "coloraxis": "coloraxis",
        "xgap": 0 if panel.crowded else 2,
        "ygap": 0 if panel.crowded else 2,
    }


def _fits(panel: Heatmap, form: Form, columns: int) -> bool:
    """Whether the cells are large enough for their numbers."""
    return panel.readable and panel.grid.shape[1] * CELL <= 0.86 * form.pixels / columns


def _colours(panel: Heatmap, form: Form, height: int, top: float) -> Description:
    """The colour scale: beside the heatmaps of a wide figure, which reach up to `top`, below a narrow one."""
    colours = panel.colours
    bar: Description = {
        "title": {"text": safe(panel.quantity.label), "side": "right", "font": {"size": 12}},
        "tickformat": "~%" if panel.quantity.percent else "",
        "outlinewidth": 0,
        "thickness": 14,
        **{"len": top, "y": 0, "yanchor": "bottom"},
    }
    if form is NARROW:
        below = -(70 + _turned(panel, form, 1)) / height
        bar |= {"orientation": "h", "len": 1, "y": below, "yanchor": "top", "thickness": 10, "nticks": form.ticks}
        bar["title"]["side"] = "bottom"
    return {
        "cmin": panel.low,
        "cmax": panel.high,
        "colorscale": [[i / (len(colours) - 1), colour] for i, colour in enumerate(colours)],
        "colorbar": bar,
    }


def _mark(panel: Heatmap, number: int) -> Sequence[dict[str, Any]]:
    """The frame round the best cell."""
    if panel.mark is None:
        return []
    row, column = panel.mark
    corner = {"x0": column - 0.5, "x1": column + 0.5, "y0": row - 0.5, "y1": row + 0.5}
    place = {"xref": _axis_name("x", number), "yref": _axis_name("y", number)}
    return [{"type": "rect", "line": {"color": MARK, "width": 3}} | corner | place]
