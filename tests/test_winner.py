"""A winner is examined before it is believed: dearer trading, the cost at which it earns nothing, paths it has not seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import yaml
from option_runs import FAST

from cluster.config import load_study
from cluster.plan import Plan, make_plan
from cluster.winner import EXACT, Winner, examine
from kernels import backtest
from kernels.engine import switched_off
from search.study import Study

CALLS: dict[str, Any] = {
    "name": "calls",
    "market": {"source": "gbm", "scenarios": 40, "days": 61, "step_days": 1, "seed": 4, "implied_volatility": 0.24},
    "strategy": {"name": "option_hedge", "search": {"rebalance_days": [1, 5], "exposure": [0.5, 1.0, 2.0]}},
    "costs": {"fee_bps": 1, "slippage_bps": 1, "option_spread": 0.01},
    "compute": {"backend": FAST},
    "tracking": {"enabled": False},
}


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Winner]:
    """A finished study of sold calls, and its winner."""
    folder = tmp_path_factory.mktemp("winner")
    (folder / "calls.yaml").write_text(yaml.safe_dump(CALLS))
    plan = make_plan(load_study(folder / "calls.yaml"), folder / "runs")
    study = Study.open(plan.folder, "calls", plan.space, plan.targets, sampler="grid", trials=None, batch=8, seed=0)
    engine = plan.task.engine()
    while batch := study.ask():
        study.tell(batch, engine.metrics(batch.configurations))
    return plan, examine(plan, study, study.best(3))


def earned(plan: Plan, winner: Winner, multiple: float) -> float:
    rows = winner.configuration
    found = backtest(plan.market, plan.strategy, rows, costs=plan.costs.times(multiple), backend=FAST)
    return float(found.metrics["total_return"].iloc[0])


def test_a_winner_is_shown_at_once_twice_and_three_times_the_cost(examined: tuple[Plan, Winner]) -> None:
    plan, winner = examined
    assert winner.stress.index.tolist() == [1.0, 2.0, 3.0]
    for multiple, row in winner.stress.iterrows():
        assert row["total_return"] == pytest.approx(earned(plan, winner, float(str(multiple))), abs=1e-12)
    assert winner.stress["total_return"].is_monotonic_decreasing
    assert winner.stress["score"].is_monotonic_decreasing
    assert (np.diff(winner.stress["cost_paid"]) > 0.0).all()


def test_at_its_break_even_cost_a_winner_earns_nothing(examined: tuple[Plan, Winner]) -> None:
    """Found to `EXACT` of itself: a little below it still earns, a little above it loses."""
    plan, winner = examined
    assert 1.0 < winner.break_even < np.inf
    assert earned(plan, winner, winner.break_even * (1.0 - 2 * EXACT)) > 0.0
    assert earned(plan, winner, winner.break_even * (1.0 + 2 * EXACT)) < 0.0


def test_unseen_paths_are_those_of_the_validation_stream(examined: tuple[Plan, Winner]) -> None:
    plan, winner = examined
    config = plan.config.model_copy(update={"market": plan.config.market.model_copy(update={"stream": "validation"})})
    other = replace(make_plan(config, plan.folder.parent), choice=plan.choice)
    rows = winner.configuration
    metrics = replace(other.task, off=switched_off(plan.strategy, rows)).engine().metrics(rows)
    assert winner.unseen is not None
    for name in plan.strategy.metrics:
        assert winner.unseen[name] == pytest.approx(metrics[name][0], rel=1e-12, abs=1e-15), name
    assert winner.unseen["total_return"] != winner.stress["total_return"].iloc[0]
