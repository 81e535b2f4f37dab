"""The files of a finished study under `runs/<study>/`, and what MLflow shows of them."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from cluster import study_report
from cluster.events import QUARANTINED
from cluster.evidence_of import gather
from cluster.findings import Findings
from cluster.front_view import front_lines
from cluster.identity import Identity
from cluster.judgement import judgement
from cluster.plan import Plan
from cluster.staircase_view import table_of
from cluster.staircase_words import brief
from cluster.study_figures import draw, first_of_each_kind
from kernels.option_market import OptionMarket
from search.cloud import SUMMARY
from search.study import Study
from search.whole import writing
from tracking import figures
from tracking.panels import Figure
from tracking.recorder import Recorder
from tracking.report import page

FINAL = (
    *("configs.parquet", "trials.parquet", "baselines.parquet", "paths.parquet"),
    *("best.yaml", "advice.md", "report.html", "note.md"),
)
"""What a finished study leaves, in the order in which it is written: where the last is there, all are of one end."""

FRONT = "front.parquet"  # of several objectives
STAIRCASE = "staircase.parquet"  # of a strategy that names features, on one history

GROUP_ROWS = 65_536  # of a Parquet file: tens of megabytes


def write(plan: Plan, identity: Identity, study: Study, found: Findings) -> list[Path]:
    """configs.parquet, trials.parquet (a row per trial), baselines.parquet, paths.parquet (every metric of the best and
    the baselines on each path), front.parquet of several objectives, staircase.parquet of features, best.yaml, advice.md,
    the figures as pictures, report.html (which has them all) and note.md (the page of the study's run in MLflow); returns
    the pictures' paths."""
    kept = study.manifest
    columns = ["trial", *(p.name for p in plan.strategy.parameters), "score", "targets_met", "status"]
    columns += SUMMARY if plan.config.search.cloud else ()
    tables = {
        "configs": study.configurations(),
        "trials": (table[columns] for table in study.tables()),
        "baselines": iter([found.baselines.rename_axis("label").reset_index()]),
        "paths": iter([found.paths]),
    }
    if found.front:
        tables["front"] = iter([found.front.rows])
    if found.staircase:
        tables["staircase"] = iter([table_of(plan, found.staircase)])
    reopen(plan)
    for name, table in tables.items():
        kept.write(f"{name}.parquet", partial(stream_parquet, table))
    kept.text("best.yaml", best_yaml(plan, identity, found))
    kept.text("advice.md", "\n".join([f"# {plan.config.name}", "", *(f"- {s}" for s in found.advice), ""]))
    drawn, folder = list(draw(plan, study, found)), plan.folder / "figures"
    with writing(folder):
        pictures = figures.pictures(first_of_each_kind(drawn), folder)
    write_report(plan, identity, study, found, drawn)
    kept.text("note.md", note(plan, found, study.trials))
    return pictures


def reopen(plan: Plan) -> None:
    """Let a finished study count as unfinished until its end is written again: a kill meanwhile is then seen."""
    (plan.folder / FINAL[-1]).unlink(missing_ok=True)


def write_report(plan: Plan, identity: Identity, study: Study, found: Findings, drawn: Sequence[Figure]) -> Path:
    """report.html, of the figures that the study has anyway and what speaks for its winner and against it."""
    report = study_report.compose(
        plan,
        identity,
        found,
        gather(plan, found),
        drawn,
        tried=tried(plan, study.trials),
        caveats=caveats(plan, study.trials, found.quarantined),
    )
    study.manifest.text(study_report.NAME, page(report))
    return plan.folder / study_report.NAME


def final_files(plan: Plan) -> tuple[str, ...]:
    """What the study of a plan leaves when it is finished."""
    climbed = bool(plan.strategy.features) and plan.periods is not None
    return (*FINAL, *((FRONT,) if plan.objectives else ()), *((STAIRCASE,) if climbed else ()))


def best_yaml(plan: Plan, identity: Identity, found: Findings) -> str:
    """The best configuration with what it does at dearer costs and on unseen paths, and its provenance."""
    row, winner = found.best.iloc[0], found.winner
    shown = ["score", *plan.targets.metrics]

    def plain(value: Any) -> Any:
        if value is None or (isinstance(value, float) and np.isnan(value)):
            return None
        return value.item() if isinstance(value, np.generic) else value

    content = {
        "strategy": plan.strategy.name,
        "parameters": {p.name: plain(row[p.name]) for p in plan.strategy.parameters},
        "status": str(row["status"]),
        "score": float(row["score"]),
        **({name: float(row[name]) for name in SUMMARY} if plan.config.search.cloud else {}),
        "targets_met": f"{int(row['targets_met'])} of {len(plan.targets.metrics)}",
        "margins": {m: float(row[f"margin_{m}"]) for m in plan.targets.metrics},
        "metrics": {m: float(row[plan.space.measured(m)]) for m in plan.strategy.metrics},
        "costs": plan.config.costs.model_dump(),
        **plan.config.risk_limits.told,
        "at_dearer_costs": {
            f"{multiple:g}x": {m: plain(winner.stress.loc[multiple, m]) for m in shown}
            for multiple in winner.stress.index[1:]
        },
        "break_even": plain(winner.break_even),  # multiple of the costs
        "verdict": found.verdict.line,
        **({} if found.selection is None else judgement(found.selection, plan.market.bars_per_year)),
        **({} if found.staircase is None else {"features": brief(plan, found.staircase)}),
        **({} if not found.dead else {"dead_parameters": [each.sentence for each in found.dead]}),
        **({} if winner.unseen is None else {"on_unseen_paths": {m: plain(winner.unseen[m]) for m in shown}}),
        "from": {
            "study": plan.config.name,
            "trial": int(row["trial"]),
            "configurations_tried": found.distinct,
            "seed": plan.config.search.seed,
            "score_spec": plan.targets.score_spec,
            **asdict(identity),
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def publish(recorder: Recorder, plan: Plan, best: pd.DataFrame) -> None:
    """The study's note, the metrics of its best trial and its files, as they stand in its folder, on its own run."""
    top = best.to_dict("records")[0]
    verdict: str = yaml.safe_load((plan.folder / "best.yaml").read_text(encoding="utf-8"))["verdict"]
    for name in ("study.yaml", "best.yaml", "advice.md"):
        recorder.text(name, (plan.folder / name).read_text(encoding="utf-8"))
    for name in ("paths.parquet", study_report.NAME, *(n for n in final_files(plan) if n in (FRONT, STAIRCASE))):
        recorder.artifact(plan.folder / name)
    for path in sorted((plan.folder / "figures").iterdir()):
        if path.is_file():  # heatmaps drawn later lie in folders of their own
            recorder.artifact(path, "figures")
    recorder.summary(
        (plan.folder / "note.md").read_text(encoding="utf-8"),
        metrics={"score": float(top["score"])} | {m: float(top[plan.space.measured(m)]) for m in plan.strategy.metrics},
        tags={
            "best_trial": str(int(top["trial"])),
            "targets_met": f"{int(top['targets_met'])} of {len(plan.targets.metrics)}",
            "verdict": verdict,
        },
    )


def note(plan: Plan, found: Findings, trials: int) -> str:
    """The study in Markdown: what to do, the question, the best trials beside the baselines, what to keep in mind.

    MLflow's page has the study's name above it, and shows three lines until it is asked for more.
    """
    what, *why = found.advice
    ranked = ["cloud_score"] if plan.config.search.cloud else []
    head = ["", *plan.space.searched, *ranked, "score", "targets_met", *plan.targets.metrics]
    lines = [f"**{what}**", "", plan.config.question, "", tried(plan, trials), ""]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    rows = [(f"trial {r['trial']}", r) for r in found.best.head(5).to_dict("records")]
    baselines = found.baselines
    rows += [(str(i), r) for i, r in zip(baselines.index, baselines.to_dict("records"), strict=True)]
    for label, row in rows:
        cells = [_parameter(plan, p, row[p]) for p in plan.space.searched]
        cells += [f"{row[name]:.3f}" if name in row else "" for name in ranked]  # a baseline is no cloud
        cells += [f"{row['score']:.3f}", f"{int(row['targets_met'])} of {len(plan.targets.metrics)}"]
        cells += [plan.metric(m).text(row[plan.metric(m).name]) for m in plan.targets.metrics]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    if found.front:
        lines += ["", *front_lines(plan, found.front)]
    lines += ["", *(f"- {text}" for text in why)]
    if found.importance:
        lines += ["", f"What moved the score: {moved(found.importance)}."]
    lines += ["", *(f"- {text}" for text in caveats(plan, trials, found.quarantined))]
    return "\n".join(lines)


def _parameter(plan: Plan, name: str, value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    shown = plan.parameter(name)
    return shown.text(value) if shown.percent or not np.isfinite(value) else f"{value:.4g}"


def tried(plan: Plan, trials: int) -> str:
    """How many configurations were tried, and which of them have a run in MLflow."""
    cloud = plan.config.search.cloud
    told = f"{trials * (cloud.size if cloud else 1):,} configurations tried" + (
        f" in {trials:,} trials" if cloud else ""
    )
    most = plan.config.tracking.max_runs
    if plan.config.tracking.enabled and trials > most:
        best = f"{most:,} best trials" if cloud else f"{most:,} best"
        return f"{told}; the {best} have runs of their own in MLflow, all are in {plan.folder}/configs.parquet."
    return f"{told}."


def moved(importance: Mapping[str, float]) -> str:
    """Shares of importance, largest first.

    >>> moved({"hedge_strength": 0.712, "lookback": 0.288})
    'hedge_strength 71%, lookback 29%'
    """
    return ", ".join(f"{name} {share:.0%}" for name, share in importance.items())


def caveats(plan: Plan, trials: int, quarantined: int) -> list[str]:
    """What a reader must be told about these numbers."""
    told = []
    if quarantined:
        told.append(
            f"{quarantined:,} configurations could not be computed and count as missing every target: they and their "
            f"errors stand in {plan.folder / QUARANTINED}."
        )
    configurations = trials * plan.config.search.configs_per_trial
    if configurations > 1:
        told.append(
            f"The best of {configurations:,} configurations is chosen in sample: expect less of it on new data."
        )
    if plan.costs.fill == "close":
        told.append("Orders fill at the close that the signal has seen (fill: close), which no trader can do.")
    if isinstance(plan.market, OptionMarket):
        if plan.market.n_scenarios > 1:
            how = plan.config.search.over_paths
            over = how if isinstance(how, str) else f"{how:.0%} quantile"
            told.append(f"Each metric is its {over} over {plan.market.n_scenarios:,} paths.")
        told += plan.market.notes
    return [*told, *plan.strategy.notes]


def stream_parquet(tables: Iterator[pd.DataFrame], file: BinaryIO) -> None:
    """Write tables one after the other as one, of which only one is in memory at a time.

    However the rows were cut into tables, the file is the same: parts are as large as workers were fast.
    """
    writer: pq.ParquetWriter | None = None
    for group in _groups(tables):
        if writer is None:
            writer = pq.ParquetWriter(file, group.schema, write_page_checksum=True)
        writer.write_table(group)
    assert writer is not None
    writer.close()


def _groups(tables: Iterator[pd.DataFrame]) -> Iterator[pa.Table]:
    """The same rows, `GROUP_ROWS` at a time; of none, a table without rows."""
    rest: pa.Table | None = None
    begun = False
    for frame in tables:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        rest = table if rest is None else pa.concat_tables([rest, table.cast(rest.schema)])
        while rest.num_rows >= GROUP_ROWS:
            yield rest.slice(0, GROUP_ROWS).combine_chunks()
            rest, begun = rest.slice(GROUP_ROWS), True
    if rest is not None and (rest.num_rows or not begun):
        yield rest.combine_chunks()
