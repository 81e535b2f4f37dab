"""What a study hands to MLflow: its own run, one run per trial, one per baseline."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pandas as pd

from cluster.config import FileMarket
from cluster.identity import Identity
from cluster.plan import Plan
from kernels import InputError
from search.cloud import SUMMARY
from tracking.address import TrackingError
from tracking.recorder import Recorder
from tracking.records import DataRecord, StudyRecord, TrialRecord


def open_recorder(plan: Plan, identity: Identity) -> Recorder:
    """The study's run in MLflow, created or continued; InputError where the store does not take it."""
    config, market = plan.config, plan.market
    source = config.market.path if isinstance(config.market, FileMarket) else config.market.source
    params: dict[str, object] = {
        "strategy": plan.strategy.name,
        "sampler": config.search.sampler,
        "trials": plan.trials,
        "seed": config.search.seed,
        **({"objectives": ", ".join(plan.objectives.metrics)} if plan.objectives else {}),
        **(config.search.cloud.spec(plan.trials) if config.search.cloud else {}),
        **{f"costs.{k}": v for k, v in config.costs.model_dump().items()},
        **{f"{name}.{k}": v for name, section in config.risk_limits.told.items() for k, v in section.items()},
        **{f"fixed.{k}": v for k, v in config.strategy.fixed.items()},
        **{f"search.{k}": v for k, v in config.strategy.search.items()},
        **{f"targets.{k}": v for k, v in plan.targets.spec.items()},
    }
    record = StudyRecord(
        study_id=identity.study_id,
        name=config.name,
        params=params,
        tags=_tags(plan, identity) | {"study_digest": identity.study_digest},
        note=f"(running)\n\n{config.question}",
        data=DataRecord(
            name=source.rsplit("/", 1)[-1],
            digest=market.digest,
            source=source,
            profile={"tickers": market.n_assets, "bars": market.n_bars, "bars_per_year": market.bars_per_year},
        ),
        columns={
            "metrics": ["score", *(SUMMARY if config.search.cloud else ()), "targets_met", *plan.targets.metrics],
            "params": list(plan.space.searched),
            "tags": ["backend"],
        },
    )
    experiment = config.tracking.experiment or f"hedgegrid/{plan.strategy.name}"
    try:
        return Recorder.open(config.tracking.uri, experiment, record)
    except TrackingError as error:  # before any backtest: the address is input, and refused like any other
        raise InputError(str(error)) from error


def trial_records(
    plan: Plan, identity: Identity, rows: pd.DataFrame, started: float | None = None
) -> Iterator[TrialRecord]:
    """One record per row of the study's results. `started` is when their batch began, seconds since 1970."""
    for row in rows.to_dict("records"):
        yield _record(plan, identity, int(row["trial"]), row, started)


def baseline_records(plan: Plan, identity: Identity, baselines: pd.DataFrame) -> Iterator[TrialRecord]:
    """One record per baseline (index: its label)."""
    for label, row in zip(baselines.index, baselines.to_dict("records"), strict=True):
        yield _record(plan, identity, str(label), row, None)


def _record(plan: Plan, identity: Identity, key: int | str, row: dict[Any, Any], started: float | None) -> TrialRecord:
    now = int(time.time() * 1000)
    metrics = {name: float(row[plan.space.measured(name)]) for name in plan.strategy.metrics}
    metrics |= {name: float(row[name]) for name in ("score", "targets_met")}
    metrics |= {name: float(row[name]) for name in SUMMARY if name in row}  # a baseline is no cloud
    margins = {f"margin_{m}": float(row[f"margin_{m}"]) for m in plan.targets.metrics}
    return TrialRecord(
        key=key,
        params={p.name: "none" if pd.isna(row[p.name]) else row[p.name] for p in plan.strategy.parameters},
        metrics=metrics | margins,
        tags=_tags(plan, identity)
        | {"status": str(row["status"]), "targets_met": f"{int(row['targets_met'])} of {len(plan.targets.metrics)}"},
        start_ms=now if started is None else int(started * 1000),
        end_ms=now,
    )


def _tags(plan: Plan, identity: Identity) -> dict[str, str]:
    return {
        "strategy": plan.strategy.name,
        "scope": "portfolio",
        "tickers": ",".join(plan.market.tickers),
        "backend": identity.backend,
        "data_digest": plan.market.digest,
        "score_spec": plan.targets.score_spec,
        "fill": plan.costs.fill,
        "hedgegrid_version": identity.version,
    }
