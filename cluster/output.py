"""The files of a finished study under `runs/<study>/`, and what MLflow shows of them."""

from __future__ import annotations

import hashlib
import itertools
import json
import platform
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from cluster.config import StudyConfig, load_study, resolved_yaml, study_digest
from cluster.plan import Plan
from kernels import backtest, paths
from kernels.errors import InputError
from kernels.option_market import OptionMarket
from search.study import Study
from tracking import figures
from tracking.panels import Figure, Quantity
from tracking.recorder import Recorder

MOST_HEATMAPS = 6  # pairs of searched parameters drawn for the score; `hedgegrid heatmap` draws any other


@dataclass(frozen=True)
class Identity:
    """What a study is, for ever: `runs/<study>/identity.json`."""

    study_id: str
    study_digest: str
    data_digest: str
    code_digest: str | None  # of a user's own strategy file
    version: str


def identify(plan: Plan, study: Study) -> Identity:
    """The identity kept in the study's folder, made for a new study.

    InputError where a resumed study would go on with other data or rules; what it searches for, and how, is compared by
    `Study.open`.
    """
    path, resolved = plan.folder / "identity.json", plan.folder / "study.yaml"
    now = Identity(
        study_id=f"{plan.config.name}-{uuid.uuid4().hex[:8]}",
        study_digest=study_digest(plan.config),
        data_digest=plan.market.digest,
        code_digest=None if plan.code is None else hashlib.sha256(plan.code.encode()).hexdigest(),
        version=version("hedgegrid"),
    )
    if study.done:
        try:
            kept = Identity(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{path}: what this study ran on cannot be read ({error}); remove {plan.folder} or use another name"
            ) from error
        changed = [*_changes(kept, now), *_other_rules(load_study(resolved), plan.config)]
        if changed:
            raise InputError(f"{plan.folder}: {change}; set it back, or use another name" for change in changed)
        now = replace(now, study_id=kept.study_id)
    replace_text(path, json.dumps(asdict(now), indent=1) + "\n")
    replace_text(resolved, resolved_yaml(plan.config))
    return now


def _changes(kept: Identity, now: Identity) -> Iterator[str]:
    """What of a study's inputs is not what it was."""
    if kept.data_digest != now.data_digest:
        yield (
            f"the market data changed since this study began (digest {kept.data_digest[:12]} then, "
            f"{now.data_digest[:12]} now)"
        )
    if kept.code_digest != now.code_digest:
        yield "the strategy file changed since this study began"


def _other_rules(kept: StudyConfig, now: StudyConfig) -> Iterator[str]:
    """What of the settings that decide a backtest is not what it was."""
    then = {f"costs.{key}": value for key, value in kept.costs.model_dump().items()}
    then["compute.precision"] = kept.compute.precision
    today = {f"costs.{key}": value for key, value in now.costs.model_dump().items()}
    today["compute.precision"] = now.compute.precision
    for settings, config in ((then, kept), (today, now)):
        settings["strategy.compare"] = config.strategy.compare
    yield from (
        f"{key} was {then[key]} when this study began, is {today[key]} now" for key in then if then[key] != today[key]
    )


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


def write(plan: Plan, identity: Identity, study: Study, best: pd.DataFrame, baselines: pd.DataFrame) -> list[Path]:
    """configs.parquet, trials.parquet, best.yaml and the figures; returns the figures' paths."""
    folder = plan.folder
    _stream_parquet(study.tables(), folder / "configs.parquet")
    columns = ["trial", *(p.name for p in plan.strategy.parameters), "score", "targets_met", "status"]
    _stream_parquet((t[columns] for t in study.tables()), folder / "trials.parquet")
    baselines.rename_axis("label").reset_index().to_parquet(folder / "baselines.parquet", index=False)
    replace_text(folder / "best.yaml", best_yaml(plan, identity, best.iloc[0]))
    return figures.write(plan.config.name, list(draw(plan, study, best, baselines)), folder / "figures")


