"""Every trial of a study as an MLflow run: one parent run per study, one child run per trial or baseline.

MLflow is a projection that may be made again at any time: each run is found by its tags or created with them,
so recording twice changes nothing. Only the driver records, through `MlflowClient`; the global current run is
left alone.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from tracking import store_file
from tracking.address import TrackingError, shown, sqlite_path
from tracking.entities import NOTE_TAG, STUDY_TAG, TRIAL_TAG, log_batch, source_tags, split_finite
from tracking.projection import Projection, first_line, open_projection, plainly
from tracking.records import Status, StudyRecord, TrialRecord

WAITING = (
    2000  # trials that may wait to be written before `record` waits too: a large study's, while its figures are drawn
)
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
        path = sqlite_path(uri)
        self._turn: AbstractContextManager[object] = store_file.turn(path) if path else contextlib.nullcontext()
        self._child_tags = {
            STUDY_TAG: study.study_id,
            "mlflow.parentRunId": projection.run_id,
            **source_tags(study),
        }
        self._queue: queue.Queue[TrialRecord | None] = queue.Queue(maxsize=WAITING)
        self._failure: Exception | None = None
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
            log_batch(self._at.client, self._at.run_id, at_ms=_now(), metrics=finite, tags=labels)

    def study_url(self, ui: str | None = None) -> str:
        """Where MLflow's UI at `ui` shows the study (default: the server's, or a local `mlflow ui`)."""
        return f"{self._experiment_url(ui)}/{self._at.run_id}"

    def trials_url(self, ui: str | None = None) -> str:
        """The same for the table of its trials, best score first, with the columns that the study names."""
        view = f"viewStateShareKey={self._study.study_id}&workflowType=machine_learning"
        return f"{self._experiment_url(ui)}?{view}"

    def _experiment_url(self, ui: str | None) -> str:
        base = ui or (self._uri if self._uri.startswith("http") else "http://localhost:5000")
        return f"{base.rstrip('/')}/#/experiments/{self._at.experiment_id}/runs"

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
                self._at.client.set_terminated(self._at.run_id, "FAILED")
            self._raise_failure()
        with plainly(self._uri):
            self._at.client.set_terminated(self._at.run_id, status)
        if path := sqlite_path(self._uri):
            with self._turn:
                store_file.settle(path)

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

    def _put(self, item: TrialRecord | None) -> None:
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
                trials = [trial for trial in batch if trial is not None]
                with self._turn:
                    for trial in trials:
                        self._write(trial)
                    self._write_running_best(trials)
        except Exception as error:  # raised again in the study's own thread
            self._failure = error

    def _take(self) -> list[TrialRecord | None]:
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
        # The time stamp is the trial's own: written again, a metric is the same row, not a second point.
        log_batch(self._at.client, run_id, at_ms=trial.end_ms, params=trial.params, metrics=finite)
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


def _now() -> int:
    return int(time.time() * 1000)
