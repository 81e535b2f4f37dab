"""The Gaussian process: Optuna's, on PyTorch, which a study needs only where it asks for it."""

from __future__ import annotations

import importlib
import os
import sys

from optuna.samplers import GPSampler

THREADS = "OMP_NUM_THREADS"


def gaussian(seed: int) -> GPSampler:
    """A sampler by a Gaussian process; PyTorch must be installed.

    PyTorch is read in with one thread: its matrices are small, and threads that wait for each other took ten times the
    processor time of the work. It reads the number only then.
    """
    if "torch" not in sys.modules:
        before = os.environ.get(THREADS)
        os.environ[THREADS] = "1"
        try:
            importlib.import_module("torch")
        finally:
            if before is None:
                del os.environ[THREADS]
            else:
                os.environ[THREADS] = before
    return GPSampler(seed=seed)
