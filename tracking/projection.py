"""Finds a study in MLflow, or enters it: its experiment, its parent run, and the trials already there."""

from __future__ import annotations

import contextlib
import logging
import re
import sqlite3
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tracking import store_file
from tracking.address import TrackingError, artifact_folder, check_tracking_uri, shown, sqlite_path
from tracking.entities import (
    NOTE_TAG,
    PARENT_TAG,
    STUDY_TAG,
    TRIAL_TAG,
    dataset_input,
    log_batch,
    source_tags,
    table_view,
)
from tracking.records import StudyRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE = 1000  # runs per look-up


@dataclass(frozen=True, slots=True)
class Projection:
    """A study's place in MLflow, and what is recorded of it.

    `children` gives, by trial name, the run and whether it was written to its end; `metrics` what a run that was not has
    already; `scores` the finite scores by trial number; `steps` the trial numbers at which the parent run's `best_score`
    stands; `status` how the parent run stood (None: it was not there); `doubled` how many runs of the same were removed.
    """

    client: MlflowClient
    experiment_id: str
    run_id: str
    children: dict[str, tuple[str, bool]] = field(default_factory=dict)
    metrics: dict[str, frozenset[str]] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)
    steps: set[int] = field(default_factory=set)
    status: str | None = None
    doubled: int = 0


def open_projection(uri: str, experiment: str, study: StudyRecord) -> Projection:
    """The study's parent run, created or continued; raises `TrackingError` where the store cannot be used."""
    if not re.fullmatch(r"[\w.-]+", study.study_id):
        raise TrackingError(f"study id {study.study_id!r}: only letters, digits, '.', '_' and '-' are allowed")
    check_tracking_uri(uri)
    path = sqlite_path(uri)
    if path is not None:
        _take_file(uri, path)
    with plainly(uri):
        # MLflow keeps engines by address: an absolute one stays true when the working directory changes.
        client = _connect(f"sqlite:///{path}" if path else uri)
        return _continue(client, _experiment_id(client, experiment, path), study)


def _take_file(uri: str, path: Path) -> None:
    try:
        with plainly(uri):
            store_file.make(path, lambda new: _connect(f"sqlite:///{new}"))
        store_file.try_writing(path, store_file.WAIT_SECONDS)
    except sqlite3.Error as error:
        reason = str(error)
        if "locked" in reason:
            reason = (
                f"another program has held {path} for {store_file.WAIT_SECONDS:g} s; wait until it is done, or end it"
            )
        elif "full" in reason:
            reason = f"the disk of {path} is full; make room on it"
        raise TrackingError(f"tracking address '{shown(uri)}': {reason}") from error
    store_file.write_without_waiting(path)


@contextlib.contextmanager
def plainly(uri: str) -> Iterator[None]:
    """Whatever MLflow, its database or its server raises, as one `TrackingError`."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise TrackingError(f"tracking address '{shown(uri)}': MLflow refused ({first_line(error)})") from error


def first_line(error: Exception) -> str:
    """What a message of many lines starts with, but for how SQLAlchemy came to it."""
    lines = [line for line in str(error).strip().splitlines() if not line.startswith("(raised as a result of")]
    return lines[0] if lines else type(error).__name__


def _connect(uri: str) -> MlflowClient:
    """MLflow's client, without the notices its first use of a database prints."""
    # what it says of a failure, in forty lines, is raised as well
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    migrations = logging.getLogger("alembic")
    level = migrations.level
    with warnings.catch_warnings():
        # MLflow 3.17 declares its tables in a way that SQLAlchemy 2.1 calls deprecated.
        warnings.filterwarnings("ignore", message="The ``noload`` loader strategy is deprecated")
        from mlflow import MlflowClient

        migrations.setLevel(logging.WARNING)
        try:
            return MlflowClient(tracking_uri=uri)
        finally:
            migrations.setLevel(level)


