"""The risk limits of a study file: refused by key, part of what the study is, and the same in everything it computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console
from studies import SMALL, run_one

from cluster.config import load_study, resolved_yaml, study_digest
from cluster.console import show_plan
from cluster.export import export
from cluster.job import Outcome
from cluster.plan import Plan, make_plan
from cluster.winner import engine_for
from kernels import backtest
from kernels.errors import InputError
from kernels.risk_settings import Limits

RULE = Path(__file__).parent / "limited_rule.py"
LIMITED: dict[str, Any] = {
    "name": "limited",
    "market": {"source": "synthetic", "bars": 300, "assets": 1},
    "strategy": {
        "name": "along_momentum",
        "file": str(RULE),
        "fixed": {"window": 20},
        "search": {"size": [0.1, 0.2, 0.3, 0.4]},
        "compare": {"large": {"size": 1.0}},
    },
    "risk_limits": {"enabled": True, "direction_limit": 0.4, "correlation_lookback": 40},
    "search": {"sampler": "grid"},
    "compute": {"backend": "numpy"},
    "tracking": {"enabled": False},
}

OTHERS = (
    "question=Another?",
    "risk_limits.enabled=false",
    "risk_limits.direction_limit=0.5",
    "risk_limits.pyramiding=true",
)


def written(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def plan_of(folder: Path, *overrides: str, content: dict[str, Any] = LIMITED) -> Plan:
    return make_plan(load_study(written(folder, content), overrides), folder / "runs")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, undrawn: None) -> Outcome:
    return run_one(plan_of(tmp_path_factory.mktemp("limited")))


def test_every_wrong_limit_is_refused_by_its_key_at_once(tmp_path: Path) -> None:
    wrong = {"symbol_limit": -0.1, "regime_limit": 1.5, "exposure": "both", "enabled": "yes", "correlation_common": 200}
    with pytest.raises(InputError) as refused:
        load_study(written(tmp_path, {**LIMITED, "risk_limits": wrong, "costs": {"fee_bps": -1}}))
    told = str(refused.value)
    for sentence in (
        "risk_limits.symbol_limit: a share of equity of 0 or more must hold, got -0.1",
        "risk_limits.regime_limit: at most 1 must hold where leverage is not allowed, got 1.5",
        "risk_limits.exposure: choose one of net, gross, got 'both'",
        "risk_limits.enabled: give true or false, got 'yes'",
        "risk_limits: correlation_common <= correlation_lookback must hold",
        "costs.fee_bps:",
    ):
        assert f"\n  {sentence}" in told
    with pytest.raises(InputError, match=r"risk_limits.symbol_limits: unknown key; did you mean symbol_limit\?"):
        load_study(written(tmp_path, LIMITED), ["risk_limits.symbol_limits=0.2"])


def test_limits_that_are_off_leave_a_study_what_it_was(tmp_path: Path) -> None:
    study = {**SMALL, "tracking": {"enabled": False}}
    plain = load_study(written(tmp_path, study))
    off = load_study(written(tmp_path, study), ["risk_limits={enabled: false, symbol_limit: 0.1}"])
    assert plain.risk_limits.limits is None
    assert study_digest(plain) == study_digest(off)
    assert plan_of(tmp_path, content=study).task.limits is None


def test_limits_that_are_on_are_part_of_what_a_study_is(tmp_path: Path) -> None:
    digests = {study_digest(load_study(written(tmp_path, LIMITED), [override])) for override in OTHERS}
    assert len(digests) == len(OTHERS)
    plan = plan_of(tmp_path)
    assert plan.limits == Limits(direction_limit=0.4, correlation_lookback=40)
    again = tmp_path / "again.yaml"
    again.write_text(resolved_yaml(plan.config))
    assert load_study(again) == plan.config


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("risk_limits.direction_limit=0.5", "risk_limits.direction_limit was 0.4 when this study began, is 0.5 now"),
        ("risk_limits.enabled=false", "risk_limits.enabled was True when this study began, is False now"),
    ],
)
def test_a_study_does_not_go_on_with_other_limits(finished: Outcome, override: str, changed: str) -> None:
    with pytest.raises(InputError, match=changed):
        run_one(plan_of(finished.plan.folder.parents[1], override), resume=True)


def test_a_rule_that_asks_no_limits_is_refused_with_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"risk_limits.enabled: strategy 'tsmom_hedge' does not ask the limits"):
        plan_of(tmp_path, "risk_limits.enabled=true", content={**SMALL, "tracking": {"enabled": False}})
    with pytest.raises(InputError, match=r"risk_limits.correlation_common: at most \d+ must hold"):
        longer = "risk_limits={enabled: true, correlation_lookback: 400, correlation_common: 400}"
        plan_of(tmp_path, "market.assets=2", longer)


def test_the_plan_says_the_limits(tmp_path: Path) -> None:
    console = Console(record=True, width=160)
    show_plan(console, plan_of(tmp_path))
    assert (
        "at most 25% in an asset, 40% long or short, 50% in a regime; orders cut by up to 75%" in console.export_text()
    )


def test_everything_that_a_study_computes_is_within_the_limits(finished: Outcome) -> None:
    plan, found = finished.plan, finished.found
    rows = pd.read_parquet(plan.folder / "configs.parquet")
    names = list(plan.strategy.metrics)
    asked = {"costs": plan.costs, "backend": "numpy"}
    for table in (rows, found.baselines.reset_index(drop=True)):
        chosen = table[["window", "size"]]
        limited = backtest(plan.market, plan.strategy, chosen, limits=plan.limits, **asked).metrics[names]
        np.testing.assert_allclose(table[names].to_numpy(float), limited.to_numpy(), rtol=1e-12)
        free = backtest(plan.market, plan.strategy, chosen, **asked).metrics[names]
        assert not np.allclose(table["total_return"], free["total_return"])
    winner = found.winner.stress.iloc[0]
    assert winner["limit_refusals"] == found.best["limit_refusals"].iloc[0] > 0
    engine = engine_for(plan, found.winner.configuration)
    assert engine.limits == plan.limits
    assert engine.charging(plan.costs.times(2.0)).limits == plan.limits


def test_what_the_limits_did_is_told_with_the_winner(finished: Outcome) -> None:
    plan, found = finished.plan, finished.found
    row = found.best.iloc[0]
    said = f"The risk limits cut {row['limit_cuts']:,.0f} of its orders and refused {row['limit_refusals']:,.0f}."
    assert said in found.advice
    report = (plan.folder / "report.html").read_text()
    assert said in report
    assert "Risk limits: at most 25% in an asset, 40% long or short" in report
    best = yaml.safe_load((plan.folder / "best.yaml").read_text())
    assert best["risk_limits"]["direction_limit"] == 0.4
    content = export(plan.folder).content
    assert content["risk_limits"] == content["study"]["risk_limits"] == best["risk_limits"]
