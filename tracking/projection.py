"""Finds a study in MLflow, or enters it: its experiment, its parent run, and the trials already there."""

from __future__ import annotations

import contextlib
import logging
import re
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

    `children` gives, by trial name, the run and whether it was written to its end; `scores` the finite scores
    by trial number; `steps` the trial numbers at which the parent run's `best_score` stands.
    """

    client: MlflowClient
    experiment_id: str
    run_id: str
    children: dict[str, tuple[str, bool]] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)
    steps: set[int] = field(default_factory=set)


def open_projection(uri: str, experiment: str, study: StudyRecord) -> Projection:
    """The study's parent run, created or continued; raises `TrackingError` where the store cannot be used."""
    if not re.fullmatch(r"[\w.-]+", study.study_id):
        raise TrackingError(f"study id {study.study_id!r}: only letters, digits, '.', '_' and '-' are allowed")
    check_tracking_uri(uri)
    path = sqlite_path(uri)
    if path is not None:
        store_file.prepare(path)
        store_file.write_without_waiting(path)
    with plainly(uri):
        # MLflow keeps engines by address: an absolute one stays true when the working directory changes.
        client = _connect(f"sqlite:///{path}" if path else uri)
        return _continue(client, _experiment_id(client, experiment, path), study)


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
    """What a message of many lines starts with."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _connect(uri: str) -> MlflowClient:
    """MLflow's client, without the notices its first use of a database prints."""
    chatty = [logging.getLogger(name) for name in ("mlflow.store.db.utils", "alembic")]
    levels = [logger.level for logger in chatty]
    with warnings.catch_warnings():
        # MLflow 3.17 declares its tables in a way that SQLAlchemy 2.1 calls deprecated.
        warnings.filterwarnings("ignore", message="The ``noload`` loader strategy is deprecated")
        from mlflow import MlflowClient

        for logger in chatty:
            logger.setLevel(logging.WARNING)
        try:
            return MlflowClient(tracking_uri=uri)
        finally:
            for logger, level in zip(chatty, levels, strict=True):
                logger.setLevel(level)


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
    parent = None
    children: dict[str, tuple[str, bool]] = {}
    scores: dict[int, float] = {}
    for run in _recorded(client, experiment_id, study.study_id):
        key = run.data.tags.get(TRIAL_TAG)
        name = run.info.run_name
        if key is None:
            parent = run
            continue
        children[name] = (run.info.run_id, run.info.status != "RUNNING")
        if name == f"trial {key}" and "score" in run.data.metrics:
            scores[int(key)] = run.data.metrics["score"]
    steps: set[int] = set()
    if parent is None:
        tags = {STUDY_TAG: study.study_id, **source_tags(study)}
        parent = client.create_run(experiment_id, tags=tags, run_name=study.name)
    else:
        client.update_run(parent.info.run_id, status="RUNNING")
        steps = {point.step for point in client.get_metric_history(parent.info.run_id, "best_score")}
    _complete(client, parent, study)
    if study.columns:
        client.set_experiment_tag(experiment_id, *table_view(study))
    return Projection(client, experiment_id, parent.info.run_id, children, scores, steps)


def _recorded(client: MlflowClient, experiment_id: str, study_id: str) -> Iterator[Run]:
    """Every run of the study, page by page."""
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], f"tags.`{STUDY_TAG}` = '{study_id}'", max_results=PAGE, page_token=token
        )
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
