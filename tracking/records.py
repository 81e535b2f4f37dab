"""What a study hands over to be recorded: plain names and numbers, nothing of MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["FINISHED", "FAILED", "KILLED"]
"""How a run ended: done, raised, interrupted."""


@dataclass(frozen=True, slots=True)
class DataRecord:
    """The market a study ran on: its name, its SHA-256, where it came from (a path or a loader's name)."""

    name: str
    digest: str
    source: str
    profile: Mapping[str, int | float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """One study, which becomes a parent run.

    Parameters
    ----------
    study_id
        Names the study for ever: letters, digits, `.`, `_` and `-`. A second `Recorder.open` with the same id
        continues the same run.
    name
        What the run list shows.
    params, tags, note
        Flat settings (`costs.fee_bps`), labels, and Markdown for the run's page.
    data
        The market, or None.
    columns
        What the table of trials shows beside each run's name: metric, parameter and tag names by kind.
    source
        What ran it, shown as the run's source.
    """

    study_id: str
    name: str
    params: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    data: DataRecord | None = None
    columns: Mapping[Literal["metrics", "params", "tags"], Sequence[str]] = field(default_factory=dict)
    source: str = "hedgegrid"


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial or baseline, which becomes a child run.

    `key` is the trial's number, or a baseline's label. A trial's `score` metric enters the study's running
    `best_score` at step `key`; a baseline's does not. Times are milliseconds since 1970, UTC.
    """

    key: int | str
    params: Mapping[str, object]
    metrics: Mapping[str, float]
    start_ms: int
    end_ms: int
    tags: Mapping[str, str] = field(default_factory=dict)
    status: Status = "FINISHED"

    @property
    def name(self) -> str:
        """What the run list shows, and what the child run is found by: unique within a study.

        >>> TrialRecord(7, {}, {}, 0, 0).name, TrialRecord("full", {}, {}, 0, 0).name
        ('trial 7', 'baseline full')
        """
        return f"trial {self.key}" if isinstance(self.key, int) else f"baseline {self.key}"


@dataclass(frozen=True, slots=True)
class UseRecord:
    """How busy the machines of a study were at a moment (milliseconds since 1970, UTC): numbers by name."""

    values: Mapping[str, float]
    at_ms: int
