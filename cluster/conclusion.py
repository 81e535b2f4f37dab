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
from cluster.validation import open_holdout
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


def again(kept: Kept, *, unhide: bool) -> Findings:
    """The same of a finished study that lies in its folder; `unhide` opens its hold-out before, which can be done once.

    InputError where the study is not finished, its data is not what it was, or it has no hold-out that is still closed.
    """
    kept.must_be_finished("opening the hold-out" if unhide else "the report")
    kept_identity(kept.plan)  # it refuses other data
    baselines = kept_baselines(kept.study)
    assert baselines is not None
    try:
        if unhide:
            open_holdout(kept.plan, kept.study.manifest, compared(kept.study.best(1), baselines))
        recorder = open_recorder(kept.plan, kept.identity) if kept.plan.config.tracking.enabled else None
        with recorder or nullcontext():
            return conclude(
                kept.plan,
                kept.identity,
                kept.study,
                baselines,
                top=TOP,
                recorder=recorder,
                tags=EventLog(kept.plan.folder).tags,
                clock=lambda _: nullcontext(),
            )
    except (TrackingError, OSError) as error:
        raise InputError(f"{error}; what was written is kept, write the rest with\n  {kept.again}") from error
