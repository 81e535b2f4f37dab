"""Which Ray cluster a study uses: a private one on loopback that ends with it, or the one at an address."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from cluster.pool import cores
from kernels.errors import InputError

ANSWER_SECONDS = 2.0  # for a cluster's address to answer


def check_address(address: str) -> None:
    """Refuse a cluster's address where nothing answers; Ray itself would try for two minutes and end the process.

    >>> check_address("auto")
    Traceback (most recent call last):
    ...
    kernels.errors.InputError: compute.address: HOST:PORT of a Ray cluster's head is needed, such as 10.0.0.5:6379, got 'auto'
    """
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(
            f"compute.address: HOST:PORT of a Ray cluster's head is needed, such as 10.0.0.5:6379, got {address!r}"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise InputError(
            f"compute.address: nothing answers at {address} ({error.strerror or error}); start the cluster "
            "(ray start --head), correct the address, or leave it out to compute on this machine"
        ) from error


def start_ray(ray: Any, address: str | None, workers: int, gpus: int, threads: int) -> None:
    """A private cluster on loopback, or the one at `address` with this code sent along."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # workers without a GPU keep their environment
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    if address is None:
        ray.init(
            address="local",  # without it Ray joins whatever cluster it finds on this machine
            num_cpus=max(cores(), workers * threads),
            num_gpus=workers * gpus,
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            **quiet,
        )
        return
    check_address(address)
    root = Path(__file__).resolve().parent.parent
    packages = [str(root / name) for name in ("cluster", "kernels", "search", "tracking")]
    try:
        ray.init(address=address, runtime_env={"py_modules": packages, "excludes": ["__pycache__"]}, **quiet)
    except (OSError, RuntimeError, ValueError, SystemExit) as error:  # Ray's C++ core asks Python to exit
        raise InputError(f"compute.address: no Ray cluster can be joined at {address} ({reason(error)})") from error


def reason(error: BaseException) -> str:
    """What went wrong, without Ray's report of where."""
    raised = getattr(error, "cause", None)  # what the worker's own code raised, where it did
    if not isinstance(raised, BaseException):
        raised = error
    return f"{type(raised).__name__}: {last_line(raised)}"


def last_line(error: BaseException) -> str:
    """The end of a message: what remains of a report of many lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
