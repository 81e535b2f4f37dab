"""The report of a finished study made again from its folder: `hedgegrid report`. Nothing is searched or backtested anew."""

from __future__ import annotations

from pathlib import Path

from cluster.findings import find
from cluster.identity import kept_identity
from cluster.kept import kept_baselines, kept_plan
from cluster.output import FINAL, write_report
from cluster.plan import open_study
from cluster.status import find as folders_of
from cluster.study_figures import draw
from kernels.errors import InputError
from search.lock import hold, release
from search.manifest import Manifest

LISTED = 5  # best trials


def remake(study: str, runs: Path) -> list[Path]:
    """The reports of a study file, a study's name, or its folder, written again.

    The winner is examined anew, so the results must be there and as they were written. InputError where a study has not
    finished, is damaged, or is being run; no report is touched then.
    """
    folders = folders_of(study, runs)
    if problems := [told for folder in folders if (told := _unfinished(folder))]:
        raise InputError(problems)
    return [_remake(folder) for folder in folders]


def _unfinished(folder: Path) -> str | None:
    """Why there is nothing to report of; None of a finished study."""
    needed = [name for name in FINAL if name != "report.html"]
    manifest = Manifest(folder)
    wrong = [name for name in needed if manifest.problem(name)]
    if not wrong:
        return None
    what = f"{', '.join(wrong)} missing or damaged" if len(wrong) < len(needed) else "it has no results yet"
    return f"{folder}: a report is made of a finished study, {what}; go on with `hedgegrid run STUDY --resume`"


def _remake(folder: Path) -> Path:
    hold(folder)
    try:
        plan = kept_plan(folder, recorded=False)
        study = open_study(plan, resume=True)
        baselines = kept_baselines(study)
        if study.done < study.trials or baselines is None:
            raise InputError(
                f"{folder}: a report is made of a finished study, {study.done:,} of {study.trials:,} trials have results; "
                "go on with `hedgegrid run STUDY --resume`"
            )
        found = find(plan, study, baselines, LISTED)
        return write_report(plan, kept_identity(plan), study, found, list(draw(plan, study, found)))
    finally:
        release(folder)
