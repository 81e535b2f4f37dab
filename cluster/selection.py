"""Whether the winner of a study on one history is real or luck: everything that is asked of it, and the verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cluster import surveying
from cluster.identity import read_identity
from cluster.looking import looks_of, opened_before
from cluster.plan import Plan
from cluster.rival import best_of, in_order, rival
from cluster.surveying import Reality
from cluster.tried import Tried
from cluster.validation import Opened, opened
from cluster.walk_forward import Walked, walk_forward
from cluster.winner import Winner, engine_for
from kernels.blocks import Blocks, BlockStatistics
from kernels.errors import InputError
from kernels.market import FloatArray
from search.joint import Joint, ahead, joint
from search.looks import Looks
from search.luck import Luck, luck
from search.overfitting import Overfitting, overfitting
from search.periods import bars_of
from search.plateau import Plateau, plateau
from search.purged import Purged, purged
from search.sharpe import SharpeDifference, average_correlation, effective_trials, sharpe_difference
from search.study import Study
from search.verdict import BEST, PBO, REALITY_CHECK, UNSEEN, HoldOut, Verdict, of_history, of_paths

REPLICATES = 1000  # resampled histories of the winner alone


@dataclass(frozen=True)
class Selection:
    """What was found of a winner; None where it could not be asked, and `why_not` says why, by name.

    `against` has the difference of the winner's Sharpe ratio (per bar) from each baseline's, the one to beat first; `ahead`
    in what share of resampled histories the winner is better than that one, by target;
    `sharpes` (N,) are those a year of every valid configuration. `opened_before` are the studies that opened the bars hidden
    from this one before it did, and when.
    """

    verdict: Verdict
    luck: Luck
    sharpes: FloatArray
    against: dict[str, SharpeDifference]
    ahead: dict[str, float]
    overfitting: Overfitting | None
    purged: Purged | None
    walked: Walked | None
    reality: Reality | None
    joint: Joint
    plateau: Plateau
    looks: Looks
    opened: Opened | None
    opened_before: tuple[tuple[str, str], ...]
    why_not: dict[str, str]


def judge(
    plan: Plan, study: Study, tried: Tried, bars: BlockStatistics, rows: pd.DataFrame, distinct: int
) -> Selection | None:
    """Judge the first of `rows`, the winner, beside the others, the baselines (index: labels); None where there are many
    paths (`on_unseen_paths`). `bars` are the winner's statistics bar by bar; `distinct` configurations were tried in this
    study."""
    if plan.periods is None:
        return None
    why_not: dict[str, str] = {}
    looks = looks_of(plan)
    chance = chance_of(plan, tried, rows.iloc[0], max(looks.configurations, distinct))
    found, crossed = _blocks(plan, tried, why_not)
    against = _against(plan, rows)
    reality = surveying.kept(study.manifest)
    if reality is None:
        why_not[REALITY_CHECK] = _not_surveyed(plan, rows.iloc[1:])
    walked = walk_forward(plan, tried.chosen, rows)
    if walked is None:
        why_not["walking forward"] = _not_walked(plan)
    unhidden, before = _openings(plan, study)
    return Selection(
        of_history(
            deflated=chance.deflated,
            overfitting=None if found is None else found.probability,
            loss=None if found is None else found.loss,
            reality_check=None if reality is None else reality.p_value,
            tried=chance.tried,
            hold_out=None if unhidden is None else on_hidden(plan, unhidden),
            why=why_not,
        ),
        chance,
        tried.sharpes,
        against,
        _ahead(plan, bars, rows, next(iter(against), None)),
        found,
        crossed,
        walked,
        reality,
        joint(
            bars,
            plan.targets,
            plan.market.bars_per_year,
            replicates=REPLICATES,
            seed=plan.config.search.seed,
        ),
        plateau(study.configurations(), plan.space, rows.iloc[:1], targets=len(plan.targets.metrics)),
        looks,
        unhidden,
        before,
        why_not,
    )


def on_unseen_paths(plan: Plan, winner: Winner) -> Verdict:
    """The verdict where there are many paths: what the winner does on others of the same model, beside the baselines."""
    row, others = winner.unseen, winner.unseen_baselines
    best, whose = (None, BEST) if others is None else best_of(plan, others, "score")
    return of_paths(
        met=None if row is None else int(row["targets_met"]),
        targets=int(winner.stress["targets_met"].iloc[0]),
        score=None if row is None else float(row["score"]),
        baseline=best,
        whose=whose,
        why={UNSEEN: "this market has no second stream of paths"},
    )


def on_hidden(plan: Plan, found: Opened) -> HoldOut:
    """What the verdict takes of a hold-out that was opened."""
    sharpe = float(found.rows["sharpe"].iloc[0])
    ruined = math.isnan(sharpe)  # nothing is left of its capital there
    return HoldOut(-math.inf if ruined else sharpe, *best_of(plan, found.rows.iloc[1:], "sharpe"))


def _openings(plan: Plan, study: Study) -> tuple[Opened | None, tuple[tuple[str, str], ...]]:
    """What this study's own opening showed, and who had opened those bars before."""
    found = opened(plan, study.manifest)
    if found is not None:
        return found, found.before
    return None, tuple((e.name, e.when) for e in opened_before(plan, read_identity(plan.folder).study_id))


