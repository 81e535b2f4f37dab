"""What a user may ask of portfolio_hedge that it cannot do: each refused by name, in one sentence, before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from histories import history
from protected_books import PROTECTED, SHORT

from cluster.config import load_study
from cluster.plan import make_plan
from kernels import Costs, InputError, backtest

MARKET = history(130)
WINDOWS = ("correlation_window", "beta_window", "kelly_window", "base_window")


def refusals(row: dict[str, Any], costs: Costs | None = None) -> list[str]:
    """The sentences that refuse one configuration on a market of 130 bars."""
    with pytest.raises(InputError) as refused:
        backtest(MARKET, PROTECTED, [SHORT | row], costs=costs, backend="numpy")
    return list(refused.value.problems)


# ---- one configuration


@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_longer_than_the_data(name: str) -> None:
    assert refusals({name: 200}) == [
        f"parameter '{name}': 2 <= {name} <= 129 must hold, since there are 129 returns, got 200; "
        "take a shorter window or more bars"
    ]


def test_an_inverse_hedge_without_a_beta_window() -> None:
    (sentence,) = refusals({"hedge": "inverse", "beta_window": None})
    assert sentence.endswith("parameter 'beta_window': a value is needed, got none (it cannot be switched off)")


def test_a_stop_inside_the_spread() -> None:
    (sentence,) = refusals({"initial_stop": 0.006}, Costs(20.0, 30.0))
    assert sentence == (
        "parameter 'initial_stop': a stop of 0.60% is inside the spread, since going in and out costs 1.00%; "
        "ask for more than that, or correct costs.fee_bps and costs.slippage_bps"
    )


def test_a_stop_outside_the_spread_is_allowed() -> None:
    backtest(MARKET, PROTECTED, [SHORT | {"initial_stop": 0.011}], costs=Costs(20.0, 30.0), backend="numpy")


def test_an_unknown_set_of_regimes() -> None:
    (sentence,) = refusals({"hedge_regimes": "sideways"})
    assert "parameter 'hedge_regimes': choose one of any, not_bull, bear_trending, high_volatility" in sentence
    assert sentence.endswith("got 'sideways'")


@pytest.mark.parametrize("rate", [-0.06, 0.3, float("nan")])
def test_a_cash_rate_beyond_what_any_currency_had(rate: float) -> None:
    with pytest.raises(InputError, match=r"costs\.cash_rate: cash_rate from -0\.05 to 0\.25 a year must hold, got "):
        Costs(cash_rate=rate)


def test_all_at_once() -> None:
    told = refusals({"initial_stop": 0.006, "correlation_window": 400, "beta_window": 300}, Costs(20.0, 30.0))
    assert [sentence.split(":")[0] for sentence in told] == [
        "parameter 'correlation_window'",
        "parameter 'beta_window'",
        "parameter 'initial_stop'",
    ]


# ---- a study


def refused_study(folder: Path, *, costs: dict[str, Any] | None = None, **strategy: Any) -> str:
    """What the plan of a study says; nothing is left beside its file."""
    study = {
        "name": "wrong",
        "market": {"source": "synthetic", "bars": 500, "assets": 3},
        "strategy": {"name": "portfolio_hedge", "fixed": SHORT, **strategy},
        "costs": costs or {},
        "search": {"sampler": "random", "trials": 8},
        "targets": {"sharpe": {"at_least": 1.0, "reservation": 0.0}},
        "tracking": {"uri": f"sqlite:///{folder}/mlflow.db"},
    }
    path = folder / "wrong.yaml"
    path.write_text(yaml.safe_dump(study))
    with pytest.raises(InputError) as refused:
        make_plan(load_study(path), folder / "runs")
    assert [left.name for left in folder.iterdir()] == ["wrong.yaml"]
    return str(refused.value)


SEARCH = {"hedge_strength": {"low": 0.0, "high": 1.0}}


def test_a_study_that_searches_its_cash_rate(tmp_path: Path) -> None:
    told = refused_study(tmp_path, search=SEARCH, costs={"cash_rate": [0.0, 0.05]})
    assert "costs.cash_rate: one value is needed, got [0.0, 0.05]" in told
    assert "a cost is the environment and cannot be searched" in told
    told = refused_study(tmp_path, search=SEARCH | {"cash_rate": [0.0, 0.05]})
    assert "cash_rate" in told


def test_a_study_with_a_cash_rate_out_of_bounds(tmp_path: Path) -> None:
    told = refused_study(tmp_path, search=SEARCH, costs={"cash_rate": -0.2})
    assert "costs.cash_rate: Input should be greater than or equal to -0.05" in told


def test_a_study_is_told_everything_at_once(tmp_path: Path) -> None:
    told = refused_study(
        tmp_path,
        fixed=SHORT | {"beta_window": None, "correlation_window": 499},
        search={"hedge_regimes": ["any", "sideways"], "initial_stop": {"low": 0.005, "high": 0.1}},
        costs={"fee_bps": 20, "slippage_bps": 30},
    )
    assert "parameter 'beta_window': a value is needed, got none (it cannot be switched off)" in told
    assert "'hedge_regimes'" in told
    assert "got 'sideways'" in told


def test_a_study_whose_ends_do_not_fit_its_market(tmp_path: Path) -> None:
    told = refused_study(
        tmp_path,
        search={"correlation_window": [20, 500], "initial_stop": {"low": 0.005, "high": 0.1}},
        fixed={name: value for name, value in SHORT.items() if name != "correlation_window"},
        costs={"fee_bps": 20, "slippage_bps": 30},
    )
    assert (
        "parameter 'correlation_window': 2 <= correlation_window <= 499 must hold, since there are 499 returns" in told
    )
    assert "parameter 'initial_stop': a stop of 0.50% is inside the spread, since going in and out costs 1.00%" in told
