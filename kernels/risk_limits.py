"""Limits that a trading program asks before each order: they can reduce or refuse it, never enlarge it.

    limits = RiskLimits(Limits(symbol_limit=0.25), equity=100_000.0)
    decision = limits.check_and_open("BTC", "long", 40_000.0)
    if decision.allowed: send(40_000.0 * decision.multiplier)

The rule is `kernels.risk_rule`; docs/risk_limits.md has the whole order of a live integration.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kernels.closeness import Closeness
from kernels.errors import InputError
from kernels.risk_books import Books, amount, known
from kernels.risk_rule import LARGEST_OPTIMISER, composed, exposure_multiplier, fits
from kernels.risk_settings import Limits
from kernels.timestamps import microseconds

logger = logging.getLogger(__name__)
LINE = "[PORTFOLIO_RISK] %s symbol=%r side=%s notional=%s equity=%s regime=%r multiplier=%.4f reasons=%s"


class Decision(NamedTuple):
    """What the limits say of an order: whether it may be sent, the share of it that may, and why. False where refused."""

    allowed: bool
    multiplier: float  # 0 to 1
    reasons: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.allowed


DISABLED = Decision(True, 1.0, ("disabled",))


@dataclass(frozen=True, slots=True)
class Stats:
    """The book as the limits see it; exposures are fractions of equity, NaN while equity is not above 0.

    `symbol_exposures` are signed where exposure is net. `max_correlation` is the largest harmful correlation between two
    open positions, 0 where there is none, of those that are known; `unknown_correlations` counts pairs that are not.
    `blocked_trades` and `reduced_trades` count answers, of `check` and `check_and_open` alike.
    """

    enabled: bool
    open_positions: int
    total_exposure: float
    long_exposure: float
    short_exposure: float
    max_correlation: float
    unknown_correlations: int
    blocked_trades: int
    reduced_trades: int
    regime_exposures: dict[str, float]
    symbol_exposures: dict[str, float]


class RiskLimits:
    """Limits on the exposure and the correlation of a book; safe to share between threads.

    Told what happens (`open`, `close`, `mark`, `update_equity`, `update_prices`), it answers what may happen (`check`).
    Amounts are notional in account currency. `check` registers nothing, so two threads that ask at once may both be
    allowed the same room: `check_and_open` answers and takes the room in one step. Until it is told an equity above 0, it
    refuses every order.
    """

    def __init__(self, limits: Limits | None = None, *, equity: float = math.nan) -> None:
        self.limits = limits or Limits()
        self._lock = threading.Lock()
        self._equity = amount(equity)
        self._books = Books()
        self._closeness = Closeness(self.limits)
        self._blocked = self._reduced = 0

    # ---- what happened

    def update_equity(self, equity: float) -> None:
        """The account's equity now. What is not a finite number above 0 is taken too: every order is refused until one is."""
        with self._lock:
            self._equity = amount(equity)

    def update_prices(self, timestamps: Any, closes: Mapping[str, Any]) -> None:
        """New closes by symbol: one bar (a timestamp, a number each) or several (timestamps (T,), closes (T,) each).

        InputError, and nothing is taken, where one is not above 0, stands twice, or is older than what is known.
        """
        stamps = microseconds("update_prices", timestamps)
        taken = {}
        for symbol, values in closes.items():
            known(symbol, "long")
            try:
                taken[symbol] = np.atleast_1d(np.asarray(values, dtype=np.float64))
            except (TypeError, ValueError):
                raise InputError(f"prices of {symbol}: closes are numbers, got {values!r}") from None
        with self._lock:
            self._closeness.update_prices(stamps, taken)

    def open(self, symbol: str, side: str, notional: float, regime: str | None = None) -> None:
        """A fill, in the regime that its order was checked with; a second one of the same side adds to it."""
        with self._lock:
            self._open(symbol, side, notional, regime)

    def close(self, symbol: str, side: str | None = None, notional: float | None = None) -> None:
        """A position closed, or `notional` of it; InputError where it is not held."""
        with self._lock:
            self._books.close(symbol, side, notional)
            self._closeness.update_positions(self._books)

    def mark(self, symbol: str, side: str | None, notional: float) -> None:
        """What a position is worth now, for limits on market values; else it counts what was paid for it."""
        with self._lock:
            self._books.mark(symbol, side, notional)

    # ---- what may happen

    def check(self, symbol: str, side: str, notional: float, regime: str | None = None) -> Decision:
        """What the limits say of an order; registers nothing. Two threads may be given the same room: `check_and_open`."""
        with self._lock:
            decision = self._counted(symbol, side, notional, regime)
            equity = self._equity
        return self._said(decision, symbol, side, notional, regime, equity)

    def check_and_open(self, symbol: str, side: str, notional: float, regime: str | None = None) -> Decision:
        """`check`, and where it is allowed `open` of what is left of the order, before any other thread is answered.

        What is not filled in the end is given back by `close(symbol, side, unfilled)`.
        """
        with self._lock:
            decision = self._counted(symbol, side, notional, regime)
            equity = self._equity
            if decision.allowed:
                self._open(symbol, side, amount(notional) * decision.multiplier, regime)
        return self._said(decision, symbol, side, notional, regime, equity)

    def stats(self) -> Stats:
        """The book as the limits see it."""
        with self._lock:
            books, equity = self._books, self._equity if 0.0 < self._equity < math.inf else math.nan
            long, short = books.total("long") / equity, books.total("short") / equity
            pairs = self._closeness.among_positions()
            both = -1.0 if self.limits.exposure == "net" else 1.0
            return Stats(
                enabled=self.limits.enabled,
                open_positions=len(books),
                total_exposure=long + short,
                long_exposure=long,
                short_exposure=short,
                max_correlation=pairs.largest,
                unknown_correlations=pairs.unknown,
                blocked_trades=self._blocked,
                reduced_trades=self._reduced,
                regime_exposures={regime: held / equity for regime, held in books.regimes.items()},
                symbol_exposures={
                    name: (books.held(name, "long") + both * books.held(name, "short")) / equity
                    for name in dict.fromkeys(name for name, _ in books)
                },
            )

    # ---- the rule asked

    def _decide(self, symbol: str, side: str, notional: float, regime: str | None) -> Decision:
        limits, equity = self.limits, self._equity
        if not limits.enabled:
            return DISABLED
        known(symbol, side, regime)
        wanted = amount(notional)
        if not (math.isfinite(wanted) and wanted > 0.0):
            return _refused("invalid_size")
        if not (math.isfinite(equity) and equity > 0.0):
            return _refused("invalid_equity")
        if not limits.pyramiding and self._books.held(symbol, side):
            return _refused("position_already_exists")
        if (size := wanted / equity) == 0.0:  # too small for a number: its room would be a ratio to nothing
            return _refused("invalid_size")
        multiplier, reasons = 1.0, list[str]()
        for kind, limit, held in self._exposures(symbol, side, regime):
            if fits(limit, held / equity, size):
                continue
            left = exposure_multiplier(limit, held / equity, size)
            if left == 0.0:
                return _refused(*reasons, f"{kind}_exposure_limit_exceeded")
            multiplier = min(multiplier, left)
            reasons.append(f"{kind}_exposure_reduced_{left:.2f}")
        too_close, left = self._closeness.ask(symbol, side)
        if left <= 0.0:
            return _refused(*reasons, *too_close)
        return Decision(True, min(multiplier, left), (*reasons, *too_close))

    def _exposures(self, symbol: str, side: str, regime: str | None) -> list[tuple[str, float, float]]:
        """(kind, its limit, what is held of it in the order's direction) of each limit on exposure, in the rule's order."""
        books, limits = self._books, self.limits
        other = books.held(symbol, "short" if side == "long" else "long")
        held = books.held(symbol, side) + (-other if limits.exposure == "net" else other)
        kinds = [("symbol", limits.symbol_limit, held), ("direction", limits.direction_limit, books.total(side))]
        if regime is not None:
            kinds.append(("regime", limits.regime_limit, books.in_regime(regime)))
        return kinds

    def _open(self, symbol: str, side: str, notional: float, regime: str | None) -> None:
        self._books.open(symbol, side, notional, regime)
        self._closeness.update_positions(self._books)

    def _counted(self, symbol: str, side: str, notional: float, regime: str | None) -> Decision:
        decision = self._decide(symbol, side, notional, regime)
        self._blocked += not decision.allowed
        self._reduced += decision.allowed and decision.multiplier < 1.0
        return decision

    def _said(
        self, decision: Decision, symbol: str, side: str, notional: float, regime: str | None, equity: float
    ) -> Decision:
        """The decision, after its line in the log where it is a refusal or a reduction; never under the lock."""
        if decision.multiplier < 1.0:
            what = "reduced" if decision.allowed else "refused"
            reasons = list(decision.reasons)
            logger.warning(LINE, what, symbol, side, notional, equity, regime, decision.multiplier, reasons)
        return decision


def final_size(base: float, *, optimiser: float = 1.0, guard: float = 1.0, limits: float = 1.0) -> float:
    """The size to send, in account currency: base * optimiser * guard * limits; InputError where one is out of its range.

    >>> final_size(20_000.0, optimiser=2.0, guard=1.0, limits=0.625)
    25000.0
    """
    problems = [
        f"{name}: {rule} must hold, got {value!r}"
        for name, value, rule, kept in (
            ("base", base, "a finite amount of 0 or more", 0.0 <= base < math.inf),
            ("optimiser", optimiser, f"from 0 to {LARGEST_OPTIMISER:g}", 0.0 <= optimiser <= LARGEST_OPTIMISER),
            ("guard", guard, "0 or 1", guard in (0.0, 1.0)),
            ("limits", limits, "from 0 to 1", 0.0 <= limits <= 1.0),
        )
        if not kept
    ]
    if problems:
        raise InputError(problems)
    return float(composed(base, optimiser, guard, limits))


def _refused(*reasons: str) -> Decision:
    return Decision(False, 0.0, reasons)
