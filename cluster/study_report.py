"""The report of a finished study: `runs/<study>/report.html`, composed of its plan, its results and what they show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cluster import report_tables as tables
from cluster.advice import wanted_of
from cluster.evidence import Evidence
from cluster.findings import Findings
from cluster.identity import Identity
from cluster.plan import Plan
from cluster.risk_config import limits_in_words
from cluster.staircase_view import parts as climbed
from cluster.study_figures import telling
from kernels.market_calendar import when
from kernels.option_market import OptionMarket
from tracking import fold_figures, selection_figures, winner_figures
from tracking.panels import Figure
from tracking.report import Bullets, Key, Part, Report, Section, Verdict

NAME = "report.html"


def compose(
    plan: Plan,
    identity: Identity,
    found: Findings,
    evidence: Evidence,
    drawn: Sequence[Figure],
    *,
    tried: str,
    caveats: Sequence[str],
) -> Report:
    """The page: verdict, what to do, targets, then figures whose titles are their findings; at last what was searched.

    `drawn` are the figures that the study has anyway (`study_figures.draw`); `tried` says how much was tried, `caveats`
    what a reader must be told.
    """
    market, config = plan.market, plan.config
    named: dict[str, list[Figure]] = {}
    for figure in drawn:
        kind = figure.name.partition("_")[0]
        named.setdefault(kind if kind in ("equity", "progress", "profile", "heatmap") else "others", []).append(figure)
    paths = f", {market.n_scenarios:,} paths" if market.n_scenarios > 1 else ""
    facts = (
        f"{plan.strategy.name} on {', '.join(market.tickers) if market.n_assets <= 8 else f'{market.n_assets} assets'}, "
        f"{market.n_bars:,} bars{paths}, {when(market.timestamps[0])} to {when(market.timestamps[-1])}. "
        f"{tried}"
    )
    sections: list[tuple[str, Sequence[Part]]] = [
        ("What to do", [Bullets(tuple(found.advice))]),
        ("Targets", _targets(plan, found, evidence)),
        ("Equity and drawdown", named.get("equity", [])),
        ("Out of sample", _out_of_sample(plan, found, evidence)),
        ("What each feature bought", climbed(plan, found.staircase) if found.staircase else []),
        ("Luck and overfitting", _luck(plan, found, evidence)),
        ("Plateau or spike", _plateau(plan, found, evidence, named)),
        ("Costs", _costs(plan, found)),
        ("The hedge", named.get("others", [])),
        ("What was searched", _searched(plan, identity, found, evidence, named, tried, caveats)),
        ("What is not here", [Bullets(missing)] if (missing := _missing(plan, evidence)) else []),
    ]
    return Report(
        config.name,
        config.question,
        facts,
        tuple(Section(title, tuple(parts)) for title, parts in sections if parts),
        evidence.verdict or Verdict("not judged", _unjudged(plan)),
        _keys(plan, found, evidence),
    )


def _keys(plan: Plan, found: Findings, evidence: Evidence) -> tuple[Key, ...]:
    """The winner in a few numbers."""
    row = found.best.iloc[0]
    keys = [
        Key("targets met", f"{int(row['targets_met'])} of {len(plan.targets.metrics)}", f"score {row['score']:.3f}")
    ]
    for target in plan.targets.targets:
        shown = plan.metric(target.metric)
        keys.append(Key(target.metric, shown.text(float(row[shown.name])), f"wanted {wanted_of(plan, target)}"))
    if found.selection and math.isfinite(found.selection.luck.deflated):
        chance = found.selection.luck
        keys.append(Key("deflated Sharpe", f"{chance.deflated:.2f}", f"best by luck {chance.expected:.2f}"))
    if evidence.splits:
        keys.append(Key("overfitting (PBO)", f"{evidence.splits.probability:.2f}", "0.5 is chance"))
    if evidence.walk_forward:
        share = f"{evidence.walk_forward.positive:.0%} of the folds earn"
        keys.append(Key("walk-forward efficiency", f"{evidence.walk_forward.efficiency:.2f}", share))
    end = found.winner.break_even
    if math.isfinite(end):
        keys.append(Key("earns nothing at", f"{end:.3g}x", "the costs"))
    return tuple(keys)


def _targets(plan: Plan, found: Findings, evidence: Evidence) -> list[Part]:
    parts: list[Part] = [tables.targets(plan, found, evidence.holdout)]
    said = (
        "In brackets the margin: how far a metric lies on the good side of its target, a unit being the way from its "
    )
    parts.append(f"{said}reservation to the target.")
    if evidence.joint:
        joint = evidence.joint
        each = ", ".join(f"{metric} {share:.0%}" for metric, share in joint.each.items())
        parts.append(
            f"Every target is met at once in {joint.probability:.0%} of {joint.replicates:,} resampled histories"
            + (f": {each} by itself." if each else ".")
        )
    return parts


def _out_of_sample(plan: Plan, found: Findings, evidence: Evidence) -> list[Part]:
    parts: list[Part] = []
    held = evidence.holdout
    if held:
        bars = f"The hold-out, {held.bars:,} bars from {held.first} to {held.last}, was not visible to the search"
        before = held.opened if held.metrics is None else held.opened[:-1]
        seen = (
            f" It is no longer unseen: other studies of this data opened or searched it before, {', '.join(before)}."
            if before
            else ""
        )
        told = (
            "It has not been opened: `hedgegrid validate` opens it, once."
            if held.metrics is None
            else f"It was opened once: {held.opened[-1]}. What it showed stands beside the targets above."
        )
        parts.append(f"{bars}. {told}{seen}")
    walk = evidence.walk_forward
    if walk is not None:
        begins = walk.folds["test_from"].to_numpy(dtype="datetime64[us]")
        curve = {"efficiency": walk.efficiency, "positive": walk.positive}
        parts.append(fold_figures.walk_forward(walk.timestamps, walk.returns, begins, **curve))
        labels = [tables.day(each) for each in walk.folds["test_from"]]
        parts.append(fold_figures.folds(labels, *(walk.folds[c].to_numpy() for c in ("sharpe_in", "sharpe_out"))))
        parts.append(tables.folds(plan, walk))
        chosen = [plan.parameter(name) for name in telling(plan, found.importance) if name in walk.folds]
        ends = np.append(begins, walk.timestamps[-1])
        parts.append(fold_figures.drift(ends, walk.folds, chosen))
    if evidence.cross_validation is not None:
        parts.append(
            selection_figures.cross_validation(evidence.cross_validation.paths, evidence.cross_validation.inside)
        )
    return parts


def _luck(plan: Plan, found: Findings, evidence: Evidence) -> list[Part]:
    parts: list[Part] = []
    if found.selection is not None and evidence.sharpes is not None:
        chance = found.selection.luck
        sharpe = plan.space.measured("sharpe")
        named = {"the winner": float(found.best[sharpe].iloc[0])}
        if len(found.baselines):
            best = found.baselines.sort_values("score", ascending=False, kind="stable").iloc[0]
            named[f"baseline {best.name}"] = float(best[sharpe])
        ratios = {"expected": chance.expected, "deflated": chance.deflated}
        parts.append(selection_figures.tried(evidence.sharpes, **ratios, named=named, configurations=chance.tried))
    if (splits := evidence.splits) is not None:
        parts.append(selection_figures.overfitting(splits.logits, splits.inside, splits.outside, splits.probability))
    if (check := evidence.reality_check) is not None:
        parts.append(selection_figures.reality_check(check.maxima, check.found, check.p_value, check.against))
    return parts


def _plateau(plan: Plan, found: Findings, evidence: Evidence, named: dict[str, list[Figure]]) -> list[Part]:
    """The score along each parameter, with the winner on it, and what moved it; heatmaps; other metrics' profiles."""
    parts: list[Part] = []
    profiles = named.get("profile", [])
    if profiles:
        row = found.best.iloc[0]
        values = [row[name] for name in telling(plan, found.importance)]
        parts.append(
            winner_figures.plateau(profiles[0], values, plan.metric("score"), float(row["score"]), evidence.neighbours)
        )
    if found.importance:
        parts.append(winner_figures.importance(found.importance))
    if evidence.dead:
        parts.append(Bullets(evidence.dead))
    return [*parts, *named.get("heatmap", []), *profiles[1:]]


