"""A study's folder verified, and its runs in MLflow made again from it: what is missing added, what is doubled removed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cluster.events import EventLog
from cluster.identity import Identity, kept_identity
from cluster.kept import folders, kept_baselines, kept_plan, must_hold_a_study
from cluster.output import final_files, publish
from cluster.plan import Plan, open_study
from cluster.records import baseline_records, open_recorder, trial_records
from kernels.errors import InputError
from search import mending
from search.lock import hold
from search.manifest import Manifest
from search.study import Study
from tracking.address import TrackingError
from tracking.records import Status


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was found of one study, and what was done about it: rows of (what, found, done)."""

    folder: Path
    rows: list[tuple[str, str, str]]


def repair(study: Path, runs: Path) -> list[Repaired]:
    """Repair the study of a folder, or the studies of a study file as they lie under `runs`.

    The folder is the truth and is only read, but for lines of the manifest that were lost; MLflow is what is put right.
    InputError where a folder holds no study, another driver holds it, or what it holds is damaged.
    """
    try:
        return [_repair(folder) for folder in folders(study, runs)]
    except (TrackingError, OSError) as error:
        raise InputError(f"{error}; what was repaired is kept, repair again") from error


def show_repaired(console: Console, repaired: Repaired) -> None:
    """One table: what was found, and what was done."""
    table = Table(title=f"{repaired.folder}: repaired", title_justify="left")
    for head in ("", "found", "done"):
        table.add_column(head, overflow="fold")
    for row in repaired.rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)


def _repair(folder: Path) -> Repaired:
    must_hold_a_study(folder)
    hold(folder)
    manifest = Manifest(folder)
    entered = mending.enter_unlisted(manifest)
    plan = kept_plan(folder, recorded=True)
    identity = kept_identity(plan)
    study = open_study(plan, resume=True)
    wrong = {name: why for name in final_files(plan) if (why := study.manifest.problem(name))}
    if not wrong and pq.read_metadata(folder / "trials.parquet").num_rows != study.trials:
        wrong = {"trials.parquet": "it is of fewer trials"}
    undone = study.done < study.trials
    again = "go on with `hedgegrid run STUDY --resume`" if undone or wrong else ""
    whole = sum((folder / name).exists() for name in study.manifest.names()) - len(wrong)
    rows = [
        ("manifest", f"{whole} files as they were written", f"{len(entered)} lines entered" if entered else ""),
        ("trials", f"{study.done:,} of {study.trials:,} have results", again if undone else ""),
        (
            "final files",
            "; ".join(f"{name}: {why}" for name, why in wrong.items()) or "all there",
            again if wrong else "",
        ),
    ]
    if plan.config.tracking.enabled:
        rows += _project(plan, identity, study, again)
    else:
        rows.append(("MLflow", "the study is not tracked (tracking.enabled: false)", ""))
    return Repaired(folder, rows)


def _project(plan: Plan, identity: Identity, study: Study, again: str) -> list[tuple[str, str, str]]:
    """Put MLflow right; rows of what was found and done."""
    recorder = open_recorder(plan, identity)
    before, there = recorder.status_before, recorder.runs_before
    status: Status = "FINISHED"
    if study.done < study.trials or (again and before != "FINISHED"):
        status = "FAILED" if before == "FAILED" else "KILLED"
    baselines = kept_baselines(study)
    with recorder:
        recorder.label(EventLog(plan.folder).tags)
        if baselines is not None:
            recorder.record(baseline_records(plan, identity, baselines))
        if study.trials <= plan.config.tracking.max_runs:
            for table in study.tables():
                recorder.record(trial_records(plan, identity, table))
        elif not again:
            recorder.record(trial_records(plan, identity, study.best(plan.config.tracking.max_runs)))
        if status != "FINISHED":
            recorder.summary(f"# {plan.config.name}\n\n{plan.config.question}\n\n(stopped; {again})")
        elif not again:
            publish(recorder, plan, study.best(1))
        recorder.close(status)
    done = {
        "added": recorder.added,
        "half-written ones completed": recorder.completed,
        "doubled ones removed": recorder.removed,
    }
    return [
        ("runs of trials", f"{there:,} in MLflow", ", ".join(f"{n:,} {what}" for what, n in done.items() if n)),
        ("run of the study", before or "not there", status if status != before else ""),
    ]
