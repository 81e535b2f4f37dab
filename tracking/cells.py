"""Divides a searched parameter into the cells of an axis: its own values where they are few, else equal bins round numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MOST_VALUES = 24  # distinct values that still get a cell each
OFF = "off"  # an optional parameter that is switched off


@dataclass(frozen=True, slots=True)
class Cells:
    """The K cells of one parameter: a label and a position each, and the cell of every row, (N,) in 0..K-1.

    Positions are the values (or bin centres) where `numeric`, else 0, 1, 2, ...
    """

    labels: tuple[str, ...]
    positions: NDArray[np.float64]
    index: NDArray[np.int64]
    numeric: bool
    binned: bool


def divide(column: pd.Series[Any]) -> Cells:
    """The cells of one parameter's column (N,): numbers in order, words as they came, `off` last.

    >>> divide(pd.Series([0.5, None, 0.1, 0.5])).labels
    ('0.1', '0.5', 'off')
    """
    off = column.isna().to_numpy()
    if not _is_numeric(column):
        words = column[~off].astype(str)
        names = list(dict.fromkeys(words))
        index = np.full(len(column), len(names), dtype=np.int64)
        index[~off] = words.map({name: i for i, name in enumerate(names)}).to_numpy(dtype=np.int64)
        return _with_off(tuple(names), np.arange(len(names), dtype=np.float64), index, off, binned=False)
    numbers = column[~off].to_numpy(dtype=np.float64)
    values = np.unique(numbers)
    binned = len(values) > MOST_VALUES
    index = np.full(len(column), len(values), dtype=np.int64)
    if binned:
        values, index[~off] = _round_bins(numbers)
        index[off] = len(values)
    else:
        index[~off] = np.searchsorted(values, numbers)
    return _with_off(number_labels(values), values, index, off, binned=binned, numeric=not off.any())


def number_labels(values: NDArray[np.float64]) -> tuple[str, ...]:
    """Numbers with as few digits as keep them apart.

    >>> number_labels(np.array([0.1, 0.30000000000000004])), number_labels(np.array([1000.0, 1000.5]))
    (('0.1', '0.3'), ('1000', '1000.5'))
    """
    for digits in range(3, 18):
        labels = tuple(f"{value:.{digits}g}" for value in values)
        if len(set(labels)) == len(labels) and not any("e+" in label for label in labels):
            break
    return labels


def _round_bins(numbers: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The middles of equal bins, round numbers, and the bin of every number: the one whose middle is nearest."""
    # About three rows fall in each cell of a map over two such parameters.
    count = int(np.clip(round((len(numbers) / 3) ** 0.5), 4, 10))
    rough = float(numbers.max() - numbers.min()) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1.0, 2.0, 5.0, 10.0) if power * digit >= rough * (1 - 1e-9))
    place = np.floor(numbers / step + 0.5).astype(np.int64)
    first, last = int(place.min()), int(place.max())
    return np.arange(first, last + 1, dtype=np.float64) * step, place - first


def _is_numeric(column: pd.Series[Any]) -> bool:
    if pd.api.types.is_numeric_dtype(column.dtype):
        return not pd.api.types.is_bool_dtype(column.dtype)
    return all(isinstance(value, int | float | np.number) and not isinstance(value, bool) for value in column.dropna())


def _with_off(
    labels: tuple[str, ...],
    positions: NDArray[np.float64],
    index: NDArray[np.int64],
    off: NDArray[np.bool_],
    *,
    binned: bool,
    numeric: bool = False,
) -> Cells:
    if off.any():
        labels = (*labels, OFF)
    if not numeric:
        positions = np.arange(len(labels), dtype=np.float64)
    return Cells(labels, positions, index, numeric, binned)
