"""The risk limits in a backtest: one meaning on every backend, no look ahead, and nothing at all where they are off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from histories import history, market_for, part
from limited_rule import STRATEGY, step_unasked
from rules import PORTFOLIO
from running import NUMPY, agree

from kernels import STRATEGIES, Backtest, Costs, InputError, Market, backtest
from kernels.backends import generated_source
from kernels.engine import Engine
from kernels.launch import Backend
from kernels.risk_settings import Limits

TIGHT = Limits(symbol_limit=0.2, direction_limit=0.35, regime_limit=0.4, correlation_lookback=40)
ROWS = pd.DataFrame({"size": [0.0, 0.05, 0.3, 0.9, 2.0] * 13, "window": [20] * 65})
BANKS = ROWS.assign(window=np.resize([10, 20, 40], len(ROWS)))


def tried(
    market: Market, limits: Limits | None, backend: Backend = NUMPY, rows: pd.DataFrame = ROWS, **replaced: object
) -> Backtest:
    strategy = replace(STRATEGY, **replaced)  # type: ignore[arg-type]
    return Engine(market, strategy, Costs(), backend, limits=limits).run(rows)


@pytest.mark.parametrize(
    ("limits", "rows", "assets"),
    [
        (TIGHT, ROWS, 3),
        (replace(TIGHT, pyramiding=True, on_unknown="ignore"), BANKS, 3),
        (replace(TIGHT, regime_limit=0.1), ROWS, 1),
    ],
    ids=["refusing", "adding", "one asset"],
)
def test_every_backend_limits_as_numpy_does(limits: Limits, rows: pd.DataFrame, assets: int, backend: Backend) -> None:
    market = part(history(), assets=list(range(assets)))
    assert isinstance(market, Market)
    meaning = tried(market, limits, rows=rows)
    assert meaning.metrics[["limit_cuts", "limit_refusals"]].sum().min() > 0
    agree(tried(market, limits, backend, rows), meaning, backend)


def test_limits_off_change_neither_a_bit_nor_the_source() -> None:
    market, unasked = history(), replace(STRATEGY, step=step_unasked)
    plain = tried(market, None, step=step_unasked).statistics.values  # noqa: PD011 - an array
    for limits in (None, Limits(enabled=False)):
        assert np.array_equal(tried(market, limits).statistics.values, plain, equal_nan=True)
        for name in ("numba", "cuda"):
            ours = generated_source(STRATEGY, name, n_assets=3, limits=limits)
            assert ours == generated_source(unasked, name, n_assets=3)
            assert "limit" not in ours
    assert not np.array_equal(tried(market, TIGHT).statistics.values, plain, equal_nan=True)


def test_limits_that_never_bind_change_no_bit() -> None:
    roomy = Limits(
        symbol_limit=50.0,
        direction_limit=50.0,
        regime_limit=50.0,
        allow_leverage=True,
        pyramiding=True,
        on_unknown="ignore",
        correlation_limit=0.999999,
    )
    ours, plain = tried(history(), roomy), tried(history(), None)
    assert (ours.metrics[["limit_cuts", "limit_refusals"]] == 0.0).all(axis=None)
    assert np.array_equal(ours.statistics.values, plain.statistics.values, equal_nan=True)


def test_limits_do_not_see_the_future() -> None:
    market, T = history(), 250
    known = part(market, slice(T))
    assert isinstance(known, Market)
    whole, cut = (Engine(each, STRATEGY, Costs(), NUMPY, limits=TIGHT).returns(ROWS[:5]) for each in (market, known))
    # the order of the last known bar fills at an open that is not known
    assert np.array_equal(whole[: T - 2], cut[: T - 2])


def test_charging_other_costs_keeps_the_limits() -> None:
    engine = Engine(history(), STRATEGY, Costs(), NUMPY, limits=TIGHT)
    dear = Costs(fee_bps=50.0)
    there = engine.charging(dear).metrics(ROWS[:5])
    pd.testing.assert_frame_equal(there, Engine(history(), STRATEGY, dear, NUMPY, limits=TIGHT).metrics(ROWS[:5]))
    assert there["limit_refusals"].sum() > 0


def test_limits_that_would_mean_nothing_are_refused_by_name() -> None:
    rule, options = STRATEGIES["tsmom_hedge"], STRATEGIES["option_hedge"]
    for market, strategy in ((history(60), rule), (market_for(options, 60), options)):
        with pytest.raises(
            InputError, match=rf"risk_limits.enabled: strategy '{strategy.name}' does not ask the limits"
        ):
            backtest(market, strategy, [{}], limits=Limits(), backend="numpy")
        backtest(market, strategy, [{}], limits=Limits(enabled=False), backend="numpy")
    with pytest.raises(
        InputError, match=r"risk_limits.correlation_common: at most 20 must hold, since there are 20 returns"
    ):
        backtest(history(21), STRATEGY, [{}], limits=Limits(), backend="numpy")
    backtest(history(21), STRATEGY, [{}], limits=Limits(correlation_cut=0.0), backend="numpy")
    with pytest.raises(TypeError, match=r"asks bar\.limited once a bar, got 0 times"):
        tried(history(60), TIGHT, step=step_unasked)


def test_a_portfolios_rule_asks_after_its_hedge_and_orders_what_is_left() -> None:
    market = history()
    bare = {"sizing": "off", "regime": "off", "trailing_exit": "off", "agreement": "off", "rebalance_bars": 5}
    rows = pd.DataFrame(
        [{**bare, "hedge": "off", "hedge_strength": 0.0}, {**bare, "hedge": "inverse", "hedge_strength": 1.0}]
    )
    limits = replace(TIGHT, pyramiding=True, correlation_cut=0.0, direction_limit=0.4)
    free, held = (Engine(market, PORTFOLIO, Costs(), NUMPY, limits=each).run(rows).metrics for each in (None, limits))
    assert (free["limit_cuts"] == 0.0).all()
    assert (held["limit_cuts"] > 0.0).all()
    # a book of three equal weights is cut to what the limit on longs leaves; prices may move it a little beyond
    assert free["exposure"].iloc[0] > 0.8
    assert held["exposure"].iloc[0] < 0.45
