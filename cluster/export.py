"""A study's winner as files to hand on: the rule, what to hold now, where it comes from, and a study that repeats it."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cluster.advice import say
from cluster.exported import FORMAT, VERSION
from cluster.identity import Identity, kept_identity
from cluster.kept import Kept, open_kept
from cluster.option_sources import LONGEST_STEP
from cluster.output import caveats
from cluster.plan import Plan
from cluster.provenance import described, plain, provenance
from cluster.rescore import targets_of
from cluster.standing import standing
from cluster.study_text import FileDumper
from kernels.errors import InputError
from kernels.market_calendar import when
from kernels.risk_settings import SECTION
from kernels.strategy import Parameter
from search.whole import replace_text

Form = Literal["yaml", "json", "both"]
OTHERWISE_SAID = (
    "strategy",
    "parameters",
    "status",
    "score",
    "targets_met",
    "margins",
    "metrics",
    "costs",
    SECTION,
    "from",
)
"""Keys of best.yaml that an export has already; what else the study found of its winner is handed on as it is."""


class _Dumper(yaml.SafeDumper):
    """Quotes every word that either YAML 1.1 or a study file's YAML would take for something else."""


_Dumper.yaml_implicit_resolvers = {
    first: [*yaml.SafeDumper.yaml_implicit_resolvers.get(first, []), *FileDumper.yaml_implicit_resolvers.get(first, [])]
    for first in {**yaml.SafeDumper.yaml_implicit_resolvers, **FileDumper.yaml_implicit_resolvers}
}


@dataclass(frozen=True)
class Exported:
    """What was written, and the content that the YAML and JSON files have."""

    content: dict[str, Any]
    files: list[Path]


def export(folder: Path, *, to: Path | None = None, trial: int | None = None, form: Form = "both") -> Exported:
    """Write the winner (or a trial) of the finished study in `folder` to files in `to`, by default its folder `export`.

    InputError, with nothing written, where the study is not finished, its data or rules are not what they were, or there
    is no such trial.
    """
    kept = open_kept(folder)
    identity = kept_identity(kept.plan)
    kept.must_be_finished("export")
    best = kept.best().iloc[0]
    row = best if trial is None or trial == int(best["trial"]) else _row_of(kept, trial)
    winner = row is best
    name = f"{kept.plan.config.name}-{'winner' if winner else f'trial-{trial}'}"
    examined = yaml.safe_load(kept.study.manifest.read("best.yaml")) if winner else {}
    content, held = _content(kept.plan, identity, row, name, examined)
    texts = {}
    if form in ("yaml", "both"):
        texts[f"{name}.yaml"] = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    if form in ("json", "both"):
        texts[f"{name}.json"] = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    if held is not None:
        texts[f"{name}-positions.csv"] = _csv(held)
    target = kept.plan.folder / "export" if to is None else to.expanduser()
    if target.exists() and not target.is_dir():
        raise InputError(f"--to {target}: is a file; name a folder")
    try:
        for file, text in texts.items():
            replace_text(target / file, text)
    except OSError as error:
        raise InputError(
            f"{target}: the export cannot be written there ({error}); name another folder with --to"
        ) from error
    return Exported(content, [target / file for file in texts])


def show_exported(console: Console, found: Exported) -> None:
    """The rule, what to hold now, and the files."""
    content, now = found.content, found.content["now"]
    console.print(f"[bold]{escape(content['rule'])}[/]")
    if "verdict" in content:
        console.print(escape(str(content["verdict"])))
    if "assets" in now or "books" in now:
        rows = now.get("assets") or now["books"]
        numbers = [
            key for key in ("price", "spot", "strike", "held", "target", "shares", "second") if key in _first(rows)
        ]
        table = Table(title=f"after {now['after']}", title_justify="left")
        table.add_column("")
        for key in numbers:
            table.add_column(key, justify="right", no_wrap=True)
        table.add_column("next")
        for ticker, entry in rows.items():
            table.add_row(
                escape(ticker),
                *(_number(key, entry[key]) for key in numbers),
                escape(_next(entry)),
                style=_style(entry),
            )
        console.print(table)
    if "none" in now:
        console.print(f"now: {escape(now['none'])}")
    if "orders_fill_at" in now:
        console.print(f"weights are {now['weights_are']}; orders fill at {now['orders_fill_at']}.")
    for note in content["notes"]:
        console.print(f"note: {escape(note)}")
    for file in found.files:
        console.print(f"file: {file}", soft_wrap=True)
    console.print(f"run it again: hedgegrid run {found.files[0]}", soft_wrap=True)