def _not_surveyed(plan: Plan, baselines: pd.DataFrame) -> str:
    if plan.config.selection.replicates == 0:
        return "selection.replicates is 0"
    named = plan.config.selection.baseline
    if named is not None and rival(plan, baselines) is None:
        return f"its baseline, {named}, could not be computed"
    return "nothing could be computed of it"


def _not_walked(plan: Plan) -> str:
    if plan.config.selection.folds == 0:
        return "selection.folds is 0"
    assert plan.periods is not None
    short = "the history is too short for a fold"
    return "nothing could be computed on some fold" if plan.periods.folds else short


def chance_of(plan: Plan, tried: Tried, winner: pd.Series[Any], count: int) -> Luck:
    """What chance would show of all that was tried on this data."""
    sharpe, skew, kurtosis = (float(winner[plan.space.measured(name)]) for name in ("sharpe", "skew", "kurtosis"))
    sample = tried.sample
    correlation = average_correlation(engine_for(plan, sample).returns(sample)) if len(sample) else 0.0
    return luck(
        tried.sharpes,
        tried=count,
        effective=effective_trials(count, correlation),
        sharpe=sharpe,
        skew=skew,
        kurtosis=kurtosis,
        bars=plan.market.n_bars - 1,
        bars_per_year=plan.market.bars_per_year,
    )


def _blocks(plan: Plan, tried: Tried, why_not: dict[str, str]) -> tuple[Overfitting | None, Purged | None]:
    """What choosing on some stretches is worth on others."""
    assert plan.periods is not None
    asked = (PBO, "combinatorial cross-validation")
    if not plan.periods.blocks:
        reason = (
            "selection.blocks is 0" if plan.config.selection.blocks == 0 else "the history is too short for 4 blocks"
        )
        why_not.update(dict.fromkeys(asked, reason))
        return None, None
    if tried.r1.shape[1] < 2:
        why_not.update(dict.fromkeys(asked, "fewer than two configurations are valid"))
        return None, None
    bars = bars_of(Blocks.monthly(plan.market), plan.periods.blocks)
    crossed = None
    try:
        crossed = purged(bars, tried.r1, tried.r2, embargo_bars=plan.looks_back)
    except InputError as error:
        why_not[asked[1]] = " ".join(error.problems)
    return overfitting(bars, tried.r1, tried.r2), crossed


def _ahead(plan: Plan, bars: BlockStatistics, rows: pd.DataFrame, baseline: str | None) -> dict[str, float]:
    """How often the winner is better than the baseline to beat, in histories that might have been."""
    if baseline is None:
        return {}
    table = rows.loc[[baseline], [p.name for p in plan.strategy.parameters]].reset_index(drop=True)
    return ahead(
        bars,
        engine_for(plan, table).bars(table),
        plan.targets,
        plan.market.bars_per_year,
        replicates=REPLICATES,
        seed=plan.config.search.seed,
    )


def _against(plan: Plan, rows: pd.DataFrame) -> dict[str, SharpeDifference]:
    """The winner's Sharpe ratio beside each baseline's, on the bars that the search saw."""
    table = pd.concat([rows.iloc[:1], in_order(plan, rows.iloc[1:])])[[p.name for p in plan.strategy.parameters]]
    returns = engine_for(plan, table).returns(table.reset_index(drop=True))
    return {str(label): sharpe_difference(returns[:, 0], returns[:, i]) for i, label in enumerate(table.index) if i}
