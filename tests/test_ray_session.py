"""Which cluster a study uses: a private one that only its user reaches, or one at an address that must let it in."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from ray_heads import Head, head, script
from studies import TRIALS, write_study

ROOT = Path(__file__).resolve().parents[1]
GPUS = 3  # that the head says it has; Ray believes what it is told

pytest.importorskip("ray")


# ---- a private cluster

PRIVATE = """
import json, os, sys
import psutil, ray
from cluster import ray_session

before = dict(os.environ)
ray_session.start_ray(ray, None, workers=1, gpus=0, threads=1)
actor = ray.remote(lambda: {n: v for n, v in os.environ.items() if n.startswith("RAY_")})
(home,) = ray_session._homes
processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
heard = {c.laddr.ip for p in processes for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN}
found = {
    "heard": sorted(heard),
    "workers": ray.get(actor.remote()),
    "modes": [oct(path.stat().st_mode & 0o777) for path in (home, home / "token")],
    "dashboard": ray.get_runtime_context() and ray._private.worker._global_node.webui_url,
    "kept": {n: os.environ.get(n) for n in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS")},
}
ray_session.stop_ray(ray)
print(json.dumps({**found, "home": str(home)}))
"""


@pytest.fixture(scope="module")
def private() -> dict[str, object]:
    """What a private cluster was, started by a user who has a token and an address of another one."""
    others = {"RAY_AUTH_TOKEN": "of another cluster", "RAY_ADDRESS": "10.0.0.5:6379", "RAY_AUTH_MODE": "disabled"}
    done = script(PRIVATE, os.environ | others)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_private_cluster_listens_on_loopback_alone(private: dict[str, list[str]]) -> None:
    assert private["heard"]
    assert {ip.removeprefix("::ffff:") for ip in private["heard"]} == {"127.0.0.1"}
    assert not private["dashboard"]


def test_a_private_cluster_has_a_token_that_only_its_user_reads(private: dict[str, dict[str, str]]) -> None:
    assert private["workers"]["RAY_AUTH_MODE"] == "token"
    assert private["workers"]["RAY_AUTH_TOKEN_PATH"] == f"{private['home']}/token"
    assert "RAY_AUTH_TOKEN" not in private["workers"]
    assert private["modes"] == ["0o700", "0o600"]
    assert private["workers"]["RAY_USAGE_STATS_ENABLED"] == "0"


def test_nothing_is_left_of_a_private_cluster(private: dict[str, str]) -> None:
    assert not Path(private["home"]).exists()
    assert private["kept"] == {
        **{"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "of another cluster"},
        **{"RAY_AUTH_TOKEN_PATH": None, "RAY_ADDRESS": "10.0.0.5:6379"},
    }


# ---- a cluster at an address


@pytest.fixture(scope="module")
def shared() -> Iterator[Head]:
    """A cluster with a token and a dashboard, whose Python lacks this project, and which says that it has GPUs."""
    with head(cpus=2, gpus=GPUS) as started:
        yield started


LOOK = """
import sys
from cluster.ray_cluster import look
from kernels.errors import InputError
try:
    found = look(sys.argv[1]) if len(sys.argv) > 1 else look("{address}")
    print(found.cores, found.gpus, found.asks_token)
except InputError as error:
    print(f"refused: {{error}}")
"""


def looked(shared: Head, **environment: str) -> tuple[str, float]:
    """What a process with that environment is told of the cluster, and in how many seconds."""
    began = time.monotonic()
    done = script(LOOK.format(address=shared.address), shared.environment(**environment))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), time.monotonic() - began


def test_a_cluster_says_what_it_has_to_who_has_its_token(shared: Head) -> None:
    assert looked(shared)[0] == f"(2,) ({GPUS},) True"


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"RAY_AUTH_TOKEN_PATH": "", "HOME": "/nowhere"}, "asks for a token and there is none here"),
        ({"RAY_AUTH_TOKEN": "0" * 64}, "refuses the token of RAY_AUTH_TOKEN"),
        ({"RAY_AUTH_TOKEN_PATH": "/nowhere/token"}, "asks for a token, and the file of RAY_AUTH_TOKEN_PATH, /nowhere"),
        ({"RAY_AUTH_MODE": "disabled"}, "asks for a token, and RAY_AUTH_MODE is disabled here; unset it"),
    ],
)
def test_without_its_token_a_cluster_is_refused_at_once(
    shared: Head, environment: dict[str, str], sentence: str
) -> None:
    told, seconds = looked(shared, **environment)
    assert told.startswith(f"refused: compute.address: the cluster at {shared.address} {sentence}")
    assert len(told.splitlines()) == 1
    assert seconds < 10.0  # Ray itself tries for 20 s


def test_a_port_that_is_no_ray_cluster_is_refused(shared: Head) -> None:
    quickly = "from cluster import ray_cluster; ray_cluster.PROBE_SECONDS = 5.0"
    done = script(quickly + LOOK.format(address=shared.dashboard.removeprefix("http://")), shared.environment())
    assert "is no Ray cluster" in done.stdout


def test_a_machine_that_is_no_node_is_told_so(shared: Head) -> None:
    """Nodes are found among this machine's processes; in a namespace of its own the head's are not seen."""
    alone = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no process namespaces here (unshare)")
    done = subprocess.run(
        [*alone, sys.executable, "-c", LOOK.format(address=shared.address)],
        **{"cwd": ROOT, "env": shared.environment(), "capture_output": True, "text": True, "timeout": 60},
    )
    assert "this machine is no node of the cluster" in done.stdout, done.stderr


def run_study(folder: Path, shared: Head, *overrides: str, command: str = "run") -> subprocess.CompletedProcess[str]:
    """The small study at that address, by the command."""
    folder.mkdir(exist_ok=True)
    words = [sys.executable, "-m", "cluster", command, str(write_study(folder)), "--runs", str(folder / "runs")]
    words += [word for o in (f"compute.address={shared.address}", *overrides) for word in ("--set", o)]
    return subprocess.run(
        words,
        **{"cwd": ROOT, "env": shared.environment(), "capture_output": True, "text": True, "timeout": 120},
        check=False,
    )


def test_auto_takes_the_gpus_of_the_cluster_and_none_of_this_machine(shared: Head, tmp_path: Path) -> None:
    done = run_study(tmp_path, shared, "compute.backend=auto", command="plan")
    assert done.returncode == 0, done.stderr
    assert f"cuda: {GPUS} GPUs at {shared.address}" in done.stdout
    assert not (tmp_path / "runs").exists()


def test_a_study_joins_with_the_token_and_sends_workers_what_they_lack(shared: Head, tmp_path: Path) -> None:
    """One worker of two threads, since the node has two cores; the node's Python cannot import this project."""
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('kernels') is not None)"
    if subprocess.run([shared.python, "-E", "-c", code], cwd=tmp_path, check=False).returncode:
        pytest.skip("kernels is installed among the packages, so that every Python of this machine has it")
    done = run_study(tmp_path, shared, "compute.backend=numpy")
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(tmp_path / "runs" / "small" / "configs.parquet")
    assert (len(table), set(table["status"])) == (TRIALS, {"ok"})


