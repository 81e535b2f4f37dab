"""What tells an exported winner from a study file: it holds one, which `hedgegrid run` takes from it."""

from __future__ import annotations

from typing import Any

FORMAT = "hedgegrid_export"
VERSION = 1  # raise it with any change of what a key means


def study_of(content: dict[str, Any]) -> dict[str, Any]:
    """The study in the content of a file: that of an export, or the content itself.

    >>> study_of({"hedgegrid_export": 1, "study": {"name": "demo-winner"}})
    {'name': 'demo-winner'}
    """
    study = content.get("study")
    return study if FORMAT in content and isinstance(study, dict) else content
