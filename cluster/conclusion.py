"""The end of a study: its winner examined and judged, its files and figures written, its run in MLflow completed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import pandas as pd

from cluster import output
from cluster.events import EventLog
from cluster.findings import Findings, compared, find
from cluster.identity import Identity, kept_identity
from cluster.kept import Kept, kept_baselines
from cluster.plan import Plan
from cluster.records import open_recorder
from cluster.validation import keep, look_behind, must_be_closed
from kernels.errors import InputError
from search.study import Study
from tracking.address import TrackingError
from tracking.recorder import Recorder

TOP = 5  # trials that are listed


def conclude(
    plan: Plan,
    identity: Identity,
    study: Study,
    baselines: pd.DataFrame,
    *,
    top: int,
    recorder: Recorder | None,
    tags: Mapping[str, str],
    clock: Callable[[str], AbstractContextManager[None]],
) -> Findings:
    """Of a study whose trials all have results: what it found, with files, figures and records of it."""
    with clock("the winner examined"):
        found = find(plan, study, baselines, top)
    with clock("files and figures"):
        output.write(plan, identity, study, found)
    if recorder:
        with clock("records"):
            recorder.label(tags)
            output.publish(recorder, plan, found.best)
            recorder.close()
    return found


def validate(kept: Kept) -> Findings:
    """Open the hold-out of a finished study that lies in its folder, which can be done once, and conclude it anew.

    InputError where the study is not finished, its data is not what it was, or it has no hold-out that is still closed.
    """
    plan, study = kept.plan, kept.study
    kept.must_be_finished("opening the hold-out")
    must_be_closed(plan, study.manifest)
    kept_identity(plan)  # it refuses other data
    baselines = kept_baselines(study)
    assert baselines is not None
    study_id = kept.identity.study_id
    shown = look_behind(plan, study_id, compared(study.best(1), baselines))
    try:
        recorder = open_recorder(plan, kept.identity) if plan.config.tracking.enabled else None
    except (TrackingError, OSError) as error:
        raise InputError(f"{error}; nothing was opened or written") from error
    try:
        with recorder or nullcontext():
            output.reopen(plan)
            keep(plan, study.manifest, study_id, shown)
            return conclude(
                plan,
                kept.identity,
                study,
                baselines,
                top=TOP,
                recorder=recorder,
                tags=EventLog(plan.folder).tags,
                clock=lambda _: nullcontext(),
            )
    except (TrackingError, OSError) as error:
        raise InputError(f"{error}; what was written is kept, write the rest with\n  {kept.again}") from error
