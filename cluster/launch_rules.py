"""What HedgeGrid asks of every file that launches machines: exact versions, no secrets, nothing from a pipe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cluster.launch_file import LaunchFile, leaves

OLDEST_PYTHON = (3, 11)  # of pyproject.toml
_CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"
_SECRET_KEY = re.compile(r"(?i)(password|passwd|token|secret|api_?key|access_?key(_id)?|credentials)$")
_SECRET_TEXT = re.compile(
    r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|gh[pousr]_[A-Za-z0-9]{30}|://[^/\s:@$]+:[^/\s:@$]+@"
    r"|[A-Z_]*(?:PASSWORD|TOKEN|SECRET|ACCESS_KEY)=(?![\"']?(?:\$|\s|$))[^\s;&|]+"
)
_ANSWERS = {"token", "required", "optional", "true", "false", "none", "disabled"}  # words of a setting, not secrets
_PIPED = re.compile(r"(?:curl|wget)\b[^|;&\n]*\|\s*(?:sudo\s+)?(?:ba|z)?sh\b")
_RAY_IMAGE = re.compile(r"(?:^|/)rayproject/ray(?:-\w+)?:(?P<ray>[^-@]+)(?:-py(?P<major>\d)(?P<minor>\d+))?")


@cache
def pinned(package: str) -> str:
    """The version of a package that HedgeGrid is tested with: of constraints.txt, or in an installed one what is here."""
    if _CONSTRAINTS.is_file():
        for line in _CONSTRAINTS.read_text(encoding="utf-8").splitlines():
            name, _, number = line.partition("==")
            if name.lower() == package:
                return number.strip()
    return version(package)


def common_problems(file: LaunchFile) -> Iterator[str]:
    """Keys that stand twice, secrets, and commands piped from the network into a shell."""
    yield from file.repeated
    told = set()
    for document in file.documents:
        for path, value in leaves(document):
            secret = _secret(path, value, document) if isinstance(value, str) else None
            if secret is not None:
                told.add(value)
                yield _no_secret(path, secret)
    for number, line in enumerate(file.text.splitlines(), 1):
        found = _SECRET_TEXT.search(line)
        if found and not any(part in value for value in told for part in (found[0], line.strip())):
            yield _no_secret(f"line {number}", found[0])
    for found in _PIPED.finditer(file.commands):
        yield f"{found[0]!r}: runs whatever the network answers; install a package at an exact version"


def _secret(path: str, value: str, document: dict[str, Any]) -> str | None:
    """The secret in a value: something of a secret's form, or whatever stands under a secret's name."""
    if found := _SECRET_TEXT.search(value):
        return found[0]
    key = path.rsplit(".", 1)[-1]
    if key == "value":  # Kubernetes: {name: X_TOKEN, value: ...}
        names = dict(leaves(document))
        key = str(names.get(f"{path.removesuffix('.value')}.name", ""))
    literal = value.strip() and value.lower() not in _ANSWERS and value[0] not in "$~/"
    return value if _SECRET_KEY.search(key) and literal else None


def _no_secret(where: str, value: str) -> str:
    return (
        f"{where}: no secret stands in a file, got one of {len(value)} characters; give it by the environment or the "
        "platform's secrets, and change it, since a file is copied"
    )


def image_problems(path: str, image: Any) -> Iterator[str]:
    """An image has an exact version, and the Ray in it is the one that HedgeGrid is tested with.

    >>> list(image_problems("image", "postgres:17.6"))
    []
    >>> list(image_problems("image", "postgres"))
    ["image: an image has an exact version, got 'postgres'; add it, as in postgres:17.6, or a digest"]
    """
    if not isinstance(image, str) or not image:
        yield f"{path}: an image is needed, got {image!r}; name one with its exact version, such as postgres:17.6"
        return
    name, _, digest = image.partition("@")
    tag = name.rsplit(":", 1)[1] if ":" in name.rsplit("/", 1)[-1] else ""
    if not digest and not re.match(r"v?\d+\.\d+", tag):
        yield f"{path}: an image has an exact version, got {image!r}; add it, as in postgres:17.6, or a digest"
    if found := _RAY_IMAGE.search(name):
        yield from ray_problems(path, found["ray"])
        if not found["major"]:
            yield f"{path}: the tag names its Python, got {image!r}; take one with -py311"
        elif (int(found["major"]), int(found["minor"])) < OLDEST_PYTHON:
            oldest = ".".join(map(str, OLDEST_PYTHON))
            yield f"{path}: Python {oldest} or newer is needed, got {found['major']}.{found['minor']}; take -py311"


def ray_problems(path: str, number: Any) -> Iterator[str]:
    """All nodes and the driver run the same Ray."""
    if str(number) != pinned("ray"):
        yield f"{path}: all nodes and the driver run one Ray, {pinned('ray')} here, got {number}; set {pinned('ray')}"


def install_problems(path: str, commands: str) -> Iterator[str]:
    """The project is installed at the versions of constraints.txt."""
    if "constraints.txt" not in commands:
        yield (
            f"{path}: nodes have the versions that the tests had, but no command names constraints.txt; install with "
            "pip install --constraint constraints.txt"
        )
