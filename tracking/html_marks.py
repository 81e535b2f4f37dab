"""What plotly is told of each mark of a chart: traces, and shapes for what goes across a whole panel."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracking.panels import Array, Band, Bars, Chart, Labels, Level, Line, Mark, Span, Stretches, is_listed

Description = dict[str, Any]  # of a trace, a shape or an annotation, as plotly reads it


def traces(mark: Mark, panel: Chart) -> list[Description]:
    """The traces of a mark; none of what goes across the whole panel."""
    if isinstance(mark, Level | Span | Stretches):
        return []
    if isinstance(mark, Labels):
        return [_labels(mark)]
    trace = {"type": "scatter", "name": safe(mark.name), "legendgroup": safe(mark.name), "showlegend": is_listed(mark)}
    if isinstance(mark, Band):
        edge = trace | {"mode": "lines", "line": {"width": 0, "color": mark.colour}, "hoverinfo": "skip"}
        return [
            edge | {"x": listed(mark.x), "y": listed(mark.low), "showlegend": False},
            edge | {"x": listed(mark.x), "y": listed(mark.high), "fill": "tonexty", "fillcolor": pale(mark.colour)},
        ]
    if isinstance(mark, Bars):
        return [trace | _bars(mark, panel)]
    number = {"percent": ".3~p", "growth": ".3~f"}.get(panel.y.style, ".4~g")
    data: Description = {"x": listed(mark.x), "y": listed(mark.y), "hovertemplate": f"%{{y:{number}}}"}
    if isinstance(mark, Line):
        line = {"color": mark.colour, "width": mark.width, "shape": "hv" if mark.stepped else "linear"}
        line["dash"] = "dash" if mark.dashed else "solid"
        mode = "lines+markers" if mark.dots else "lines"
        return [trace | data | {"mode": mode, "line": line, "zorder": int(10 * mark.width)}]
    dot: Description = {"color": mark.colour, "size": mark.size, "symbol": mark.symbol, "opacity": mark.opacity}
    if mark.words:
        data |= {"text": escaped(mark.words), "hovertemplate": "%{text}<extra></extra>"}
    if mark.size > 7:  # named ones stand on top of the crowd
        dot["line"] = {"color": "white", "width": 1.5}
        data["zorder"] = 100
    return [trace | data | {"mode": "markers", "marker": dot}]


def across(mark: Level | Span | Stretches, panel: Chart, number: int) -> tuple[Description, list[Description]]:
    """The shape of a mark that goes across panel `number`, 1 for the first, and the words beside it."""
    if isinstance(mark, Stretches):
        return _stretches(mark, str(number) if number > 1 else ""), []
    own, other = ("x", "y") if mark.axis == "x" else ("y", "x")
    axes = str(number) if number > 1 else ""
    place = {f"{own}ref": f"{own}{axes}", f"{other}ref": f"{other}{axes} domain"}
    whole = place | {"type": "rect", "layer": "below", f"{other}0": 0, f"{other}1": 1}
    if isinstance(mark, Span):
        low, high = listed(np.array([mark.low, mark.high]))
        shape = {f"{own}0": low, f"{own}1": high, "fillcolor": pale(mark.colour), "line": {"width": 0}}
        return whole | shape | {"name": safe(mark.name), "showlegend": mark.listed}, []
    line = {"color": mark.colour, "width": 1.5, "dash": "dot"}
    shape = {"type": "line", "layer": "above", f"{own}0": mark.value, f"{own}1": mark.value, "line": line}
    # Shapes on a logarithmic axis are placed by their value, words by its logarithm.
    at = math.log10(mark.value) if getattr(panel, mark.axis).log else mark.value
    words = place | {
        own: at,
        other: 1,
        "text": safe(mark.words),
        "showarrow": False,
        "font": {"color": mark.colour},
        "xanchor": "right" if own == "y" else "left",
        "yanchor": "bottom" if own == "y" else "top",
        "bgcolor": "rgba(255,255,255,0.75)",
        "borderpad": 1,
    }
    return whole | shape, [words] if mark.words else []


def _stretches(mark: Stretches, axes: str) -> Description:
    """All stretches of a kind as one shape: thousands of them are still one element of the page."""
    named = {"name": safe(mark.name), "legendgroup": safe(mark.name), "showlegend": mark.listed, "layer": "below"}
    look = named | {"fillcolor": pale(mark.colour, mark.opacity), "line": {"width": 0}}
    if not len(mark.low):
        # A shape of no size, for the legend.
        return look | {"type": "rect", "xref": "paper", "yref": "paper", "x0": 0, "x1": 0, "y0": 0, "y1": 0}
    ends = zip(_in_path(mark.low), _in_path(mark.high), strict=True)
    pieces = (
        f"M{low},{mark.bottom:g}L{high},{mark.bottom:g}L{high},{mark.top:g}L{low},{mark.top:g}Z" for low, high in ends
    )
    return look | {"type": "path", "xref": f"x{axes}", "yref": f"y{axes} domain", "path": "".join(pieces)}


def _in_path(values: Array) -> list[str]:
    """Numbers or dates as a path has them: without a space."""
    return [str(value).replace("T", "_") for value in listed(values)]


def _bars(mark: Bars, panel: Chart) -> Description:
    along, upright = ("x", "y") if panel.lying else ("y", "x")
    return {
        "type": "bar",
        "orientation": "h" if panel.lying else "v",
        "base": listed(mark.low),
        along: listed(mark.high - mark.low),
        upright: listed(mark.at),
        "width": 0.62,
        "marker": {"color": mark.colour},
        "hoverinfo": "skip",
    }


def _labels(mark: Labels) -> Description:
    return {
        "type": "scatter",
        "mode": "text",
        "x": listed(mark.x),
        "y": listed(mark.y),
        # Two spaces that HTML keeps: the words do not touch their point.
        "text": ["\u00a0\u00a0" + safe(word) for word in mark.words],
        "textposition": "middle right",
        "textfont": {"color": mark.colour, "size": 12},
        "hoverinfo": "skip",
        "showlegend": False,
        "cliponaxis": False,
        "zorder": 110,
    }


def pale(colour: str, opacity: float = 0.16) -> str:
    """A colour as areas are filled with it: what lies below shows through."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def safe(text: str) -> str:
    """Words of a study, such as a ticker, as text and never as markup."""
    return html.escape(text, quote=False)


def escaped(words: Sequence[str]) -> list[str]:
    """Several such words."""
    return [safe(word) for word in words]


def listed(values: Array) -> list[Any]:
    """Plain numbers (or dates as text), so that the page can be read and not only drawn; gaps become null."""
    array = np.asarray(values)
    if np.issubdtype(array.dtype, np.datetime64):
        midnights = bool((array == array.astype("datetime64[D]")).all())
        return [str(day) for day in array.astype("datetime64[D]" if midnights else "datetime64[s]")]
    return [float(value) if np.isfinite(value) else None for value in array]
