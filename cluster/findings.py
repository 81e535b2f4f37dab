"""What a finished study found: its best trials beside the baselines, the winner examined, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cluster.advice import advise
from cluster.front_view import say_front
from cluster.plan import Plan
from cluster.winner import Winner, examine, path_table
from kernels.market import FloatArray
from search.front import Front
from search.luck import Luck, luck
from search.study import Study


@dataclass(frozen=True)
class Findings:
    """Tables have parameters, metrics, score and margins as the study's results do; of baselines the index is their label.

    `paths` has every metric on each path of the best trial and the baselines, columns label, path, metrics, status; of a
    market with one history a row each. `quarantined` configurations could not be computed. `luck` is what chance would
    show of as many, of a market with one history.
    """

    best: pd.DataFrame
    baselines: pd.DataFrame
    importance: dict[str, float]
    winner: Winner
    advice: list[str]
    paths: pd.DataFrame
    quarantined: int
    luck: Luck | None
    front: Front | None = None  # of several objectives

    @property
    def compared(self) -> pd.DataFrame:
        """The best trial and the baselines; index: labels."""
        return compared(self.best, self.baselines)


def find(plan: Plan, study: Study, baselines: pd.DataFrame, top: int) -> Findings:
    """Everything about a study whose trials all have results; `top` of them are listed."""
    best = study.best(top)
    winner = examine(plan, study, best)
    rows = compared(best, baselines)
    paths = path_table(plan, rows)
    returns = paths.loc[paths["label"] == rows.index[0], "total_return"].to_numpy()
    sharpes, quarantined = _tried(plan, study)
    chance = _luck(plan, sharpes, best.iloc[0])
    front = study.front()
    advice = advise(plan, winner, baselines, returns, chance)
    advice += [say_front(plan, front)] if front else []
    return Findings(best, baselines, study.importance(), winner, advice, paths, quarantined, chance, front)


def _tried(plan: Plan, study: Study) -> tuple[FloatArray, int]:
    """Sharpe ratios a year of every valid configuration of all trials, and how many could not be computed."""
    sharpes, quarantined = [], 0
    for table in study.configurations():
        sharpes.append(table.loc[table["status"] == "ok", plan.space.measured("sharpe")].to_numpy())
        quarantined += int((table["status"] == "quarantined").sum())
    return np.concatenate(sharpes), quarantined


def _luck(plan: Plan, sharpes: FloatArray, winner: pd.Series) -> Luck | None:
    """What chance would show of all that was tried; None where there are many paths, or nothing to choose from."""
    if plan.market.n_scenarios > 1 or plan.configurations < 2:
        return None
    sharpe, skew, kurtosis = (float(winner[plan.space.measured(name)]) for name in ("sharpe", "skew", "kurtosis"))
    return luck(
        sharpes,
        tried=plan.configurations,
        sharpe=sharpe,
        skew=skew,
        kurtosis=kurtosis,
        bars=plan.market.n_bars - 1,
        bars_per_year=plan.market.bars_per_year,
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
            metrics.drop(columns="status").rename(columns=plan.space.measured),
            scores,
        ],
        axis="columns",
    ).set_axis(plan.baselines.index)
