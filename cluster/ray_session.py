"""Which Ray cluster a study uses: a private one on loopback that ends with it, or the one at an address."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from cluster.pool import cores
from cluster.ray_cluster import look
from kernels.errors import InputError

TOKEN_BYTES = 32  # of a private cluster's token, as many as Ray's own has
LOOPBACK = "127.0.0.1"

_homes: list[Path] = []  # folders of the private clusters that this process has started and not yet removed


def start_ray(ray: Any, address: str | None, workers: int, gpus: int, threads: int) -> None:
    """A private cluster on loopback, or the one at `address` with this code sent along. `stop_ray` ends it."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # workers without a GPU keep their environment
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        _start(ray, num_cpus=max(cores(), workers * threads), num_gpus=workers * gpus)
    else:
        _join(ray, address)


def stop_ray(ray: Any) -> None:
    """Leave the cluster; a private one ends, and its folder goes with it: sockets, logs, token."""
    ray.shutdown()
    while _homes:
        shutil.rmtree(_homes.pop(), ignore_errors=True)
    _read_again(ray)


@atexit.register
def _remove() -> None:
    if _homes and (ray := sys.modules.get("ray")):
        stop_ray(ray)


def _start(ray: Any, *, num_cpus: int, num_gpus: int) -> None:
    """A cluster that only this user reaches, on loopback alone and with a token of its own."""
    home = _home()
    token = home / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(TOKEN_BYTES))
    with _private(ray, token):
        ray.init(
            address="local",  # without it Ray joins whatever cluster it finds on this machine
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            include_dashboard=False,
            _node_ip_address=LOOPBACK,
            _temp_dir=str(home / "ray"),  # Ray opens this folder to everyone
            **_quiet(),
        )


def _home() -> Path:
    """A folder of mode 0700: Ray opens its own sessions and sockets to everyone, so they must lie where nobody gets.

    It is /tmp, as with Ray itself, since a socket's path may have 107 characters.
    """
    parent = os.environ.get("RAY_TMPDIR") or ("/tmp" if Path("/tmp").is_dir() else None)
    home = Path(tempfile.mkdtemp(prefix="hedgegrid-", dir=parent))
    _homes.append(home)
    return home


@contextmanager
def _private(ray: Any, token: Path) -> Iterator[None]:
    """The surroundings in which Ray starts a private cluster; this process gets its own back afterwards."""
    switch = ray._private.ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", switch)
    before = {name: os.environ.pop(name, None) for name in names}
    os.environ |= {"RAY_AUTH_TOKEN_PATH": str(token), switch: "0"}
    ray._raylet.AuthenticationTokenLoader.instance().reset_cache()
    try:
        with _on_loopback(ray):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _on_loopback(ray: Any) -> Iterator[None]:
    """127.0.0.1 means 127.0.0.1.

    Ray turns it into the machine's address in the network, and listens on all interfaces, unless told that there are no
    clusters of several machines (its rule for macOS and Windows).
    """
    constants = ray._private.ray_constants
    clusters, constants.ENABLE_RAY_CLUSTER = constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = clusters


def _join(ray: Any, address: str) -> None:
    if look(address).asks_token:
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # Ray does not look for a token when it is given an address
    _read_again(ray)
    root = Path(__file__).resolve().parent.parent
    packages = [str(root / name) for name in ("cluster", "kernels", "search", "tracking")]
    here = address.rpartition(":")[0] in (LOOPBACK, "localhost")
    try:
        with _on_loopback(ray) if here else nullcontext():
            ray.init(address=address, runtime_env={"py_modules": packages, "excludes": ["__pycache__"]}, **_quiet())
    except (OSError, RuntimeError, ValueError, SystemExit) as error:  # Ray's C++ core asks Python to exit
        raise InputError(f"compute.address: no Ray cluster can be joined at {address} ({reason(error)})") from error


def _read_again(ray: Any) -> None:
    """Let Ray's core read mode and token from the environment again, which it does once."""
    ray._raylet.Config.initialize("")
    ray._raylet.AuthenticationTokenLoader.instance().reset_cache()


def _quiet() -> dict[str, Any]:
    return {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}


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
