"""A file for Ray's cluster launcher (`ray up`): Ray's own validation, and what HedgeGrid asks of AWS and Google Cloud."""

from __future__ import annotations

import copy
import difflib
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator, ValidationError

from cluster.launch_file import get, mapping, sequence
from cluster.launch_rules import image_problems, install_problems
from cluster.study_text import short

WORLD = ("0.0.0.0/0", "::/0")
MACHINE = {"aws": "InstanceType", "gcp": "machineType"}  # the clouds whose machines, prices and ports are known here


def launcher_problems(config: dict[str, Any]) -> Iterator[str]:
    """Every mistake of a launcher file, by Ray's schema, Ray's own further rules, and HedgeGrid's."""
    schema_problems = [*_key_problems(config)] or [*_schema_problems(config)]
    yield from schema_problems or _ray_problems(config)
    if get(config, "idle_timeout_minutes") is None:
        yield "idle_timeout_minutes: is needed, since idle machines cost as much as busy ones; set it to 5"
    for name, node in _nodes(config):
        yield from _market_problems(config, name, node)
        yield from _network_problems(config, name, node)
        yield from _gpu_problems(config, name, node)
    for i, rule in enumerate(sequence(config, "provider", "security_group", "IpPermissions")):
        text = json.dumps(rule)
        if any(world in text for world in WORLD):
            path = f"provider.security_group.IpPermissions[{i}]"
            yield f"{path}: no port is open to the world, got {short(rule)}; name your own address, or use ssh"
    if get(config, "docker", "image") is not None:
        yield from image_problems("docker.image", get(config, "docker", "image"))
    for key in ("head_image", "worker_image"):
        if get(config, "docker", key) is not None:
            yield from image_problems(f"docker.{key}", get(config, "docker", key))
    yield from install_problems("setup_commands", str(get(config, "setup_commands")))
    yield from _start_problems(config)


def _key_problems(value: Any, path: str = "") -> Iterator[str]:
    """Keys that are no words: Ray's schema cannot be asked about them."""
    for key, below in value.items() if isinstance(value, dict) else enumerate(sequence(value)):
        if isinstance(value, dict) and not isinstance(key, str):
            yield f"{path}: a key is a word, got {key!r}; put it in quotes"
        yield from _key_problems(below, f"{path}.{key}".lstrip("."))


def _schema_problems(config: dict[str, Any]) -> Iterator[str]:
    """What Ray's JSON schema refuses, all of it (Ray itself stops at the first)."""
    autoscaler = importlib.import_module("ray.autoscaler")
    schema = json.loads((Path(str(autoscaler.__file__)).parent / "ray-schema.json").read_text(encoding="utf-8"))
    for error in sorted(Draft7Validator(schema).iter_errors(config), key=lambda error: str(error.absolute_path)):
        yield from _told(error)


def _told(error: ValidationError) -> Iterator[str]:
    path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in error.absolute_path).lstrip(".")
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = [*error.schema.get("properties", {})]
        for key in sorted(map(str, error.instance.keys() - {*known})):
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"keys are {', '.join(known)}"
            yield f"{path}.{key}: unknown key; {hint}".lstrip(".")
    elif error.validator == "required" and isinstance(error.instance, dict):
        for key in sorted({*error.validator_value} - {*error.instance}):
            yield f"{path}.{key}: is needed".lstrip(".")
    else:
        yield f"{path or 'the file'}: {error.message}"


def _ray_problems(config: dict[str, Any]) -> Iterator[str]:
    """What Ray refuses beyond its schema, as `ray up` would."""
    util = importlib.import_module("ray.autoscaler._private.util")
    try:
        util.validate_config(util.prepare_config(copy.deepcopy(config)))
    except (ValueError, TypeError, AttributeError, RuntimeError, KeyError, AssertionError) as error:
        yield f"Ray refuses the file: {error}"


