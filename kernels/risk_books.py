"""What a trader holds, as the limits count it: notional by symbol, side and regime."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, get_args

from kernels.errors import InputError

Side = Literal["long", "short"]
SIDES: tuple[Side, ...] = get_args(Side)
SIGN: dict[str, float] = {"long": 1.0, "short": -1.0}
ROUNDING = 1e-9  # of a position: fills in pieces add up to the whole only nearly


class Books:
    """Positions in account currency: at most one long and one short per symbol, each by the regimes it was opened in.

    A second opening of a side adds to it, since fills come in pieces. Sums are exact (`math.fsum`), so they do not depend
    on the order in which positions came. InputError names what cannot be entered. Not thread-safe: its owner holds a lock.
    """

    def __init__(self) -> None:
        self._pieces: dict[tuple[str, str], dict[str | None, float]] = {}
        self._totals: dict[tuple[str, str], float] = {}
        self._sides = dict.fromkeys(SIGN, 0.0)
        self._regimes: dict[str, float] = {}

    def open(self, symbol: str, side: str, notional: float, regime: str | None = None) -> None:
        """Enter a fill."""
        known(symbol, side, regime)
        pieces = self._pieces.get((symbol, side), {})
        added = pieces | {regime: pieces.get(regime, 0.0) + above_zero("open", symbol, notional)}
        self._enter(symbol, side, added)

    def close(self, symbol: str, side: str | None = None, notional: float | None = None) -> None:
        """Take out a position, or `notional` of it in equal shares of its regimes; `side` may be left out where one is held."""
        side = self._one_side("close", symbol, side)
        held = self._totals[symbol, side]
        amount = held if notional is None else above_zero("close", symbol, notional)
        if amount > held * (1.0 + ROUNDING):
            raise InputError(
                f"close: {held:.2f} {side} of {symbol!r} is held, got {amount:.2f}; close at most what is held"
            )
        left = max(0.0, 1.0 - amount / held)
        self._scale(symbol, side, left if left > ROUNDING else 0.0)

    def mark(self, symbol: str, side: str | None, notional: float) -> None:
        """Say what a position is worth now."""
        side = self._one_side("mark", symbol, side)
        self._scale(symbol, side, above_zero("mark", symbol, notional) / self._totals[symbol, side])

    def _one_side(self, what: str, symbol: str, side: str | None) -> str:
        known(symbol, "long" if side is None else side)
        held = [s for s in SIGN if (symbol, s) in self._totals]
        if not held:
            has = ", ".join(sorted({name for name, _ in self._totals})) or "nothing"
            raise InputError(f"{what}: no position in {symbol!r} is open; open: {has}")
        if side is None and len(held) > 1:
            raise InputError(f"{what}: {symbol!r} is held long and short; say which side")
        if side is not None and side not in held:
            raise InputError(f"{what}: {symbol!r} is held {held[0]}, not {side}")
        return held[0] if side is None else side

    def _scale(self, symbol: str, side: str, by: float) -> None:
        pieces = self._pieces[symbol, side]
        self._enter(symbol, side, {regime: amount * by for regime, amount in pieces.items()} if by else {})

    def _enter(self, symbol: str, side: str, pieces: dict[str | None, float]) -> None:
        key = (symbol, side)
        touched = set(pieces) | set(self._pieces.get(key, {}))
        if pieces:  # a position that is added to keeps its place
            self._pieces[key] = pieces
            self._totals[key] = math.fsum(pieces.values())
        else:
            del self._pieces[key], self._totals[key]
        self._sides[side] = math.fsum(total for (_, s), total in self._totals.items() if s == side)
        for regime in touched - {None}:
            amounts = [p[regime] for p in self._pieces.values() if regime in p]
            self._regimes.pop(str(regime), None)
            if amounts:
                self._regimes[str(regime)] = math.fsum(amounts)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """(symbol, side) of every position."""
        return iter(self._totals)

    def __len__(self) -> int:
        return len(self._totals)

    def held(self, symbol: str, side: str) -> float:
        """Notional of one position, 0 where there is none."""
        return self._totals.get((symbol, side), 0.0)

    def total(self, side: str) -> float:
        """Notional of all positions of a side."""
        return self._sides[side]

    def in_regime(self, regime: str) -> float:
        """Notional of all that was opened in a regime."""
        return self._regimes.get(regime, 0.0)

    @property
    def regimes(self) -> dict[str, float]:
        """Notional by regime."""
        return dict(self._regimes)


def known(symbol: object, side: object, regime: object = None) -> None:
    """InputError where a symbol or a regime is no name, or a side is not long or short."""
    if not isinstance(symbol, str) or not symbol:
        raise InputError(f"symbol: give its name, got {symbol!r}")
    if side not in SIGN:
        raise InputError(f"side of {symbol!r}: choose one of {', '.join(SIGN)}, got {side!r}")
    if not (regime is None or isinstance(regime, str)):
        raise InputError(f"regime of {symbol!r}: give its name, or None where there is none, got {regime!r}")


def amount(value: object) -> float:
    """A number as a float, NaN for what is none."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan


def above_zero(what: str, symbol: str, notional: object) -> float:
    """A notional in account currency; InputError where it is not a finite number above 0."""
    value = amount(notional)
    if not (math.isfinite(value) and value > 0.0):
        raise InputError(f"{what}: the notional of {symbol!r} is a finite amount above 0, got {notional!r}")
    return value