# ---- a study as a job of the cluster


@pytest.mark.skipif(importlib.util.find_spec("aiohttp_cors") is None, reason="ray[default] is not installed")
def test_a_study_submitted_as_a_job_leaves_its_records(shared: Head, tmp_path: Path) -> None:
    work = tmp_path / "work"
    for package in ("cluster", "kernels", "search", "tracking"):
        shutil.copytree(ROOT / package, work / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(write_study(tmp_path), work)
    entry = f"python -m cluster run small.yaml --set compute.address=$RAY_ADDRESS --runs {tmp_path}/runs"
    command = [
        str(Path(sys.executable).with_name("ray")),
        "job",
        "submit",
        "--address",
        shared.dashboard,
        "--working-dir",
        str(work),
    ]

    def submit(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, "--", "sh", "-c", entry],
            **{"env": shared.environment(RAY_AUTH_MODE="token", **environment), "capture_output": True, "text": True},
            timeout=120,
            check=False,
        )

    refused = submit(RAY_AUTH_TOKEN="0" * 64)
    assert refused.returncode != 0
    assert not (tmp_path / "runs").exists()
    done = submit()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(pd.read_parquet(tmp_path / "runs" / "small" / "configs.parquet")) == TRIALS
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as records:
        (children,) = records.execute("SELECT count(*) FROM tags WHERE key = 'mlflow.parentRunId'").fetchone()
    assert children >= TRIALS
