"""How closely an order would move with the positions that are open, and what that leaves of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from kernels.comovement import Comovement, FloatArray
from kernels.risk_books import SIGN
from kernels.risk_rule import correlation_multiplier
from kernels.risk_settings import Limits
from kernels.timestamps import IntArray


class Closeness:
    """The correlation limit of `RiskLimits`: open positions as arrays, closes, and answers kept until either changes.

    Not thread-safe: its owner holds a lock.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._prices = Comovement(limits.correlation_lookback, limits.correlation_common)
        self._names: tuple[str, ...] = ()
        self._rows = np.zeros(0, dtype=np.int64)
        self._signs = np.zeros(0)
        self._answers: dict[tuple[int, str], tuple[tuple[str, ...], float]] = {}  # until positions or prices change
        self._reasons: dict[int, dict[int, str]] = {}  # by row and row of the other, until prices change

    def update_prices(self, stamps: IntArray, closes: Mapping[str, FloatArray]) -> None:
        """Take new closes (T,) by symbol; InputError, and nothing is taken, where one cannot be."""
        self._prices.update(stamps, closes)
        self._answers.clear()
        self._reasons.clear()

    def update_positions(self, positions: Iterable[tuple[str, str]]) -> None:
        """Take the (symbol, side) of all that is open."""
        both = tuple(positions)
        self._names = tuple(name for name, _ in both)
        self._rows = np.array([self._prices.row(name) for name in self._names], dtype=np.int64)
        self._signs = np.array([SIGN[side] for _, side in both])
        self._answers.clear()

    def ask(self, symbol: str, side: str) -> tuple[tuple[str, ...], float]:
        """Reasons and the least multiplier, of every open position in another symbol that is too close; up to a refusal.

        Symbols of which nothing is known have one answer.
        """
        key = (self._prices.find(symbol), side)
        if key not in self._answers:
            self._answers[key] = self._asked(*key)
        return self._answers[key]

    def _asked(self, row: int, side: str) -> tuple[tuple[str, ...], float]:
        limits = self.limits
        harm = self._prices.correlations(row, self._rows) * (self._signs * SIGN[side])
        within = harm <= limits.correlation_limit
        if within.all() or limits.correlation_cut == 0.0:
            return (), 1.0
        beyond = np.flatnonzero(~within)
        harm = harm[beyond]
        left = correlation_multiplier(harm, limits.correlation_limit, limits.correlation_cut)
        if limits.on_unknown == "ignore":
            left = np.where(np.isnan(harm), 1.0, left)
        least = float(left.min())
        if least <= 0.0:
            last = int(np.argmax(left <= 0.0)) + 1
            beyond, harm, left = beyond[:last], harm[:last], left[:last]
        known = self._reasons.setdefault(row, {})
        reasons = [
            known.get(other) or known.setdefault(other, self._reason(i, c, a))
            for i, other, c, a in zip(
                beyond.tolist(), self._rows[beyond].tolist(), harm.tolist(), left.tolist(), strict=True
            )
        ]
        return tuple(dict.fromkeys(reasons)), least  # an unknown pair says the same of a long and a short

    def _reason(self, position: int, c: float, left: float) -> str:
        other = f"correlation_{self._names[position]}"
        if math.isnan(c):
            return f"{other}_unknown_ignored" if left == 1.0 else f"{other}_unknown_reduced_{left:.2f}"
        return f"{other}_{c:.2f}_reduced_{left:.2f}"

    def among_positions(self) -> Pairs:
        """The harmful correlations between the open positions, of pairs in different symbols."""
        found = []
        for i in range(len(self._rows)):
            later = np.flatnonzero(self._rows[i + 1 :] != self._rows[i]) + i + 1
            rho = self._prices.correlations(int(self._rows[i]), self._rows[later])
            found += (rho * (self._signs[later] * self._signs[i])).tolist()
        return Pairs(max((c for c in found if c > 0.0), default=0.0), sum(math.isnan(c) for c in found))


class Pairs(NamedTuple):
    """The largest known harmful correlation, 0 where there is none, and how many pairs are not known."""

    largest: float
    unknown: int
