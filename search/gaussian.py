"""The Gaussian process: Optuna's, on PyTorch, which a study needs only where it asks for it."""

from __future__ import annotations

import os

from optuna.samplers import GPSampler


def gaussian(seed: int) -> GPSampler:
    """A sampler by a Gaussian process; PyTorch must be installed.

    PyTorch reads how many threads it may have from the environment, when it is imported and again in threads of its own.
    Unless that says otherwise it is given one: its matrices are small, and threads that waited for each other took five times
    the processor time of the work.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return GPSampler(seed=seed)