def _costs(plan: Plan, found: Findings) -> list[Part]:
    table = found.winner.stress
    if len(table) < 2:
        return []
    measures = [replace(plan.metric(m), name=m) for m in plan.targets.metrics]
    levels = {t.metric: (t.value, int(t.direction)) for t in plan.targets.targets}
    return [winner_figures.stress(table, measures, levels, found.winner.break_even)]


def _searched(
    plan: Plan,
    identity: Identity,
    found: Findings,
    evidence: Evidence,
    named: dict[str, list[Figure]],
    how_many: str,
    caveats: Sequence[str],
) -> list[Part]:
    search = plan.config.search
    parts: list[Part] = [
        f"{how_many} By {search.sampler}, seed {search.seed}.",
        tables.searched(plan, found.best.iloc[0]),
        tables.trials(plan, found),
    ]
    parts += named.get("progress", [])
    if evidence.looks is not None and len(evidence.looks):
        often, all_tried = len(evidence.looks), int(evidence.looks["configurations"].sum())
        studies = "1 study has" if often == 1 else f"{often} studies have"
        parts.append(f"{studies} looked at this data, {all_tried:,} configurations in all:")
        parts.append(tables.looks(evidence.looks))
    told = list(caveats)
    costs = ", ".join(
        f"{name} {each:,.10g}" if isinstance(each, float) else f"{name} {each}"
        for name, each in plan.config.costs.model_dump().items()
    )
    told.append(f"Costs: {costs}.")
    if plan.limits:
        told.append(f"Risk limits: {limits_in_words(plan.limits)}.")
    told.append(
        f"Made by hedgegrid {identity.version} on {identity.backend}; data {identity.data_digest}, study "
        f"{identity.study_digest}" + (f", code {identity.code_digest}." if identity.code_digest else ".")
    )
    return [*parts, Bullets(tuple(told))]


def _unjudged(plan: Plan) -> str:
    if isinstance(plan.market, OptionMarket) and plan.market.n_scenarios > 1:
        return "not judged: the market is of many paths, not one history that a search could be lucky on"
    return "not judged: no rule was applied to this study"


def _missing(plan: Plan, evidence: Evidence) -> tuple[str, ...]:
    """One line on what the page does not show, and why."""
    if evidence.missing:
        return evidence.missing
    parts: dict[str, object] = {
        "hold-out": evidence.holdout,
        "walk-forward": evidence.walk_forward,
        "cross-validation": evidence.cross_validation,
        "overfitting (PBO)": evidence.splits,
        "reality check": evidence.reality_check,
        "probability of all targets": evidence.joint,
        "looks at this data": evidence.looks,
    }
    absent = ", ".join(name for name, part in parts.items() if part is None)
    if not absent:
        return ()
    if plan.market.n_scenarios > 1:
        why = "they ask of one history whether a search was lucky on it, and this market has "
        return (f"{absent}, luck: {why}{plan.market.n_scenarios:,} paths.",)
    return (f"{absent}: not computed for this study.",)
