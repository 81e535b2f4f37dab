"""`hedgegrid mlflow`: refused before anything is made, on loopback, safe, and gone when it ends."""

from __future__ import annotations

import re
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from servers import end, mlflow_server
from typer.testing import CliRunner

from cluster.cli import app
from cluster.mlflow_server import make_server
from kernels.errors import InputError
from tracking.recorder import Recorder
from tracking.records import DataRecord, StudyRecord, TrialRecord

STUDY = StudyRecord(
    study_id="served-1",
    name="served",
    tags={"study_digest": "ab" * 32},
    data=DataRecord("prices", "ab" * 32, "prices.parquet"),
    columns={"metrics": ("score",)},
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A SQLite file with one study, recorded as one person does: without a server."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder}/mlflow.db"
    with Recorder.open(uri, "desk", STUDY) as recorder:
        recorder.record([TrialRecord(0, {}, {"score": 0.5}, 0, 1)])
        recorder.text("advice.md", "# Hold")
    return uri


def refusal(backend: str, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        make_server(backend, **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_missing_file_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    assert "is not there" in refusal(f"sqlite:///{tmp_path}/mlfow.db")
    assert "does not exist" in refusal(f"sqlite:///{tmp_path}/typo/mlflow.db")
    assert not list(tmp_path.iterdir())


def test_an_empty_file_may_be_begun(tmp_path: Path) -> None:
    server = make_server(f"sqlite:///{tmp_path}/new.db", port=0, create=True)
    assert server.artifacts == tmp_path / "new-artifacts"
    assert not list(tmp_path.iterdir())


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = refusal("https://mlflow.desk.example", port=port)
    assert "is a server already" in told
    assert f"--port {port}: another program listens there; choose another port, as in --port {port + 1}" in told
    assert "anybody" not in told


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_more_than_this_machine_needs_names(host: str, store: str) -> None:
    if ":" in host and not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 on this machine")
    assert "--allowed-hosts" in refusal(store, port=0, host=host)
    server = make_server(store, port=0, host=host, allowed_hosts="desk.example:5000")
    assert "desk.example:5000" in server.allowed_hosts


def test_an_address_of_another_machine_is_refused(store: str) -> None:
    assert "no address of this machine" in refusal(store, host="192.0.2.1", allowed_hosts="desk.example")


def test_a_password_is_in_no_argument() -> None:
    from cluster.mlflow_server import Server

    secret = "postgresql://ann:secret@db/mlflow"
    server = Server(secret, Path("artifacts"), "127.0.0.1", 5000, ("localhost",), 1)
    assert "secret" not in " ".join(server.command())
    assert server.environment()["MLFLOW_BACKEND_STORE_URI"] == secret
    assert server.environment()["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert server.environment()["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_refused_server_ends_with_code_2(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["mlflow", "--backend", f"sqlite:///{tmp_path}/mlfow.db"])
    assert isinstance(done.exception, InputError)  # `main` says it and ends with 2


def test_it_says_where_to_look_answers_its_own_names_alone_and_leaves_nothing(store: str, tmp_path: Path) -> None:
    with mlflow_server(store, tmp_path) as served:
        assert re.search(
            r"  desk  http://127.0.0.1:\d+/#/experiments/1/runs\?workflowType=machine_learning", served.said
        )
        assert "trials of served (finished), best first" in served.said
        assert "viewStateShareKey=served-1" in served.said
        listening = {
            (c.laddr.ip, c.laddr.port) for p in served.family() for c in p.net_connections() if c.status == "LISTEN"
        }
        assert listening == {("127.0.0.1", int(served.address.rpartition(":")[2]))}
        told = refusal(store, port=int(served.address.rpartition(":")[2]))
        assert "an MLflow server answers there already" in told

        def answer(host: str) -> int:
            request = urllib.request.Request(
                f"{served.address}/ajax-api/2.0/mlflow/experiments/get?experiment_id=1", headers={"Host": host}
            )
            try:
                with urllib.request.urlopen(request, timeout=30) as got:
                    return int(got.status)
            except urllib.error.HTTPError as error:
                return error.code

        assert answer("localhost:8888") == 200  # through a tunnel
        assert answer("evil.example:5000") == 403
        assert answer("10.0.0.1:5000") == 403
        family = served.family()
        assert len(family) >= 3
        assert end(served.process, signal.SIGTERM) == 0  # Ctrl-C is how every other test ends it
        _, left = psutil.wait_procs(family, timeout=5)
        assert not left
    assert list(tmp_path.iterdir()) == []  # no mlruns/, no mlartifacts/
