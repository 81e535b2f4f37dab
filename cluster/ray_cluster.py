"""What the Ray cluster at an address has, and what a study makes of it: its backend, workers and their threads."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from cluster import ray_probe
from kernels.backends import Choice, choose
from kernels.errors import InputError

ANSWER_SECONDS = 2.0  # for a cluster's address to answer
PROBE_SECONDS = 20.0  # for the cluster to say what it is: one second on an idle machine, half of it Ray's import


@dataclass(frozen=True, slots=True)
class RayCluster:
    """The cluster at an address as it stands: the cores and GPUs of each of its nodes."""

    address: str
    cores: tuple[int, ...]
    gpus: tuple[int, ...]
    asks_token: bool

    def share(self, workers: int | None, *, gpus: bool) -> tuple[int, int]:
        """Workers and the threads of each: so many as are asked for, else one per GPU or all cores in equal parts.

        Threads are as many as that number of workers leaves to each, on nodes of any size. Workers that no node has room
        for get one thread: an autoscaling cluster brings nodes for them.

        >>> RayCluster("head:6379", (8, 8, 64), (0, 0, 2), False).share(None, gpus=False)
        (10, 8)
        >>> RayCluster("head:6379", (8, 8, 64), (0, 0, 2), False).share(None, gpus=True)
        (2, 32)
        >>> RayCluster("head:6379", (8, 8), (0, 0), False).share(3, gpus=False)
        (3, 4)
        """
        nodes = [
            (cores, held) for cores, held in zip(self.cores, self.gpus, strict=True) if cores and (held or not gpus)
        ]
        smallest = min((cores for cores, _ in nodes), default=1)

        def fit(threads: int) -> int:
            return sum(min(cores // threads, held) if gpus else cores // threads for cores, held in nodes)

        wanted = workers or (sum(held for _, held in nodes) if gpus else fit(smallest)) or 1
        largest = max((cores for cores, _ in nodes), default=1)
        return wanted, next((threads for threads in range(largest, 1, -1) if fit(threads) >= wanted), 1)

    def choose(self, backend: str, precision: str, *, workers: int | None) -> Choice:
        """The backend for this cluster: `auto` is cuda where a node has a GPU now, else what works on this machine.

        A GPU is asked of the cluster, never of this machine. InputError where cuda has no GPU to run on and no number
        of workers says how many an autoscaling cluster shall bring.
        """
        there = sum(self.gpus)
        found = f"{there or 'no'} GPU{'s' * (there != 1)} at {self.address}"
        if backend == "cuda" and not there and workers is None:
            raise InputError(
                f"compute.backend: cuda was asked for, but there is {found} now; set compute.workers where the cluster "
                "brings GPU nodes when they are asked for, or use backend: auto"
            )
        if backend == "cuda" or (backend == "auto" and there):
            from kernels.backends.cuda import CudaBackend

            return Choice(CudaBackend(precision), f"asked for; {found}" if backend == "cuda" else found)
        choice = choose(backend, precision)
        return choice if backend != "auto" else replace(choice, reason=f"{found}; {choice.reason}")


def look(address: str) -> RayCluster:
    """What the cluster at HOST:PORT has. It is asked once in a process, and nothing is left on it.

    InputError, within seconds, where the address is none, no cluster answers, its token or versions are others, or this
    machine is no node of it; Ray itself would try for 20 s to two minutes, and may end the process.
    """
    found = _looked(address)
    if isinstance(found, str):
        raise InputError(f"compute.address: {found}")
    return found


@cache
def _looked(address: str) -> RayCluster | str:
    if refusal := _unreachable(address):
        return refusal
    answer = _probe(address)
    if answer is None:
        return f"what answers at {address} is no Ray cluster, or one that hangs; the port of its head is needed, mostly 6379"
    if "refused" in answer:
        return _token_refused(address)
    theirs, ours = (" with Python ".join(both) for both in (answer["versions"], (version("ray"), python_version())))
    if theirs != ours:
        return f"the cluster at {address} runs Ray {theirs}, this machine Ray {ours}; both must be the same"
    if not answer["here"]:
        return (
            f"this machine is no node of the cluster at {address}; run the study on its head "
            f"(ray job submit, docs/security.md), or make this machine a node first (ray start --address={address})"
        )
    nodes = answer["nodes"]
    return RayCluster(
        address, tuple(cores for cores, _ in nodes), tuple(gpus for _, gpus in nodes), bool(answer["token"])
    )


def _unreachable(address: str) -> str | None:
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
        return f"HOST:PORT of a Ray cluster's head is needed, such as 10.0.0.5:6379, got {address!r}"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        return (
            f"nothing answers at {address} ({error.strerror or error}); start the cluster "
            "(ray start --head), correct the address, or leave it out to compute on this machine"
        )
    return None


def _probe(address: str) -> dict[str, Any] | None:
    command = [sys.executable, "-P", ray_probe.__file__, address]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return None
    lines = done.stdout.splitlines()
    answer: dict[str, Any] | None = json.loads(lines[-1]) if done.returncode == 0 and lines else None
    return answer


def token_source() -> str | None:
    """Where Ray takes a token from on this machine, in its order; None where there is none.

    Source: docs.ray.io, Ray token authentication.
    """
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"
    if path := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return path
    default = Path.home() / ".ray" / "auth_token"
    return str(default) if default.is_file() else None


def _token_refused(address: str) -> str:
    source = token_source()
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return f"the cluster at {address} asks for a token, and RAY_AUTH_MODE is {os.environ['RAY_AUTH_MODE']} here; unset it"
    if source is None:
        return (
            f"the cluster at {address} asks for a token and there is none here; copy the one of its head "
            "(ray get-auth-token) into a file of mode 0600 and name it in RAY_AUTH_TOKEN_PATH"
        )
    if source != "RAY_AUTH_TOKEN" and not os.access(source, os.R_OK):
        return (
            f"the cluster at {address} asks for a token, and the file of RAY_AUTH_TOKEN_PATH, {source}, cannot be read"
        )
    return (
        f"the cluster at {address} refuses the token of {source}; copy the one of its head (ray get-auth-token) there"
    )
