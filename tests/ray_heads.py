"""Real Ray clusters of one head, each private to a test: own folder, own token, loopback only, ended by pid."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

START_SECONDS = 60.0


@dataclass(frozen=True)
class Head:
    """A running head: where it is, its dashboard's address, the file of its token, and the Python its workers have."""

    address: str
    dashboard: str
    token: Path
    python: Path

    def environment(self, **others: str) -> dict[str, str]:
        """What a command needs in its environment to talk to this cluster, and nothing of other clusters."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return kept | {"RAY_AUTH_TOKEN_PATH": str(self.token), **others}


@contextmanager
def head(*, cpus: int = 2, gpus: int = 0) -> Iterator[Head]:
    """A cluster with a token and a dashboard whose Python has Ray but not this project."""
    folder = Path(tempfile.mkdtemp(prefix="hedgegrid-test-", dir="/tmp"))  # short: a socket's path has 107 characters
    try:
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        python = python_without_project(folder / "python")
        dashboard = free_port()
        options = {
            **{"port": free_port(), "num-cpus": cpus, "num-gpus": gpus, "temp-dir": folder / "ray"},
            **{"node-ip-address": "127.0.0.1", "dashboard-host": "127.0.0.1", "dashboard-port": dashboard},
            **{"dashboard-agent-listen-port": 0, "object-store-memory": 10**8, "include-dashboard": "true"},
        }
        command = [str(python), "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
        with (folder / "log").open("w") as log:
            started = subprocess.Popen(
                [*command, *(f"--{name}={value}" for name, value in options.items())],
                cwd=folder,  # from which this project cannot be imported
                env=environment(token, python),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            address = f"127.0.0.1:{options['port']}"
            _wait_for(started, folder / "log")
            yield Head(address, f"http://127.0.0.1:{dashboard}", token, python)
        finally:
            end(started)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def environment(token: Path, python: Path) -> dict[str, str]:
    """Of a head that nobody else meets: loopback, token, and a PATH and PYTHONPATH without this project."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("RAY_", "PYTHON"))}
    return kept | {
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "PATH": f"{python.parent}:{os.environ['PATH']}",
    }


def python_without_project(folder: Path) -> Path:
    """A virtual environment that has all packages of this one but an editable project."""
    venv.create(folder, symlinks=True, with_pip=False)
    (site,) = (folder / "lib").glob("python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))  # whose own .pth files are not read
    return folder / "bin" / "python"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and everything it has started, each by its pid."""
    everything = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in everything:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue


def _wait_for(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if "Ray runtime started" in log.read_text():
            return
        time.sleep(0.2)
    raise AssertionError(f"the head did not start:\n{log.read_text()}")


def script(code: str, environment: dict[str, str], *, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Python code in a process of its own, warnings as errors, that imports this checkout."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(
        command,
        cwd=Path(__file__).resolve().parents[1],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
