"""When a study that learns ends early: a number of batches in a row brought nothing better."""

from __future__ import annotations

from kernels.errors import InputError
from kernels.market import FloatArray
from search.samplers import LEARNERS, POINTS


def check_patience(patience: int | None, sampler: str) -> None:
    """InputError where there is nothing to be patient with, or no patience."""
    problems: list[str] = []
    if patience is not None and patience < 1:
        problems.append(f"search.patience: at least 1 batch is needed, got {patience}; leave it out to try every trial")
    if patience is not None and sampler in POINTS:
        problems.append(
            f"search.patience: {sampler} does not learn, so its next batch is as likely to be better as its last, got "
            f"{patience}; leave it out, or use one of {', '.join(LEARNERS)}"
        )
    if problems:
        raise InputError(problems)


def without_improvement(scores: FloatArray, batch: int) -> int:
    """Whole batches told since the one that brought the best score (trials,), of `batch` trials each.

    >>> import numpy as np
    >>> without_improvement(np.array([0.1, 0.4, 0.2, 0.4, 0.3, 0.1, 0.9]), 2)
    2
    """
    whole = len(scores) // batch
    if whole == 0:
        return 0
    best = scores[: whole * batch].reshape(whole, batch).max(axis=1)
    return whole - 1 - int(best.argmax())  # the first among equals: as good is not better


def has_ended(scores: FloatArray, batch: int, patience: int | None) -> bool:
    """Whether a study of which these trials were told asks for no more.

    Only the trials told decide, and only between batches, so a study that was stopped anywhere ends where it would have.
    """
    return patience is not None and len(scores) % batch == 0 and without_improvement(scores, batch) >= patience
