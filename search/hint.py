"""The next step in a refusal: the name that was probably meant."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches


def hint(name: object, names: Collection[str], what: str) -> str:
    """What to use instead of a name that is unknown.

    >>> hint("sharp", ["sharpe", "cagr"], "metrics")
    'did you mean sharpe? metrics are sharpe, cagr'
    """
    near = get_close_matches(str(name), list(names), n=1)
    return (f"did you mean {near[0]}? " if near else "") + f"{what} are {', '.join(names)}"
