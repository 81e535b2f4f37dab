"""What a run tells other terminals: `progress.json` in each study's folder, which `hedgegrid status` reads."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from cluster.pool import Event, Pool
from cluster.running import Running

PROGRESS = "progress.json"
BEAT_SECONDS = 1.0  # between two times that it is written, however little has happened
RECENT_SECONDS = 30.0  # that the speed of late is taken over
SHARE = 0.01  # of a run's time that writing may take, however many studies it has and slow its disk is

Phase = Literal[
    "starting",
    "backtests",
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
    seconds_left: float | None  # of backtests; None where nothing is known of the speed
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


class Reporter:
    """Writes the progress of a run's studies about once a second and after every commit, while its `with` block lasts.

    A thread of its own writes, so no backtest waits for a disk; what cannot be written is left out.
    """

    def __init__(self, studies: Sequence[Running], stop: Callable[[], bool], again: str) -> None:
        self._studies, self._stop, self._again = studies, stop, again
        self._phase: Phase = "starting"
        self._reason = ""
        self._pool: Pool | None = None
        self._pace = Pace(sum(_left(study) for study in studies))
        self._began, self._host, self._directory = _now(), socket.gethostname(), str(Path.cwd())
        self._news, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._news.set()
        self._thread.join(BEAT_SECONDS)  # a disk that hangs holds nobody up
        if error is None:
            self._phase = "finished"
        elif isinstance(error, Exception):
            self._phase, self._reason = "failed", str(error)
        else:
            self._phase = "interrupted"
        self._write()

    def entered(self, phase: Phase, pool: Pool | None = None) -> None:
        """The run has come to its next phase; the workers are those of `pool`."""
        self._phase = phase
        self._pool = pool or self._pool
        self._news.set()

    def committed(self) -> None:
        """A study has committed a batch, or is finished."""
        self._news.set()

    def advanced(self, configurations: int) -> None:
        """So many more configurations are done."""
        self._pace.done += configurations

    def happened(self, event: Event) -> None:
        """Something was lost: its study counts it."""
        self._news.set()

    def _beat(self) -> None:
        while not self._over.is_set():
            since = time.perf_counter()
            self._write()
            self._over.wait((time.perf_counter() - since) / SHARE)
            self._news.wait(BEAT_SECONDS)
            self._news.clear()

    def _write(self) -> None:
        speeds = self._pace.look(time.monotonic()) if self._pool else (0.0, 0.0)
        for study in self._studies:
            text = json.dumps(asdict(self._progress(study, *speeds)), indent=1) + "\n"
            path = study.plan.folder / PROGRESS
            partial = path.with_suffix(".partial")
            with contextlib.suppress(OSError):  # a full disk; the study itself says so where it matters
                partial.write_text(text, encoding="utf-8")
                partial.replace(path)

    def _progress(self, study: Running, lately: float, mean: float) -> Progress:
        size = study.plan.config.search.configs_per_trial
        done = study.done * size
        if len(self._studies) == 1:  # its baselines come first
            done = max(done, study.done_before * size + self._pace.done - len(study.plan.baselines))
        speed, left = lately or mean, self._pace.total - self._pace.done
        phase: Phase = self._phase if self._phase in ENDED or not self._stop() else "finishing what is under way"
        return Progress(
            study=study.plan.config.name,
            phase="finished" if study.finished else phase,
            reason="" if study.finished else self._reason,
            trials=Count(study.done, study.trials),
            configurations=Count(done, study.trials * size),
            best=Best(*study.best) if study.best else None,
            events=study.events,
            per_second=round(lately, 3),
            per_second_mean=round(mean, 3),
            seconds_left=round(left / speed, 1) if speed else None,
            workers_ready=self._pool.ready if self._pool else 0,
            workers=self._pool.workers if self._pool else 0,
            where=self._pool.where if self._pool else "",
            began=self._began,
            written=_now(),
            host=self._host,
            pid=os.getpid(),
            again=self._again,
            directory=self._directory,
        )


def _left(study: Running) -> int:
    """Configurations that this run has to compute for a study."""
    plan = study.plan
    return (study.trials - study.done_before) * plan.config.search.configs_per_trial + len(plan.baselines)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
