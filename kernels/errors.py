"""What HedgeGrid raises when it refuses something.

Exception tree::

    ValueError
    └── InputError          what a user gave cannot be run: a study file, a market, a parameter (exit code 2)
    RuntimeError
    └── BackendError        a compiled kernel could not be built or launched here (exit code 1)
"""

from __future__ import annotations

from collections.abc import Iterable


class InputError(ValueError):
    """Input that is refused whole: every mistake found, one sentence each.

    >>> print(InputError(["param 'drop': low < high must hold, got low=0.3, high=0.1"]))
    param 'drop': low < high must hold, got low=0.3, high=0.1
    """

    def __init__(self, problems: Iterable[str] | str) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[str, ...]]]:
        return (InputError, (self.problems,))


class BackendError(RuntimeError):
    """A compiled kernel could not be built or launched on this machine."""
