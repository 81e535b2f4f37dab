"""A file that launches machines, as text: which tool it is for, and what it says under which key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from cluster.study_text import missing_file, repeated_keys, syntax_mistake
from kernels.errors import InputError

Kind = Literal["launcher", "kuberay", "skypilot", "compose", "dockerfile"]
INSTRUCTIONS = ("FROM", "ARG")  # one of them begins a Dockerfile
MARKS = ("EDIT-ME", "REGISTRY/")  # what stands where the files that come with HedgeGrid want a name of yours


@dataclass(frozen=True, slots=True)
class LaunchFile:
    """`documents` are the file's YAML documents (a Dockerfile has none), as its tool reads them."""

    path: Path
    kind: Kind
    text: str
    documents: tuple[dict[str, Any], ...]
    repeated: tuple[str, ...]

    @property
    def commands(self) -> str:
        """The text without its comments."""
        return "\n".join(line for line in self.text.splitlines() if not line.lstrip().startswith("#"))


def read_launch_file(path: Path) -> LaunchFile:
    """The file at `path`; InputError where it cannot be read, or is for none of the tools that are known here."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(missing_file(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text, {error}") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if lines and lines[0].split()[0].upper() in INSTRUCTIONS:
        return LaunchFile(path, "dockerfile", text, (), ())
    documents, repeated = _documents(path, text)
    for document in documents:
        if (kind := _kind(document)) is not None:
            return LaunchFile(path, kind, text, documents if kind == "kuberay" else (document,), repeated)
    raise InputError(
        f"{path}: launches nothing that is known here; a file for Ray's cluster launcher has provider and "
        "available_node_types, for KubeRay a document with apiVersion ray.io/v1, for SkyPilot resources and run, for "
        "Docker Compose services; a Dockerfile begins with FROM"
    )


def _documents(path: Path, text: str) -> tuple[tuple[dict[str, Any], ...], tuple[str, ...]]:
    """The mappings among the YAML documents of a text, and the keys that stand twice in one."""
    documents, repeated = [], list[str]()
    try:
        for node in yaml.compose_all(text, yaml.SafeLoader):
            loader = yaml.SafeLoader("")
            if isinstance(document := loader.construct_document(node), dict):
                documents.append(document)
            repeated += repeated_keys(node)
    except yaml.MarkedYAMLError as error:
        raise InputError(syntax_mistake(error, text, str(path))) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not YAML, {error}") from None
    return tuple(documents), tuple(repeated)


def _kind(document: dict[str, Any]) -> Kind | None:
    keys = set(document)
    if str(document.get("apiVersion", "")).startswith("ray.io/"):
        return "kuberay"
    if keys & {"available_node_types", "head_node_type"} or {"cluster_name", "provider"} <= keys:
        return "launcher"
    if "services" in keys:
        return "compose"
    return "skypilot" if "run" in keys and keys & {"resources", "num_nodes", "setup"} else None


def get(value: Any, *keys: str | int) -> Any:
    """What stands under these keys, one within the other; None where nothing does.

    >>> get({"a": [{"b": 1}]}, "a", 0, "b"), get({"a": 2}, "a", "b")
    (1, None)
    """
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return None
    return value


def mapping(value: Any, *keys: str | int) -> dict[Any, Any]:
    """The mapping under these keys; an empty one where there is none."""
    found = get(value, *keys)
    return found if isinstance(found, dict) else {}


def sequence(value: Any, *keys: str | int) -> list[Any]:
    """The list under these keys; an empty one where there is none."""
    found = get(value, *keys)
    return found if isinstance(found, list) else []


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that has nothing below it, with its key path.

    >>> list(leaves({"a": [{"b": 1}, 2]}))
    [('a[0].b', 1), ('a[1]', 2)]
    """
    if isinstance(value, dict):
        for key, below in value.items():
            yield from leaves(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for i, below in enumerate(value):
            yield from leaves(below, f"{path}[{i}]")
    else:
        yield path, value


def to_edit(file: LaunchFile) -> list[str]:
    """What still stands in the file where a name of the user's belongs, `key: value`."""
    return [
        f"{path}: {value}"
        for document in file.documents
        for path, value in leaves(document)
        if isinstance(value, str) and any(mark in value for mark in MARKS)
    ]
