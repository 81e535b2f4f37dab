"""Asks a Ray cluster what it is, in a process of its own: Ray's core may wait for minutes, or end the process it is in.

Run as a script (`python -P ray_probe.py HOST:PORT`) it prints one object of JSON: the cluster's `versions` and `nodes`,
whether it asks for a `token` and what it `refused`, and whether this machine is one of its nodes (`here`).
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any


def main(address: str) -> dict[str, Any]:
    """What the cluster answers, without a token first: it is sent only to a cluster that asks for it."""
    wanted = os.environ.get("RAY_AUTH_MODE", "token")
    os.environ["RAY_AUTH_MODE"] = "disabled"
    raylet: Any = importlib.import_module("ray._raylet")  # after the mode: Ray reads it then
    from ray.exceptions import AuthenticationError

    try:
        return {"token": False, **_ask(raylet, address)}
    except AuthenticationError:
        os.environ["RAY_AUTH_MODE"] = wanted
        raylet.Config.initialize("")  # reads the mode again
    try:
        if not raylet.AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True):
            return {"token": True, "refused": "no token"}  # Ray's core would end the process
        return {"token": True, **_ask(raylet, address)}
    except AuthenticationError as error:
        return {"token": True, "refused": str(error)}


def _ask(raylet: Any, address: str) -> dict[str, Any]:
    services: Any = importlib.import_module("ray._private.services")
    client = raylet.GcsClient(address=address)
    about = json.loads(client.internal_kv_get(b"CLUSTER_METADATA", b"cluster"))
    alive = [node for node in client.get_all_node_info().values() if node.state == node.ALIVE]
    ids = {node.node_id.hex() for node in alive}
    return {
        "versions": [about["ray_version"], about["python_version"]],
        "nodes": [[int(node.resources_total.get(what, 0)) for what in ("CPU", "GPU")] for node in alive],
        "here": bool(ids & set(services.find_node_ids())),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