def _nodes(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, node in mapping(config, "available_node_types").items():
        if isinstance(node, dict):
            yield str(name), node


def is_spot(node: dict[str, Any]) -> bool:
    """Whether a node type is bought on the spot market, of either cloud."""
    scheduling = get(node, "node_config", "scheduling")
    settings = scheduling if isinstance(scheduling, list) else [scheduling]  # Ray's examples write a list
    return get(node, "node_config", "InstanceMarketOptions", "MarketType") == "spot" or any(
        get(each, "provisioningModel") == "SPOT" or get(each, "preemptible") is True for each in settings
    )


def _market_problems(config: dict[str, Any], name: str, node: dict[str, Any]) -> Iterator[str]:
    cloud = str(get(config, "provider", "type"))
    if cloud not in MACHINE:
        return
    path = f"available_node_types.{name}.node_config"
    key = "InstanceMarketOptions" if cloud == "aws" else "scheduling"
    if name == get(config, "head_node_type"):
        if is_spot(node):
            yield f"{path}.{key}: the head is on demand, got spot; remove it, since losing the head ends the study"
    elif not is_spot(node):
        spot = (
            "{MarketType: spot}" if cloud == "aws" else "{provisioningModel: SPOT, instanceTerminationAction: DELETE}"
        )
        yield f"{path}.{key}: workers are spot machines, got none; add {spot}: a lost worker costs a study only time"


def _network_problems(config: dict[str, Any], name: str, node: dict[str, Any]) -> Iterator[str]:
    cloud, path = get(config, "provider", "type"), f"available_node_types.{name}.node_config"
    if cloud == "aws" and not get(node, "node_config", "SecurityGroupIds"):
        yield (
            f"{path}.SecurityGroupIds: is needed, since without one Ray makes a group that lets the whole world try "
            "port 22; name a group that lets in ssh from your address and the cluster itself"
        )
    if cloud == "gcp":
        interfaces = get(node, "node_config", "networkInterfaces")
        network = str(get(interfaces, 0, "network") or get(interfaces, 0, "subnetwork") or "default")
        if network.rsplit("/", 1)[-1] == "default":
            yield (
                f"{path}.networkInterfaces: a network of your own is needed, got {network}, whose firewall lets the "
                "whole world try port 22; name one as in [{network: global/networks/hedgegrid}]"
            )


def _gpu_problems(config: dict[str, Any], name: str, node: dict[str, Any]) -> Iterator[str]:
    """Ray knows the GPUs of AWS's machines; of Google's it believes what `resources` says."""
    machine = str(get(node, "node_config", "machineType"))
    guests = get(node, "node_config", "guestAccelerators")
    if get(config, "provider", "type") != "gcp" or not (guests or machine.startswith(("a2-", "a3-", "a4-", "g2-"))):
        return
    path = f"available_node_types.{name}"
    declared, count = get(node, "resources", "GPU"), get(guests, 0, "acceleratorCount")
    if not declared or (count is not None and declared != count):
        has = f"has {count}" if count is not None else "has at least one"
        yield f"{path}.resources.GPU: Ray starts no machine for GPUs it does not know of; {machine} {has}, got {declared}"


def _start_problems(config: dict[str, Any]) -> Iterator[str]:
    """How Ray is started: with a token, the dashboard on loopback, and on the head with the autoscaler."""
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        starts = [str(command) for command in sequence(config, key) if "ray start" in str(command)]
        if not starts:
            yield f"{key}: is needed, since what Ray puts in its place asks nobody for a token"
        for command in starts:
            if "RAY_AUTH_MODE=token" not in command:
                yield f"{key}: Ray asks for a token, got {short(command)}; write RAY_AUTH_MODE=token before ray start"
            if "--dashboard-host=0.0.0.0" in command or "--dashboard-host 0.0.0.0" in command:
                yield f"{key}: the dashboard listens on loopback, got 0.0.0.0; set --dashboard-host=127.0.0.1"
            if key.startswith("head") and "--autoscaling-config" not in command:
                yield f"{key}: no worker ever starts without --autoscaling-config=~/ray_bootstrap_config.yaml; add it"
    if not any(str(remote).endswith("/.ray/auth_token") for remote in mapping(config, "file_mounts")):
        yield "file_mounts: the nodes need the token; add ~/.ray/auth_token: ~/.ray/auth_token"


def launcher_rows(config: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """What would be launched: (what, how many, machine, market, image) per node type."""
    image = str(get(config, "docker", "image") or "no container")
    key = MACHINE.get(str(get(config, "provider", "type")), "")
    for name, node in _nodes(config):
        head = name == get(config, "head_node_type")
        least, most = get(node, "min_workers") or 0, get(node, "max_workers") or get(config, "max_workers")
        number = "1" if head else f"{least} to {most}"
        machine = str(get(node, "node_config", key) or "as given")
        yield name, number, machine, "spot" if is_spot(node) else "on demand", image
