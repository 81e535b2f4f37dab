"""Servers for tests, on free ports of loopback and ended whatever happens: MLflow's, by our command, and PostgreSQL."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name.partition(".")[0]))


@dataclass(frozen=True)
class Served:
    """A running `hedgegrid mlflow`: where it answers, what it said, and its process."""

    address: str
    said: str
    process: subprocess.Popen[str]

    def family(self) -> list[psutil.Process]:
        """The process and all its children."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]


@contextmanager
def mlflow_server(backend: str, folder: Path, *options: str) -> Iterator[Served]:
    """`hedgegrid mlflow` on a free port, run in `folder`; ended by Ctrl-C's signal, and nothing of it is left."""
    command = [sys.executable, "-m", "cluster", "mlflow", "--port", "0", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MLFLOW_BACKEND_STORE_URI": backend}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, f"the server ended before it answered:\n{said}"
            said += line
        served = Served(said.partition("MLflow: ")[2].split()[0], said, process)
        family = served.family()
        yield served
        end(process, signal.SIGINT)
        _, left = psutil.wait_procs(family, timeout=5)
        assert not left, f"still running: {left}"
    finally:
        with suppress(psutil.NoSuchProcess):
            for each in psutil.Process(process.pid).children(recursive=True):
                each.kill()
        process.kill()
        process.communicate()


class Server:
    """A real MLflow server on loopback that can be killed and started again where it was."""

    def __init__(self, folder: Path, store: Path) -> None:
        self._folder = folder
        shutil.copy(store, folder / "server.db")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self._folder}/server.db"]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        with (self._folder / "server.log").open("a") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=self._folder)

    def wait(self) -> None:
        for _ in range(900):
            assert self._process is not None
            assert self._process.poll() is None, "the server ended before it answered"
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError("the server did not answer within 90 s")

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)
            self._process = None


def end(process: subprocess.Popen[Any], kind: signal.Signals, seconds: float = 30.0) -> int:
    """The exit code of a process that is told to end."""
    process.send_signal(kind)
    return process.wait(seconds)


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL server of its own; its address, with a password. It may not run as root, so as root it is another's."""
    (*_, binaries) = POSTGRES
    folder = Path(tempfile.mkdtemp(prefix="hedgegrid-postgres-"))  # below pytest's own folders nobody else may look
    password = secrets.token_hex(8)
    (folder / "password").write_text(password)
    unprivileged: dict[str, Any] = {}
    if os.geteuid() == 0:
        unprivileged = {"user": _user(), "group": pwd.getpwnam(_user()).pw_gid, "extra_groups": []}
        for path in (folder, folder / "password"):
            shutil.chown(path, _user())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    initdb = [binaries / "initdb", "--pgdata=data", "--username=desk", "--pwfile=password", "--auth=scram-sha-256"]
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder, "fsync": "off"}
    server = [binaries / "postgres", "-D", "data", *(f"--{name}={value}" for name, value in settings.items())]
    log = (folder / "log").open("w")
    process = None
    try:
        subprocess.run(
            [*initdb, "--encoding=UTF8", "--locale=C", "--no-sync"],
            **{"cwd": folder, "check": True, "stdout": log, "stderr": log, **unprivileged},
        )
        process = subprocess.Popen(server, cwd=folder, stdout=log, stderr=log, **unprivileged)
        address = f"postgresql://desk:{password}@127.0.0.1:{port}/postgres"
        _wait_for_postgres(address, process, folder / "log")
        yield address
    finally:
        if process is not None:
            end(process, signal.SIGINT)  # connections are closed, then it ends
        log.close()
        shutil.rmtree(folder)


def _user() -> str:
    """Somebody who is not root: PostgreSQL's own user where its package has made one."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _wait_for_postgres(address: str, process: subprocess.Popen[Any], log: Path) -> None:
    import psycopg

    until = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(address, connect_timeout=2).close()
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        else:
            return
