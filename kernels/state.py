"""The state a bar step carries from bar to bar: nested NamedTuples whose leaves say what they start as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Leaf:
    """One carried number: its value before the first bar, and whether there is one per asset or one per configuration."""

    start: float
    per_asset: bool
    wide: bool = False


def per_asset(start: float) -> Any:
    """A carried number per asset, (A, C), that starts as `start`."""
    return Leaf(float(start), per_asset=True)


def scalar(start: float) -> Any:
    """A carried number per configuration, (C,), that starts as `start`."""
    return Leaf(float(start), per_asset=False)


def accumulator(start: float) -> Any:
    """A carried number per configuration, (C,), kept in float64 whatever the precision of the rest."""
    return Leaf(float(start), per_asset=False, wide=True)


def leaves(state: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of a nested state by dotted name, in declaration order."""
    if not hasattr(state, "_fields"):
        return {prefix.rstrip("."): state}
    return {n: v for f in state._fields for n, v in leaves(getattr(state, f), f"{prefix}{f}.").items()}


def rebuild(template: Any, make: Callable[[str, Any], Any], prefix: str = "") -> Any:
    """A state shaped like `template` with `make(dotted name, leaf)` in each leaf's place."""
    if not hasattr(template, "_fields"):
        return make(prefix.rstrip("."), template)
    return type(template)(*(rebuild(getattr(template, f), make, f"{prefix}{f}.") for f in template._fields))
