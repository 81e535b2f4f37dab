"""A study on Ray's fake autoscaling cluster, run by a test in namespaces of its own: no process, port or file of others.

`AutoscalingCluster` calls `ray stop --force`, which ends Ray's processes by name: here it sees only its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

WORKERS = 2
CONFIGURATION = {
    "cluster_name": "fake",
    "max_workers": WORKERS,
    "idle_timeout_minutes": 0.05,
    "upscaling_speed": 1.0,
    "provider": {
        "type": "fake_multinode",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    },
    "auth": {},
    **{name: {} for name in ("file_mounts", "docker")},
    **{
        f"{whose}{what}": []
        for whose in ("", "head_", "worker_")
        for what in ("setup_commands", "initialization_commands", "start_ray_commands")
    },
    **{"cluster_synced_files": [], "file_mounts_sync_continuously": False, "rsync_exclude": [], "rsync_filter": []},
    "head_node_type": "ray.head.default",
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": WORKERS},
    },
}
SHRUNK_SECONDS = 60.0  # for idle nodes to go


def nodes(address: str) -> int:
    """Nodes that are alive, asked as `hedgegrid` asks."""
    from cluster import ray_probe

    command = [sys.executable, "-P", ray_probe.__file__, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return len(json.loads(done.stdout.splitlines()[-1])["nodes"])


def main(folder: Path) -> None:
    from ray.cluster_utils import AutoscalingCluster
    from studies import run_one, small_plan

    class Fake(AutoscalingCluster):
        """Ray's wheel lacks the file that the class takes its configuration from."""

        def _generate_config(self, *_: object, **__: object) -> dict[str, object]:
            return CONFIGURATION

    cluster = Fake({"CPU": 0}, {})
    cluster.start()
    counted = [nodes(ADDRESS)]
    ended = threading.Event()

    def count() -> None:
        while not ended.wait(1.0):
            counted.append(nodes(ADDRESS))

    watch = threading.Thread(target=count)
    watch.start()
    try:
        run_one(small_plan(folder, f"compute={{backend: numpy, workers: {WORKERS}, address: '{ADDRESS}'}}"))
        deadline = time.monotonic() + SHRUNK_SECONDS
        while time.monotonic() < deadline and counted[-1] > 1:
            time.sleep(0.5)
    finally:
        ended.set()
        watch.join()
        cluster.shutdown()
    print(json.dumps(counted))


ADDRESS = "127.0.0.1:6379"

if __name__ == "__main__":
    main(Path(sys.argv[1]))
