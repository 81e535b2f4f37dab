"""Real Ray, real processes, real signals: nothing is lost, doubled or wrong, and no innocent chunk is quarantined."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import pytest
from chaos_cluster import DROPPED, IMPATIENT, ChaosCluster
from chaos_rounds import EXITS, HANGS, RAISES, WORKERS, Rounds
from studies import small_plan

ROWS = 1200
PLAYED: dict[str, dict[str, Any]] = {  # harm, after how many chunks each time, how often, and the poison in the batch
    "workers killed": {"harm": "kill_worker", "every": 5, "times": 5},
    "all workers killed at once": {"harm": "kill_all_workers", "every": 12, "times": 2},
    "nodes killed": {"harm": "kill_node", "every": 12, "times": 2},
    "workers stopped and resumed": {"harm": "stop_worker", "every": 12, "times": 2},
    "nodes stopped and resumed": {"harm": "stop_node", "every": 6, "times": 3},
    "poison while workers are killed": {
        **{"harm": "kill_worker", "every": 8, "times": 3},
        "poison": (EXITS, RAISES, HANGS),
    },
}


def play(names: list[str]) -> None:
    """Play those rounds on one cluster, in the main thread of a process of its own, and tell what became of each."""
    import ray

    from cluster.ray_fleet import _hush
    from cluster.ray_session import start_ray

    random = Random(1)
    with tempfile.TemporaryDirectory(prefix="hg", dir="/tmp") as short, tempfile.TemporaryDirectory() as folder:
        plan = small_plan(Path(folder), "tracking.enabled=false", "market.bars=120")
        rows = plan.space.grid_rows(0, 12).sample(ROWS, replace=True, random_state=1, ignore_index=True)
        cluster = ChaosCluster(Path(short), random)
        start_ray(ray, cluster.address, WORKERS, 0, 1)
        _hush()
        ray.cloudpickle.register_pickle_by_value(sys.modules["chaos_rounds"])  # workers do not know it
        rounds = Rounds(ray, plan.task, rows)
        for name in names:
            how = {**PLAYED.get(name, {"harm": "settle", "every": ROWS, "times": 0})}
            played = rounds.play(getattr(cluster, how.pop("harm")), **how)
            cluster.settle()
            print(json.dumps({"name": name, **played.as_dict(), "harmed": dict(cluster.harmed)}), flush=True)
            cluster.harmed.clear()
        ray.shutdown()
        cluster.shutdown()


def played(*names: str, **environment: str) -> dict[str, dict[str, Any]]:
    """What became of those rounds."""
    done = subprocess.run(
        [sys.executable, "-c", f"import test_chaos; test_chaos.play({list(names)})"],
        cwd=Path(__file__).parent,
        env={**os.environ, **IMPATIENT, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "(raylet)" not in done.stdout + done.stderr, "Ray's advice is not kept off the terminal"
    return {
        line["name"]: line for line in (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    }


@pytest.fixture(scope="module")
def harmed() -> dict[str, dict[str, Any]]:
    """All the rounds, played on one cluster: Ray takes seconds to start."""
    pytest.importorskip("ray")
    return played(*PLAYED)


@pytest.mark.parametrize("name", PLAYED)
def test_nothing_is_lost_whatever_is_killed(harmed: dict[str, dict[str, Any]], name: str) -> None:
    found = harmed[name]
    assert not found["error"], found
    assert (found["missing"], found["doubled"], found["wrong"], found["innocent"]) == (0, 0, 0, 0), found
    assert found["harmed"], "nothing was harmed"
    assert found["quarantined"] == len(PLAYED[name].get("poison", ())), found


def test_calls_to_workers_that_fail_are_made_again() -> None:
    pytest.importorskip("ray")
    found = played("calls fail", RAY_testing_rpc_failure=DROPPED)["calls fail"]
    assert not found["error"], found
    assert (found["missing"], found["doubled"], found["wrong"], found["innocent"]) == (0, 0, 0, 0), found
    assert found["lost"], "no call failed"
