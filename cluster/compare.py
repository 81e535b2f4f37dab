"""Two finished studies side by side: what differs in their inputs, what each found, and whether the difference is real."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from cluster.advice import say, wanted
from cluster.identity import kept_identity
from cluster.kept import Kept, kept_baselines, only_folder, open_kept
from cluster.plan import Plan
from cluster.provenance import plain
from cluster.winner import engine_for
from kernels.errors import InputError
from kernels.market_calendar import when
from search.sharpe import SharpeDifference, sharpe_difference
from search.targets import Targets

UNEQUAL_BY_NATURE = ("name", "question", "tracking", "compute")
"""What of a study file decides no result, but for `compute.precision`."""


@dataclass(frozen=True)
class Side:
    """One of the two studies. `best` is its winner's row; `examined` its best.yaml; `changed`: how its data is not what
    it was, or None."""

    kept: Kept
    best: pd.Series
    baselines: pd.DataFrame
    examined: dict[str, Any]
    changed: str | None

    @property
    def plan(self) -> Plan:
        """What it was to do."""
        return self.kept.plan

    def metric(self, name: str) -> float | None:
        """A metric of the winner; None where the strategy does not produce it."""
        return float(self.best[self.plan.space.measured(name)]) if name in self.plan.strategy.metrics else None

    def score_by(self, targets: Targets) -> tuple[float, int] | None:
        """The winner's score by some targets, and how many of them it meets; None where a metric is not produced."""
        if any(self.metric(name) is None for name in targets.metrics):
            return None
        row = {name: self.metric(name) for name in targets.metrics} | {"status": str(self.best["status"])}
        scored = targets.score(pd.DataFrame([row])).iloc[0]
        return float(scored["score"]), int(scored["targets_met"])


@dataclass(frozen=True)
class RealDifference:
    """Sharpe ratios a year of two winners on the same bars: first minus second, and the correlation of their returns.

    The p-value is NaN where both return the same, or either never moves.
    """

    sharpes: tuple[float, float]
    difference: float
    error: float
    p_value: float
    correlation: float


@dataclass(frozen=True)
class Comparison:
    """Both studies, what of their inputs differs by its key, their winners' Sharpe ratios, and what must be warned of.

    `sharpe` is a sentence where it cannot be told.
    """

    sides: tuple[Side, Side]
    inputs: dict[str, tuple[Any, Any]]
    sharpe: RealDifference | str
    warnings: list[str]


def compare(one: str, other: str, runs: Path) -> Comparison:
    """Compare two finished studies, each a folder, a study file or a name under `runs`. Nothing is written.

    InputError where either is not there, not finished, or both are the same.
    """
    folders = [only_folder(study, runs) for study in (one, other)]
    if folders[0].resolve() == folders[1].resolve():
        raise InputError(f"compare: {one} and {other} are one study, {folders[0]}; name two")
    sides: list[Side] = []
    problems: list[str] = []
    for folder in folders:
        try:
            sides.append(_side(open_kept(folder)))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    a, b = sides
    return Comparison((a, b), dict(_inputs(a, b)), _sharpe(a, b), list(_warnings(a, b)))


def as_json(found: Comparison) -> str:
    """The comparison for programs."""
    content = {
        "studies": [_as_json(side) for side in found.sides],
        "inputs_that_differ": {key: list(values) for key, values in found.inputs.items()},
        "scores": {
            f"by the targets of {by}": [
                None if scored is None else {"score": scored[0], "targets_met": scored[1]}
                for scored in (side.score_by(targets) for side in found.sides)
            ]
            for by, targets in scales(found).items()
        },
        "sharpe": found.sharpe if isinstance(found.sharpe, str) else asdict(found.sharpe),
        "warnings": found.warnings,
    }
    return json.dumps(plain(content), indent=1, allow_nan=False)


def scales(found: Comparison) -> dict[str, Targets]:
    """The targets that both winners are scored by: each study's, under its name; one where they are the same."""
    a, b = (side.plan for side in found.sides)
    if a.targets.score_spec == b.targets.score_spec:
        return {"both": a.targets}
    names = [a.config.name, b.config.name] if a.config.name != b.config.name else [str(a.folder), str(b.folder)]
    return dict(zip(names, (a.targets, b.targets), strict=True))


def _side(kept: Kept) -> Side:
    kept.must_be_finished("compare")
    baselines = kept_baselines(kept.study)
    assert baselines is not None  # it is among the final files
    examined = yaml.safe_load(kept.study.manifest.read("best.yaml"))
    try:
        kept_identity(kept.plan)
        changed = None
    except InputError as error:
        changed = str(error)
    return Side(kept, kept.best().iloc[0], baselines, examined, changed)


