"""The backends, and the one place where one of them is chosen.

NumPy is the meaning and always there; Numba and CuPy are imported only when asked for, so that `kernels` works without.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernels.backends.numpy import NumpyBackend
from kernels.errors import InputError
from kernels.launch import Backend
from kernels.limit_planes import limit_planes
from kernels.option_market import OptionMarket
from kernels.planes import planes_of
from kernels.program import Program, trace
from kernels.risk_settings import Limits
from kernels.schedule import schedule
from kernels.strategy import Strategy

BACKENDS = ("numpy", "numba", "cuda")
PRECISIONS = ("float64", "mixed")


@dataclass(frozen=True)
class Choice:
    """A backend and why it was chosen."""

    backend: Backend
    reason: str


def why_not(name: str) -> str | None:
    """Why a backend cannot be used here, in a sentence; None where it can.

    >>> why_not("numpy")
    """
    if name == "cuda":
        from kernels.backends import cuda

        return cuda.why_not()
    if name == "numba":
        try:
            import numba  # noqa: F401
        except ImportError as error:
            return f"Numba is not installed ({error})"
    return None


def choose(name: str = "auto", precision: str = "float64", *, threads: int | None = None) -> Choice:
    """The backend of that name, or with `auto` the fastest that works here: cuda, then numba, then numpy.

    `threads` bounds the Numba backend's threads (all cores by default).

    Raises
    ------
    InputError
        An unknown name, a backend that cannot be used here, or `mixed` precision on NumPy.
    """
    if name not in ("auto", *BACKENDS):
        raise InputError(f"compute.backend: choose one of auto, {', '.join(BACKENDS)}, got {name!r}")
    if precision not in PRECISIONS:
        raise InputError(f"compute.precision: choose one of {', '.join(PRECISIONS)}, got {precision!r}")
    reasons = {b: why_not(b) for b in ("cuda", "numba") if name in ("auto", b)}
    if name != "auto" and (reason := reasons.get(name)):
        raise InputError(
            f"compute.backend: {name} was asked for, but {reason}; use backend: auto to take the next best"
        )
    chosen = name if name != "auto" else next((b for b, reason in reasons.items() if reason is None), "numpy")
    missing = "; ".join(f"{b}: {reason}" for b, reason in reasons.items() if reason)
    why = "asked for" if name != "auto" else f"the fastest that works here{f' ({missing})' if missing else ''}"
    if chosen == "cuda":
        from kernels.backends.cuda import CudaBackend

        return Choice(CudaBackend(precision), why)
    if chosen == "numba":
        from kernels.backends.numba import NumbaBackend

        return Choice(NumbaBackend(precision) if threads is None else NumbaBackend(precision, threads), why)
    if precision == "mixed":
        raise InputError("compute.precision: mixed is for the compiled backends (numba, cuda); numpy works in float64")
    return Choice(NumpyBackend(), why)


def plane_kinds(strategy: Strategy, n_assets: int) -> dict[str, bool]:
    """Every plane that a kernel of so many assets may read, and whether it has a value per asset.

    >>> from kernels import STRATEGIES
    >>> plane_kinds(STRATEGIES["tsmom_hedge"], 8)["signal"]
    True
    """
    from kernels.strategy_check import tiny_market  # here, since it imports backends

    kinds = planes_of(strategy)
    market = tiny_market(strategy)
    whole = 3 if strategy.market is OptionMarket else 2
    for plane in strategy.planes:
        each = bool(plane.keys) or plane.stacked or np.ndim(plane.compute(market)) == whole
        kinds = kinds | dict.fromkeys(plane.names(n_assets), each)
    return kinds


def generated_source(
    strategy: Strategy, backend: str, *, n_assets: int, precision: str = "float64", limits: Limits | None = None
) -> str:
    """The source that a compiled backend generates from a strategy, every parameter in use and every bank shared.

    InputError for a backend that generates none.
    """
    program = Program(strategy, n_assets, limits=limits if limits and limits.enabled else None)
    own = {name: True for plane in limit_planes(program.limits, n_assets) for name in plane.names(n_assets)}
    plan = schedule(trace(program, plane_kinds(strategy, n_assets) | own))
    if backend == "cuda":
        from kernels.backends import cuda

        return cuda.source(plan, mixed=precision == "mixed")
    if backend == "numba":
        from kernels.backends import numba

        return numba.source(plan, mixed=precision == "mixed")
    raise InputError(
        f"--backend: source is generated for cuda and numba, got {backend!r} (numpy runs the step as it is)"
    )
