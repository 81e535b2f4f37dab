"""Every trial of a study as an MLflow run: one parent run per study, one child run per trial or baseline.

MLflow is a projection that may be made again at any time: each run is found by its tags or created with them,
so recording twice changes nothing. Only the driver records, through `MlflowClient`; the global current run is
left alone.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from tracking import store_file
from tracking.address import TrackingError, check_tracking_uri, shown, sqlite_path
from tracking.entities import (
    NOTE_TAG,
    PARENT_TAG,
    STUDY_TAG,
    SYSTEM,
    TRIAL_TAG,
    log_batch,
    source_tags,
    split_finite,
)
from tracking.links import LOCAL, study_link, trials_link
from tracking.projection import Projection, first_line, open_projection, plainly, recorded
from tracking.records import Status, StudyRecord, TrialRecord, UseRecord

WAITING = 2000  # trials that may wait before `record` waits too: all of a large study's, while its figures are drawn
PATIENCE_SECONDS = 300.0  # for a server that went away, or a file that another program has
BATCH = 100  # trials between two updates of the running best


class Recorder:
    """Records one study while it runs; a background thread talks to MLflow. Several may be open at once.

    Use it as a context manager: however the study ends, what was handed over is written, and the parent run
    says FINISHED, FAILED (an exception) or KILLED (an interrupt). When MLflow stops answering, the next call
    raises `TrackingError`; nothing is lost, since the same study recorded again adds only what is missing.
    """

    def __init__(self, projection: Projection, uri: str, study: StudyRecord) -> None:
        """Use `Recorder.open`."""
        self._at = projection
        self._uri = uri
        self._study = study
        self._path = sqlite_path(uri)
        self._turn: AbstractContextManager[object] = (
            store_file.turn(self._path) if self._path else contextlib.nullcontext()
        )
        self._child_tags = {
            STUDY_TAG: study.study_id,
            PARENT_TAG: projection.run_id,
            **source_tags(study),
        }
        self._queue: queue.Queue[TrialRecord | UseRecord | None] = queue.Queue(maxsize=WAITING)
        self._failure: Exception | None = None
        self._began_ms: int | None = None  # asked for when it is needed
        self.added = 0  # runs of trials that were not there
        self.completed = 0  # and that were there half-written
        self.removed = projection.doubled  # and that were there twice
        self.status_before = projection.status  # of the study's run; None: it was not there
        self.runs_before = len(projection.children)  # of trials and baselines
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="mlflow-recorder", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, uri: str, experiment: str, study: StudyRecord) -> Recorder:
        """The study's run, created or continued, in that experiment of the store at `uri`.

        Raises `TrackingError` where the store cannot be used.
        """
        return cls(open_projection(uri, experiment, study), uri, study)

    def record(self, trials: Iterable[TrialRecord]) -> None:
        """Hand over trials; returns at once unless `WAITING` are waiting."""
        for trial in trials:
            self._put(trial)

    def measured(self, values: Mapping[str, float]) -> None:
        """How busy the machines are now (`ray_workers`: 4), on the study's own run as system metrics.

        Called from any thread; never waits and never raises: what cannot be taken is left out.
        """
        if not self._closed and self._failure is None:
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait(UseRecord(values, _now()))

    @property
    def pending(self) -> int:
        """Trials handed over and not yet taken up by the writer."""
        return self._queue.qsize()

    def text(self, name: str, content: str) -> None:
        """A text file among the study's artifacts, such as `study.yaml`."""
        with plainly(self._uri):
            self._at.client.log_text(self._at.run_id, content, name)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """A file from disk among the study's artifacts, in `folder`."""
        with plainly(self._uri):
            self._at.client.log_artifact(self._at.run_id, str(path), folder)

    def label(self, tags: Mapping[str, str]) -> None:
        """Labels on the study's own run."""
        if tags:
            with plainly(self._uri):
                log_batch(self._at.client, self._at.run_id, at_ms=_now(), tags=tags)

    def summary(
        self,
        note: str,
        *,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """What came out, on the study's own run: a Markdown note, the best trial's metrics, labels."""
        finite, others = split_finite(metrics or {})
        labels = {**(tags or {}), **others, NOTE_TAG: note}
        with plainly(self._uri):
            there = self._at.client.get_run(self._at.run_id).data.metrics
            new = {name: value for name, value in finite.items() if there.get(name) != value}
            log_batch(self._at.client, self._at.run_id, at_ms=_now(), metrics=new, tags=labels)

    def study_url(self, ui: str | None = None) -> str:
        """Where MLflow's UI at `ui` shows the study (default: the server's, or that of `hedgegrid mlflow`)."""
        return study_link(ui or self._ui, self._at.experiment_id, self._at.run_id)

    def trials_url(self, ui: str | None = None) -> str:
        """The same for the table of its trials, best score first, with the columns that the study names."""
        return trials_link(ui or self._ui, self._at.experiment_id, self._study.study_id)

    @property
    def _ui(self) -> str:
        return self._uri if self._uri.startswith("http") else LOCAL

    def close(self, status: Status = "FINISHED") -> None:
        """Write what is waiting, end the study's run, leave a SQLite file in order; once."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(TrackingError):  # raised below, after the run has been ended
            self._put(None)
        self._thread.join()
        if self._failure:
            with contextlib.suppress(Exception):  # the store has failed already
                if self._answers():
                    self._at.client.set_terminated(self._at.run_id, "FAILED")
            self._raise_failure()
        with plainly(self._uri):
            self._remove_doubled()
            self._at.client.set_terminated(self._at.run_id, status)
        if self._path:
            with self._turn:
                store_file.settle(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        try:
            self.close("FAILED" if isinstance(error, Exception) else "KILLED")
        except TrackingError as second:
            error.add_note(str(second))  # the study's own error stays the one that is raised

    def _put(self, item: TrialRecord | UseRecord | None) -> None:
        while True:
            self._raise_failure()
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=0.2)
                return

    def _raise_failure(self) -> None:
        if self._failure:
            raise TrackingError(
                f"tracking address '{shown(self._uri)}': MLflow stopped taking records "
                f"({first_line(self._failure)}); the study itself is kept, record it again when the store "
                "answers: only what is missing is added"
            ) from self._failure

    def _work(self) -> None:
        try:
            more = True
            while more:
                batch = self._take()
                more = None not in batch
                trials = [item for item in batch if isinstance(item, TrialRecord)]
                with self._turn:
                    if self._path:
                        store_file.try_writing(self._path, PATIENCE_SECONDS)
                    for trial in trials:
                        self._patiently(partial(self._write, trial))
                    self._patiently(partial(self._write_running_best, trials))
                    for item in batch:
                        if isinstance(item, UseRecord):
                            self._patiently(partial(self._write_use, item))
        except Exception as error:  # raised again in the study's own thread
            self._failure = error

    def _remove_doubled(self) -> None:
        """Runs that a server made and did not say so before it was asked again: MLflow's client repeats its requests."""
        if not self._uri.startswith("http"):
            return
        for run in recorded(
            self._at.client, self._at.experiment_id, self._study.study_id, "attributes.status = 'RUNNING'"
        ):
            of_trial = TRIAL_TAG in run.data.tags
            ours, _ = self._at.children.get(run.info.run_name, (None, False)) if of_trial else (self._at.run_id, False)
            if ours not in (None, run.info.run_id):
                self._at.client.delete_run(run.info.run_id)
                self.removed += 1

    def _patiently(self, write: Callable[[], None]) -> None:
        """Write, and where the store was not there write again as soon as it is, for `PATIENCE_SECONDS`.

        Everything is written so that it may be written twice.
        """
        from mlflow.exceptions import MlflowException, RestException

        end: float | None = None
        while True:
            try:
                return write()
            except MlflowException as error:
                absent = "is locked" in str(error) if self._path else not isinstance(error, RestException)
                end = end or time.monotonic() + PATIENCE_SECONDS
                if not absent or not self._answers_before(end):
                    raise

    def _answers_before(self, end: float) -> bool:
        while time.monotonic() < end:
            if self._answers():
                return True
            time.sleep(1.0)
        return False

    def _answers(self) -> bool:
        """Whether the store takes records, found out in a second: MLflow would try for minutes."""
        try:
            check_tracking_uri(self._uri)
            if self._path:
                store_file.try_writing(self._path, 1.0)
        except (TrackingError, sqlite3.Error):
            return False
        return True

    def _take(self) -> list[TrialRecord | UseRecord | None]:
        """At least one item; everything that waits, up to `BATCH`."""
        batch = [self._queue.get()]
        with contextlib.suppress(queue.Empty):
            while len(batch) < BATCH and batch[-1] is not None:
                batch.append(self._queue.get_nowait())
        return batch

    def _write(self, trial: TrialRecord) -> None:
        run_id, done = self._at.children.get(trial.name, (None, False))
        if done:
            return
        finite, others = split_finite(trial.metrics)
        if run_id is None:
            tags = {**trial.tags, **others, **self._child_tags, TRIAL_TAG: str(trial.key)}
            run = self._at.client.create_run(
                self._at.experiment_id, start_time=trial.start_ms, tags=tags, run_name=trial.name
            )
            run_id = run.info.run_id
            self._at.children[trial.name] = (run_id, False)
            self.added += 1
        elif trial.name in self._at.metrics:
            self.completed += 1
        # a metric sent twice would be two points: a trial recorded again has other times
        new = {name: value for name, value in finite.items() if name not in self._at.metrics.get(trial.name, ())}
        log_batch(self._at.client, run_id, at_ms=trial.end_ms, params=trial.params, metrics=new)
        self._at.client.set_terminated(run_id, trial.status, trial.end_ms)
        self._at.children[trial.name] = (run_id, True)
        if isinstance(trial.key, int) and "score" in finite:
            self._at.scores[trial.key] = finite["score"]

    def _write_running_best(self, trials: list[TrialRecord]) -> None:
        """`best_score` at these trials' steps: the best of all trials up to that number."""
        from mlflow.entities import Metric

        scores, steps = self._at.scores, self._at.steps
        new = {t.key: t.end_ms for t in trials if isinstance(t.key, int) and t.key in scores.keys() - steps}
        if not new:
            return
        numbers = np.array(sorted(scores))
        best = np.maximum.accumulate([scores[number] for number in numbers])
        points = [
            Metric("best_score", float(best[np.searchsorted(numbers, number)]), end_ms, number)
            for number, end_ms in new.items()
        ]
        self._at.client.log_batch(self._at.run_id, metrics=points)
        steps.update(new)

    def _write_use(self, use: UseRecord) -> None:
        """At the step of the seconds since the study began, so that a resumed study goes on along the same axis."""
        if self._began_ms is None:
            self._began_ms = int(self._at.client.get_run(self._at.run_id).info.start_time)
        finite, _ = split_finite(use.values)
        seconds = max(0, use.at_ms - self._began_ms) // 1000
        values = {f"{SYSTEM}{name}": value for name, value in finite.items()}
        log_batch(self._at.client, self._at.run_id, at_ms=use.at_ms, metrics=values, step=seconds)


def _now() -> int:
    return int(time.time() * 1000)
