"""A study of hedged options, end to end: a study per ticker, metrics over paths, and what a reader is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from studies import Watch, option_plans, run_one

from cluster import job, output
from kernels import InputError, backtest


def test_each_ticker_is_a_study_with_paths_of_its_own(tmp_path: Path) -> None:
    near, far = option_plans(tmp_path)
    assert [plan.config.name for plan in (near, far)] == ["calls-NEAR", "calls-FAR"]
    assert near.market.digest != far.market.digest
    outcomes = job.run([near, far], Watch())
    assert [outcome.trials for outcome in outcomes] == [6, 6]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["calls-FAR", "calls-NEAR", "looks.jsonl"]


def test_a_score_is_of_the_median_over_paths_and_the_figure_says_which_path_it_shows(tmp_path: Path) -> None:
    plan = option_plans(tmp_path)[0]
    outcome = run_one(plan)
    best = outcome.found.best.iloc[:1]
    rows = best[[p.name for p in plan.strategy.parameters]]
    growth = backtest(plan.market, plan.strategy, rows, costs=plan.costs).statistics.compose()["growth"]
    assert best["total_return"].iloc[0] == pytest.approx(np.median(growth) - 1.0, abs=1e-12)
    page = (outcome.folder / "report.html").read_text(encoding="utf-8")
    assert "on its median path of 25" in page
    assert any("median over 25 paths" in caveat for caveat in output.caveats(plan, outcome.trials, 0))


def test_a_metric_and_a_parameter_of_one_name_both_stand_in_the_table(tmp_path: Path) -> None:
    plan = option_plans(tmp_path)[0]
    run_one(plan)
    table = pd.read_parquet(plan.folder / "configs.parquet")
    assert set(table["exposure"]) == {0.5, 1.0, 2.0}
    assert table["measured_exposure"].between(0.0, 2.0).all()
    kept = yaml.safe_load((plan.folder / "best.yaml").read_text())
    assert kept["parameters"]["exposure"] in (0.5, 1.0, 2.0)
    assert kept["metrics"]["exposure"] == pytest.approx(table["measured_exposure"][kept["from"]["trial"]])


def test_a_rebalance_finer_than_the_bar_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"0\.1 days asks for 2\.4-hour bars; this market has 1-day bars"):
        option_plans(tmp_path, "strategy.search.rebalance_days=[0.1, 1]")
    assert not (tmp_path / "runs").exists()
