"""Draws figures as one interactive HTML page with plotly: the library inside it once, nothing fetched from anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracking.axes import log_ticks
from tracking.html_marks import across, escaped, safe, traces
from tracking.palette import FAINT, GRID, INK, MARK, PAPER, scale
from tracking.panels import Axis, Chart, Figure, Heatmap, Level, Span

ROW_PIXELS = {1: 560, 2: 340}  # height of a row of panels
LOW_ROW = 290
LEAST_PIXELS = 290  # width of a panel; a narrower window scrolls
FONT = "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def page(title: str, figures: Sequence[Figure]) -> str:
    """The figures one below the other, whole: the page opens from disk, without a network."""
    from plotly.offline import get_plotlyjs

    head = f"<meta charset='utf-8'><title>{safe(title)}</title><script>{get_plotlyjs()}</script>"
    style = (
        f"body {{ margin: 0 auto; max-width: 1400px; padding: 0 16px; background: {PAPER}; color: {INK};"
        f" font-family: {FONT}; }} h2 {{ font-size: 19px; margin: 36px 0 6px; }}"
        f" p {{ font-size: 13px; margin: 0 0 4px; max-width: 900px; color: {FAINT}; }}"
        # The buttons of a plot lie where a long legend does: they are there while it is pointed at.
        " .wide { overflow-x: auto; } .js-plotly-plot:not(:hover) .modebar { opacity: 0; }"
    )
    drawn = "\n".join(_plot(figure) for figure in figures)
    return f"<!doctype html><html><head>{head}<style>{style}</style></head><body>\n{drawn}\n</body></html>\n"


def _plot(figure: Figure) -> str:
    """One figure's part of the page."""
    from plotly.graph_objects import Figure as Plot
    from plotly.io import to_html

    plot = Plot({"data": [], "layout": _layout(figure)})
    rows = max(figure.rows, 1)
    for number, panel in enumerate(figure.panels, start=1):
        axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        if isinstance(panel, Heatmap):
            plot.add_trace(_heatmap(panel, number == len(figure.panels)) | axes)
            _mark(plot, panel, axes)
        else:
            for mark in panel.marks:
                for trace in traces(mark, panel):
                    plot.add_trace(trace | axes)
                if isinstance(mark, Level | Span):
                    shape, words = across(mark, panel, number)
                    plot.add_shape(shape)
                    for annotation in words:
                        plot.add_annotation(annotation)
    plot.update_layout(height=rows * ROW_PIXELS.get(rows, LOW_ROW) + 70)
    config = {
        "displaylogo": False,
        "displayModeBar": "hover",
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
        "responsive": True,
        "toImageButtonOptions": {"filename": figure.name, "scale": 2},
    }
    part: str = to_html(plot, config=config, include_plotlyjs=False, full_html=False, div_id=figure.name)
    # Words of the page, unlike words of the plot, are broken into lines where the window is narrow.
    heading = f"<h2>{safe(figure.title)}</h2>\n<p>{safe(figure.note)}</p>\n"
    if not figure.panels:
        return heading
    return f"{heading}<div class='wide'><div style='min-width: {figure.columns * LEAST_PIXELS}px'>{part}</div></div>"


