"""A SkyPilot task: what HedgeGrid asks of it before SkyPilot asks its own schema (`sky launch --dryrun`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.launch_file import get, mapping
from cluster.launch_rules import image_problems, install_problems


def skypilot_problems(task: dict[str, Any]) -> Iterator[str]:
    """Every mistake of a task."""
    resources = task.get("resources")
    if not isinstance(resources, dict):
        yield f"resources: is needed, a mapping with accelerators and use_spot, got {resources!r}"
        return
    if not resources.get("accelerators"):
        yield "resources.accelerators: is needed, the GPU of every machine, such as {L4: 1}"
    if resources.get("use_spot") is not True:
        got = resources.get("use_spot")
        yield f"resources.use_spot: machines are spot, got {got!r}; set true: a lost one costs a study only time"
    if not resources.get("job_recovery"):
        yield "resources.job_recovery: is needed, since the head is a spot machine; set {max_restarts_on_errors: 2}"
    stop = resources.get("autostop")
    if not (get(stop, "idle_minutes") and get(stop, "down") is True):
        yield f"resources.autostop: idle machines are ended, got {stop!r}; set {{idle_minutes: 10, down: true}}"
    if resources.get("ports"):
        yield f"resources.ports: no port is open to the world, got {resources['ports']}; remove it, and use ssh"
    image = resources.get("image_id")
    if isinstance(image, str) and image.startswith("docker:"):
        yield from image_problems("resources.image_id", image.removeprefix("docker:"))
    yield from install_problems("setup", str(task.get("setup")))
    run = str(task.get("run"))
    if "RAY_AUTH_MODE=token" not in run:
        yield "run: Ray asks for a token; begin with export RAY_AUTH_MODE=token"
    if "RAY_AUTH_TOKEN" not in mapping(task, "secrets"):
        yield "secrets.RAY_AUTH_TOKEN: is needed, empty in the file; sky jobs launch --secret RAY_AUTH_TOKEN gives it"
    if "--resume" not in run:
        yield "run: a recovered task goes on where it was; add --resume to hedgegrid run"
    if not task.get("file_mounts") and not task.get("volumes"):
        yield "file_mounts: a machine's disk is lost with it; mount a bucket or a volume for --runs"
    nodes = task.get("num_nodes", 1)
    if not isinstance(nodes, int) or nodes < 1:
        yield f"num_nodes: a whole number of at least 1 is needed, got {nodes!r}"


def skypilot_rows(task: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """What would be launched: (what, how many, machine, market, image)."""
    resources = task["resources"]
    gpus = resources.get("accelerators")
    gpu = ", ".join(f"{n} {name}" for name, n in gpus.items()) if isinstance(gpus, dict) else str(gpus)
    machine = f"{resources.get('cpus', 'any')} cores, {gpu}"
    yield "nodes", str(task.get("num_nodes", 1)), machine, "spot", str(resources.get("image_id", "SkyPilot's own"))
