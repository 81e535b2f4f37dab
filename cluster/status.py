"""How a study gets on, or how it ended, as its folder tells any terminal: `hedgegrid status` only reads files."""

from __future__ import annotations

import difflib
import shlex
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from cluster.config import load_study, studies
from cluster.progress import Progress, read_progress
from kernels.errors import InputError
from search.lock import held

SILENT_SECONDS = 30.0  # without a word, after which a driver on another machine may have died: it speaks every second
MARK = "search.json"  # a folder that has it holds a study

State = Literal["running", "finished", "interrupted", "failed", "died", "silent", "unknown"]
STOPPED = ("interrupted", "failed", "died", "silent")


@dataclass(frozen=True, slots=True)
class Status:
    """One study: where it lies, whether anybody computes it, what that is known from, and how far it is."""

    name: str
    folder: Path
    state: State
    told: str  # the state in words
    age: float | None  # seconds since it was written
    progress: Progress | None
    again: str | None  # the command that goes on with a study that has stopped too soon


def find(study: str, runs: Path) -> list[Path]:
    """The folders of the studies that `study` means: a study file, a folder, a name, or what a file's tickers share.

    InputError with the studies that there are, where it means none of them.
    """
    path = Path(study)
    if path.is_file():
        names = [each.name for each in studies(load_study(path))]
        there = [runs / name for name in names if (runs / name / MARK).exists()]
        if there:
            return there
        raise InputError(f"{path}: {_none(', '.join(names), runs)}")
    for folder in (path, runs / study):
        if (folder / MARK).exists():
            return [folder]
    there = [runs / name for name in _names(runs) if name.startswith(f"{study}-")]
    if there:
        return there
    raise InputError(_none(study, runs))


def look(folder: Path) -> Status:
    """How the study in a folder gets on."""
    progress = read_progress(folder)
    if progress is None:
        running = held(folder)
        finished = (folder / "best.yaml").exists()
        state: State = "running" if running else "finished" if finished else "unknown"
        told = "no progress is written there" + (", a run has it now" if running else "")
        return Status(
            folder.name, folder, state, told, None, None, None if running or finished else resume_command(folder)
        )
    age = (datetime.now(UTC) - datetime.fromisoformat(progress.written)).total_seconds()
    state, told = _judge(folder, progress, age)
    again = (progress.again or resume_command(folder)) if state in STOPPED else None
    return Status(progress.study, folder, state, told, age, progress, again)


def as_json(found: Status) -> dict[str, Any]:
    """A study for programs."""
    return {
        "study": found.name,
        "folder": str(found.folder),
        "state": found.state,
        "told": found.told,
        "seconds_since_written": found.age,
        "again": found.again,
        "progress": asdict(found.progress) if found.progress else None,
    }


def _judge(folder: Path, progress: Progress, age: float) -> tuple[State, str]:
    """The state of a study whose run has told its progress, and how that is known."""
    phase, driver = progress.phase, f"process {progress.pid} on {progress.host}"
    if phase == "failed":
        return phase, progress.reason
    if phase == "finished" or phase == "interrupted":
        return phase, phase
    there = held(folder)
    if there:
        return "running", f"{phase}, {driver}"
    if there is not None and progress.host == socket.gethostname():
        return "died", f"died during {phase!r}: {driver} is gone"
    heard = "from here its lock cannot be seen, so its last word is what counts"
    if age <= SILENT_SECONDS:
        return "running", f"{phase}, {driver} ({heard})"
    return "silent", f"may have died during {phase!r}: {driver} says nothing ({heard})"


def resume_command(folder: Path) -> str:
    """The command that goes on with a study of which no other is known: its own resolved file."""
    words = ["hedgegrid", "run", str(folder / "study.yaml")]
    words += [] if folder.parent == Path("runs") else ["--runs", str(folder.parent)]
    return shlex.join([*words, "--resume"])


def _names(runs: Path) -> list[str]:
    """The studies in a folder of results."""
    return sorted(mark.parent.name for mark in runs.glob(f"*/{MARK}"))


def _none(wanted: str, runs: Path) -> str:
    """The sentence for a study that has not run there, with those that have."""
    return f"no study {wanted} has begun in {runs}/; {' '.join(_hints(wanted, _names(runs)))}"


def _hints(wanted: str, names: list[str]) -> Iterator[str]:
    if near := difflib.get_close_matches(wanted, names, n=3):
        yield f"did you mean {' or '.join(near)}?"
    elif names:
        yield f"studies there: {', '.join(names)};"
    else:
        yield "there are no studies;"
    yield "--runs names another folder"
