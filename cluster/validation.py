"""The bars that a search has not seen: opened once, when the search is over, and recorded."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from cluster.plan import Plan
from cluster.winner import engine_for
from kernels.errors import InputError
from kernels.market import FloatArray
from kernels.metrics import metrics
from search.manifest import Manifest

HOLDOUT = "holdout.json"


@dataclass(frozen=True)
class Opened:
    """What the hold-out showed of the winner and the baselines.

    `rows` (index: their labels) have the metrics that have a target, sharpe, total_return, score, targets_met and margins.
    """

    when: str
    first_day: str
    last_day: str
    bars: int
    rows: pd.DataFrame


def on_holdout(plan: Plan, rows: pd.DataFrame) -> tuple[pd.DataFrame, FloatArray]:
    """Every metric, score and margin of configurations on the bars that the search has not seen, and their returns there,
    (bars, C). Each runs through the whole history once, so it comes with the position it would have had."""
    assert plan.holdout is not None
    table = rows[[p.name for p in plan.strategy.parameters]].reset_index(drop=True)
    engine = replace(engine_for(plan, table), market=plan.holdout.market)
    engine.blocks = engine.blocks.cut_at(plan.holdout.first)
    hidden = np.flatnonzero(engine.blocks.edges[:-1] >= plan.holdout.first)
    measured = metrics(engine.run(table).statistics, plan.market.bars_per_year, hidden)
    scores = plan.targets.score(measured).drop(columns="status")
    found = pd.concat([measured, scores], axis="columns").set_axis(rows.index)
    return found, engine.returns(table)[plan.holdout.first - 1 :]


def open_holdout(plan: Plan, manifest: Manifest, compared: pd.DataFrame) -> Opened:
    """Look at the hold-out, and record that it was looked at; `compared` are the winner and the baselines, index: labels.

    InputError where there is none, or it was opened before.
    """
    if plan.holdout is None:
        raise InputError(_nothing_hidden(plan))
    before = opened(plan, manifest)
    if before is not None:
        raise InputError(
            f"{plan.folder}: its hold-out was opened on {before.when[:10]}, which can be done once; what it showed stands in "
            f"{plan.folder / HOLDOUT} and in the report"
        )
    found, _ = on_holdout(plan, compared)
    stamps = plan.holdout.market.timestamps.astype("datetime64[D]")
    shown = list(dict.fromkeys([*plan.targets.metrics, "sharpe", "total_return"]))
    margins = [f"margin_{metric}" for metric in plan.targets.metrics]
    result = Opened(
        datetime.now(UTC).isoformat(timespec="seconds"),
        str(stamps[plan.holdout.first]),
        str(stamps[-1]),
        plan.holdout.bars,
        found[[*shown, "score", "targets_met", *margins]],
    )
    content = {**vars(result), "rows": json.loads(result.rows.to_json(orient="index", double_precision=15))}
    manifest.text(HOLDOUT, json.dumps(content, indent=1) + "\n")
    return result


def opened(plan: Plan, manifest: Manifest) -> Opened | None:
    """What the hold-out showed when it was opened; None where it never was. InputError where the record is damaged."""
    if not (plan.folder / HOLDOUT).exists():
        return None
    content = json.loads(manifest.read(HOLDOUT))
    rows = pd.DataFrame.from_dict(content.pop("rows"), orient="index")
    return Opened(**content, rows=rows)


def _nothing_hidden(plan: Plan) -> str:
    if plan.periods is None:
        return (
            f"{plan.folder}: no bars were hidden from this study, since its market has {plan.market.n_scenarios:,} simulated "
            "paths; its winner is tried on unseen ones when it ends (best.yaml, on_unseen_paths)"
        )
    why = (
        "selection.holdout is 0" if plan.config.selection.holdout == 0.0 else "its history is too short to hide a part"
    )
    return (
        f"{plan.folder}: no bars were hidden from this study ({why}); search under another name with selection.holdout"
    )
