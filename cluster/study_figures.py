"""Which figures a study has, and a heatmap of any metric on request."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cluster import option_figures, portfolio_figures
from cluster.findings import Findings
from cluster.plan import Plan
from cluster.winner import engine_for
from kernels import paths
from kernels.errors import InputError
from kernels.option_market import OptionMarket
from search.manifest import Manifest
from search.study import Study
from search.whole import replace_text
from tracking import figures
from tracking.panels import Figure
from tracking.report import Report, Section, page

LARGEST = 500_000  # trials that figures are made of: half a gigabyte while they are drawn
MOST_PANELS = 9  # searched parameters of a figure that has a panel for each
MOST_HEATMAPS = 3  # pairs of searched parameters, those that move the score most; `hedgegrid heatmap` draws any other


def draw(plan: Plan, study: Study, found: Findings) -> Iterator[Figure]:
    """The figures of a study: progress, profiles, heatmaps, the equity of the best beside the baselines, and those of
    hedged options or of a hedged portfolio where it trades them."""
    note = ""
    if study.trials > LARGEST:
        note = f" Drawn from a random sample of {LARGEST:,} of {study.trials:,} trials, and the best one."
    for figure in _of_trials(plan, study, found.importance):
        yield replace(figure, note=figure.note + note)
    yield _equity(plan, found)
    if isinstance(plan.market, OptionMarket):
        yield from option_figures.draw(plan, study, found.compared, found.paths)
    elif portfolio_figures.hedges_a_portfolio(plan.strategy):
        yield from portfolio_figures.draw(plan, found.compared)


def first_of_each_kind(drawn: Sequence[Figure]) -> list[Figure]:
    """Those that are pictures as well, for MLflow: one profile, one heatmap, and so on. The report has them all."""
    kinds: dict[str, Figure] = {}
    for figure in drawn:
        kinds.setdefault(figure.name.partition("_")[0], figure)
    return list(kinds.values())


def _of_trials(plan: Plan, study: Study, importance: Mapping[str, float]) -> Iterator[Figure]:
    """Progress, profiles, heatmaps."""
    searched = [plan.parameter(name) for name in plan.space.searched]
    measures = [plan.metric(m) for m in ("score", *plan.targets.metrics)]
    columns = ["trial", *plan.space.searched, *(m.name for m in measures), "targets_met"]
    columns += ["member"] if plan.config.search.cloud else []
    configurations = drawn(study, columns, plan.config.search.seed)
    trials = configurations[configurations["member"] == 0] if plan.config.search.cloud else configurations
    yield figures.progress(trials.rename(columns={"trial": "number"}), len(plan.targets.metrics))
    shown = [plan.parameter(name) for name in telling(plan, importance)]
    left_out = ""
    if len(shown) < len(searched):
        left_out = f" Drawn are the {len(shown)} of {len(searched)} searched parameters that move the score most."
    for measure in measures:
        if searched:
            figure = figures.profile(configurations, shown, measure)
            yield replace(figure, note=f"{figure.note}{left_out}")
    ranked = sorted(searched, key=lambda parameter: -importance.get(parameter.name, 0.0))
    pairs = list(itertools.combinations(ranked, 2))[:MOST_HEATMAPS]
    for y, x in pairs:
        for measure in measures if (y, x) == pairs[0] else measures[:1]:
            yield figures.heatmap(configurations, x, y, measure)


def telling(plan: Plan, importance: Mapping[str, float]) -> list[str]:
    """The searched parameters that a figure has a panel for, in the study's order: of many those that move the score most."""
    ranked = sorted(plan.space.searched, key=lambda name: -importance.get(name, 0.0))[:MOST_PANELS]
    return [name for name in plan.space.searched if name in ranked]


def drawn(study: Study, columns: list[str], seed: int) -> pd.DataFrame:
    """These columns of every configuration, in trial order; of too many to hold a random sample of `LARGEST` trials or
    so, the best trial and the last."""
    share = LARGEST / study.trials
    random = np.random.default_rng(seed)
    kept = [*study.best(1)["trial"], study.trials - 1]
    tables = []
    for table in study.configurations():
        chosen = (random.random(len(table)) < share) | table["trial"].isin(kept)
        tables.append(table.loc[chosen, columns])
    return pd.concat(tables, ignore_index=True)


def _equity(plan: Plan, found: Findings) -> Figure:
    """The best trial beside the baselines; of many paths on the one on which the best grew by its median."""
    rows = found.compared
    labels = list(rows.index)
    table = rows[[p.name for p in plan.strategy.parameters]].reset_index(drop=True)
    if plan.market.n_scenarios == 1:
        equity = (1.0 + engine_for(plan, table).returns(table)).cumprod(axis=0)
    else:
        own = found.paths[found.paths["label"] == labels[0]].sort_values("total_return", kind="stable")
        scenario = int(own["path"].iloc[len(own) // 2])
        labels[0] += f" on its median path of {len(own):,}"
        drawn = paths(plan.market, plan.strategy, table, costs=plan.costs, scenario=scenario, limits=plan.limits)
        equity = drawn.equity
    return figures.equity(plan.market.timestamps[1:], pd.DataFrame(equity, columns=labels), labels[0])


def draw_heatmap(plan: Plan, metric: str, x: str, y: str) -> list[Path]:
    """A heatmap of any metric (or the score) over any two searched parameters of a finished study, beside its figures.

    InputError where the study has no results, or there is no such metric or searched parameter.
    """
    table = plan.folder / "configs.parquet"
    problems = [
        f"{name!r} is not searched in {plan.config.name}; searched are {', '.join(plan.space.searched)}"
        for name in (x, y)
        if name not in plan.space.searched
    ]
    if x == y:
        problems.append(f"two different parameters are needed, got {x!r} twice")
    if metric != "score" and metric not in plan.strategy.metrics:
        problems.append(f"unknown metric {metric!r}; metrics are score, {', '.join(plan.strategy.metrics)}")
    if not table.exists():
        problems.append(f"{table} is not there; run the study first")
    if problems:
        raise InputError(problems)
    measure = plan.metric(metric)
    Manifest(plan.folder).check([table.name])
    trials = pd.read_parquet(table, columns=[x, y, measure.name])
    figure = figures.heatmap(trials, plan.parameter(x), plan.parameter(y), measure)
    folder = plan.folder / "figures" / figure.name
    pictures = figures.pictures([figure], folder)
    whole = Report(plan.config.name, plan.config.question, "", (Section(figure.title, (figure,)),))
    replace_text(folder / f"{figure.name}.html", page(whole))
    return [folder / f"{figure.name}.html", *pictures]
