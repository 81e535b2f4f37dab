"""What `hedgegrid compare` shows: one table, and in words whether the winners differ."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cluster.advice import say
from cluster.compare import Comparison, RealDifference, Side, scales
from cluster.kept import Kept

REAL = 0.05  # p-value below which two Sharpe ratios are said to differ
DIGEST = 12  # characters of a digest that tell it from others

Line = tuple[str, ...]  # what it is, and how it is of both


def show_comparison(console: Console, found: Comparison) -> None:
    """One table of inputs, winners and what was tried; then the rules, the Sharpe ratios' difference, and warnings."""
    a, b = found.sides
    heads = [side.plan.config.name for side in found.sides]
    if heads[0] == heads[1]:
        heads = [str(side.plan.folder) for side in found.sides]
    table = Table(title=f"{heads[0]} and {heads[1]}", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right", overflow="fold")
    for title, lines in (
        ("inputs that differ", _inputs(found)),
        ("the winners", _winners(a, b)),
        ("what they do", _results(found)),
        ("how far to believe it", _belief(a, b)),
    ):
        if lines:
            table.add_row(f"[bold]{title}[/]")
        for number, line in enumerate(lines):
            table.add_row(*(escape(cell) for cell in line), end_section=number == len(lines) - 1)
    console.print(table)
    for head, side in zip(heads, found.sides, strict=True):
        console.print(f"[bold]{escape(head)}[/]: {escape(say(side.plan.strategy, side.best))}.")
    console.print()
    console.print(escape(verdict(found)))
    for warning in found.warnings:
        console.print(f"[bold]warning[/]: {escape(warning)}")


def verdict(found: Comparison) -> str:
    """Whether the two winners' Sharpe ratios differ by more than noise, in words."""
    real = found.sharpe
    if not isinstance(real, RealDifference):
        return f"Whether their Sharpe ratios differ cannot be told: {real}."
    if math.isnan(real.p_value):
        return "Their Sharpe ratios do not differ: the winners return the same, or one of them never moves."
    told = "more than noise" if real.p_value < REAL else "not to be told from noise"
    return (
        f"Sharpe {real.sharpes[0]:.2f} beside {real.sharpes[1]:.2f}: a difference of {real.difference:+.2f} a year with a "
        f"standard error of {real.error:.2f} is {told}, p-value {real.p_value:.2g} {'<' if real.p_value < REAL else '>='} "
        f"{REAL:g} (Ledoit and Wolf 2008); the correlation of their returns is {real.correlation:.2f}. "
        "Both were chosen among many, which this p-value does not know."
    )


def _inputs(found: Comparison) -> list[Line]:
    """The keys that differ; of markets of two kinds, or two strategies, their names only: all else of them differs."""
    other = [key.partition(".")[0] for key in ("market.source", "strategy.name") if key in found.inputs]
    shown = [
        key for key in found.inputs if key.partition(".")[0] not in other or key in ("market.source", "strategy.name")
    ]
    return [(key, *(_input(key, value) for value in found.inputs[key])) for key in shown]


def _input(key: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value)
    if key.endswith("_digest"):
        return "none" if value is None else str(value)[:DIGEST]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _winners(a: Side, b: Side) -> list[Line]:
    """Their trials, and the parameters that either study searched or in which they differ."""
    lines: list[Line] = [("trial", *(f"{int(side.best['trial'])}" for side in (a, b)))]
    names = dict.fromkeys(p.name for side in (a, b) for p in side.plan.strategy.parameters)
    for name in names:
        cells = [_parameter(side, name) for side in (a, b)]
        if cells[0] != cells[1] or any(name in side.plan.space.searched for side in (a, b)):
            lines.append((name, *cells))
    return lines


def _parameter(side: Side, name: str) -> str:
    found = [p for p in side.plan.strategy.parameters if p.name == name]
    if not found:
        return "-"
    value = side.best[name]
    shown = "off" if pd.isna(value) else f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)
    return f"{shown} {found[0].unit}" if found[0].unit and not pd.isna(value) else shown


def _results(found: Comparison) -> list[Line]:
    """Scores by both studies' targets, the metrics that either has a target on, costs and the best baseline."""
    sides = found.sides
    lines: list[Line] = []
    for name, targets in scales(found).items():
        by = "score" if name == "both" else f"score by {name}'s targets"
        lines.append((by, *(_score(side.score_by(targets), len(targets.metrics)) for side in sides)))
    metrics = dict.fromkeys(name for side in sides for name in side.plan.targets.metrics)
    lines += [(name, *(_metric(side, name) for side in sides)) for name in [*metrics, "cost_paid"]]
    return [*lines, ("best baseline, by its own targets", *(_baseline(side) for side in sides))]


def _score(scored: tuple[float, int] | None, targets: int) -> str:
    return "-" if scored is None else f"{scored[0]:.3f}, {scored[1]} of {targets} met"


def _metric(side: Side, name: str) -> str:
    value = side.metric(name)
    return "-" if value is None else side.plan.metric(name).text(value)


def _baseline(side: Side) -> str:
    if side.baselines.empty:
        return "none"
    best = side.baselines.sort_values("score", ascending=False, kind="stable").iloc[0]
    return f"{best.name} {best['score']:.3f}"


def _belief(a: Side, b: Side) -> list[Line]:
    """How much was tried, what luck would show of it, and the study's own verdict where it has one."""
    sides = (a, b)
    lines: list[Line] = [("configurations tried", *(f"{side.plan.configurations:,}" for side in sides))]
    luck = [side.examined.get("luck") or {} for side in sides]
    for name, key in (("Sharpe ratio by luck alone", "expected"), ("deflated Sharpe ratio", "deflated")):
        if any(luck):
            lines.append((name, *("-" if each.get(key) is None else f"{each[key]:.2f}" for each in luck)))
    if any("break_even" in side.examined for side in sides):
        lines.append(("break-even, times the costs", *(_break_even(side) for side in sides)))
    if any("verdict" in side.examined for side in sides):
        lines.append(("verdict", *(str(side.examined.get("verdict", "-")) for side in sides)))
    return [*lines, ("study", *(_ran(side.kept) for side in sides))]


def _break_even(side: Side) -> str:
    found = side.examined.get("break_even")
    return "-" if found is None else "never" if math.isinf(found) else f"{found:.3g}"


def _ran(kept: Kept) -> str:
    return f"{kept.identity.study_id}, {kept.identity.backend}"
