"""Writes what a run tells other terminals, while it goes on (cluster/progress.py)."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from cluster.plan import Plan
from cluster.pool import Event, Pool
from cluster.progress import ENDED, PROGRESS, Best, Count, Pace, Phase, Progress
from cluster.running import Running

BEAT_SECONDS = 1.0  # between two times that it is written, however little has happened
SHARE = 0.01  # of a core that writing may take, however many studies a run has


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

    def left_out(self, plan: Plan, trials: int) -> None:
        """A study has ended early: so many of its trials are not tried."""
        self._pace.total -= trials * plan.config.search.configs_per_trial

    def advanced(self, configurations: int) -> None:
        """So many more configurations are done."""
        self._pace.done += configurations

    def happened(self, event: Event) -> None:
        """Something was lost: its study counts it."""
        self._news.set()

    def _beat(self) -> None:
        while not self._over.is_set():
            since = time.thread_time()  # of this thread: waiting for others, or for a slow disk, costs nobody anything
            self._write()
            self._over.wait((time.thread_time() - since) / SHARE)
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
        left = self._pace.total - self._pace.done
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
            seconds_left=round(left / lately, 1) if lately else None if left else 0.0,
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
