"""The study file as text: strict YAML in, overrides on top, and mistakes told by path and line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kernels.errors import InputError

# ---- YAML, with the plain words of YAML 1.2


class FileLoader(yaml.SafeLoader):
    """Safe YAML where 1e-3 is a number, and `no`, `on`, 2020-01-01 and 12:30 are words as they stand."""


class FileDumper(yaml.SafeDumper):
    """Writes what `FileLoader` reads back as the same value."""


_WORDS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(?:0|[1-9][0-9_]*)", list("-+0123456789")),
    "float": (
        r"[-+]?(?:[0-9][0-9_]*\.?[0-9]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
}
for _kind in (FileLoader, FileDumper):
    _kind.yaml_implicit_resolvers = {}
    for _tag, (_pattern, _first) in _WORDS.items():
        _kind.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
    _kind.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile("^(?:<<)$"), ["<"])


def read_yaml(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The mapping in a YAML file, and the keys it gives twice; InputError where there is no such mapping."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(missing_file(path)) from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; a study file such as study.yaml is needed") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read, {error.strerror}") from None
    content, problems = _parse(text, str(path))
    if content is None:
        raise InputError(f"{path}: is empty; a study has at least name, market and strategy")
    if not isinstance(content, dict):
        raise InputError(f"{path}: a study is a mapping of keys (name: ...), got a {type(content).__name__}")
    return content, problems


def missing_file(path: Path) -> str:
    """The sentence for a file that is not there, with the near names that are."""
    folder = path.parent
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    place = "no such file" if folder.is_dir() else f"no such file, nor its folder {folder}"
    return f"{path}: {place}; {hint}Paths are relative to the working directory, {Path.cwd()}, and ~ is home"


def _parse(text: str, where: str) -> tuple[Any, list[str]]:
    """The value of one YAML document and the keys it gives twice."""
    try:
        loader = FileLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, []
        return loader.construct_document(node), list(repeated_keys(node))
    except yaml.MarkedYAMLError as error:
        raise InputError(syntax_mistake(error, text, where)) from None
    except yaml.reader.ReaderError as error:
        raise InputError(f"{where}: character {error.position} cannot stand in YAML; remove it") from None
    except RecursionError:
        raise InputError(f"{where}: is nested too deeply to be a study") from None
    except ValueError as error:  # a tag such as !!int on a word
        raise InputError(f"{where}: is not YAML, {error}") from None


def syntax_mistake(error: yaml.MarkedYAMLError, text: str, where: str) -> str:
    """The sentence for text that is not YAML, with line and column."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return f"{where}: is not YAML, {error.problem}"
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    place = f"{where}: line {mark.line + 1}, column {mark.column + 1}"
    if "\t" in line[: mark.column + 1]:
        return f"{place}: a tab; YAML is indented with spaces"
    return f"{place}: is not YAML, {error.problem}, near {line.strip()!r}"


