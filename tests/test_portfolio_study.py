"""The shipped study of a protected book, on a few of its configurations: what each feature bought, and what it cost."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from studies import run_one

from cluster.config import load_study
from cluster.plan import make_plan
from cluster.running import Outcome
from cluster.staircase import SEEN, WALKED
from kernels import STRATEGIES

STUDIES = Path(__file__).resolve().parents[1] / "configs" / "studies"
FEATURES = [feature.parameter for feature in STRATEGIES["portfolio_hedge"].features]
FEW = (
    *(
        "search.trials=8",
        "market.start=2023-05-01",
        "market.tickers=[BTC, ETH, SOL]",
        "selection.replicates=19",
        "selection.folds=2",
    ),
    *("tracking.enabled=false", "compute.backend=numpy"),
)
LIMITS = ("risk_limits.enabled=true", "risk_limits.pyramiding=true")


@pytest.fixture(scope="module")
def finished(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Under risk limits, with its figures."""
    folder = tmp_path_factory.mktemp("crypto")
    text = (STUDIES / "portfolio_hedge_crypto.yaml").read_text().replace("../shared/data", str(shared_data))
    (folder / "study.yaml").write_text(text)
    return run_one(make_plan(load_study(folder / "study.yaml", [*FEW, *LIMITS]), folder / "runs"))


def test_a_study_ends_with_the_stairs_of_all_five_features(finished: Outcome) -> None:
    table = pd.read_parquet(finished.plan.folder / "staircase.parquet").set_index(["bars", "stair", "metric"])["value"]
    for bars in (SEEN, WALKED):
        stairs = [
            "baseline",
            *(f"+ {feature}" for feature in FEATURES),
            *(f"without {feature}" for feature in FEATURES),
        ]
        metrics = ["sharpe", "cagr", "max_drawdown", "cost_paid"]
        assert np.isfinite(table.loc[[(bars, stair, metric) for stair in stairs for metric in metrics]]).all()
    # the last stair is the winner itself
    winner = finished.found.best.iloc[0]
    assert table[SEEN, "+ hedge", "max_drawdown"] == winner["max_drawdown"]


def test_it_says_of_each_feature_whether_its_claim_holds(finished: Outcome) -> None:
    report = (finished.plan.folder / "report.html").read_text()
    assert re.search(r"Earned (its|their) place on this data: ", report)
    best = yaml.safe_load((finished.plan.folder / "best.yaml").read_text())
    assert list(best["features"]) == FEATURES
    for feature, found in best["features"].items():
        assert found["place"] in ("earned", "harmed", "not shown")
        assert found["claims"] == ("sharpe" if feature == "agreement" else "max_drawdown")
        assert re.search(rf"\b{feature}(:| earned| cost)", report)


def test_its_report_shows_correlation_regimes_and_the_hedge(finished: Outcome) -> None:
    report = (finished.plan.folder / "report.html").read_text()
    for told in ("Assets moved together least on", "The market was", "The hedge was "):
        assert told in report


def test_limits_hold_a_searched_book_back_and_are_counted(finished: Outcome) -> None:
    tried = pd.read_parquet(finished.plan.folder / "configs.parquet")
    assert (tried["limit_cuts"] + tried["limit_refusals"] > 0).any()
    assert "The risk limits cut " in (finished.plan.folder / "advice.md").read_text()
