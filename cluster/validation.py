"""The bars that a search has not seen: opened once, when the search is over, and recorded.

Order of `hedgegrid validate` (`conclusion.validate`): everything computed -> the end of the study unfinished -> a line in the
ledger -> holdout.json -> files, figures and records anew. So a kill leaves a hold-out that is closed or open, and a study
that `run --resume` brings to its end.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from cluster.looking import open_to, opened_before
from cluster.plan import Plan
from cluster.stairs import Stretch, of_plain, plain, stairs, switched, unseen
from cluster.winner import engine_for
from kernels.blocks import Blocks
from kernels.errors import InputError
from kernels.market import FloatArray
from kernels.metrics import metrics
from kernels.option_market import OptionMarket
from search.manifest import Manifest

HOLDOUT = "holdout.json"


@dataclass(frozen=True)
class Opened:
    """What the hold-out showed of the winner and the baselines.

    `rows` (index: their labels, the winner first) have the metrics that have a target, sharpe, total_return, score,
    targets_met and margins. The winner was that of at most `trials` trials with that `patience`. `before` are the names of
    the studies that had opened these bars by then, and when. `stairs` are the winner's, of a strategy that names features.
    """

    when: str
    first_day: str
    last_day: str
    bars: int
    trials: int
    patience: int | None
    before: tuple[tuple[str, str], ...]
    rows: pd.DataFrame
    stairs: Stretch | None = None


def must_be_closed(plan: Plan, manifest: Manifest) -> None:
    """InputError where a study has no hold-out, or one that was opened before."""
    if plan.holdout is None:
        raise InputError(
            f"{plan.folder}: no bars were hidden from this study, since {nothing_hidden(plan)}; {_instead(plan)}"
        )
    before = opened(plan, manifest)
    if before is not None:
        raise InputError(
            f"{plan.folder}: its hold-out was opened on {before.when[:10]}, which can be done once; what it showed stands in "
            f"{plan.folder / HOLDOUT} and in the report"
        )


def look_behind(plan: Plan, study_id: str, compared: pd.DataFrame) -> Opened:
    """What the hold-out shows of `compared`, the winner and the baselines (index: labels). Nothing is written."""
    assert plan.holdout is not None
    found, _ = on_holdout(plan, compared)
    stamps = plan.holdout.market.timestamps.astype("datetime64[D]")
    shown = list(dict.fromkeys([*plan.targets.metrics, "sharpe", "total_return"]))
    margins = [f"margin_{metric}" for metric in plan.targets.metrics]
    return Opened(
        datetime.now(UTC).isoformat(timespec="seconds"),
        str(stamps[plan.holdout.first]),
        str(stamps[-1]),
        plan.holdout.bars,
        plan.trials,
        plan.config.search.patience,
        tuple((each.name, each.when) for each in opened_before(plan, study_id)),
        found[[*shown, "score", "targets_met", *margins]],
        _stairs(plan, compared),
    )


def keep(plan: Plan, manifest: Manifest, study_id: str, found: Opened) -> None:
    """Record that the hold-out was opened, and what it showed; OSError where it cannot be written."""
    open_to(plan, study_id, found.when)
    rows = {
        label: {name: value if math.isfinite(value) else str(value) for name, value in row.items()}
        for label, row in found.rows.astype(float).to_dict("index").items()
    }
    content = {name: value for name, value in vars(found).items() if name != "stairs"} | {"rows": rows}
    content |= {"stairs": plain(found.stairs)} if found.stairs else {}
    manifest.text(HOLDOUT, json.dumps(content, indent=1) + "\n")


def opened(plan: Plan, manifest: Manifest) -> Opened | None:
    """What the hold-out showed when it was opened; None where it never was. InputError where the record is damaged."""
    if not (plan.folder / HOLDOUT).exists():
        return None
    content: dict[str, Any] = json.loads(manifest.read(HOLDOUT))
    rows = pd.DataFrame.from_dict(content.pop("rows"), orient="index").astype(float)
    before = tuple((str(name), str(when)) for name, when in content.pop("before"))
    climbed = content.pop("stairs", None)
    return Opened(**content, before=before, rows=rows, stairs=of_plain(climbed) if climbed else None)


def must_not_go_on(plan: Plan) -> None:
    """InputError where a study would try more after its hold-out was opened: its next winner would be chosen by those who
    have seen what was hidden."""
    found = opened(plan, Manifest(plan.folder))
    if found is None:
        return
    over = f"{plan.folder}: its hold-out was opened on {found.when[:10]}, so its search is over"
    patience = plan.config.search.patience
    if plan.trials > found.trials:
        raise InputError(
            f"{over}: search.trials was {found.trials:,}, is {plan.trials:,} now; set it back, or use another name"
        )
    if patience != found.patience:
        raise InputError(
            f"{over}: search.patience was {found.patience}, is {patience} now; set it back, or use another name"
        )


def on_holdout(plan: Plan, rows: pd.DataFrame) -> tuple[pd.DataFrame, FloatArray]:
    """Every metric, score and margin of configurations on the bars that the search has not seen, and their returns there,
    (bars, C). Each runs through the whole history once, so it comes with the position it would have had."""
    assert plan.holdout is not None
    table = rows[[p.name for p in plan.strategy.parameters]].reset_index(drop=True)
    engine = engine_for(plan, table, plan.holdout.market)
    engine.blocks = engine.blocks.cut_at(plan.holdout.first)
    hidden = np.flatnonzero(engine.blocks.edges[:-1] >= plan.holdout.first)
    measured = metrics(engine.run(table).statistics, plan.market.bars_per_year, hidden)
    scores = plan.targets.score(measured).drop(columns="status")
    found = pd.concat([measured, scores], axis="columns").set_axis(rows.index)
    return found, engine.returns(table)[plan.holdout.first - 1 :]


def _stairs(plan: Plan, compared: pd.DataFrame) -> Stretch | None:
    """The winner's stairs on the hidden bars, in the kernel that ran it beside the baselines."""
    if not plan.strategy.features:
        return None
    assert plan.holdout is not None
    on, _ = switched(plan.strategy, compared.iloc[:1])
    rows = stairs(plan.strategy, compared.iloc[:1], on)
    measured, returns = on_holdout(plan, pd.concat([rows, compared[list(rows.columns)]]))
    whole = Blocks.monthly(plan.holdout.market).cut_at(plan.holdout.first)
    blocks = Blocks(whole.edges[whole.edges >= plan.holdout.first], whole.timestamps)
    return unseen(plan, on, measured.iloc[: len(rows)], returns[:, : len(rows)], blocks)


def nothing_hidden(plan: Plan) -> str:
    """Why a study has no hold-out."""
    if plan.market.n_scenarios > 1:
        return f"its market has {plan.market.n_scenarios:,} simulated paths"
    if plan.config.selection.holdout == 0.0:
        return "selection.holdout is 0"
    if isinstance(plan.market, OptionMarket):
        return "a history of options cannot be cut"
    return "its history is too short to hide a part of it"


def _instead(plan: Plan) -> str:
    if plan.market.n_scenarios > 1:
        return "its winner is tried on unseen ones when it ends (best.yaml, on_unseen_paths)"
    if isinstance(plan.market, OptionMarket):
        return "keep days back with market.end, and give the winner's parameters to a study of those days"
    return "search under another name, with selection.holdout or a longer history"
