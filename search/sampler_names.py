"""What a study file may name as its sampler; `search.samplers` makes them, with Optuna, which reading a file does without."""

from __future__ import annotations

from search.hint import hint

SAMPLERS = ("grid", "random", "sobol", "tpe", "cmaes", "nsga2", "gp")
SEPARATOR = ":"  # in the name of a sampler of a user's own


def unknown(sampler: str) -> str:
    """What to do instead of a sampler that is none."""
    return (
        f"{sampler!r} is unknown; {hint(sampler, SAMPLERS, 'samplers')}, "
        "or one of your own as package.module:ClassName or file.py:ClassName"
    )
