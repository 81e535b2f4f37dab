"""One set of colours for every figure, told apart by colour-blind readers and in print.

The series colours are those of Okabe and Ito (2008), Color Universal Design; the scale runs from pale to deep blue, so
that deeper always means better.
"""

from __future__ import annotations

INK = "#1f2933"
FAINT = "#66727f"
PALE = "#b4bcc4"
GRID = "#e4e8ec"
PAPER = "#ffffff"
MARK = "#d55e00"
BEST = "#0072b2"
LOSS = MARK
TARGET = "#009e73"
OTHERS = ("#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d")
SCALE = ("#e3edf7", "#c8dcee", "#a5c9e3", "#71aad2", "#4189be", "#1d669f", "#0d467a", "#082c52")
SIGNED = (  # from -1 to 1: orange to blue, pale at 0
    *("#7f3300", "#b34d00", "#d97b35", "#eeb286", "#f6f1ec"),
    *("#a5c9e3", "#4d92c4", "#1d669f", "#082c52"),
)


def scale(better: int) -> tuple[str, ...]:
    """Colours from the lowest value to the highest; `better` is -1 where the lowest is the best."""
    return SCALE[::-1] if better < 0 else SCALE


def shade(fraction: float) -> str:
    """The scale's colour at `fraction` of its length, 0 palest, 1 deepest.

    >>> shade(0.0), shade(1.0)
    ('#e3edf7', '#082c52')
    """
    place = min(max(fraction, 0.0), 1.0) * (len(SCALE) - 1)
    low = min(int(place), len(SCALE) - 2)
    pair = (_rgb(SCALE[low]), _rgb(SCALE[low + 1]))
    mixed = (round(a + (b - a) * (place - low)) for a, b in zip(*pair, strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def text_on(fraction: float) -> str:
    """White or ink, whichever is read better on the scale at `fraction`."""
    return PAPER if fraction > 0.52 else INK


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
