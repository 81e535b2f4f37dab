"""Positions are those that earned the backtest's returns, and what is asked for now is what a longer history then does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from histories import history
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import STRATEGIES, Costs, Market
from kernels.backends import choose
from kernels.engine import Engine
from kernels.market import FloatArray
from kernels.option_market import Contract, OptionMarket, gbm
from kernels.positions import hedges, one_bar_longer, positions

TREND, HEDGE = STRATEGIES["tsmom_hedge"], STRATEGIES["option_hedge"]
FREE = Costs(fee_bps=0.0, slippage_bps=0.0, fill="close")


def row(strategy: Any, **values: Any) -> pd.DataFrame:
    return pd.DataFrame([{p.name: p.default for p in strategy.parameters} | values])


def engine(market: Any, strategy: Any, costs: Costs) -> Engine:
    return Engine(market, strategy, costs, choose("numpy").backend)


def cut(market: Market, bars: int) -> Market:
    def first(array: FloatArray | None) -> FloatArray | None:
        return None if array is None else array[:bars]

    columns = {name: first(getattr(market, name)) for name in ("close", "open", "high", "low", "volume")}
    return replace(market, timestamps=market.timestamps[:bars], **columns)


trends = st.fixed_dictionaries(
    {
        "lookback": st.integers(6, 40),
        "vol_window": st.integers(6, 40),
        "hedge_strength": st.floats(0.0, 1.0),
        "short_mode": st.sampled_from(["disabled", "hedge_only", "full"]),
        "stop_loss": st.sampled_from([None, 0.05]),
        "rebalance_threshold": st.sampled_from([0.0, 0.2]),
    }
)


@settings(max_examples=10)
@given(values=trends)
def test_positions_at_no_cost_earn_the_returns_of_the_backtest(values: dict[str, Any]) -> None:
    """r_t = sum over assets of the weight held into bar t times the asset's return."""
    market = history()
    made = engine(market, TREND, FREE)
    found = positions(made, row(TREND, **values))
    earned = (found.weights[:-1] * (market.close[1:] / market.close[:-1] - 1.0)).sum(axis=1)
    returns = made.paths(row(TREND, **values)).returns[:, 0]
    # a few divisions of numbers of order 1, and returns that are differences of them
    np.testing.assert_allclose(earned, returns, rtol=0.0, atol=1e-12)
    np.testing.assert_allclose(found.growth[1:], np.cumprod(1.0 + returns), rtol=1e-10)


@settings(max_examples=12)
@given(values=trends, bars=st.integers(60, 399), fill=st.sampled_from(["close", "next_close", "next_open"]))
def test_what_is_asked_for_now_is_what_a_longer_history_does(values: dict[str, Any], bars: int, fill: Any) -> None:
    market, configuration = history(), row(TREND, **values)
    costs = replace(FREE, fill=fill)
    now = positions(engine(cut(market, bars), TREND, costs), configuration)
    later = positions(engine(market, TREND, costs), configuration)
    np.testing.assert_array_equal(now.weights[:-1], later.weights[: bars - 1])
    if fill == "close":  # the order fills at the very price that the target is told at
        np.testing.assert_allclose(now.target, later.weights[bars - 1], rtol=0.0, atol=1e-12)
    else:  # at a price that is not known yet: the same assets are traded
        np.testing.assert_array_equal(later.weights[bars - 1] != now.weights[-1], now.trade)


def test_a_target_is_kept_within_what_cash_can_buy() -> None:
    market = history()
    values = {"lookback": 10, "vol_window": 10, "vol_target": 1.0, "short_mode": "disabled", "max_leverage": 5.0}
    found = positions(engine(market, TREND, replace(FREE, fee_bps=10.0)), row(TREND, **values))
    assert found.weights.max() <= 1.0 / market.n_assets + 1e-12  # an asset's part of the capital, all in it
    assert found.target.max() <= 1.0 / market.n_assets + 1e-12


# ---- options


def daily(bars: int) -> OptionMarket:
    return gbm(("X",), scenarios=1, bars=bars, step_days=1.0, contract=Contract(tenor_days=20.0), seed=5)


@pytest.mark.parametrize(
    "bars", [30, 41, 42, 55]
)  # options are sold on bars 0, 20, 40: within a cycle, and where one turns
@pytest.mark.parametrize("values", [{}, {"gamma_hedge_ratio": 0.5, "band": 0.05}, {"vol_target": 0.3}], ids=str)
def test_the_hedge_to_hold_now_is_what_a_longer_history_holds(bars: int, values: dict[str, Any]) -> None:
    configuration = row(HEDGE, **values)
    off = frozenset(p.name for p in HEDGE.parameters if p.optional and configuration[p.name].isna().all())
    costs = Costs(fee_bps=1.0, slippage_bps=1.0, option_spread=0.01)
    shorter, longer = (
        hedges(Engine(daily(n), HEDGE, costs, choose("numpy").backend, off), configuration) for n in (bars, 80)
    )
    assert shorter.now is not None
    (now,) = shorter.now
    assert now.opens == (bars == 41)
    assert (now.shares, now.second) == (longer.shares[bars - 1, 0], longer.second[bars - 1, 0])
    assert now.held == (longer.shares[bars - 2, 0], longer.second[bars - 2, 0])
    assert now.strike == daily(80).strike[0, bars - 1, 0]


def test_a_market_goes_on_as_it_did_and_one_with_other_marks_does_not() -> None:
    market = daily(30)
    longer = one_bar_longer(market)
    assert longer is not None
    assert longer.n_bars == 31
    np.testing.assert_array_equal(longer.delta[:, :29], market.delta[:, :29])
    assert one_bar_longer(replace(market, delta=market.delta + 0.1)) is None


def test_strategies_with_another_account_are_refused() -> None:
    with pytest.raises(TypeError, match="keeps an account of its own"):
        positions(engine(daily(30), HEDGE, Costs()), row(HEDGE))
    with pytest.raises(TypeError, match="keeps no book of options"):
        hedges(engine(history(), TREND, FREE), row(TREND))
