"""Correlations of log returns between symbols whose closes arrive while the book is traded.

Two symbols are compared on the timestamps that both have: a return runs from one common timestamp to the next, so the
weekend of one market is never set against a day of another. What closes change is computed when they arrive, so that to
ask costs nothing; symbols with different timestamps are aligned when a pair is first asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.errors import InputError
from kernels.timestamps import IntArray, said

FloatArray = NDArray[np.float64]
KEPT = 10  # closes kept of a symbol, in lookbacks: as many as a market open one bar in ten needs to have them in common
# The logarithm of a price below e^20 is rounded by 20 * 2**-53 < 3e-15, a return by twice that: deviations below this are
# rounding, not movement.
NO_MOVEMENT = 1e-12
ROUNDING = (
    1e-12  # a correlation this near 1 is 1: sums of n products of returns are off by n * 2**-53, for n below 4500
)


class Comovement:
    """Closes by symbol, and the correlation of any two over their last `lookback` common log returns, at least `least`.

    Not thread-safe: its owner holds a lock.
    """

    def __init__(self, lookback: int, least: int) -> None:
        self.lookback, self.least = lookback, least
        self._row: dict[str, int] = {}
        self._stamps: list[IntArray] = []
        self._logs: list[FloatArray] = []
        self._calendar: list[bytes] = []  # the timestamps of the last `lookback` returns: equal ones need no alignment
        self._unit = np.zeros((0, lookback))  # returns of each symbol, centred and of length 1
        self._rho = np.zeros((0, 0))
        self._stale = np.zeros((0, 0), dtype=bool)  # pairs that must be aligned when they are next asked for
        self._any_stale: list[bool] = []

    def row(self, symbol: str) -> int:
        """The number of a symbol, which is given one at its first mention."""
        if symbol not in self._row:
            self._row[symbol] = len(self._row)
            self._stamps.append(np.zeros(0, dtype=np.int64))
            self._logs.append(np.zeros(0))
            self._calendar.append(b"")
            self._any_stale.append(False)
            if len(self._row) > len(self._rho):
                self._grow(max(16, 2 * len(self._rho)))
        return self._row[symbol]

    def _grow(self, size: int) -> None:
        more = size - len(self._rho)
        self._unit = np.pad(self._unit, ((0, more), (0, 0)), constant_values=np.nan)
        self._rho = np.pad(self._rho, (0, more), constant_values=np.nan)
        self._stale = np.pad(self._stale, (0, more))
        self._no_pair_of_one()

    def _no_pair_of_one(self) -> None:
        """A symbol is no other symbol: it is never too close to itself."""
        np.fill_diagonal(self._rho, 0.0)
        np.fill_diagonal(self._stale, False)

    def check(self, stamps: IntArray, closes: Mapping[str, FloatArray]) -> list[str]:
        """What is wrong with closes (T,) of some symbols at timestamps (T,); empty where they can be taken."""
        problems = []
        for symbol, values in closes.items():
            where = f"prices of {symbol}"
            if values.shape != stamps.shape:
                problems.append(
                    f"{where}: one close per timestamp, got {values.size} closes and {stamps.size} timestamps"
                )
                continue
            bad = np.flatnonzero(~(np.isfinite(values) & (values > 0.0)))
            if bad.size:
                problems.append(
                    f"{where}: a close is finite and above 0, got {values[bad[0]]:g} at {said(stamps[bad[0]])}; "
                    "leave out bars without a price"
                )
            known = self._stamps[self._row[symbol]][-1:] if symbol in self._row else stamps[:0]
            problems += [f"{where}: {problem}" for problem in _order(np.concatenate([known, stamps]))]
        return problems

    def update(self, stamps: IntArray, closes: Mapping[str, FloatArray]) -> None:
        """Take closes that `check` found nothing wrong with; InputError where it does."""
        if problems := self.check(stamps, closes):
            raise InputError(problems)
        changed = [self.row(symbol) for symbol in closes]
        keep = KEPT * (self.lookback + 1)
        for i, values in zip(changed, closes.values(), strict=True):
            self._stamps[i] = np.concatenate([self._stamps[i], stamps])[-keep:]
            self._logs[i] = np.concatenate([self._logs[i], np.log(values)])[-keep:]
            self._calendar[i] = self._stamps[i][-self.lookback - 1 :].tobytes()
            self._unit[i] = self._unit_returns(self._logs[i][-self.lookback - 1 :])
        self._stale[changed] = True
        self._stale[:, changed] = True
        for calendar in {self._calendar[i] for i in changed}:
            rows = [i for i in changed if self._calendar[i] == calendar]
            members = [i for i, other in enumerate(self._calendar) if other == calendar]
            # einsum adds in one order whatever the neighbours, which a matrix product does not promise
            rho = np.einsum("ik,jk->ij", self._unit[rows], self._unit[members])
            self._know(np.ix_(rows, members), rho)
            self._know(np.ix_(members, rows), rho.T)
        n = len(self._row)
        self._any_stale = [bool(row.any()) for row in self._stale[:n, :n]]

    def _know(self, where: Any, rho: Any) -> None:
        self._rho[where] = np.where(np.abs(rho) > 1.0 - ROUNDING, np.sign(rho), rho)
        self._stale[where] = False
        self._no_pair_of_one()

    def find(self, name: str) -> int:
        """The number of a symbol, -1 where nothing is known of it: to ask registers nothing."""
        return self._row.get(name, -1)

    def correlations(self, symbol: int, others: IntArray) -> FloatArray:
        """Correlation of one symbol with others, by row number, same shape as `others`.

        NaN where it is not known, 0 with itself.
        """
        if symbol < 0:
            return np.full(others.shape, np.nan)
        if self._any_stale[symbol]:
            for other in set(others[self._stale[symbol, others]].tolist()):
                rho = self._aligned(symbol, other)
                self._know((symbol, other), rho)
                self._know((other, symbol), rho)
        found: FloatArray = self._rho[symbol].take(others)
        return found

    def _aligned(self, one: int, other: int) -> float:
        """Correlation of two symbols on the timestamps they have in common."""
        _, mine, its = np.intersect1d(self._stamps[one], self._stamps[other], assume_unique=True, return_indices=True)
        last = slice(-self.lookback - 1, None)
        units = [
            self._unit_returns(logs[common[last]])
            for logs, common in ((self._logs[one], mine), (self._logs[other], its))
        ]
        return float(np.einsum("k,k->", *units))

    def _unit_returns(self, logs: FloatArray) -> FloatArray:
        """Differences of log prices (n + 1,), centred and of length 1, after zeros: (lookback,); NaN where nothing moved."""
        returns = np.diff(logs)
        unit = np.zeros(self.lookback)
        if returns.size < self.least:
            unit[:] = np.nan
            return unit
        returns -= returns.mean()
        length = float(np.sqrt(np.einsum("k,k->", returns, returns)))
        unit[-returns.size :] = returns / length if length > NO_MOVEMENT * np.sqrt(returns.size) else np.nan
        return unit


def _order(stamps: IntArray) -> list[str]:
    """Timestamps that stand twice or go back."""
    steps = np.diff(stamps)
    problems = []
    if (twice := np.flatnonzero(steps == 0)).size:
        problems.append(f"duplicate timestamp {said(stamps[twice[0]])}; send each bar once")
    if (back := np.flatnonzero(steps < 0)).size:
        at = back[0]
        problems.append(
            f"out of order, {said(stamps[at + 1])} after {said(stamps[at])}; send closes in the order of time"
        )
    return problems
