"""Is the tracking address one that will take a study's records? Answered before any work, in about a second.

MLflow itself stalls 101 s on a SQLite file it cannot open and 247 s on a refused address, and creates the
missing folders of a mistyped path, so every address is tried here first.
"""

from __future__ import annotations

import base64
import os
import shlex
import shutil
import socket
import sqlite3
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT = "sqlite:///mlflow.db"
TIMEOUT_SECONDS = 2.0
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
LEAST_FREE = 2**20  # bytes: a file that cannot take a hundred trials is full
KNOWN = "sqlite:///FILE.db, http://HOST:PORT, https://HOST, postgresql://, mysql:// or mssql://"


class TrackingError(ValueError):
    """MLflow cannot take the records: the address is wrong, or the store behind it refused or vanished."""


def check_tracking_uri(uri: str) -> None:
    """Refuse an address that would not take records; creates nothing.

    >>> check_tracking_uri("mlflow.dbb")
    Traceback (most recent call last):
    ...
    tracking.address.TrackingError: tracking address 'mlflow.dbb': a kind of address is needed in front, as in
    sqlite:///FILE.db, http://HOST:PORT, https://HOST, postgresql://, mysql:// or mssql://
    """
    scheme = uri.partition(":")[0] if "://" in uri or uri.startswith("file:") else ""
    dialect = scheme.partition("+")[0]
    if dialect == "sqlite":
        _check_sqlite(uri)
    elif scheme in ("http", "https"):
        _check_server(uri)
    elif dialect in DATABASE_PORTS:
        _check_database(uri, DATABASE_PORTS[dialect])
    elif scheme == "file" or "mlruns" in uri:
        raise _refusal(uri, "MLflow no longer records into a folder; use sqlite:///mlflow.db")
    elif not scheme:
        raise _refusal(uri, f"a kind of address is needed in front, as in {KNOWN}")
    else:
        raise _refusal(uri, f"'{scheme}' is not a kind of address known here; use {KNOWN}")


def sqlite_path(uri: str) -> Path | None:
    """The absolute path of a `sqlite:///` address's file; None for other kinds of address.

    >>> sqlite_path("sqlite:////data/mlflow.db").as_posix(), sqlite_path("http://localhost:5000")
    ('/data/mlflow.db', None)
    """
    scheme, _, rest = uri.partition("://")
    if scheme.partition("+")[0] != "sqlite":
        return None
    name = rest.removeprefix("/").partition("?")[0]
    return Path(name).absolute() if name else None


def ui_command(uri: str) -> str | None:
    """What to type to browse the records; None where a server at `uri` shows them already.

    >>> ui_command("sqlite:///mlflow.db"), ui_command("sqlite:////data/mlflow.db")
    ('hedgegrid mlflow', 'hedgegrid mlflow --backend sqlite:////data/mlflow.db')
    """
    if uri.startswith(("http://", "https://")):
        return None
    return "hedgegrid mlflow" if uri == DEFAULT else f"hedgegrid mlflow --backend {shlex.quote(uri)}"


def artifact_folder(path: Path) -> Path:
    """Where the files of runs lie that are recorded in the SQLite file `path`.

    >>> artifact_folder(Path("/data/mlflow.db")).as_posix()
    '/data/mlflow-artifacts'
    """
    return path.with_name(f"{path.stem}-artifacts")


def shown(uri: str) -> str:
    """The address without a password, for messages.

    >>> shown("postgresql://ann:secret@db/mlflow")
    'postgresql://ann:***@db/mlflow'
    """
    password = urlsplit(uri).password
    return uri.replace(f":{password}@", ":***@", 1) if password else uri


def _refusal(uri: str, sentence: str) -> TrackingError:
    return TrackingError(f"tracking address '{shown(uri)}': {sentence}")


def _check_sqlite(uri: str) -> None:
    path = sqlite_path(uri)
    if path is None or path.name == ":memory:":
        raise _refusal(uri, "a database in memory is lost when the study ends; name a file, sqlite:///mlflow.db")
    if "?" in uri:
        raise _refusal(uri, "options after '?' are not supported; name the file alone")
    if "%" in str(path):
        raise _refusal(uri, f"MLflow cannot open a path with '%' in it, {path}; name a file elsewhere")
    if not path.parent.is_dir():
        raise _refusal(uri, f"the folder {path.parent} does not exist; create it or correct the path")
    if path.is_dir():
        raise _refusal(uri, f"{path} is a folder; name a file in it, such as sqlite:///{path}/mlflow.db")
    if shutil.disk_usage(path.parent).free < LEAST_FREE:
        raise _refusal(uri, f"the disk of {path} is full; make room on it")
    try:
        # SQLite writes its journal beside the file, so the folder must be writable either way.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _refusal(uri, f"cannot write in {path.parent} ({error.strerror}); choose another folder") from None
    if path.exists() and path.stat().st_size:
        _check_sqlite_file(uri, path)


def _check_sqlite_file(uri: str, path: Path) -> None:
    if not os.access(path, os.R_OK | os.W_OK):
        raise _refusal(uri, f"{path} cannot be written; change its permissions or name another file")
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=TIMEOUT_SECONDS)
        try:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return  # another study is writing; MLflow waits for its turn
        raise _refusal(uri, f"{path} cannot be opened ({error}); name another file") from None
    except sqlite3.DatabaseError:
        raise _refusal(uri, f"{path} is not a SQLite database; name another file") from None
    tables = sorted(name for (name,) in names)
    if tables and "experiments" not in tables:
        raise _refusal(
            uri,
            f"{path} holds something else than MLflow records ({', '.join(tables[:3])}); name another file",
        )


def _check_server(uri: str) -> None:
    health = uri.rstrip("/") + "/health"
    request = urllib.request.Request(health, headers=_authorization())
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            text = answer.read(64).decode(errors="replace").strip()
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise _refusal(
                uri, "the server asks for a login; set MLFLOW_TRACKING_TOKEN, or USERNAME and PASSWORD"
            ) from None
        raise _refusal(uri, f"no MLflow server: {health} answers {error.code} {error.reason}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise _refusal(uri, f"no answer ({reason}); start the server or correct the address") from None
    if text != "OK":
        raise _refusal(uri, f"no MLflow server: {health} answers {text!r} instead of 'OK'")


def _authorization() -> dict[str, str]:
    """The login MLflow's own client would send."""
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    if user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        pair = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    return {}


def _check_database(uri: str, default_port: int) -> None:
    parts = urlsplit(uri)
    if not parts.hostname:
        _check_driver(uri)
        return  # a socket file named in the options: only the driver knows it
    port = parts.port or default_port
    try:
        socket.create_connection((parts.hostname, port), timeout=TIMEOUT_SECONDS).close()
    except OSError as error:
        raise _refusal(
            uri,
            f"no database answers at {parts.hostname}:{port} ({error.strerror or error}); start it first",
        ) from None
    _check_driver(uri)


def _check_driver(uri: str) -> None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        make_url(uri).get_dialect().import_dbapi()
    except (ImportError, SQLAlchemyError) as error:
        hint = "; pip install 'hedgegrid[server]'" if uri.startswith("postgresql://") else ""
        raise _refusal(uri, f"Python's package for this database is missing ({error}){hint}") from None
