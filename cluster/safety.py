"""What `hedgegrid doctor` says of safety: the token, what listens where, file modes, versions with known holes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from packaging.version import Version

from cluster.ray_cluster import token_source
from kernels.backends import why_not

FLOORS = {
    "mlflow": "3.17.2",
    "ray": "2.56",
}  # below, holes are known: docs/security.md; a test holds pyproject.toml to it
DAEMONS = ("gcs_server", "raylet", "ray::", "mlflow")  # how processes are named that belong to Ray and MLflow
OTHERS = stat.S_IRWXG | stat.S_IRWXO  # rights of anybody but the owner
WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, whether it is as it should be, and in words what was found and what to do."""

    what: str
    good: bool
    text: str


@dataclass(frozen=True, slots=True)
class Listener:
    """A port that a process of this machine listens on."""

    process: str
    ip: str
    port: int

    @property
    def on_loopback(self) -> bool:
        """Whether nobody but this machine reaches it."""
        return self.ip.removeprefix("::ffff:").startswith("127.") or self.ip == "::1"


def findings(mlflow_file: Path = Path("mlflow.db")) -> list[Finding]:
    """Everything that was looked at; nothing is changed, and no network is used."""
    return [_token(), _listeners(), *_files(mlflow_file), _pickle(), _versions()]


def heard(belongs: Callable[[str], bool]) -> Iterator[Listener]:
    """The ports that processes listen on whose name or command `belongs`, as far as this user may see them."""
    for process in psutil.process_iter(["name", "cmdline"]):
        name = str(process.info["name"] or "")
        if not belongs(f"{name} {' '.join(process.info['cmdline'] or ())}"):
            continue
        try:
            connections = process.net_connections("inet")
        except psutil.Error:  # it has ended, or is another user's
            continue
        yield from (Listener(name, c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN)


def _token() -> Finding:
    mode, source = os.environ.get("RAY_AUTH_MODE"), token_source()
    if mode is not None and mode.lower() != "token":
        return Finding("Ray token", False, f"RAY_AUTH_MODE is {mode}: clusters you start let anybody in; unset it")
    if source is None:
        return Finding("Ray token", True, "a private cluster makes its own; none is here for clusters at an address")
    if source != "RAY_AUTH_TOKEN":
        return _private(Path(source), "Ray token", "for clusters at an address")
    text = "RAY_AUTH_TOKEN is set: every process you start can read it; a file named in RAY_AUTH_TOKEN_PATH is better"
    return Finding("Ray token", True, text)


def _private(path: Path, what: str, use: str, forbidden: int = OTHERS) -> Finding:
    """Whether nobody else has the `forbidden` rights on a file or folder of ours."""
    try:
        found = path.stat()
    except OSError as error:
        return Finding(what, False, f"{path} cannot be read ({error.strerror}); correct its path")
    mode = stat.S_IMODE(found.st_mode)
    if mode & forbidden:
        right = "o-w" if forbidden == stat.S_IWOTH else "go-w" if forbidden == WRITE else "go="
        return Finding(what, False, f"{path} has mode {mode:04o}: others may use it; chmod {right} {path}")
    if found.st_uid != os.getuid():
        return Finding(what, False, f"{path} is another user's; name one of your own")
    return Finding(what, True, f"{path} {use}, mode {mode:04o}")


def _listeners() -> Finding:
    open_to_all = sorted(
        {
            f"{each.process.strip()} on {each.ip}:{each.port}"
            for each in heard(lambda command: any(daemon in command for daemon in DAEMONS))
            if not each.on_loopback
        }
    )
    if open_to_all:
        shown = ", ".join(open_to_all[:4]) + (f" and {len(open_to_all) - 4} more" if len(open_to_all) > 4 else "")
        return Finding("listening", False, f"beyond loopback: {shown}; the firewall rule is in docs/security.md")
    return Finding("listening", True, "no process of Ray or MLflow listens beyond loopback now, as far as you may see")


def _files(mlflow_file: Path) -> Iterator[Finding]:
    """What is run or believed when it is read, where it exists."""
    if why_not("numba") is None:
        from kernels.backends.numba import CACHE

        if CACHE.exists():
            yield _private(CACHE, "kernel cache", "holds code that studies run", WRITE)
    if mlflow_file.exists():
        yield _private(mlflow_file, "MLflow file", "without a server", stat.S_IWOTH)


def _pickle() -> Finding:
    allowed = os.environ.get("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false").lower()
    if allowed in ("false", "0"):
        return Finding(
            "pickle", True, "MLflow loads none (MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false), and no study needs it"
        )
    return Finding(
        "pickle", False, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION is set: MLflow may run what it loads; unset it"
    )


def _versions() -> Finding:
    told, below = [], []
    for package, floor in FLOORS.items():
        try:
            installed = version(package)
        except PackageNotFoundError:
            continue
        told.append(f"{package} {installed}")
        if Version(installed) < Version(floor):
            below.append(f"pip install '{package}>={floor}'")
    if below:
        return Finding("versions", False, f"{', '.join(told)}: holes are known (docs/security.md); {'; '.join(below)}")
    return Finding(
        "versions", True, f"{', '.join(told)} have the fixes of docs/security.md; pip-audit knows later ones"
    )
