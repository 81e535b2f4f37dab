"""A study on a cluster that brings nodes when they are asked for and lets them go when they are idle."""

from __future__ import annotations

import importlib.util
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from ray_heads import environment
from studies import TRIALS

ALONE = ["unshare", "--pid", "--net", "--mount", "--fork", "--mount-proc", "--kill-child"]
# Loopback is down in a new network; /tmp/ray would hold the address of other clusters of this machine.
PREPARE = "ip link set lo up && mkdir -p /tmp/ray && mount -t tmpfs tmpfs /tmp/ray && exec "


def alone(*command: str) -> list[str]:
    """A command with processes, network and /tmp/ray of its own."""
    return [*ALONE, "sh", "-c", f'{PREPARE} "$@"', "sh", *command]


@pytest.fixture(scope="module")
def possible() -> None:
    if importlib.util.find_spec("aiohttp_cors") is None:
        pytest.skip("ray[default] is not installed")
    if shutil.which("unshare") is None or subprocess.run(alone("true"), capture_output=True, check=False).returncode:
        pytest.skip("no process, network and mount namespaces here (unshare, ip and root)")


def test_a_cluster_grows_for_a_study_and_shrinks_after_it(possible: None, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("0123456789abcdef" * 4)
    tests = Path(__file__).resolve().parent
    done = subprocess.run(
        alone(sys.executable, str(tests / "autoscaling.py"), str(tmp_path)),
        cwd=tests,
        env=environment(token, Path(sys.executable)) | {"HOME": str(tmp_path), "PYTHONPATH": str(tests.parent)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counted = json.loads(done.stdout.splitlines()[-1])
    turns = [count for count, _ in itertools.groupby(counted)]
    assert turns[0] == turns[-1] == 1, turns  # the head alone
    assert max(turns) == 3, turns
    assert len(pd.read_parquet(tmp_path / "runs" / "small" / "configs.parquet")) == TRIALS
    assert (tmp_path / "mlflow.db").stat().st_size > 0
