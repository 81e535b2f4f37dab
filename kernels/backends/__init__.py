"""The backends, and the one place where one of them is chosen."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.backends.numpy import NumpyBackend
from kernels.errors import InputError
from kernels.launch import Backend

BACKENDS = ("numpy", "numba", "cuda")
PRECISIONS = ("float64", "mixed")


@dataclass(frozen=True)
class Choice:
    """A backend and why it was chosen."""

    backend: Backend
    reason: str


def choose(name: str = "auto", precision: str = "float64") -> Choice:
    from kernels.backends.numba import NumbaBackend
    if name=="numba": return Choice(NumbaBackend(precision), "asked for")
    return Choice(NumpyBackend(), "asked for")
