"""A study as its folder keeps it, for the commands that come after a run: no cluster and no GPU is needed for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.config import load_study
from cluster.identity import Identity, read_identity
from cluster.output import FINAL
from cluster.plan import Plan, make_plan, open_study
from cluster.progress import read_progress
from cluster.status import find, resume_command
from kernels.errors import InputError
from search.study import Study

NEEDED = ("study.yaml", "identity.json", "search.json")


@dataclass(frozen=True)
class Kept:
    """A study in its folder, opened: what it was to do, what it ran on, and its results. Nobody else writes it now."""

    plan: Plan
    identity: Identity
    study: Study

    @property
    def again(self) -> str:
        """The command that goes on with it."""
        progress = read_progress(self.plan.folder)
        return (progress and progress.again) or resume_command(self.plan.folder)

    def best(self) -> pd.DataFrame:
        """One row: the best trial; InputError where no trial has a result."""
        if self.study.done == 0:
            raise InputError(f"{self.plan.folder}: no trial has a result yet; go on with\n  {self.again}")
        return self.study.best(1)

    def must_be_finished(self, what: str) -> None:
        """InputError, which says that `what` needs it, where a trial or a final file of the study is missing."""
        study, folder = self.study, self.plan.folder
        if study.done < study.trials:
            done = f"{study.done:,} of {study.trials:,} trials have results"
            raise InputError(f"{folder}: {what} needs a finished study, and {done}; go on with\n  {self.again}")
        wrong = [f"{name}: {why}" for name in FINAL if (why := study.manifest.problem(name))]
        if wrong:
            raise InputError(
                f"{folder}: {what} needs a finished study, and its files are not as they were written "
                f"({'; '.join(wrong)}); write them again with\n  {self.again}"
            )


def folders(study: Path | str, runs: Path) -> list[Path]:
    """The folders that `study` means: itself, or those of a study file or a name as they lie under `runs`.

    InputError, with the studies that there are, where it means none of them.
    """
    return [Path(study)] if Path(study).is_dir() else find(str(study), runs)


def only_folder(study: str, runs: Path) -> Path:
    """The one folder that `study` means; InputError where they are several."""
    found = folders(study, runs)
    if len(found) > 1:
        raise InputError(f"{study} means {len(found)} studies; name one of {', '.join(str(f) for f in found)}")
    return found[0]


def open_kept(folder: Path) -> Kept:
    """The study of a folder; InputError where it holds none, another process has it, or what it holds is damaged.

    Whether the data is still what it was is not asked here (`identity.kept_identity`).
    """
    plan = kept_plan(folder, recorded=False)
    identity = read_identity(folder)
    return Kept(plan, identity, open_study(plan, resume=True))


def must_hold_a_study(folder: Path) -> None:
    """InputError where a folder is not that of a study."""
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder} holds no study ({', '.join(missing)} missing); name a folder of runs/ or its study file"
        )


def kept_plan(folder: Path, *, recorded: bool) -> Plan:
    """The study as it was resolved, to be computed on this machine; `recorded`: and MLflow must be there for it."""
    must_hold_a_study(folder)
    config = load_study(folder / "study.yaml")
    nowhere = config.compute.model_copy(update={"address": None, "workers": None, "backend": "auto"})
    tracking = config.tracking.model_copy(update={"enabled": config.tracking.enabled and recorded})
    plan = make_plan(config.model_copy(update={"compute": nowhere, "tracking": tracking}), folder.parent)
    return replace(plan, config=config, folder=folder)


def kept_baselines(study: Study) -> pd.DataFrame | None:
    """The baselines as they were scored, index: labels; None before the study's end."""
    if study.manifest.problem("baselines.parquet"):
        return None
    table: pd.DataFrame = pq.read_table(pa.BufferReader(study.manifest.read("baselines.parquet"))).to_pandas()
    return table.set_index("label")
