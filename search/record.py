"""What a study is, kept beside its results, so that only the same study is continued there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kernels.errors import InputError
from search.whole import replace_text

RECORD = "search.json"


def claim(folder: Path, record: Mapping[str, Any], *, done: int, resume: bool) -> None:
    """Keep `record` in `folder`, where `done` trials of some study are kept already.

    InputError, and nothing changed, where there are any and `resume` is not set, or where the study kept there
    differs in anything but its number of `trials`.
    """
    path = folder / RECORD
    kept: Mapping[str, Any] | None = None
    if path.exists():
        try:
            kept = json.loads(path.read_text())
        except ValueError as error:
            raise InputError(f"{path} is damaged ({error}); remove {folder} and run again") from error
    if done > 0 and kept is None:
        raise InputError(
            f"{folder} holds {done} trials of a study but no {RECORD}; remove the folder or use another name"
        )
    if done > 0 and kept is not None and not resume:
        raise InputError(
            f"{folder} already holds a study ({done} of {kept.get('trials')} trials done, last written "
            f"{_last_written(folder)}); continue it with --resume, use another name, or remove the folder"
        )
    if kept is not None and resume:
        problems = _differences(folder, kept, record)
        if record["trials"] < done:
            problems.append(
                f"search.trials: {folder} holds {done} trials already, got trials={record['trials']}; ask for as many or more"
            )
        if problems:
            raise InputError(problems)
    replace_text(path, json.dumps(record, indent=1) + "\n")


def _differences(folder: Path, kept: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    """One sentence for everything in which the study described differs from the one kept."""
    there, now = _leaves(kept), _leaves(json.loads(json.dumps(record)))
    return [
        f"{folder} holds another study: {key} is {_spelled(there, key)} there, {_spelled(now, key)} now; "
        "set it back, or use another name"
        for key in {**now, **there}
        if key != "trials" and _spelled(there, key) != _spelled(now, key)
    ]


def _last_written(folder: Path) -> str:
    newest = max(path.stat().st_mtime for path in folder.rglob("*") if path.name != "lock")
    return datetime.fromtimestamp(newest, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")


def _leaves(record: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """{path: value} of nested mappings.

    >>> _leaves({"seed": 1, "space": {"x": {"low": 0.0}}})
    {'seed': 1, 'space.x.low': 0.0}
    """
    leaves: dict[str, Any] = {}
    for key, value in record.items():
        leaves |= _leaves(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return leaves


def _spelled(leaves: Mapping[str, Any], key: str) -> str:
    return json.dumps(leaves[key]) if key in leaves else "not set"
