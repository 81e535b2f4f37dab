"""New targets on a study that is there: every configuration scored again from its metrics, nothing backtested.

The study's own records and its runs in MLflow stay as they are; what is found has a folder of its own,
`runs/<study>/rescored/<score_spec>/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from rich.console import Console
from rich.markup import escape

from cluster.config import StudyConfig
from cluster.console import show_ranking
from cluster.identity import Identity
from cluster.kept import Kept, kept_baselines, open_kept
from cluster.output import stream_parquet
from cluster.plan import Plan
from cluster.provenance import described, plain, provenance
from cluster.study_text import read_yaml
from cluster.whole_folder import whole_folder
from kernels.errors import InputError
from kernels.market import FloatArray
from search.cloud import SUMMARY
from search.targets import Targets
from search.whole import replace_file, replace_text

OLD = ("score", "targets_met", "status", *SUMMARY)
"""Columns of results that come from targets, beside the margins."""


@dataclass(frozen=True, slots=True)
class Place:
    """A trial's score and rank (1: the best) by the study's own targets and by the new ones."""

    trial: int
    score_before: float
    rank_before: int
    score: float
    rank: int


@dataclass(frozen=True)
class Rescored:
    """A study by new targets: `plan` has them, `best` and `baselines` are as its results are, with the new scores.

    `winner` is the best trial by the study's own targets, `leader` the best by the new ones.
    """

    plan: Plan
    folder: Path
    own_spec: str
    done: int
    trials: int
    best: pd.DataFrame
    baselines: pd.DataFrame
    winner: Place
    leader: Place


@dataclass
class _Ranking:
    """What is kept of all trials while they stream by: number and both scores of each, whole rows of the best."""

    top: int
    by: str
    best: pd.DataFrame = field(default_factory=pd.DataFrame)
    trials: list[FloatArray] = field(default_factory=list)  # (3, trials of a piece)

    def add(self, trials: pd.DataFrame, before: FloatArray) -> None:
        """A row per trial, in trial order, with what each scored `before`."""
        self.trials.append(np.stack([trials["trial"].to_numpy(dtype=float), before, trials[self.by].to_numpy()]))
        self.best = pd.concat([self.best, trials], ignore_index=True) if len(self.best) else trials
        self.best = self.best.nlargest(self.top, self.by, keep="first")

    def place(self, trial: int) -> Place:
        """Where a trial stands; among equals the earlier one is the better one, as in a study."""
        number, before, after = np.concatenate(self.trials, axis=1)
        (at,) = np.flatnonzero(number == trial)
        ranks = [
            1 + int((scores > scores[at]).sum()) + int((scores[:at] == scores[at]).sum()) for scores in (before, after)
        ]
        return Place(trial, float(before[at]), ranks[0], float(after[at]), ranks[1])


def rescore(folder: Path, file: Path, top: int = 5) -> Rescored:
    """Score every configuration of the study in `folder` by the targets in `file`, and keep that beside the study.

    `file` is YAML: the targets by metric, or a study file that has them under `targets`. InputError, with nothing
    written, where it is neither, names a metric that the strategy does not produce, or no trial has a result yet.
    """
    kept = open_kept(folder)
    own = kept.plan.targets
    winner = int(kept.best()["trial"].iloc[0])
    plan = replace(kept.plan, targets=read_targets(file, kept.plan))
    ranking = _Ranking(top, "cloud_score" if plan.config.search.cloud else "score")
    target = plan.folder / "rescored" / plan.targets.score_spec
    try:
        with whole_folder(target) as new:
            scores = partial(stream_parquet, _scores(kept, plan, ranking))
            replace_file(new / "scores.parquet", scores)
            found = Rescored(
                plan,
                target,
                own.score_spec,
                kept.study.done,
                kept.study.trials,
                ranking.best.reset_index(drop=True),
                _baselines(kept, plan),
                ranking.place(winner),
                ranking.place(int(ranking.best["trial"].iloc[0])),
            )
            replace_text(new / "targets.yaml", yaml.safe_dump({"targets": targets_of(plan.targets)}, sort_keys=False))
            replace_text(new / "best.yaml", _best_yaml(kept.identity, found))
    except OSError as error:
        raise InputError(f"{target}: the new scores cannot be written there ({error})") from error
    return found


def read_targets(file: Path, plan: Plan) -> Targets:
    """The targets in a YAML file; InputError with every mistake."""
    content, problems = read_yaml(file.expanduser())
    if "targets" in content:
        content = content["targets"]
    elif keys := sorted(set(content) & set(StudyConfig.model_fields)):
        raise InputError(f"{file}: has {', '.join(keys)} but no targets; give `targets:`, or only metrics")
    if not isinstance(content, dict) or not content:
        raise InputError(f"{file}: targets are metrics with at_least or at_most, got {content!r}")
    try:
        targets = Targets.of(content, metrics=plan.strategy.metrics)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError([f"{file} has no valid targets:", *(f"  {problem}" for problem in problems)])
    return targets


def targets_of(targets: Targets) -> dict[str, dict[str, float]]:
    """Targets as a study file spells them, nothing left to a default."""
    return {
        t.metric: {
            "at_least" if t.direction > 0 else "at_most": t.value,
            "reservation": t.reservation,
            "weight": t.weight,
        }
        for t in targets.targets
    }


def scored_again(plan: Plan, targets: Targets, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of a study's results by other targets: the same columns, but for the scores and margins.

    That a target's metric was not finite made a row invalid by the old targets only; that the equity reached zero left no
    metric finite, so that the row is invalid by any. What could not be computed stays quarantined.
    """
    names = {plan.space.measured(metric): metric for metric in targets.metrics}
    measured = rows[list(names)].rename(columns=names)
    quarantined = rows["status"] == "quarantined" if "status" in rows else pd.Series(False, index=rows.index)
    scores = targets.score(measured.assign(status=np.where(quarantined, "quarantined", "ok")))
    kept = [name for name in rows if name not in OLD and not str(name).startswith("margin_")]
    return pd.concat([rows[kept], scores], axis="columns")


