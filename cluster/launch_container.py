"""A Dockerfile or a Compose file: exact versions, nobody is root, ports on loopback, no secret in the image."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cluster.launch_file import get, mapping, sequence
from cluster.launch_rules import image_problems, pinned
from cluster.study_text import short

LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
_INSTALLS = re.compile(r"pip install (?P<what>[^&|;]*)")


def instructions(text: str) -> list[tuple[str, str]]:
    r"""The instructions of a Dockerfile, comments dropped and continued lines joined.

    >>> instructions("FROM a:1.0\n# why\nRUN x \\\n  && y")
    [('FROM', 'a:1.0'), ('RUN', 'x   && y')]
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    whole = "\n".join(lines).replace("\\\n", "")
    found = [line.strip().partition(" ") for line in whole.splitlines()]
    return [(word.upper(), rest.strip()) for word, _, rest in found]


def dockerfile_problems(text: str, where: str = "") -> Iterator[str]:
    """Every mistake of a Dockerfile; `where` is put before each."""
    user, stages = "", set[str]()
    for word, rest in instructions(text):
        path = f"{where}{word}"
        if word == "FROM":
            user = ""
            name, _, stage = re.sub(r"^--\S+\s+", "", rest).partition(" ")
            if name.lower() not in stages and name != "scratch":
                yield from image_problems(path, name)
                yield from _cuda_problems(path, name)
            stages.add(stage.split()[-1].lower() if stage else name.lower())
        elif word == "USER":
            user = rest
        elif word == "ADD" and "://" in rest:
            yield f"{path}: what is fetched may change, got {rest}; COPY a file, or install a package"
        elif word == "RUN":
            yield from _install_problems(path, rest)
    if user.partition(":")[0] in ("", "root", "0"):
        yield f"{where}USER: the image does not run as root, got {user or 'none'}; end with a user's number, USER 10001"


def _cuda_problems(path: str, image: str) -> Iterator[str]:
    compiler = ".".join(pinned("nvidia-cuda-nvrtc-cu12").split(".")[:2])
    found = re.search(r"nvidia/cuda:(\d+\.\d+)", image)
    if found and found[1] != compiler:
        yield f"{path}: CUDA is that of the compiler in constraints.txt, {compiler}, got {found[1]}; take {compiler}"


def _install_problems(path: str, command: str) -> Iterator[str]:
    for found in _INSTALLS.finditer(command):
        if not any(said in found["what"] for said in ("--constraint", "--no-deps", "==")):
            yield f"{path}: packages have exact versions, got {short(' '.join(found[0].split()))}; add --constraint"


def compose_problems(config: dict[str, Any]) -> Iterator[str]:
    """Every mistake of a Compose file."""
    services = config.get("services")
    if not isinstance(services, dict) or not services:
        yield f"services: is needed, a mapping of names, got {services!r}"
        return
    for name, service in services.items():
        path = f"services.{name}"
        if not isinstance(service, dict):
            yield f"{path}: a mapping of keys is needed, got {service!r}"
            continue
        inline = get(service, "build", "dockerfile_inline")
        if inline is not None:
            yield from dockerfile_problems(str(inline), f"{path}.build.dockerfile_inline: ")
        elif "build" not in service or "image" in service:
            yield from image_problems(f"{path}.image", service.get("image"))
        for key in ("ports", "volumes"):
            if not isinstance(service.get(key, []), list):
                yield f"{path}.{key}: a list is needed, got {service[key]!r}"
        for port in sequence(service, "ports"):
            if (host := _host(port)) not in LOOPBACK:
                where = host or "every address"
                yield f"{path}.ports: a port is on loopback, got {port!r} ({where}); write 127.0.0.1: before it"
        for key in ("privileged", "network_mode"):
            if service.get(key) in (True, "host"):
                yield f"{path}.{key}: nothing here needs it, got {service[key]}; remove it"
        if not get(service, "healthcheck", "test"):
            yield f"{path}.healthcheck: is needed, since `up --wait` and depends_on wait for it"
        for volume in sequence(service, "volumes"):
            source = volume.partition(":")[0] if isinstance(volume, str) else get(volume, "source")
            if source not in mapping(config, "volumes"):
                yield f"{path}.volumes: data lies in a named volume, got {volume!r}; name it under volumes"
        yield from _mlflow_problems(path, service, str(inline or service.get("image")))


def _host(port: Any) -> str:
    """The address that a published port listens on; empty for every address."""
    if isinstance(port, dict):
        return str(port.get("host_ip", ""))
    return str(port).rpartition(":")[0].rpartition(":")[0]


def _mlflow_problems(path: str, service: dict[str, Any], image: str) -> Iterator[str]:
    command = service.get("command")
    words = " ".join(map(str, command)) if isinstance(command, list) else str(command)
    if "mlflow server" not in words:
        return
    hosts = re.search(r"--allowed-hosts[= ](\S+)", words)
    if hosts is None or "*" in hosts[1].strip("'\"").split(","):
        got = hosts[1] if hosts else "none"
        yield f"{path}.command: MLflow answers named hosts, got --allowed-hosts {got}; name them, such as localhost:5000"
    if "--disable-security-middleware" in words:
        yield f"{path}.command: --disable-security-middleware lets any page a browser opens read the trials; remove it"
    for found in re.finditer(r"mlflow(?:==|:v?)(\d[\w.]*)", image):
        if found[1] != pinned("mlflow"):
            yield f"{path}: server and client are one version, {pinned('mlflow')}, got {found[1]}; set {pinned('mlflow')}"


def container_rows(config: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """What would be launched: (what, how many, ports, market, image) per service."""
    for name, service in config["services"].items():
        inline = get(service, "build", "dockerfile_inline")
        image = str(service.get("image") or (dict(instructions(inline))["FROM"] if inline else "built here"))
        yield name, "1", ", ".join(map(str, sequence(service, "ports") or ["no port"])), "this machine", image
