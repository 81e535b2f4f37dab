"""Draws figures as one interactive HTML page with plotly: the library inside it once, nothing fetched from anywhere."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracking.palette import FAINT, GRID, INK, MARK, PAPER, scale
from tracking.panels import Array, Axis, Band, Chart, Figure, Heatmap, Line, Mark

ROW_PIXELS = {1: 560, 2: 340}  # height of a row of panels
LOW_ROW = 290
FONT = "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def page(title: str, figures: Sequence[Figure]) -> str:
    """The figures one below the other, whole: the page opens from disk, without a network."""
    from plotly.offline import get_plotlyjs

    head = f"<meta charset='utf-8'><title>{_safe(title)}</title><script>{get_plotlyjs()}</script>"
    style = f"body {{ margin: 0 auto; max-width: 1400px; background: {PAPER}; }}"
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
                for trace in _traces(mark, panel):
                    plot.add_trace(trace | axes)
    plot.update_layout(height=rows * ROW_PIXELS.get(rows, LOW_ROW) + 140)
    config = {"displaylogo": False, "responsive": True, "toImageButtonOptions": {"filename": figure.name, "scale": 2}}
    part: str = to_html(plot, config=config, include_plotlyjs=False, full_html=False, div_id=figure.name)
    return part


def _layout(figure: Figure) -> dict[str, Any]:
    layout: dict[str, Any] = {
        "template": "none",
        "title": {
            "text": f"<b>{_safe(figure.title)}</b>",
            "subtitle": {"text": _safe(figure.note), "font": {"size": 13, "color": FAINT}},
            "x": 0.0,
            "xref": "paper",
            "xanchor": "left",
            "font": {"size": 19},
        },
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "margin": {"l": 90, "r": 40, "t": 125, "b": 60},
        "hoverlabel": {"bgcolor": PAPER, "font": {"family": FONT, "color": INK}},
        "hovermode": "x unified" if figure.share == "x" else "closest",
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "xanchor": "left", "font": {"size": 13}},
        "annotations": [],
    }
    for number, panel in enumerate(figure.panels, start=1):
        across, up = _domains(figure, number - 1)
        layout[f"xaxis{number}"] = _axis(panel.x, panel) | {"domain": across, "anchor": f"y{number}"}
        layout[f"yaxis{number}"] = _axis(panel.y, panel) | {"domain": up, "anchor": f"x{number}"}
        if number > 1 and figure.share != "nothing":
            layout[f"{figure.share}axis{number}"]["matches"] = figure.share
        if figure.share == "x" and number < len(figure.panels):
            layout[f"xaxis{number}"]["showticklabels"] = False
        if figure.share == "y" and (number - 1) % figure.columns:
            layout[f"yaxis{number}"]["title"] = None
        if panel.title:
            place = {"x": across[0], "y": up[1], "xref": "paper", "yref": "paper", "xanchor": "left"}
            layout["annotations"].append(place | {"yanchor": "bottom", "text": _safe(panel.title), "showarrow": False})
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
        "title": {"text": _safe(meaning.label), "standoff": 12},
        "gridcolor": GRID,
        "zeroline": False,
        "tickfont": {"color": FAINT},
        "automargin": True,
    }
    if meaning.style == "category":
        count = len(meaning.categories)
        axis |= {"tickvals": list(range(count)), "ticktext": _escaped(meaning.categories), "range": [-0.5, count - 0.5]}
    elif meaning.style == "percent":
        axis |= {"tickformat": "~%"}
    elif meaning.style == "growth":
        axis |= {"type": "log", "dtick": "D2", "tickformat": "~g", "ticksuffix": "x"}
    elif meaning.style == "date":
        axis |= {"type": "date"}
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
    x, y, name = (_safe(label) for label in (panel.x.label, panel.y.label, panel.quantity.name))
    hover = f"{x} %{{customdata[0]}}<br>{y} %{{customdata[1]}}<br><b>{name} %{{text}}</b><extra></extra>"
    return {
        "type": "heatmap",
        "z": [
            [float(v) if fine else None for v, fine in zip(*pair, strict=True)]
            for pair in zip(panel.grid, known, strict=True)
        ],
        "customdata": [[[x, y] for x in _escaped(panel.x.categories)] for y in _escaped(panel.y.categories)],
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
            "title": {"text": _safe(panel.quantity.label), "side": "right"},
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


def _traces(mark: Mark, panel: Chart) -> list[dict[str, Any]]:
    shape = {"type": "scatter", "name": _safe(mark.name), "legendgroup": _safe(mark.name)}
    if isinstance(mark, Band):
        edge = shape | {"mode": "lines", "line": {"width": 0, "color": mark.colour}, "hoverinfo": "skip"}
        red, green, blue = (int(mark.colour[i : i + 2], 16) for i in (1, 3, 5))
        fill = {"fill": "tonexty", "fillcolor": f"rgba({red},{green},{blue},0.16)", "showlegend": mark.listed}
        return [
            edge | {"x": _listed(mark.x), "y": _listed(mark.low), "showlegend": False},
            edge | {"x": _listed(mark.x), "y": _listed(mark.high)} | fill,
        ]
    number = {"percent": ".1%", "growth": ".3~f"}.get(panel.y.style, ".4~g")
    data = {"x": _listed(mark.x), "y": _listed(mark.y), "hovertemplate": f"%{{y:{number}}}"}
    if isinstance(mark, Line):
        line = {"color": mark.colour, "width": mark.width, "shape": "hv" if mark.stepped else "linear"}
        mode = "lines+markers" if mark.dots else "lines"
        return [shape | data | {"mode": mode, "line": line, "showlegend": mark.listed, "zorder": int(10 * mark.width)}]
    return [shape | data | {"mode": "markers", "marker": {"color": mark.colour, "size": 7}}]


def _safe(text: str) -> str:
    """Words of a study, such as a ticker, as text and never as markup."""
    return html.escape(text, quote=False)


def _escaped(words: tuple[str, ...]) -> list[str]:
    return [_safe(word) for word in words]


def _listed(values: Array) -> list[Any]:
    """Plain numbers (or dates as text), so that the page can be read and not only drawn; gaps become null."""
    array = np.asarray(values)
    if np.issubdtype(array.dtype, np.datetime64):
        return [str(day) for day in array.astype("datetime64[s]")]
    return [float(value) if np.isfinite(value) else None for value in array]
