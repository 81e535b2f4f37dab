"""The drawdown guard: no new orders after too large a loss, told by the caller's clock.

A limit that comes to be reached halts trading for at least the cool-down. The loss of the day is forgotten when the next
day (UTC) begins, losses in a row when a cool-down ends; the drawdown from the peak holds until equity recovers or a person
says `restart`.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from kernels.errors import InputError
from kernels.risk_books import amount
from kernels.risk_rule import drawdown_guard
from kernels.risk_settings import GuardLimits
from kernels.timestamps import DAY, HOUR, microseconds, said

logger = logging.getLogger(__name__)
LINE = "[PORTFOLIO_RISK] drawdown guard %s time='%s' equity=%s peak=%s losses=%d reasons=%s"
NEVER = -(2**62)  # microseconds
EARLY = (
    1e-12  # a loss of exactly 4 % of 5 % is 0.8 of it but for rounding: a warning may come that much early, never late
)


class GuardDecision(NamedTuple):
    """Whether new orders are allowed (a multiplier of 0 or 1), what forbids them, what is near its limit. False if halted."""

    allowed: bool
    multiplier: float
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.allowed


class GuardState(NamedTuple):
    """All that the guard remembers; times in microseconds UTC, equity the last one that was above 0."""

    time: int = NEVER
    sound: bool = False  # whether the last equity it was told was one
    equity: float = math.nan
    peak: float = math.nan
    day_began_with: float = math.nan
    losses: int = 0
    halted_at: int = NEVER


class DrawdownGuard:
    """Watches equity and closed trades; safe to share between threads.

    Timestamps never go back (InputError). Until it is told an equity above 0, no order is allowed.
    """

    def __init__(self, limits: GuardLimits | None = None) -> None:
        self.limits = limits or GuardLimits()
        self._lock = threading.Lock()
        self._state = GuardState()

    def update_equity(self, timestamp: Any, equity: float) -> GuardDecision:
        """The account's equity at a time. What is not a finite number above 0 allows no order until one is."""
        return self._take(timestamp, lambda state: _with_equity(state, amount(equity)))

    def record_trade(self, timestamp: Any, profit: float) -> GuardDecision:
        """A closed trade: below 0 it is a loss, else it ends the losses in a row. A profit that is no number is a loss."""
        won = amount(profit) >= 0.0
        return self._take(timestamp, lambda state: state._replace(losses=0 if won else state.losses + 1))

    def restart(self, timestamp: Any) -> GuardDecision:
        """A person's decision to trade on: peak and day begin anew with the equity of now, losses and halts are forgotten."""
        decision = self._take(timestamp, lambda s: GuardState(s.time, s.sound, s.equity, s.equity, s.equity))
        state = self._state
        logger.warning(
            LINE, "restarted", said(state.time), state.equity, state.peak, state.losses, list(decision.reasons)
        )
        return decision

    def check(self, timestamp: Any) -> GuardDecision:
        """Whether new orders are allowed at a time; registers nothing."""
        with self._lock:
            return self._judged(self._at(timestamp))

    def _take(self, timestamp: Any, event: Callable[[GuardState], GuardState]) -> GuardDecision:
        with self._lock:
            was = self._judged(self._state)
            before = self._at(timestamp)
            after = event(before)
            if self._reached(after) - self._reached(before):
                after = after._replace(halted_at=after.time)
            self._state, now = after, self._judged(after)
        _said(was, now, after)
        return now

    def _at(self, timestamp: Any) -> GuardState:
        """The state when that time has come and nothing else has happened."""
        state, moments = self._state, microseconds("drawdown guard", timestamp)
        if moments.size != 1:
            raise InputError(f"drawdown guard: give one timestamp, got {moments.size}")
        if (moment := int(moments[0])) < state.time:
            raise InputError(f"drawdown guard: timestamps never go back, got {said(moment)} after {said(state.time)}")
        if moment // DAY > state.time // DAY:
            state = state._replace(day_began_with=state.equity)
        state = state._replace(time=moment)
        return state if state.halted_at == NEVER or self._cooling(state) else state._replace(losses=0, halted_at=NEVER)

    def _cooling(self, state: GuardState) -> bool:
        return state.halted_at != NEVER and state.time - state.halted_at < self.limits.cool_down_hours * HOUR

    def _measures(self, state: GuardState) -> dict[str, tuple[float, float]]:
        """(measure, its limit) by name."""
        return {
            "daily_loss": (_fallen(state.day_began_with, state.equity), self.limits.daily_loss),
            "total_drawdown": (_fallen(state.peak, state.equity), self.limits.drawdown),
            "consecutive_losses": (float(state.losses), float(self.limits.losses)),
        }

    def _reached(self, state: GuardState) -> set[str]:
        return {name for name, (measure, limit) in self._measures(state).items() if measure >= limit}

    def _judged(self, state: GuardState) -> GuardDecision:
        measures, reached = self._measures(state), self._reached(state)
        values = [number for pair in measures.values() for number in pair]
        multiplier = float(drawdown_guard(*values)) * state.sound * (not self._cooling(state))
        reasons = ["invalid_equity"] if not state.sound else []
        reasons += [f"{name}_limit_reached" for name in measures if name in reached]
        reasons += ["cool_down"] if self._cooling(state) else []
        warnings = [
            f"{name}_warning"
            for name, (measure, limit) in measures.items()
            if name not in reached and measure >= self.limits.warn_at * limit * (1.0 - EARLY)
        ]
        return GuardDecision(multiplier == 1.0, multiplier, tuple(reasons), tuple(warnings))


def _with_equity(state: GuardState, equity: float) -> GuardState:
    if not (math.isfinite(equity) and equity > 0.0):
        return state._replace(sound=False)
    if math.isnan(state.equity):
        return state._replace(sound=True, equity=equity, peak=equity, day_began_with=equity)
    return state._replace(sound=True, equity=equity, peak=max(state.peak, equity))


def _fallen(top: float, now: float) -> float:
    """The share lost since `top`, 0 or less where nothing is."""
    return (top - now) / top


def _said(was: GuardDecision, now: GuardDecision, state: GuardState) -> None:
    """A line in the log for every new halt, warning and release."""
    news = [("halted", set(now.reasons) - set(was.reasons)), ("warning", set(now.warnings) - set(was.warnings))]
    for what, names in news:
        if names:
            logger.warning(LINE, what, said(state.time), state.equity, state.peak, state.losses, sorted(names))
    if now.allowed and not was.allowed:
        logger.info(LINE, "released", said(state.time), state.equity, state.peak, state.losses, list(was.reasons))
