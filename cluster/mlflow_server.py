"""`hedgegrid mlflow`: MLflow's server and its pages on this machine, for those who have none.

A database without a server is how one person records; this shows it, and takes the records of others too. What it
starts listens on loopback unless told otherwise, answers to no other name, never unpickles, and tells nobody.
"""

from __future__ import annotations

import errno
import ipaddress
import os
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
from typing import IO

from cluster.mlflow_views import Views
from kernels.errors import InputError
from tracking.address import TrackingError, artifact_folder, check_tracking_uri, sqlite_path

START_SECONDS = 120.0  # importing MLflow takes 5 s; on a busy machine several times that
END_SECONDS = 10.0
SETTINGS = {  # beside those of tracking/__init__.py, which this process has and hands down
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # six more processes, for what language models need
}


class ServerError(RuntimeError):
    """The server did not start, or ended by itself."""


@dataclass(frozen=True, slots=True)
class Server:
    """What is going to be started: everything has been checked."""

    backend: str
    artifacts: Path
    host: str
    port: int
    allowed_hosts: tuple[str, ...]
    workers: int

    @property
    def address(self) -> str:
        """Where it is reached from this machine."""
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
        host = everywhere.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def command(self) -> list[str]:
        """What runs it. The backend, which may hold a password, travels in the environment: arguments are for all to see."""
        options = {
            "--host": self.host,
            "--port": str(self.port),
            "--workers": str(self.workers),
            "--allowed-hosts": ",".join(self.allowed_hosts),
            "--artifacts-destination": str(self.artifacts),
            "--uvicorn-opts": "--log-level warning",
        }
        return [sys.executable, "-m", "mlflow", "server", *(word for pair in options.items() for word in pair)]

    def environment(self) -> dict[str, str]:
        """Its environment variables."""
        return {
            **os.environ,
            **SETTINGS,
            "MLFLOW_BACKEND_STORE_URI": self.backend,
            "MLFLOW_REGISTRY_STORE_URI": self.backend,
        }


def make_server(
    backend: str,
    *,
    artifacts: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 5000,
    allowed_hosts: str | None = None,
    workers: int = 1,
    create: bool = False,
) -> Server:
    """The server that was asked for; InputError with every mistake. Starts nothing and makes no file.

    `port` 0 is any free one. `allowed_hosts` are the names, by commas, under which others reach it.
    """
    file = sqlite_path(backend)
    problems = [*_wrong_backend(backend, file, create=create)]
    problems += [*_wrong_port(host, port)]
    if not _loopback(host) and not allowed_hosts:
        problems.append(
            f"--host {host}: everybody who reaches this machine may then read and change the records (MLflow asks for no "
            "login); say with --allowed-hosts under which names, as in --allowed-hosts mlflow.desk.example:5000"
        )
    if problems:
        raise InputError(problems)
    return Server(
        backend=f"sqlite:///{file}" if file else backend,
        artifacts=(artifacts or (artifact_folder(file) if file else Path("mlflow-artifacts"))).absolute(),
        host=host,
        port=port or _free_port(host),
        allowed_hosts=("localhost", "localhost:*", "127.0.0.1", "127.0.0.1:*", "[[]::1]:*", *_names(allowed_hosts)),
        workers=workers,
    )


def serve(server: Server) -> None:
    """Run it, say where to look, and end it with all its processes when told to. ServerError where it ends by itself."""
    with _ended_by_signals(), tempfile.TemporaryFile("w+") as log, _running(server, log) as process:
        try:
            _wait_until_it_answers(server, process, log)
            for line in Views(server.address).lines():
                print(line, flush=True)
            print("Ctrl-C ends it", flush=True)
            process.wait()
        except KeyboardInterrupt:
            return
        raise ServerError(f"MLflow's server has ended by itself (code {process.returncode}){_last_words(log)}")


def _wrong_backend(backend: str, file: Path | None, *, create: bool) -> Iterator[str]:
    if backend.startswith(("http://", "https://")):
        yield f"--backend {backend}: that is a server already; open it in a browser"
        return
    try:
        check_tracking_uri(backend)
    except TrackingError as error:
        yield str(error).replace("tracking address", "--backend", 1)
        return
    if file and not create and not (file.exists() and file.stat().st_size):
        yield (
            f"--backend {backend}: {file} is not there; correct the path, run a study that records into it, or begin an "
            "empty one with --create"
        )


def _wrong_port(host: str, port: int) -> Iterator[str]:
    try:
        with _bound(host, port):
            pass
    except socket.gaierror as error:
        yield f"--host {host}: no address of this machine ({error.strerror}); 127.0.0.1 is for this machine alone"
    except PermissionError:
        yield f"--port {port}: this user may not listen there; choose one above 1023, as in --port 5000"
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            yield f"--host {host}: no address of this machine; 127.0.0.1 is for this machine alone"
        else:
            yield f"--port {port}: {_taken_by(host, port)}"


def _taken_by(host: str, port: int) -> str:
    address = f"http://{host}:{port}"
    try:
        check_tracking_uri(address)
    except TrackingError:
        return f"another program listens there; choose another port, as in --port {port + 1}"
    return f"an MLflow server answers there already; open {address}, or choose another port, as in --port {port + 1}"


def _bound(host: str, port: int) -> socket.socket:
    kind, *_, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(kind)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does: a port just left is free
        bound.bind(where)
    except OSError:
        bound.close()
        raise
    return bound


def _free_port(host: str) -> int:
    with _bound(host, 0) as bound:
        return int(bound.getsockname()[1])


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _names(allowed_hosts: str | None) -> list[str]:
    return [name.strip() for name in (allowed_hosts or "").split(",") if name.strip()]


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A polite end from another program, or a terminal that is closed, is an interrupt too."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    kinds = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(kind, interrupt) for kind in kinds]
    try:
        yield
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


@contextmanager
def _running(server: Server, log: IO[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The server with all its processes, in a group of their own that ends with the block."""
    process = subprocess.Popen(
        server.command(), env=server.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
    )
    try:
        yield process
    finally:
        for kind, seconds in ((signal.SIGTERM, END_SECONDS), (signal.SIGKILL, None)):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, kind)
            with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C: do not wait
                process.wait(seconds)


def _wait_until_it_answers(server: Server, process: subprocess.Popen[bytes], log: IO[str]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise ServerError(f"MLflow's server did not start (code {process.returncode}){_last_words(log)}")
        with suppress(OSError), urllib.request.urlopen(f"{server.address}/health", timeout=2):
            return
        time.sleep(0.1)
    raise ServerError(f"MLflow's server did not answer within {START_SECONDS:g} s{_last_words(log)}")


def _last_words(log: IO[str], lines: int = 15) -> str:
    log.seek(0)
    words = log.read().splitlines()[-lines:]
    return "".join(f"\n  {line}" for line in [":", *words]) if words else ""