def _as_json(side: Side) -> dict[str, Any]:
    plan, best = side.plan, side.best
    return {
        "study": plan.config.name,
        "folder": str(plan.folder),
        **asdict(side.kept.identity),
        "trials": side.kept.study.trials,
        "configurations_tried": plan.configurations,
        "targets": wanted(plan),
        "score_spec": plan.targets.score_spec,
        "winner": {
            "trial": int(best["trial"]),
            "rule": say(plan.strategy, best),
            "parameters": {p.name: best[p.name] for p in plan.strategy.parameters},
            "score": float(best["score"]),
            "targets_met": int(best["targets_met"]),
            "metrics": {name: side.metric(name) for name in plan.strategy.metrics},
        },
        "baselines": {str(label): float(score) for label, score in side.baselines["score"].items()},
        **{key: side.examined[key] for key in ("luck", "verdict", "break_even") if key in side.examined},
    }


def _inputs(a: Side, b: Side) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """What decides the results and is not the same, by its key in the study file, or as identity.json calls it."""
    one, other = (dict(_leaves(_deciding(side.plan))) for side in (a, b))
    for key in {**one, **other}:
        if one.get(key, "not set") != other.get(key, "not set"):
            yield key, (one.get(key, "not set"), other.get(key, "not set"))
    then, now = asdict(a.kept.identity), asdict(b.kept.identity)
    for key in ("data_digest", "code_digest", "version"):
        if then[key] != now[key]:
            yield key, (then[key], now[key])


def _deciding(plan: Plan) -> dict[str, Any]:
    content: dict[str, Any] = plan.config.model_dump(mode="json", exclude=set(UNEQUAL_BY_NATURE))
    return content | {"compute": {"precision": plan.config.compute.precision}}


def _leaves(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Values of nested mappings by dotted key.

    >>> dict(_leaves({"search": {"seed": 1}, "market": {"tickers": ["A"]}}))
    {'search.seed': 1, 'market.tickers': ['A']}
    """
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{key}.")
        elif value is not None and value != {}:
            yield f"{above}{key}", value


def _sharpe(a: Side, b: Side) -> RealDifference | str:
    """The two winners' Sharpe ratios bar by bar, or why they cannot be set against each other."""
    if changed := [f"{side.plan.config.name}'s data is not what it was" for side in (a, b) if side.changed]:
        return f"{' and '.join(changed)}: the winners cannot be run again"
    if a.kept.identity.data_digest != b.kept.identity.data_digest:
        return "the studies are of different data (prices, dates or book): their returns are not set against each other"
    if a.plan.market.digest != b.plan.market.digest:
        return "one search saw bars that are hidden from the other: their returns are not on the same bars"
    if a.plan.market.n_scenarios > 1:
        return f"the market has {a.plan.market.n_scenarios:,} paths: there is no one series of returns"
    returns = []
    for side in (a, b):
        row = side.best[[p.name for p in side.plan.strategy.parameters]].to_frame().T.reset_index(drop=True)
        row = side.plan.space.table([{str(k): None if pd.isna(v) else v for k, v in row.iloc[0].items()}])
        returns.append(engine_for(side.plan, row).bars(row).of("r1")[:, 0])
    found: SharpeDifference = sharpe_difference(*returns)
    alike = bool((returns[0] == returns[1]).all())  # rounding aside, of which a p-value would be made
    annual = math.sqrt(a.plan.market.bars_per_year)
    first, second = (series - series.mean() for series in returns)
    spread = math.sqrt(float(first @ first) * float(second @ second))
    return RealDifference(
        (a.metric("sharpe") or 0.0, b.metric("sharpe") or 0.0),
        float(found.difference) * annual,
        float(found.error) * annual,
        math.nan if alike else found.p_value,
        float(first @ second) / spread if spread > 0.0 else math.nan,
    )


def _warnings(a: Side, b: Side) -> Iterator[str]:
    for side in (a, b):
        if side.changed:
            yield f"{side.changed}."
    if a.kept.identity.data_digest != b.kept.identity.data_digest:
        yield f"Their data differs, {_history(a)} and {_history(b)}: no number of one compares with one of the other."
    if a.plan.targets.score_spec != b.plan.targets.score_spec:
        yield "Their targets differ: each study's own score is on its own scale; only scores by the same targets compare."
    if a.plan.config.costs != b.plan.config.costs:
        yield "Their costs differ: what one winner earns, it earns at other costs than the other."
    if a.plan.limits != b.plan.limits:
        yield "Their risk limits differ: one winner was held back where the other was not."
    for side, other in ((a, b), (b, a)):
        missing = [name for name in other.plan.targets.metrics if name not in side.plan.strategy.metrics]
        if missing:
            yield (
                f"{side.plan.strategy.name} does not produce {', '.join(missing)}: the winner of {side.plan.config.name} has "
                f"no score by the targets of {other.plan.config.name}."
            )


def _history(side: Side) -> str:
    if side.changed:
        return "a history that is no longer there"
    market = side.plan.whole
    tickers = ", ".join(market.tickers) if market.n_assets <= 3 else f"{market.n_assets} assets"
    return f"{tickers} from {when(market.timestamps[0])} to {when(market.timestamps[-1])}"
