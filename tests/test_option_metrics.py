"""What is measured of a hedged book: where its profit comes from, its hedging error, and its worst paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from option_runs import CHARGED, FAST, FREE, KEYS, STRATEGY, market

from kernels import STRATEGIES, Costs
from kernels.backends import choose
from kernels.engine import Engine
from kernels.metric import TAIL, expected_shortfall
from kernels.metrics import metrics
from kernels.option_market import Contract, OptionMarket

SOURCES = ("naked_profit", "stock_profit", "second_profit", "carry")
COSTS = ("stock_cost", "option_cost", "impact_cost")
DEAR = Costs(
    fee_bps=5.0, slippage_bps=2.0, option_spread=0.01, impact="square_root", impact_coefficient=0.3, capital=1e7
)


def measured(
    history: OptionMarket, *rows: dict[str, Any], costs: Costs = FREE, over_paths: Any = "median"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Metrics over paths, one row per configuration, and of each path, scenario after scenario."""
    defaults = {p.name: p.default for p in STRATEGY.parameters}
    table = pd.DataFrame([defaults | row for row in rows], dtype=object)
    found = Engine(history, STRATEGY, costs, choose(FAST).backend, over_paths=over_paths, searched=KEYS).run(table)
    return found.metrics, metrics(found.statistics, history.bars_per_year)


HEDGED: tuple[dict[str, Any], ...] = (
    {},
    {"hedge_ratio": 0.0},
    {"rebalance_days": 5.0},
    {"gamma_hedge_ratio": 0.8, "exposure": 2.0},
)


@pytest.mark.parametrize("kind", ["call", "straddle"])
@pytest.mark.parametrize("side", ["sell", "buy"])
def test_every_part_of_the_profit_is_named(kind: str, side: str) -> None:
    """On every path: option + shares + second option + carry - costs is the profit, and carry is interest and dividends."""
    history = market(20, 61, contract=Contract(kind, side, tenor_days=30.0), dividend_yield=0.02)
    _, each = measured(history, *HEDGED, costs=DEAR)
    total = each[list(SOURCES)].sum(axis=1) - each[list(COSTS)].sum(axis=1)
    np.testing.assert_allclose(total, each["profit"], rtol=0.0, atol=1e-12)
    years = 60 / history.bars_per_year
    np.testing.assert_allclose(each[list(COSTS)].sum(axis=1), each["cost_paid"] * years, rtol=0.0, atol=1e-12)
    assert (each[list(COSTS)] >= -1e-15).all(axis=None)


def test_carry_is_nothing_without_interest_and_dividends() -> None:
    _, each = measured(market(20, 61, rate=0.0), *HEDGED, costs=DEAR)
    # 60 bars of sums of a few numbers below 1
    np.testing.assert_allclose(each["carry"], 0.0, atol=1e-13)


def test_the_naked_profit_knows_no_hedge() -> None:
    """It is what the unhedged book earns but for carry and the price of buying what it delivers, whatever the hedge is."""
    history = market(30, 61)
    _, each = measured(history, {}, {"hedge_ratio": 0.0}, {"gamma_hedge_ratio": 1.0, "band": 0.1}, costs=CHARGED)
    naked = each["naked_profit"].to_numpy().reshape(30, 3)
    np.testing.assert_array_equal(naked, naked[:, [1, 1, 1]])
    unhedged = each.iloc[1::3]
    np.testing.assert_allclose(
        unhedged["profit"], unhedged["naked_profit"] + unhedged["carry"] - unhedged["stock_cost"], rtol=0.0, atol=1e-14
    )


def test_the_hedging_error_is_that_of_the_profit_over_paths() -> None:
    for over in ("median", "mean", 0.05):
        together, each = measured(market(50, 61), *HEDGED, over_paths=over)
        profits = each["profit"].to_numpy().reshape(50, len(HEDGED))
        naked = each["naked_profit"].to_numpy().reshape(50, len(HEDGED))
        np.testing.assert_allclose(together["hedging_error"], profits.std(axis=0, ddof=1), rtol=1e-12)
        np.testing.assert_allclose(
            together["hedge_effectiveness"], 1.0 - profits.var(axis=0) / naked.var(axis=0), rtol=1e-12
        )


def test_a_hedge_that_is_finer_is_more_effective() -> None:
    found, _ = measured(market(400, 31), *({"rebalance_days": x} for x in (1.0, 3.0, 10.0)), {"hedge_ratio": 0.0})
    assert found["hedge_effectiveness"].is_monotonic_decreasing
    assert found["hedging_error"].is_monotonic_increasing
    assert found["hedge_effectiveness"].iloc[0] > 0.95
    # the unhedged book's profit differs from the option's own by the interest on its cash, 3 % a year for a month
    assert abs(found["hedge_effectiveness"].iloc[3]) < 0.01


def test_on_one_history_error_and_effectiveness_are_of_its_bars() -> None:
    history = market(1, 200, contract=Contract(tenor_days=30.0))
    found, _ = measured(history, {}, {"hedge_ratio": 0.0})
    bars = history.n_bars - 1
    wanted = found["volatility"] * np.sqrt(bars / history.bars_per_year)
    np.testing.assert_allclose(found["hedging_error"], wanted, rtol=1e-12)
    assert found["hedge_effectiveness"].iloc[0] > 0.8
    assert abs(found["hedge_effectiveness"].iloc[1]) < 0.01


# ---- expected shortfall


@given(outcomes=st.lists(st.floats(-1.0, 10.0), min_size=1, max_size=200))
def test_the_shortfall_lies_between_the_quantile_and_the_worst(outcomes: list[float]) -> None:
    found = float(expected_shortfall(np.array([outcomes]))[0])
    assert found <= -min(outcomes) + 1e-12
    assert found >= -float(np.quantile(outcomes, TAIL)) - 1e-12


def test_the_shortfall_of_paths_is_the_mean_of_the_worst_twentieth() -> None:
    together, each = measured(market(100, 31), {}, {"hedge_ratio": 0.0})
    returns = np.sort(each["total_return"].to_numpy().reshape(100, 2), axis=0)
    np.testing.assert_allclose(together["expected_shortfall_95"], -returns[:5].mean(axis=0), rtol=1e-12)


def test_the_shortfall_of_a_history_is_of_its_months() -> None:
    history = market(1, 1500)
    defaults = {p.name: p.default for p in STRATEGY.parameters}
    found = Engine(history, STRATEGY, FREE, choose(FAST).backend, searched=KEYS).run(
        pd.DataFrame([defaults], dtype=object)
    )
    months = np.sort(found.statistics.of("growth")[:, 0] - 1.0)
    count = TAIL * len(months)
    whole = int(count)
    wanted = -(months[:whole].sum() + (count - whole) * months[whole]) / count
    assert found.metrics["expected_shortfall_95"].iloc[0] == pytest.approx(wanted, rel=1e-12)


def test_a_strategy_says_what_it_measures() -> None:
    hedge, trend = STRATEGIES["option_hedge"].metrics, STRATEGIES["tsmom_hedge"].metrics
    assert set(trend) < set(hedge)
    assert {"hedging_error", "hedge_effectiveness", *SOURCES, *COSTS} <= set(hedge) - set(trend)
