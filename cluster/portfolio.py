"""The winners of a study per ticker as one portfolio, equal capital in each: measured, written, recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from cluster.advice import portfolio_advice
from cluster.output import stream_parquet
from cluster.plan import Plan
from cluster.running import Outcome
from kernels import METRICS, InputError
from kernels.blocks import Blocks, BlockStatistics
from kernels.market import FloatArray
from kernels.market_calendar import DateArray
from kernels.metrics import aggregate
from kernels.portfolio import combine
from search.manifest import Manifest
from tracking import figures
from tracking.path_figures import fan
from tracking.recorder import Recorder
from tracking.records import StudyRecord
from tracking.report import Bullets, Report, Section, page


@dataclass(frozen=True)
class Portfolio:
    """What the winners make together.

    `rows` (index: portfolio, unseen, members) has metrics, score and margins: on the paths searched, on unseen ones where
    the market has them, and the mean of the winners alone. `equity` is growth of 1, (T', S); of every member (T',), its
    median over paths.
    """

    rows: pd.DataFrame
    timestamps: DateArray
    equity: FloatArray
    members: pd.DataFrame
    advice: list[str]


def conclude(name: str, runs: Path, outcomes: Sequence[Outcome]) -> Portfolio | InputError:
    """The portfolio of the winners, written to `runs/<name>-portfolio/` and recorded as a run of its own beside theirs;
    the reason why there is none where their bars or targets do not allow one."""
    try:
        found = of_winners(outcomes)
    except InputError as error:
        return error
    plan, folder = outcomes[0].plan, runs / f"{name}-portfolio"
    folder.mkdir(parents=True, exist_ok=True)
    kept = Manifest(folder)
    kept.write("portfolio.parquet", partial(stream_parquet, iter([found.rows.rename_axis("row").reset_index()])))
    advice = [line for outcome in outcomes for line in ("", *(f"- {s}" for s in outcome.found.advice))]
    note = "\n".join([f"# {name}: the portfolio of the winners", "", *(f"- {s}" for s in found.advice), *advice, ""])
    kept.text("advice.md", note)
    drawn = fan(found.timestamps, found.equity, found.members)
    pictures = figures.pictures([drawn], folder / "figures")
    sections = [Section("What to do", (Bullets(tuple(found.advice)),)), Section("Together", (drawn,))]
    sections += [Section(o.plan.config.name, (Bullets(tuple(o.found.advice)),)) for o in outcomes]
    facts = "Equal capital in each. What speaks for each winner and against it stands in its own study's report."
    report = Report(f"{name}: the portfolio of the winners", plan.config.question, facts, tuple(sections))
    kept.text("report.html", page(report))
    tracking = plan.config.tracking
    if tracking.enabled:
        members = {", ".join(o.plan.market.tickers): o.study_id for o in outcomes}
        record = StudyRecord(
            study_id=f"{name}-portfolio-{hashlib.sha256(repr(members).encode()).hexdigest()[:8]}",
            name=f"{name}-portfolio",
            params={"strategy": plan.strategy.name, **{f"member.{ticker}": study for ticker, study in members.items()}},
            tags={"strategy": plan.strategy.name, "scope": "portfolio of winners", "tickers": ",".join(members)},
        )
        with Recorder.open(tracking.uri, tracking.experiment or f"hedgegrid/{plan.strategy.name}", record) as recorder:
            recorder.text("advice.md", note)
            recorder.artifact(folder / "portfolio.parquet")
            recorder.artifact(folder / "report.html")
            for path in pictures:
                recorder.artifact(path, "figures")
            top = found.rows.to_dict("index")["portfolio"]
            recorder.summary(note, metrics={m: float(top[m]) for m in ("score", *METRICS)})
    return found


def of_winners(outcomes: Sequence[Outcome]) -> Portfolio:
    """The portfolio of the winners of several studies; InputError where their bars or targets do not allow one."""
    plans, winners = [o.plan for o in outcomes], [o.found.winner for o in outcomes]
    plan = plans[0]
    own = [m for m in plan.targets.metrics if m not in METRICS]
    if own:
        raise InputError(f"no portfolio: the target on {', '.join(own)} is of a single book; give targets on returns")
    blocks = Blocks.monthly(plan.market)
    parts = {"portfolio": _measured(plan, combine([w.bars for w in winners], blocks))}
    fresh = [w.unseen_bars for w in winners if w.unseen_bars is not None]
    if len(fresh) == len(winners):
        parts["unseen"] = _measured(plan, combine(fresh, blocks))
    alone = [_measured(plan, combine([w.bars], blocks)) for w in winners]
    parts["members"] = pd.concat(alone)[list(METRICS)].mean().to_frame().T
    table = pd.concat(parts).droplevel(1)
    scores = plan.targets.score(table.assign(status="ok"))
    returns = [w.bars.of("r1") for w in winners]  # (T', S)
    equity = np.cumprod(1.0 + np.mean(returns, axis=0), axis=0)
    rows = pd.concat([table, scores.drop(columns="status")], axis="columns")
    return Portfolio(
        rows,
        plan.market.timestamps[1:],
        equity,
        pd.DataFrame(
            {
                ", ".join(p.market.tickers): np.median(np.cumprod(1.0 + r, axis=0), axis=1)
                for p, r in zip(plans, returns, strict=True)
            }
        ),
        portfolio_advice(plans, {str(label): row for label, row in rows.iterrows()}, equity[-1] - 1.0),
    )


def _measured(plan: Plan, statistics: BlockStatistics) -> pd.DataFrame:
    """One row of the metrics every strategy has, over paths as the study takes them."""
    market = plan.market
    found = aggregate(statistics, market.bars_per_year, market.n_scenarios, plan.config.search.over_paths)
    return found[list(METRICS)]
