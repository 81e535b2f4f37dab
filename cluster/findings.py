"""What a finished study found: its best trials beside the baselines, the winner examined, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from cluster import tried
from cluster.advice import advise
from cluster.front_view import say_front
from cluster.plan import Plan
from cluster.searched import look_for_dead, searched
from cluster.selection import Selection, judge, on_unseen_paths
from cluster.staircase import Staircase, climb
from cluster.winner import Winner, examine, path_table
from search.dead import Dead
from search.front import Front
from search.study import Study
from search.verdict import Verdict


@dataclass(frozen=True)
class Findings:
    """Tables have parameters, metrics, score and margins as the study's results do; of baselines the index is their label.

    `paths` has every metric on each path of the best trial and the baselines, columns label, path, metrics, status; of a
    market with one history a row each. `quarantined` configurations could not be computed. `selection` says whether the
    winner is real or luck, of a market with one history; the `verdict` is of any. `distinct` configurations were tried,
    `dead` values move no metric.
    """

    best: pd.DataFrame
    baselines: pd.DataFrame
    importance: dict[str, float]
    winner: Winner
    advice: list[str]
    paths: pd.DataFrame
    quarantined: int
    selection: Selection | None
    verdict: Verdict
    distinct: int
    dead: list[Dead]
    front: Front | None = None  # of several objectives
    staircase: Staircase | None = None  # of a strategy that names features, on one history

    @property
    def compared(self) -> pd.DataFrame:
        """The best trial and the baselines; index: labels."""
        return compared(self.best, self.baselines)


def find(plan: Plan, study: Study, baselines: pd.DataFrame, top: int) -> Findings:
    """Everything about a study whose trials all have results; `top` of them are listed."""
    best = study.best(top)
    winner = examine(plan, study, best, baselines)
    rows = compared(best, baselines)
    paths = path_table(plan, rows)
    returns = paths.loc[paths["label"] == rows.index[0], "total_return"].to_numpy()
    everything = tried.read(plan, study)
    distinct, dead = study.distinct, look_for_dead(plan, study, best)
    selection = judge(plan, study, everything, winner.bars, rows, distinct)
    verdict = selection.verdict if selection else on_unseen_paths(plan, winner)
    climbed = climb(plan, everything.chosen, rows, selection) if selection else None
    front = study.front()
    advice = advise(plan, winner, baselines, returns, verdict=verdict, selection=selection)
    advice += [say_front(plan, front)] if front else []
    return Findings(
        best,
        baselines,
        study.importance(),
        winner,
        advice + searched(plan, study, distinct, dead),
        paths,
        everything.quarantined,
        selection,
        verdict,
        distinct,
        dead,
        front,
        climbed,
    )


def compared(best: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    """The first of the best trials, then the baselines; index: labels."""
    first = best.iloc[:1].set_axis([f"best (trial {best['trial'].iloc[0]})"])
    return pd.concat([first, baselines])


def scored_baselines(plan: Plan, metrics: pd.DataFrame) -> pd.DataFrame:
    """Baselines as the study's results have trials: parameters, metrics, score, margins; index: labels."""
    scores = plan.targets.score(metrics)
    return pd.concat(
        [
            plan.baselines.reset_index(drop=True),
            metrics[list(plan.strategy.metrics)].rename(columns=plan.space.measured),
            scores,
        ],
        axis="columns",
    ).set_axis(plan.baselines.index)