def show_rescored(console: Console, found: Rescored, file: Path) -> None:
    """The best trials by the new targets beside the baselines, what became of the old winner, and what to keep in mind."""
    plan = found.plan
    beside = " beside the baselines" if len(found.baselines) else ""
    title = f"{plan.config.name}: best of {found.done:,} trials by the targets of {file.name}{beside}"
    show_ranking(console, plan, title, found.best, found.baselines)
    console.print()
    for sentence in changes(found):
        console.print(escape(sentence))
    if found.done < found.trials:
        console.print(
            f"note: The study is not finished: {found.done:,} of {found.trials:,} trials have results, and there are "
            "baselines at its end only."
            if found.baselines.empty
            else f"note: The study is not finished: {found.done:,} of {found.trials:,} trials have results."
        )
    tried, leader = found.done * plan.config.search.configs_per_trial, found.leader.trial
    console.print(
        f"note: Targets chosen after seeing results are one more look at this data: all {tried:,} configurations tried "
        f"still count, and trial {leader} is chosen in sample as any best is."
    )
    console.print("note: The study's own files and its runs in MLflow keep the scores of its own targets.")
    console.print(f"files: {found.folder}/ (best.yaml, scores.parquet, targets.yaml)", soft_wrap=True)


def changes(found: Rescored) -> list[str]:
    """What the new targets change, in words."""
    old, new, done = found.winner, found.leader, f"{found.done:,}"
    if found.own_spec == found.plan.targets.score_spec:
        return ["These are the study's own targets: nothing changes."]
    if new.trial == old.trial:
        return [
            f"Trial {old.trial} stays the best of {done}: it scores {old.score:.3f} by these targets, "
            f"{old.score_before:.3f} by the study's own."
        ]
    return [
        f"Trial {new.trial} is the best by these targets, {new.score:.3f}; by the study's own it is number "
        f"{new.rank_before:,} of {done}, {new.score_before:.3f}.",
        f"Trial {old.trial}, the study's winner ({old.score_before:.3f}), is number {old.rank:,} of {done} by these "
        f"targets, {old.score:.3f}.",
    ]


def _scores(kept: Kept, plan: Plan, ranking: _Ranking) -> Iterator[pd.DataFrame]:
    """A row per configuration: trial, member of its cloud, score, targets_met, status, margins; trials go to `ranking`."""
    cloud = plan.config.search.cloud
    margins = [f"margin_{metric}" for metric in plan.targets.metrics]
    columns = ["trial", *(["member"] if cloud else []), "score", "targets_met", "status", *margins]
    for table in kept.study.configurations():
        rows = scored_again(plan, plan.targets, table)
        if cloud:
            both = [each["score"].to_numpy().reshape(-1, cloud.size) for each in (table, rows)]
            before, after = (cloud.summary(scores) for scores in both)
            points = rows.iloc[:: cloud.size].drop(columns="member").reset_index(drop=True)
            ranking.add(pd.concat([points, after], axis="columns"), before["cloud_score"].to_numpy())
        else:
            ranking.add(rows, table["score"].to_numpy())
        yield rows[columns]


def _baselines(kept: Kept, plan: Plan) -> pd.DataFrame:
    """The study's baselines by the new targets; none before its end."""
    baselines = kept_baselines(kept.study)
    return pd.DataFrame() if baselines is None else scored_again(plan, plan.targets, baselines)


def _best_yaml(identity: Identity, found: Rescored) -> str:
    """The best configuration by the new targets, and where it comes from."""
    plan, row = found.plan, found.best.iloc[0]
    content: dict[str, Any] = {
        **described(plan, row),
        "by_the_studys_own_targets": {
            "score_spec": found.own_spec,
            "score": found.leader.score_before,
            "rank": found.leader.rank_before,
        },
        "the_studys_winner": {"trial": found.winner.trial, "score": found.winner.score, "rank": found.winner.rank},
        "from": provenance(plan, identity, row, tried=found.done * plan.config.search.configs_per_trial),
    }
    return yaml.safe_dump(plain(content), sort_keys=False, allow_unicode=True)
