"""The numbers of the risk limits and of the drawdown guard: defaults, bounds, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from kernels.errors import InputError

Exposure = Literal["net", "gross"]
OnUnknown = Literal["cap", "ignore"]
EXPOSURES: tuple[Exposure, ...] = get_args(Exposure)
ON_UNKNOWN: tuple[OnUnknown, ...] = get_args(OnUnknown)
SECTION = "risk_limits"
GUARD_SECTION = "drawdown_guard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a book, as fractions of equity; InputError names every number out of bounds.

    `symbol_limit` bounds what is held of one symbol: longs less shorts (`exposure: net`, so that a hedge frees room) or
    longs plus shorts (`gross`). `direction_limit` bounds all longs, or all shorts; `regime_limit` all that was opened in
    one regime. An order whose correlation with a held position, of the last `correlation_lookback` returns (at least
    `correlation_common` of them), is beyond `correlation_limit` is cut, by at most `correlation_cut` (0: not at all;
    1: it may be refused). A correlation that is not known counts as 1 (`on_unknown: cap`) or is passed over (`ignore`).
    `pyramiding` allows a second order on a side that is already held; `allow_leverage` limits above 1.
    """

    enabled: bool = True
    symbol_limit: float = 0.25
    direction_limit: float = 0.60
    regime_limit: float = 0.50
    exposure: Exposure = "net"
    pyramiding: bool = False
    allow_leverage: bool = False
    correlation_limit: float = 0.85
    correlation_cut: float = 0.75
    correlation_lookback: int = 100
    correlation_common: int = 30
    on_unknown: OnUnknown = "cap"

    def __post_init__(self) -> None:
        problems = [*self._switches(), *self._exposures(), *self._correlations()]
        if problems:
            raise InputError(problems)

    def _switches(self) -> Iterator[str]:
        for name in ("enabled", "pyramiding", "allow_leverage"):
            if not isinstance(value := getattr(self, name), bool):
                yield f"{SECTION}.{name}: give true or false, got {value!r}"
        for name, choices in (("exposure", EXPOSURES), ("on_unknown", ON_UNKNOWN)):
            if (value := getattr(self, name)) not in choices:
                yield f"{SECTION}.{name}: choose one of {', '.join(choices)}, got {value!r}"

    def _exposures(self) -> Iterator[str]:
        for name in ("symbol_limit", "direction_limit", "regime_limit"):
            value = getattr(self, name)
            if not _number(value) or value < 0.0:
                yield f"{SECTION}.{name}: a share of equity of 0 or more must hold, got {value!r}"
            elif value > 1.0 and self.allow_leverage is not True:
                yield (
                    f"{SECTION}.{name}: at most 1 must hold where leverage is not allowed, got {value!r}; "
                    f"set {SECTION}.allow_leverage: true for a book that may hold more than its equity"
                )

    def _correlations(self) -> Iterator[str]:
        if not _number(self.correlation_limit) or not 0.0 <= self.correlation_limit < 1.0:
            yield (
                f"{SECTION}.correlation_limit: from 0 to below 1 must hold, got {self.correlation_limit!r}; "
                "correlation_cut: 0 switches the limit off"
            )
        if not _number(self.correlation_cut) or not 0.0 <= self.correlation_cut <= 1.0:
            yield f"{SECTION}.correlation_cut: from 0 to 1 must hold, got {self.correlation_cut!r}"
        common, lookback = self.correlation_common, self.correlation_lookback
        whole = {"correlation_common": common, "correlation_lookback": lookback}
        wrong = [name for name, value in whole.items() if not _whole(value) or value < 3]
        yield from (f"{SECTION}.{name}: a whole number of 3 or more must hold, got {whole[name]!r}" for name in wrong)
        if not wrong and common > lookback:
            yield (
                f"{SECTION}: correlation_common <= correlation_lookback must hold, "
                f"got correlation_common={common}, correlation_lookback={lookback}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardLimits:
    """When a drawdown stops new orders; InputError names every number out of bounds.

    `daily_loss` is of the equity the day (UTC) began with, `drawdown` of the highest equity so far, both fractions;
    `losses` are losing trades in a row. `cool_down_hours` pass at least before orders are allowed again. From the share
    `warn_at` of a limit on there is a warning.
    """

    daily_loss: float = 0.05
    drawdown: float = 0.20
    losses: int = 5
    cool_down_hours: float = 24.0
    warn_at: float = 0.80

    def __post_init__(self) -> None:
        problems = [
            f"{GUARD_SECTION}.{name}: above 0 and at most 1 must hold, got {value!r}"
            for name in ("daily_loss", "drawdown", "warn_at")
            if not _number(value := getattr(self, name)) or not 0.0 < value <= 1.0
        ]
        if not _whole(self.losses) or self.losses < 1:
            problems.append(f"{GUARD_SECTION}.losses: a whole number of 1 or more must hold, got {self.losses!r}")
        if not _number(self.cool_down_hours) or self.cool_down_hours < 0.0:
            problems.append(f"{GUARD_SECTION}.cool_down_hours: 0 or more must hold, got {self.cool_down_hours!r}")
        if problems:
            raise InputError(problems)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
