"""`hedgegrid cluster check FILE`: what a file would launch, or every reason not to launch it. Nothing is launched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cluster.launch_container import compose_problems, container_rows, dockerfile_problems, instructions
from cluster.launch_file import Kind, LaunchFile, read_launch_file, to_edit
from cluster.launch_kubernetes import kuberay_problems, kuberay_rows
from cluster.launch_ray import MACHINE, launcher_problems, launcher_rows
from cluster.launch_rules import common_problems
from cluster.launch_skypilot import skypilot_problems, skypilot_rows
from kernels.errors import InputError


class _Tool(NamedTuple):
    """What is known of one kind of file. `checked` says by what; `next` is the tool's own, deeper check."""

    name: str
    problems: Callable[[LaunchFile], Iterable[str]]
    rows: Callable[[LaunchFile], Iterable[tuple[str, ...]]]
    checked: str
    next: str


@dataclass(frozen=True, slots=True)
class Launch:
    """What a file would launch: rows of (what, number, machine, market, image), and what is left to do."""

    tool: str
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


TOOLS: dict[Kind, _Tool] = {
    "launcher": _Tool(
        "Ray cluster launcher",
        lambda file: launcher_problems(file.documents[0]),
        lambda file: launcher_rows(file.documents[0]),
        "Ray's own schema and validation, HedgeGrid's rules",
        "ray up {path}",
    ),
    "kuberay": _Tool(
        "KubeRay",
        lambda file: kuberay_problems(file.documents),
        lambda file: kuberay_rows(file.documents),
        "HedgeGrid's rules, and near misses of KubeRay's keys",
        "kubectl apply --dry-run=server -f {path}   # the cluster's own CRD",
    ),
    "skypilot": _Tool(
        "SkyPilot task",
        lambda file: skypilot_problems(file.documents[0]),
        lambda file: skypilot_rows(file.documents[0]),
        "HedgeGrid's rules",
        "sky launch --dryrun {path}   # SkyPilot's own schema, and prices",
    ),
    "compose": _Tool(
        "Docker Compose",
        lambda file: compose_problems(file.documents[0]),
        lambda file: container_rows(file.documents[0]),
        "HedgeGrid's rules",
        "docker compose -f {path} config --quiet   # Compose's own schema",
    ),
    "dockerfile": _Tool(
        "Dockerfile",
        lambda file: dockerfile_problems(file.text),
        lambda file: _dockerfile_rows(file.text),
        "HedgeGrid's rules",
        "docker build --check -f {path} .   # Docker's own rules",
    ),
}


def check(path: Path) -> Launch:
    """What the file at `path` would launch; InputError with every mistake of it."""
    file = read_launch_file(path)
    tool = TOOLS[file.kind]
    problems = list(dict.fromkeys([*common_problems(file), *tool.problems(file)]))
    if problems:
        raise InputError([f"{path} should not be launched as it is:", *(f"  {problem}" for problem in problems)])
    return Launch(tool.name, tuple(tool.rows(file)), tuple(_notes(file, tool)))


def show(console: Console, launch: Launch) -> None:
    """Print what would be launched, and what is left to do."""
    table = Table(title=f"{launch.tool}: what would be launched", title_justify="left")
    for column in ("what", "number", "machine", "market", "image"):
        table.add_column(column, overflow="fold")
    for row in launch.rows:
        table.add_row(*map(escape, row))
    console.print(table)
    for note in launch.notes:
        console.print(escape(note), soft_wrap=True)


def _notes(file: LaunchFile, tool: _Tool) -> Iterator[str]:
    yield f"checked by: {tool.checked}"
    if file.kind == "launcher" and (cloud := file.documents[0]["provider"]["type"]) not in MACHINE:
        yield f"not checked: market and ports, which are known here for {' and '.join(MACHINE)}, not for {cloud}"
    for mark in to_edit(file):
        yield f"to edit first: {mark}"
    yield f"next: {tool.next.format(path=file.path)}"


def _dockerfile_rows(text: str) -> Iterator[tuple[str, ...]]:
    read = instructions(text)
    base = [rest for word, rest in read if word == "FROM"][-1]
    user = [rest for word, rest in read if word == "USER"][-1]
    yield "image", "1", f"user {user}", "", base
