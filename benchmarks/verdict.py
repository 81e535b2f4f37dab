"""How often the verdict is wrong: whole studies on markets of which it is known whether there is anything to find."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from benchmarks.table import Table
from cluster import surveying, tried
from cluster.config import StudyConfig
from cluster.findings import compared, scored_baselines
from cluster.holdout import periods
from cluster.identity import identify
from cluster.plan import Plan, make_plan, open_study
from cluster.selection import Selection, chance_of, judge
from cluster.walk_forward import walk_forward
from cluster.winner import engine_for
from cluster.work import Surveyed
from cluster.worker import Inquiry, Worker
from kernels import Market
from kernels.blocks import Blocks
from kernels.market import FloatArray
from search.lock import release
from search.overfitting import overfitting
from search.periods import bars_of
from search.purged import purged

YEARS, YEAR = 8, 250  # of business days
BARS = YEARS * YEAR
VOLATILITY = 0.01  # a bar
DRIFT = 0.0021  # a bar, up and down in turns: the best rule then has an annual Sharpe ratio of about 2
TREND_BARS = (80, 161)  # a trend's length, from and to before
STUDIES = 200
CONFIGURATIONS = 100_000  # of the study whose judgement is timed

STUDY = {
    "name": "verdict",
    "question": "Is what a search finds told from luck?",
    "market": {"source": "synthetic", "bars": BARS, "assets": 1},
    "strategy": {
        "name": "tsmom_hedge",
        "fixed": {"vol_target": 0.15, "max_leverage": 1.0, "stop_loss": None},
        "search": {
            "lookback": [10, 20, 40, 80],
            "vol_window": [20, 60],
            "short_mode": ["full", "disabled"],
        },
    },
    "costs": {"fee_bps": 0.5, "slippage_bps": 0.5, "fill": "next_close"},
    "search": {"sampler": "grid"},
    "selection": {"holdout": 0.0, "replicates": 200},
    "targets": {"sharpe": {"at_least": 1.0, "reservation": 0.0}},
    "compute": {"backend": "numba"},
    "tracking": {"enabled": False},
}


def noise(seed: int) -> FloatArray:
    """(T,) bar returns that nothing tells beforehand."""
    return VOLATILITY * np.random.default_rng(seed).standard_normal(BARS)


def trends(seed: int, drift: float = DRIFT) -> FloatArray:
    """(T,) bar returns of which some months drift up, some down."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(*TREND_BARS, size=BARS // TREND_BARS[0] + 1)
    up = rng.permutation(len(lengths)) % 2 == 0
    drifting = np.repeat(np.where(up, drift, -drift), lengths)[:BARS]
    return np.asarray(drifting + VOLATILITY * rng.standard_normal(BARS))


def market_of(returns: FloatArray) -> Market:
    """One asset with those bar returns."""
    close = 100.0 * np.cumprod(1.0 + returns)[:, None]
    stamps = pd.bdate_range("2010-01-01", periods=len(returns)).to_numpy(dtype="datetime64[us]")
    return Market(tickers=("MADE",), timestamps=stamps, close=close, bars_per_year=float(YEAR))


def planned(runs: Path) -> Plan:
    """The study, on prices that are put in later."""
    return make_plan(StudyConfig.model_validate(STUDY), runs)


def judged(plan: Plan, returns: FloatArray) -> tuple[Selection, float]:
    """The judgement of a whole study on those prices, as `hedgegrid run` comes to it, and the winner's annual Sharpe ratio."""
    market = market_of(returns)
    kept = periods(market, plan.config.selection, plan.targets, looks_back=plan.looks_back, rule=plan.strategy.name)
    with TemporaryDirectory() as folder:
        plan = replace(plan, folder=Path(folder) / "verdict", market=market, periods=kept)
        study, worker, engine = open_study(plan, resume=False), Worker(1, plan.task), plan.task.engine(1)
        identity = identify(plan, study)
        while (batch := study.ask()) is not None:
            study.tell(batch, plan.task.metrics(engine, batch.configurations))
        nothing = plan.baselines.assign(status="ok", score=0.0)
        baselines = (
            scored_baselines(plan, engine.metrics(plan.baselines.reset_index(drop=True)))
            if len(plan.baselines)
            else nothing
        )
        if (survey := surveying.survey_of(plan, identity, study, baselines)) is not None:
            excess, _ = worker.survey(0, 0, study.trials, Inquiry(survey.terms, None))
            surveying.keep(study, survey, Surveyed(excess, 0, True))
        best = study.best(1)
        row = best[[p.name for p in plan.strategy.parameters]]
        bars = engine_for(plan, row).bars(row)
        found = judge(plan, study, tried.read(plan, study), bars, compared(best, baselines), study.distinct)
        release(plan.folder)
    assert found is not None
    return found, float(best["sharpe"].iloc[0])


