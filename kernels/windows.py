"""Trailing windows: every bar with the bars before it, in pieces that stay small, and windows that no history fills."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from kernels.errors import InputError
from kernels.market import FloatArray

CHUNK_BYTES = 2**24  # of one piece of windows
FLAT = 1e-14  # log returns that differ by less differ by the rounding of prices: a quotient of two is good to 3e-16


def trailing(x: FloatArray, window: int) -> Iterator[tuple[slice, FloatArray]]:
    """Every full window of x (T, A), oldest value first: which bars they end at, and (bars, A, window) of a few at once.

    Windows are worked out each by itself, and lie in memory the same way whatever x did, so that a bar's sums are the same
    to the bit wherever the pieces, or the history, end.
    """
    if len(x) < window:
        return
    windows = np.lib.stride_tricks.sliding_window_view(x, window, axis=0)
    bars = max(1, CHUNK_BYTES // (8 * window * x.shape[1]))
    for first in range(0, len(windows), bars):
        piece = np.ascontiguousarray(windows[first : first + bars])
        yield slice(first + window - 1, first + window - 1 + len(piece)), piece


def trailing_quantile(x: FloatArray, window: int, share: float) -> FloatArray:
    """The quantile of the last `window` values, linear between two of them, of the shape of x; NaN until all are there."""
    columns = pd.DataFrame(x.reshape(len(x), -1))
    return columns.rolling(window).quantile(share).to_numpy(dtype=np.float64).reshape(x.shape)


def window_problems(name: str, windows: Iterable[float], returns: int, least: int = 2) -> list[str]:
    """The sentences that refuse windows which are too short to mean anything, or longer than the returns that there are.

    >>> print(*window_problems("kelly_window", [20, 60], returns=40))
    kelly_window: 2 <= kelly_window <= 40 must hold, since there are 40 returns, got 60; take a shorter window or more bars
    """
    return [
        f"{name}: {least} <= {name} <= {returns} must hold, since there are {returns} returns, got {window:g}; "
        "take a shorter window or more bars"
        for window in sorted(set(windows))
        if not least <= window <= returns
    ]


def check_window(name: str, window: float, returns: int, least: int = 2) -> int:
    """The window as a whole number of bars; InputError where `window_problems` has a sentence on it."""
    if problems := window_problems(name, [window], returns, least):
        raise InputError(problems)
    return int(window)