def _experiment_id(client: MlflowClient, name: str, sqlite_file: Path | None) -> str:
    """The experiment of that name, or a new one, whose artifacts then lie beside a SQLite file."""
    found = client.get_experiment_by_name(name)
    if found is None:
        beside = None
        if sqlite_file is not None:
            beside = artifact_folder(sqlite_file).as_uri()
        # The kind opens the experiment on its run table instead of asking what it is for.
        tags = {"mlflow.experimentKind": "custom_model_development"}
        return str(client.create_experiment(name, artifact_location=beside, tags=tags))
    if found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"experiment '{name}' has been deleted; bring it back with "
            f"`mlflow experiments restore -x {found.experiment_id}` or name another one"
        )
    return str(found.experiment_id)


def _continue(client: MlflowClient, experiment_id: str, study: StudyRecord) -> Projection:
    parents: list[Run] = []
    children: dict[str, list[Run]] = {}
    for run in recorded(client, experiment_id, study.study_id):
        if TRIAL_TAG in run.data.tags:
            children.setdefault(run.info.run_name, []).append(run)
        else:
            parents.append(run)
    steps: set[int] = set()
    if not parents:
        tags = {STUDY_TAG: study.study_id, **source_tags(study)}
        parent, status = client.create_run(experiment_id, tags=tags, run_name=study.name), None
    else:
        parent = min(parents, key=lambda run: (run.info.start_time, run.info.run_id))
        status = parent.info.status
        client.update_run(parent.info.run_id, status="RUNNING")
        steps = {point.step for point in client.get_metric_history(parent.info.run_id, "best_score")}
    kept = {name: _one(client, parent, runs) for name, runs in children.items()}
    for run in parents:
        if run is not parent:
            client.delete_run(run.info.run_id)
    try:
        _complete(client, parent, study)
        if study.columns:
            client.set_experiment_tag(experiment_id, *table_view(study))
    except Exception:
        if status is None:
            with contextlib.suppress(Exception):  # the store refuses more than this
                client.delete_run(parent.info.run_id)
        raise
    return Projection(
        client,
        experiment_id,
        parent.info.run_id,
        {name: (run.info.run_id, run.info.status != "RUNNING") for name, run in kept.items()},
        {name: frozenset(run.data.metrics) for name, run in kept.items() if run.info.status == "RUNNING"},
        {
            int(run.data.tags[TRIAL_TAG]): run.data.metrics["score"]
            for name, run in kept.items()
            if name == f"trial {run.data.tags[TRIAL_TAG]}" and "score" in run.data.metrics
        },
        steps,
        status,
        max(0, len(parents) - 1) + sum(len(runs) - 1 for runs in children.values()),
    )


def _one(client: MlflowClient, parent: Run, runs: list[Run]) -> Run:
    """The one run of a trial, under its study's: of several the first that was written to its end; the others go.

    A server that stops after it has made a run and before it says so is asked again, and makes another.
    """
    runs = sorted(runs, key=lambda run: (run.info.status == "RUNNING", run.info.start_time, run.info.run_id))
    for run in runs[1:]:
        client.delete_run(run.info.run_id)
    if runs[0].data.tags.get(PARENT_TAG) != parent.info.run_id:
        client.set_tag(runs[0].info.run_id, PARENT_TAG, parent.info.run_id)
    return runs[0]


def recorded(client: MlflowClient, experiment_id: str, study_id: str, only: str = "") -> Iterator[Run]:
    """Every run of the study, page by page; of these those that MLflow's search text `only` describes."""
    token = None
    text = f"tags.`{STUDY_TAG}` = '{study_id}'{only and f' and {only}'}"
    while True:
        page = client.search_runs([experiment_id], text, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _complete(client: MlflowClient, parent: Run, study: StudyRecord) -> None:
    """Settings that are not there yet (MLflow never changes a parameter), and the labels as they are now."""
    missing = {name: value for name, value in study.params.items() if name not in parent.data.params}
    tags = {**study.tags, NOTE_TAG: study.note} if study.note else dict(study.tags)
    log_batch(client, parent.info.run_id, at_ms=int(time.time() * 1000), params=missing, tags=tags)
    if study.data and not (parent.inputs and parent.inputs.dataset_inputs):
        client.log_inputs(parent.info.run_id, [dataset_input(study.data)])