def repeated_keys(root: yaml.Node) -> Iterator[str]:
    """Keys that stand twice in one mapping, with both lines."""
    seen = set()
    stack: list[tuple[yaml.Node, str]] = [(root, "")]
    while stack:
        node, path = stack.pop()
        if id(node) in seen:  # an alias: told once
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            stack += [(entry, f"{path}[{i}]") for i, entry in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            continue
        lines: dict[str, int] = {}
        for key, value in node.value:
            name = f"{path}.{key.value}" if path else str(key.value)
            line = key.start_mark.line + 1
            if str(key.value) in lines:
                yield f"{name}: stands twice, in line {lines[str(key.value)]} and line {line}; keep one"
            lines[str(key.value)] = line
            stack.append((value, name))


# ---- overrides


def apply_overrides(content: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Set `a.b=value` (value is YAML) in `content`, making mappings on the way; returns what was refused."""
    problems = []
    for override in overrides:
        path, equals, text = override.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            problems.append(f"--set {override}: key.path=value is needed, such as search.trials=200")
            continue
        try:
            value, repeated = _parse(text, f"--set {override}")
        except InputError as error:
            problems += error.problems
            continue
        problems += [f"--set {override}: {problem}" for problem in repeated]
        place = content
        for i, key in enumerate(keys[:-1]):
            if place.get(key) is None:
                place[key] = {}
            if not isinstance(place[key], dict):
                within = ".".join(keys[: i + 1])
                problems.append(f"--set {override}: {within} is {place[key]!r}, which has no keys; set it whole")
                break
            place = place[key]
        else:
            place[keys[-1]] = value
    return problems


# ---- mistakes


def explain(error: ValidationError, schema: Mapping[str, Any]) -> list[str]:
    """One sentence per mistake, `a.b: what is wrong`, with the near key for an unknown one."""
    sentences = []
    for mistake in error.errors(include_url=False):
        path, known = _follow(mistake["loc"], schema)
        kind, message, given = mistake["type"], mistake["msg"], mistake["input"]
        if kind == "extra_forbidden":
            near = difflib.get_close_matches(str(mistake["loc"][-1]), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"keys are {', '.join(known)}"
            sentences.append(f"{path}: unknown key; {hint}")
        elif kind == "invalid_key":
            sentences.append(f"{path}: a key is a word, got {mistake['loc'][-1]!r}; put it in quotes")
        elif kind == "missing":
            sentences.append(f"{path}: is needed")
        elif kind in ("union_tag_invalid", "union_tag_not_found"):
            tags = ", ".join(schema["properties"][path]["discriminator"]["mapping"])
            got = f", got {mistake['ctx']['tag']!r}" if kind == "union_tag_invalid" else ""
            sentences.append(f"{path}.source: choose one of {tags}{got}")
        elif kind in ("model_type", "model_attributes_type", "dict_type"):
            sentences.append(f"{path}: a mapping of keys is needed, got {short(given)}")
        elif kind == "value_error":
            sentences.append(f"{path}: {mistake['ctx']['error']}")
        else:
            sentences.append(f"{path}: {message}, got {short(given)}")
    return sentences


def short(value: object) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _follow(loc: Sequence[str | int], schema: Mapping[str, Any]) -> tuple[str, list[str]]:
    """A mistake's place as a user writes it, and the keys known beside it.

    pydantic puts the alternative it chose into the place (market, parquet, path); a user never wrote that.
    """
    nodes, known, path = _expand(schema, schema), list[str](), ""
    for i, part in enumerate(loc):
        chosen = [n["discriminator"]["mapping"][part] for n in nodes if part in _mapping(n)]
        if chosen:
            nodes = _expand({"$ref": chosen[0]}, schema)
            continue
        children = []
        for node in nodes:
            if isinstance(part, int) and "items" in node:
                children.append(node["items"])
            elif part in node.get("properties", {}):
                children.append(node["properties"][part])
            elif isinstance(node.get("additionalProperties"), dict):
                children.append(node["additionalProperties"])
        if not children and i + 1 < len(loc):
            continue  # an alternative without a name in the file, such as choices or range
        known = [key for node in nodes for key in node.get("properties", {})]
        path += f"[{part}]" if isinstance(part, int) and path else f".{part}" if path else str(part)
        nodes = [node for child in children for node in _expand(child, schema)]
    return path, known


def _mapping(node: Mapping[str, Any]) -> Mapping[str, str]:
    mapping: Mapping[str, str] = node.get("discriminator", {}).get("mapping", {})
    return mapping


def _expand(node: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The node with references followed and alternatives side by side."""
    if "$ref" in node:
        return _expand(schema["$defs"][node["$ref"].rsplit("/", 1)[1]], schema)
    nodes = [node]
    if not _mapping(node):
        for alternative in (*node.get("anyOf", ()), *node.get("oneOf", ())):
            nodes += _expand(alternative, schema)
    return nodes