def best_yaml(plan: Plan, identity: Identity, row: pd.Series[Any]) -> str:
    """The best configuration with its provenance."""

    def plain(value: Any) -> Any:
        if value is None or (isinstance(value, float) and np.isnan(value)):
            return None
        return value.item() if isinstance(value, np.generic) else value

    content = {
        "strategy": plan.strategy.name,
        "parameters": {p.name: plain(row[p.name]) for p in plan.strategy.parameters},
        "status": str(row["status"]),
        "score": float(row["score"]),
        "targets_met": f"{int(row['targets_met'])} of {len(plan.targets.metrics)}",
        "margins": {m: float(row[f"margin_{m}"]) for m in plan.targets.metrics},
        "metrics": {m: float(row[plan.space.measured(m)]) for m in plan.strategy.metrics},
        "costs": plan.config.costs.model_dump(),
        "from": {
            "study": plan.config.name,
            "trial": int(row["trial"]),
            "configurations_tried": plan.trials,
            "seed": plan.config.search.seed,
            "score_spec": plan.targets.score_spec,
            **asdict(identity),
            "backend": plan.choice.backend.name,
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def draw(plan: Plan, study: Study, best: pd.DataFrame, baselines: pd.DataFrame) -> Iterator[Figure]:
    """The figures of a study: progress, profiles, heatmaps, and the equity of the best beside the baselines."""
    searched = [_parameter(plan, name) for name in plan.space.searched]
    measures = [Quantity("score", good=+1), *(_metric(plan, m) for m in plan.targets.metrics)]
    columns = ["trial", *plan.space.searched, *(m.name for m in measures), "targets_met"]
    trials = pd.concat([table[columns] for table in study.tables()], ignore_index=True)
    yield figures.progress(trials.rename(columns={"trial": "number"}), len(plan.targets.metrics))
    for measure in measures:
        if searched:
            yield figures.profile(trials, searched, measure)
    pairs = list(itertools.combinations(searched, 2))[:MOST_HEATMAPS]
    for y, x in pairs:
        for measure in measures if (y, x) == pairs[0] else measures[:1]:
            yield figures.heatmap(trials, x, y, measure)
    names = [p.name for p in plan.strategy.parameters]
    drawn = pd.concat([best.iloc[:1][names], baselines[names]], ignore_index=True)
    scenario, which = _typical(plan, drawn.iloc[:1])
    labels = [f"best (trial {best['trial'].iloc[0]}){which}", *map(str, baselines.index)]
    run = paths(plan.market, plan.strategy, drawn, costs=plan.costs, scenario=scenario)
    yield figures.equity(run.timestamps, pd.DataFrame(run.equity, columns=labels), labels[0])


def _typical(plan: Plan, configuration: pd.DataFrame) -> tuple[int, str]:
    """The scenario on which a configuration grew by the median over paths, and how to say so."""
    if plan.market.n_scenarios == 1:
        return 0, ""
    found = backtest(plan.market, plan.strategy, configuration, costs=plan.costs)
    growth = found.statistics.compose()["growth"]
    return int(np.argsort(growth)[len(growth) // 2]), f" on its median path of {len(growth):,}"


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
    measure = Quantity("score", good=+1) if metric == "score" else _metric(plan, metric)
    column = plan.space.measured(metric)
    trials = pd.read_parquet(table, columns=[x, y, column]).rename(columns={column: metric})
    figure = figures.heatmap(trials, _parameter(plan, x), _parameter(plan, y), measure)
    return figures.write(figure.title, [figure], plan.folder / "figures" / figure.name)


def publish(
    recorder: Recorder,
    plan: Plan,
    identity: Identity,
    written: list[Path],
    best: pd.DataFrame,
    baselines: pd.DataFrame,
    importance: Mapping[str, float],
    trials: int,
) -> None:
    """The study's note, best metrics and files on its own run."""
    recorder.text("study.yaml", (plan.folder / "study.yaml").read_text())
    recorder.text("best.yaml", (plan.folder / "best.yaml").read_text())
    for path in written:
        recorder.artifact(path, "figures")
    top = best.iloc[0]
    recorder.summary(
        note(plan, best, baselines, importance, trials),
        metrics={"score": float(top["score"])} | {m: float(top[plan.space.measured(m)]) for m in plan.strategy.metrics},
        tags={
            "best_trial": str(int(top["trial"])),
            "targets_met": f"{int(top['targets_met'])} of {len(plan.targets.metrics)}",
        },
    )


def note(plan: Plan, best: pd.DataFrame, baselines: pd.DataFrame, importance: Mapping[str, float], trials: int) -> str:
    """The study in Markdown: the question, the best trials beside the baselines, what to keep in mind."""
    shown = ["score", "targets_met", *plan.targets.metrics]
    head = ["", *plan.space.searched, *shown]
    lines = [f"# {plan.config.name}", "", plan.config.question, "", tried(plan, trials), ""]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    rows = [(f"trial {r['trial']}", r) for r in best.head(5).to_dict("records")]
    rows += [(str(i), r) for i, r in zip(baselines.index, baselines.to_dict("records"), strict=True)]
    for label, row in rows:
        cells = [
            _parameter(plan, p).text(row[p]) if isinstance(row[p], float) else str(row[p]) for p in plan.space.searched
        ]
        cells += [f"{row['score']:.3f}", f"{int(row['targets_met'])} of {len(plan.targets.metrics)}"]
        cells += [_metric(plan, m).text(row[m]) for m in plan.targets.metrics]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    if importance:
        lines += ["", f"What moved the score: {moved(importance)}."]
    lines += ["", *(f"- {text}" for text in caveats(plan, trials))]
    return "\n".join(lines)


def tried(plan: Plan, trials: int) -> str:
    """How many configurations were tried, and which of them have a run in MLflow."""
    told = f"{trials:,} configurations tried"
    most = plan.config.tracking.max_runs
    if plan.config.tracking.enabled and trials > most:
        return f"{told}; the {most:,} best have runs of their own in MLflow, all are in {plan.folder}/configs.parquet."
    return f"{told}."


def moved(importance: Mapping[str, float]) -> str:
    """Shares of importance, largest first.

    >>> moved({"hedge_strength": 0.712, "lookback": 0.288})
    'hedge_strength 71%, lookback 29%'
    """
    return ", ".join(f"{name} {share:.0%}" for name, share in importance.items())


def caveats(plan: Plan, trials: int) -> list[str]:
    """What a reader must be told about these numbers."""
    told = []
    if trials > 1:
        told.append(f"The best of {trials:,} configurations is chosen in sample: expect less of it on new data.")
    if plan.costs.fill == "close":
        told.append("Orders fill at the close that the signal has seen (fill: close), which no trader can do.")
    if isinstance(plan.market, OptionMarket):
        if plan.market.n_scenarios > 1:
            how = plan.config.search.over_paths
            over = how if isinstance(how, str) else f"{how:.0%} quantile"
            told.append(f"Each metric is its {over} over {plan.market.n_scenarios:,} paths.")
        told += plan.market.notes
    return [*told, *plan.strategy.notes]


def replace_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _stream_parquet(tables: Iterator[pd.DataFrame], path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    writer: pq.ParquetWriter | None = None
    for frame in tables:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        if writer is None:
            writer = pq.ParquetWriter(partial, table.schema, write_page_checksum=True)
        writer.write_table(table.cast(writer.schema))
    assert writer is not None
    writer.close()
    partial.replace(path)


def _parameter(plan: Plan, name: str) -> Quantity:
    return Quantity(name, plan.strategy.parameter(name).unit)


def _metric(plan: Plan, name: str) -> Quantity:
    metric = plan.strategy.metrics[name]
    return Quantity(name, metric.unit, metric.good)