@dataclass(frozen=True)
class Told:
    """What the verdict said of many studies: how many it supports, and by which rules it does not support others."""

    studies: int
    supported: int
    broken: Counter[str]
    sharpe: float  # of the winners, the median


def told(make: Callable[[int], FloatArray], studies: int, *, first: int = 0) -> Told:
    """The verdicts on so many markets, with seeds from `first` on."""
    supported, broken, sharpes = 0, Counter[str](), []
    with TemporaryDirectory() as runs:
        plan = planned(Path(runs))
        for seed in range(first, first + studies):
            found, sharpe = judged(plan, make(seed))
            supported += found.verdict.label == "supported"
            broken.update({rule.what for rule in found.verdict.rules if not rule.met})
            sharpes.append(sharpe)
    return Told(studies, supported, broken, float(np.median(sharpes)))


def market() -> tuple[Market, str]:
    """What is searched."""
    return market_of(noise(0)), "simulated, as described below"


def verdicts(_: Market) -> Table:
    """How often noise is believed, and how often an edge is."""
    rows = []
    for name, make in (("noise", noise), ("trends", trends)):
        found = told(make, STUDIES)
        broken = ", ".join(f"{what} {count}" for what, count in found.broken.most_common())
        share = f"{found.supported / found.studies:.1%}"
        rows.append((name, f"{found.studies}", f"{found.sharpe:.2f}", f"{found.supported} ({share})", broken or "none"))
    return Table(
        f"{STUDIES} studies on each of two kinds of market: how often the winner is said to be supported",
        ("market", "studies", "winner's Sharpe, median", "supported", "rules broken"),
        tuple(rows),
        f"One asset, {YEARS} years of days. Noise: independent normal returns. Trends: drifts of {DRIFT:.2%} a day, up or "
        f"down for {TREND_BARS[0]} to {TREND_BARS[1] - 1} days, under the same noise of {VOLATILITY:.0%}. Each study is a grid "
        "of 16 momentum rules of `tsmom_hedge` after costs, judged against cash by deflated Sharpe, PBO and the reality check "
        "over 200 histories.",
    )


def seconds(given: Market) -> Table:
    """What judging a large study takes, step by step."""
    rows: list[tuple[str, ...]] = []

    def timed(what: str, run: Callable[[], object]) -> object:
        began = time.perf_counter()
        answer = run()
        rows.append((what, f"{time.perf_counter() - began:.2f}"))
        return answer

    search = {"hedge_threshold": {"low": -0.3, "high": -0.01}, "hedge_strength": {"low": 0.0, "high": 1.0}}
    large = {
        **STUDY,
        "strategy": {"name": "tsmom_hedge", "search": search, "compare": {"long only": {"short_mode": "disabled"}}},
        "search": {"sampler": "sobol", "trials": CONFIGURATIONS},
    }
    with TemporaryDirectory() as runs:
        plan = make_plan(StudyConfig.model_validate(large), Path(runs))
        kept = periods(given, plan.config.selection, plan.targets, looks_back=plan.looks_back, rule=plan.strategy.name)
        plan = replace(plan, market=given, periods=kept)
        assert kept is not None
        study, engine = open_study(plan, resume=False), plan.task.engine()
        identify(plan, study)
        engine.metrics(plan.space.random(64, seed=0))
        while (batch := study.ask()) is not None:
            metrics = timed("backtests", lambda batch=batch: plan.task.metrics(engine, batch.configurations))
            study.tell(batch, metrics)  # type: ignore[arg-type]
        baselines = scored_baselines(plan, engine.metrics(plan.baselines.reset_index(drop=True)))
        best = study.best(1)
        rows_of = compared(best, baselines)
        everything = timed("results read", lambda: tried.read(plan, study))
        assert isinstance(everything, tried.Tried)
        bars = bars_of(Blocks.monthly(given), kept.blocks)
        timed("deflated Sharpe ratio", lambda: chance_of(plan, everything, best.iloc[0], CONFIGURATIONS))
        timed("walking forward", lambda: walk_forward(plan, everything.chosen, rows_of))
        timed(f"PBO, {len(bars)} blocks", lambda: overfitting(bars, everything.r1, everything.r2))
        timed(
            f"combinatorial cross-validation, {len(bars)} blocks",
            lambda: purged(bars, everything.r1, everything.r2, embargo_bars=plan.looks_back),
        )
        release(plan.folder)
    return Table(
        f"Judging {CONFIGURATIONS:,} configurations",
        ("step", "seconds"),
        tuple(rows),
        f"The first kind of market, {given.n_bars:,} bars; wall time, once. Results are read once for all steps after it.",
    )
