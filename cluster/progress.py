"""What a run tells other terminals: `progress.json` in each study's folder, which `hedgegrid status` reads."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PROGRESS = "progress.json"
RECENT_SECONDS = 30.0  # that the speed of late is taken over

Phase = Literal[
    "starting",
    "backtests",
    "reality check",
    "finishing what is under way",
    "writing files and figures",
    "finished",
    "interrupted",
    "failed",
]
ENDED = ("finished", "interrupted", "failed")


@dataclass(frozen=True, slots=True)
class Count:
    """So many are done, of so many."""

    done: int
    of: int


@dataclass(frozen=True, slots=True)
class Best:
    """The trial of the highest score so far, earlier runs of the study included."""

    score: float
    trial: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How a study gets on. Speed, time left and workers are of its whole run, which may have other studies beside it."""

    study: str
    phase: Phase
    reason: str  # why it failed
    trials: Count  # committed
    configurations: Count  # of trials; in a run of one study also those of the batch under way
    best: Best | None
    events: dict[str, int]  # what was lost (cluster/events.py)
    per_second: float  # configurations, over the last half minute
    per_second_mean: float  # and since the backtests began
    seconds_left: float | None  # of backtests; None where nothing came of late
    workers_ready: int
    workers: int
    where: str
    began: str  # these two as ISO 8601
    written: str
    host: str
    pid: int
    again: str  # the command that goes on with the study, to be given in `directory`; empty where there is none
    directory: str


def read_progress(folder: Path) -> Progress | None:
    """What the last run of a study has told; None where it told nothing, or nothing that can be read."""
    try:
        content = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
        for name in ("trials", "configurations"):
            content[name] = Count(**content[name])
        content["best"] = content["best"] and Best(**content["best"])
        return Progress(**content)
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Pace:
    """Configurations done, and how many per second. `done` is counted by one thread, the speed taken by another."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self._began: float | None = None
        self._seen: deque[tuple[float, int]] = deque()

    def look(self, now: float) -> tuple[float, float]:
        """Configurations per second of late and in all, as of `now`, in seconds of any clock.

        >>> pace = Pace(1000)
        >>> pace.look(5.0)
        (0.0, 0.0)
        >>> pace.done = 300
        >>> pace.look(35.0)
        (10.0, 10.0)
        >>> pace.look(65.0)
        (0.0, 5.0)
        """
        if self._began is None:
            self._began = now
        done = self.done
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] <= now - RECENT_SECONDS:
            self._seen.popleft()
        (then, before), since = self._seen[0], now - self._began
        return (done - before) / max(now - then, 1e-9), done / max(since, 1e-9)


def duration(seconds: float) -> str:
    """A length of time for people.

    >>> duration(0.02), duration(95.0), duration(7500.0)
    ('under a second', '1 min 35 s', '2 h 5 min')
    """
    if seconds < 1:
        return "under a second"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
