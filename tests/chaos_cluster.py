"""A Ray cluster of several nodes on this machine, and harm done to it: to its own processes only, by their ids."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

STOPPED_SECONDS = 8.0  # that a stopped process stays so: longer than a chunk's deadline
CORES = 2  # of a node
# A node that does not answer is dead after about 3 seconds, not after 30.
IMPATIENT = {
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
# One call in four to a worker fails: before it is sent, after it was answered, or at once while it is carried out.
DROPPED = json.dumps(
    {
        "CoreWorkerService.grpc_client.PushTask": {
            **{"num_failures": 60, "req_failure_prob": 8, "resp_failure_prob": 8, "in_flight_failure_prob": 8}
        }
    }
)


class ChaosCluster:
    """A head without cores, and nodes that come and go. Made, harmed and shut down by the main thread."""

    def __init__(self, folder: Path, random: Random, nodes: int = 2) -> None:
        from ray.cluster_utils import Cluster  # after the environment is set

        self._random = random
        self.harmed: Counter[str] = Counter()
        self._stopped: list[int] = []
        self._replaced: list[Any] = []  # nodes that were stopped
        self._cluster: Any = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False, "temp_dir": str(folder)},
        )
        for _ in range(nodes):
            self._cluster.add_node(num_cpus=CORES)
        self.address: str = self._cluster.address

    def shutdown(self) -> None:
        self.settle()
        self._cluster.shutdown()

    def settle(self) -> None:
        """Everything that was stopped goes on, and nodes that were replaced leave."""
        for process in self._stopped:
            _signal(process, signal.SIGCONT)
        self._stopped.clear()
        for node in self._replaced:
            self._cluster.remove_node(node, allow_graceful=False)
        self._replaced.clear()

    # ---- harm

    def kill_worker(self) -> None:
        if workers := self._workers():
            _signal(self._random.choice(workers), signal.SIGKILL)
            self.harmed["workers killed"] += 1

    def kill_all_workers(self) -> None:
        for worker in self._workers():
            _signal(worker, signal.SIGKILL)
            self.harmed["workers killed"] += 1

    def stop_worker(self) -> None:
        if workers := self._workers():
            self._stop(self._random.choice(workers))
            self.harmed["workers stopped"] += 1

    def kill_node(self) -> None:
        """A node's raylet dies, its workers with it; then another node joins."""
        node = self._random.choice(self._nodes())
        _signal(_raylet(node), signal.SIGKILL)
        self.harmed["nodes killed"] += 1
        self._replace(node)

    def stop_node(self) -> None:
        """A node's raylet stops, is held for dead, and goes on; another node has joined meanwhile."""
        node = self._random.choice(self._nodes())
        self._stop(_raylet(node))
        self.harmed["nodes stopped"] += 1
        self._cluster.add_node(num_cpus=CORES)
        self._replaced.append(node)

    def anything(self) -> None:
        harms: list[Callable[[], None]] = [self.kill_worker, self.kill_all_workers, self.stop_worker]
        self._random.choice([*harms, self.kill_worker, self.kill_node, self.stop_node])()

    def _nodes(self) -> list[Any]:
        """Those that nobody has stopped."""
        return sorted(set(self._cluster.worker_nodes) - set(self._replaced), key=_raylet)

    def _replace(self, node: Any) -> None:
        self._cluster.remove_node(node, allow_graceful=False)
        self._cluster.add_node(num_cpus=CORES)

    def _stop(self, process: int) -> None:
        _signal(process, signal.SIGSTOP)
        self._stopped.append(process)
        later = threading.Timer(STOPPED_SECONDS, _signal, (process, signal.SIGCONT))
        later.daemon = True
        later.start()

    def _workers(self) -> list[int]:
        """The processes of workers that the cluster's raylets have started, idle ones left out."""
        raylets = map(_raylet, self._nodes())
        return sorted(pid for raylet in raylets for pid in _children(raylet) if b"ray::Cursed" in _command(pid))


def _raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


def _signal(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def _children(process: int) -> list[int]:
    found: list[int] = []
    for thread in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, thread.read_text().split())
    return found


def _command(process: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""
