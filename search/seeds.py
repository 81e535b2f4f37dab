"""Seeds of their own for everything in a study that is drawn: a trial is drawn alike whatever was drawn before it."""

from __future__ import annotations

import numpy as np

SAMPLER = 0  # the streams of a trial; the parameters that a sampler leaves open count on from 1
CLOUD = 2**32 - 1


def seed_of(seed: int, number: int, stream: int) -> int:
    """A seed for one stream of trial `number` (below 2^32, as Optuna's generators take it)."""
    return int(np.random.SeedSequence([seed, number, stream]).generate_state(1)[0])