def _row_of(kept: Kept, trial: int) -> pd.Series:
    """A trial's row in the results; InputError where it has none, or could not be computed."""
    for table in kept.study.tables():
        rows = table[table["trial"] == trial]
        if len(rows):
            row = rows.iloc[0]
            if row["status"] == "quarantined":
                raise InputError(
                    f"--trial {trial}: could not be computed ({kept.plan.folder}/quarantined.csv); take another"
                )
            return row
    raise InputError(f"--trial {trial}: the trials of {kept.plan.config.name} are 0 to {kept.study.trials - 1}")


def _content(
    plan: Plan, identity: Identity, row: pd.Series, name: str, examined: dict[str, Any]
) -> tuple[dict[str, Any], pd.DataFrame | None]:
    """What the files say, in plain values, and what was held bar by bar."""
    values = {p.name: _value(p, row[p.name]) for p in plan.strategy.parameters}
    configuration = plan.space.table([values])
    now, held = standing(plan, configuration)
    found = described(plan, row)
    market = plan.whole
    content = {
        FORMAT: VERSION,
        "rule": say(plan.strategy, row),
        **({"verdict": examined["verdict"]} if "verdict" in examined else {}),
        "now": now,
        "strategy": plan.strategy.name,
        "parameters": {
            p.name: {"value": values[p.name], "unit": p.unit or None, "meaning": p.doc}
            for p in plan.strategy.parameters
        },
        "score": found["score"],
        "targets_met": found["targets_met"],
        "targets": {
            metric: {
                **wanted,
                "reached": row[plan.space.measured(metric)],
                "margin": row[f"margin_{metric}"],
                "met": bool(row[f"margin_{metric}"] >= 0.0),
            }
            for metric, wanted in targets_of(plan.targets).items()
        },
        "metrics": found["metrics"],
        "costs": found["costs"],
        **plan.config.risk_limits.told,
        **{key: entry for key, entry in examined.items() if key not in (*OTHERWISE_SAID, "verdict")},
        "notes": caveats(plan, plan.trials, 0),
        "data": {
            "tickers": list(market.tickers),
            "first": when(market.timestamps[0]),
            "last": when(market.timestamps[-1]),
            "bars": market.n_bars,
            "paths": market.n_scenarios,
        },
        "from": provenance(plan, identity, row, tried=plan.configurations),
        "study": study_file(plan, values, name, int(row["trial"])),
    }
    return plain(content), held


def study_file(plan: Plan, values: dict[str, Any], name: str, trial: int) -> dict[str, Any]:
    """The content of a study file that backtests one configuration as the study did: the same market, costs and targets,
    every parameter fixed. It keeps its records where a study does by default."""
    content: dict[str, Any] = plan.config.model_dump(mode="json", exclude={"tracking", "compute", SECTION})
    content |= plan.config.risk_limits.told
    content["name"] = name[:100]
    content["question"] = f"Does trial {trial} of {plan.config.name} still do what it did?"
    if content["market"].get("step_days", 0.0) is None:  # it follows from what a study searches, and this one does not
        content["market"]["step_days"] = min(LONGEST_STEP, plan.config.smallest_rebalance_days or LONGEST_STEP)
    rule = plan.config.strategy
    content["strategy"] = {"name": rule.name, **({"file": rule.file} if rule.file else {}), "fixed": values}
    content["search"] = {"sampler": "grid", "over_paths": content["search"]["over_paths"]}
    content["compute"] = {"precision": plan.config.compute.precision}
    return content


def _value(parameter: Parameter, value: Any) -> float | int | str | None:
    """A value of a table of results as a study file writes it."""
    if pd.isna(value):
        return None
    if parameter.choices:
        return str(value)
    return int(value) if parameter.integer else float(value)


def _csv(held: pd.DataFrame) -> str:
    text = io.StringIO()
    held.assign(timestamp=[when(t) for t in held["timestamp"]]).to_csv(text, index=False, lineterminator="\n")
    return text.getvalue()


def _first(rows: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = next(iter(rows.values()))
    return first


def _number(key: str, value: float) -> str:
    return f"{value:.2%}" if key in ("held", "target") else f"{value:,.2f}" if key != "second" else f"{value:.4f}"


def _next(entry: dict[str, Any]) -> str:
    return str(entry["action"]) if entry.get("cycle", "open") == "open" else f"{entry['cycle']}; {entry['action']}"


def _style(entry: dict[str, Any]) -> str:
    return "dim" if entry["action"] == "hold" else ""