def _layout(figure: Figure) -> dict[str, Any]:
    layout: dict[str, Any] = {
        "template": "none",
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "margin": {"l": 60, "r": 30, "t": 50, "b": 50},
        "hoverlabel": {"bgcolor": PAPER, "font": {"family": FONT, "color": INK}},
        "hovermode": "x unified" if figure.share == "x" else "closest",
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "xanchor": "left", "font": {"size": 13}},
        "annotations": [],
    }
    for number, panel in enumerate(figure.panels, start=1):
        wide, up = _domains(figure, number - 1)
        layout[f"xaxis{number}"] = _axis(panel.x, panel) | {"domain": wide, "anchor": f"y{number}"}
        layout[f"yaxis{number}"] = _axis(panel.y, panel) | {"domain": up, "anchor": f"x{number}"}
        if number > 1 and figure.share != "nothing":
            layout[f"{figure.share}axis{number}"]["matches"] = figure.share
        if figure.share == "x" and number < len(figure.panels):
            layout[f"xaxis{number}"] |= {"title": None, "showticklabels": False}
        if figure.share == "y" and (number - 1) % figure.columns:
            layout[f"yaxis{number}"] |= {"title": None, "showticklabels": False}
        if panel.title:
            place = {"x": wide[0], "y": up[1], "xref": "paper", "yref": "paper", "xanchor": "left"}
            layout["annotations"].append(place | {"yanchor": "bottom", "text": safe(panel.title), "showarrow": False})
    return layout


def _domains(figure: Figure, number: int) -> tuple[list[float], list[float]]:
    """The share of the page that panel `number` takes, across and up."""
    row, column = divmod(number, figure.columns)
    gap_x, gap_y = 0.08, 0.06 if figure.share == "x" else 0.16
    width = (1.0 - gap_x * (figure.columns - 1)) / figure.columns
    heights = []
    for start in range(0, len(figure.panels), figure.columns):
        first = figure.panels[start]
        heights.append(first.height if isinstance(first, Chart) else 1.0)
    unit = (1.0 - gap_y * (figure.rows - 1)) / sum(heights)
    top = 1.0 - sum(height * unit + gap_y for height in heights[:row])
    left = column * (width + gap_x)
    return [left, left + width], [max(top - heights[row] * unit, 0.0), top]


def _axis(meaning: Axis, panel: Chart | Heatmap) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "title": {"text": safe(meaning.label), "standoff": 12},
        "gridcolor": GRID,
        "zeroline": False,
        "tickfont": {"color": FAINT},
        "automargin": True,
    }
    if meaning.style == "category":
        count = len(meaning.categories)
        axis |= {"tickvals": list(range(count)), "ticktext": escaped(meaning.categories), "range": [-0.5, count - 0.5]}
    elif meaning.style == "percent":
        axis |= {"tickformat": "~%"}
    elif meaning.style == "growth":
        axis |= {"tickformat": "~g", "ticksuffix": "x"}
    elif meaning.style == "date":
        axis |= {"type": "date"}
    if meaning.log and meaning.limits is not None:
        ticks = log_ticks(*meaning.limits)
        axis |= {"type": "log", "tickvals": ticks, "ticktext": [meaning.text(tick) for tick in ticks]}
    if meaning.limits is not None:
        axis |= {"range": [math.log10(end) if meaning.log else end for end in meaning.limits]}
    if isinstance(panel, Heatmap):
        axis |= {"showgrid": False, "ticks": ""}
    return axis


def _heatmap(panel: Heatmap, with_scale: bool) -> dict[str, Any]:
    colours = scale(panel.quantity.good)
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
        "texttemplate": "%{text}" if panel.readable else "",
        "hovertemplate": hover,
        "hoverongaps": False,
        "zmin": panel.low,
        "zmax": panel.high,
        "colorscale": [[i / (len(colours) - 1), colour] for i, colour in enumerate(colours)],
        "xgap": 2,
        "ygap": 2,
        "showscale": with_scale,
        "colorbar": {
            "title": {"text": safe(panel.quantity.label), "side": "right"},
            "tickformat": "~%" if panel.quantity.percent else "",
            "outlinewidth": 0,
            "thickness": 14,
        },
    }


def _mark(plot: Any, panel: Heatmap, axes: dict[str, str]) -> None:
    if panel.mark is None:
        return
    row, column = panel.mark
    plot.add_shape(
        type="rect",
        x0=column - 0.5,
        x1=column + 0.5,
        y0=row - 0.5,
        y1=row + 0.5,
        xref=axes["xaxis"],
        yref=axes["yaxis"],
        line={"color": MARK, "width": 3},
    )
