"""portfolio_hedge against a second implementation, written from its words in pandas: every bar's return is the same.

The second one (`benchmarks/portfolio_way.py`) shares no arithmetic with the kernels but the data and the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from histories import history

from benchmarks import portfolio_way
from kernels import Costs, Market
from kernels.account import FILLS, SMALLEST_ORDER, Fill
from kernels.backends.numpy import NumpyBackend
from kernels.book_hedge import METHODS, REGIME_SETS
from kernels.engine import Engine, switched_off
from kernels.launch import Backend
from kernels.long_book import LongBook
from kernels.market import FloatArray
from kernels.regime import REGIMES
from kernels.strategies.portfolio_hedge import STRATEGY

# A signal is a sum over at most 500 bars, good to 500 * 2**-52 = 1.1e-13 of its terms in whatever order they are added; a
# bar's return is a sum over assets of smooth functions of a dozen of them. What flips at a threshold is worth 1e-5 and
# more, and is not excused: prices without ties and thresholds that no price was made for have none at one.
AGREEMENT = 1e-11
OFF: dict[str, Any] = dict.fromkeys(("sizing", "regime", "trailing_exit", "agreement", "hedge"), "off")
ALONE: dict[str, dict[str, Any]] = {
    "nothing": {"hedge": "off"},
    "inverse volatility": {"base": "inverse_volatility", "base_window": 40},
    "sizing": {"sizing": "on", "position_cap": 0.2, "kelly_fraction": 2.0},
    "the market's regime": {"regime": "on"},
    "each asset's regime": {"regime": "on", "regime_of": "asset", "regime_window": 20, "regime_memory": 120},
    "trailing exit": {"trailing_exit": "on", "initial_stop": 0.05},
    "stages in another order": {"trailing_exit": "on", "break_even_from": 0.2, "lock_from": 0.06, "trail_from": 0.04},
    "agreement": {"agreement": "on"},
    "bands in another order": {"agreement": "on", "agreement_strong": 0.35, "agreement_fair": 0.9},
    "reduce": {"hedge": "reduce"},
    "reduce, mean correlation": {"hedge": "reduce", "exposure_measure": "mean", "hedge_exposure": 0.4},
    "cash, EWMA": {"hedge": "cash", "correlation": "ewma", "hedge_exposure": 0.6, "hedge_hysteresis": 0.3},
    "inverse": {"hedge": "inverse", "hedge_strength": 0.6},
    "inverse, unadjusted": {"hedge": "inverse", "beta_adjusted": "no", "trailing_exit": "on", "initial_stop": 0.06},
    "put": {"hedge": "put", "put_tenor": 20},
}
TRIGGERS: dict[str, dict[str, Any]] = {
    "bars": {"rebalance_bars": 9},
    "drift": {"rebalance_drift": 0.013},
    "volatility": {"rebalance_volatility": 0.35},
    "correlation": {"rebalance_correlation": 0.3},
    "drawdown": {"rebalance_drawdown": 0.08},
    "turnover": {"rebalance_bars": 2, "max_turnover": 0.07},
    "smallest trade": {"rebalance_bars": 2, "min_trade": 0.02},
}
NEVER = {f"rebalance_{name}": None for name in ("bars", "drift", "volatility", "correlation", "drawdown")}


def costs(fill: Fill) -> Costs:
    return Costs(fee_bps=4.0, slippage_bps=5.0, fill=fill, option_spread=0.02, cash_rate=0.04)


def ours(market: Market, rules: list[dict[str, Any]], charged: Costs, backend: Backend | None = None) -> FloatArray:
    """The return of every bar and configuration, (T - 1, C)."""
    table = pd.DataFrame([{**portfolio_way.DEFAULTS, **rule} for rule in rules])
    return Engine(market, STRATEGY, charged, backend or NumpyBackend(), switched_off(STRATEGY, table)).returns(table)


def apart(market: Market, rules: list[dict[str, Any]], charged: Costs, found: FloatArray) -> list[str]:
    """What is not the same, with the first bar of it."""
    told = []
    for rule, mine in zip(rules, found.T, strict=True):
        far = np.abs(mine - portfolio_way.returns(market, rule, charged))
        if not (far <= AGREEMENT).all():
            told.append(f"{rule}: {far.max():.1e}, first at bar {int(np.flatnonzero(~(far <= AGREEMENT))[0]) + 1}")
    return told


def wild(T: int = 700, A: int = 4, seed: int = 11, hours: int = 24) -> Market:
    """Prices with gaps through any stop and a crash, without a halt: a price that stands still ties with everything."""
    whole = history(T, A + 1, seed)
    columns = {n: getattr(whole, n)[:, 1:] for n in ("open", "high", "low", "close", "volume")}
    stamps = np.datetime64("2020-01-01", "us") + np.arange(T) * np.timedelta64(hours, "h")
    return Market(whole.tickers[1:], stamps, **columns)


def drawn(count: int, seed: int) -> list[dict[str, Any]]:
    """Seeded configurations: every choice, every trigger, numbers from where they matter."""
    rng = np.random.default_rng(seed)
    return [_drawn(rng) for _ in range(count)]


def _drawn(rng: np.random.Generator) -> dict[str, Any]:
    rule: dict[str, Any] = {name: str(rng.choice(["off", "on"], p=[0.3, 0.7])) for name in OFF if name != "hedge"}
    rule |= {p.name: str(rng.choice(p.choices)) for p in STRATEGY.parameters if p.choices and p.name not in OFF}
    rule |= {
        "hedge": str(rng.choice(METHODS)),
        "hedge_regimes": str(rng.choice(REGIME_SETS, p=[0.6, 0.1, 0.1, 0.1, 0.1])),
    }
    for name, low, high in (
        *(("base_window", 10, 80), ("kelly_window", 20, 120), ("kelly_least", 1, 20), ("correlation_window", 10, 90)),
        *(("regime_window", 10, 60), ("regime_memory", 60, 150), ("confirm_bars", 1, 5), ("min_bars", 0, 12)),
        *(("max_hold_bars", 5, 60), ("frame_window", 3, 12), ("beta_window", 10, 90), ("put_tenor", 5, 60)),
    ):
        rule[name] = int(rng.integers(low, high))
    for name, least, most in (
        *(("kelly_fraction", 0.2, 3.0), ("position_cap", 0.05, 0.5), ("size_min", 0.0, 0.05), ("vol_high", 0.6, 0.9)),
        *(("trend_strength", 3.0, 12.0), ("exposure_ranging", 0.3, 1.2), ("initial_stop", 0.02, 0.15)),
        *(("break_even_from", 0.01, 0.1), ("lock_from", 0.01, 0.2), ("trail_from", 0.01, 0.3), ("trail_atr", 1.0, 4.0)),
        *(("agreement_least", 0.05, 0.5), ("agreement_fair", 0.2, 0.7), ("agreement_strong", 0.3, 0.9)),
        *(("hedge_exposure", 0.03, 0.6), ("hedge_hysteresis", 0.0, 0.5), ("hedge_strength", 0.1, 1.0)),
        *(("put_moneyness", 0.8, 1.05), ("min_trade", 0.0, 0.02)),
    ):
        rule[name] = float(rng.uniform(least, most))
    for name, least, most in (
        *(("rebalance_drift", 0.01, 0.1), ("rebalance_volatility", 0.1, 0.8), ("rebalance_correlation", 0.0, 0.8)),
        *(("rebalance_drawdown", 0.02, 0.3), ("max_turnover", 0.05, 1.0)),
    ):
        rule[name] = float(rng.uniform(least, most)) if rng.random() < 0.4 else None
    rule["rebalance_bars"] = int(rng.integers(1, 20)) if rng.random() < 0.7 else None
    return rule


def with_book(market: Market, seed: int = 5) -> Market:
    """The market with a book of longs, a short and a blank, hedged with its last asset, and a volatility index."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.1, 0.4, market.n_assets)
    weights[:2] = (-0.15, 0.0)
    implied = 0.5 * np.exp(0.3 * np.cumsum(rng.standard_normal(market.n_bars)) / 10.0)
    implied[:30] = np.nan
    return replace(market, book=LongBook(tuple(weights.tolist()), market.tickers[-1], implied=implied))


def test_each_feature_and_method_alone_and_all_at_once_are_the_second_implementations(crypto8: Market) -> None:
    rules = [{**OFF, **rule} for rule in ALONE.values()]
    rules += [{"hedge": method, "position_cap": 0.3, "kelly_fraction": 2.0} for method in METHODS]
    found = ours(crypto8, rules, costs("next_open"))
    assert apart(crypto8, rules, costs("next_open"), found) == []
    matters = np.abs(found - found[:, :1]).max(axis=0)[1:]
    assert (matters > 1e-4).all(), "a case that changes nothing compares nothing"


def test_each_trigger_alone_is_the_second_implementations(crypto8: Market) -> None:
    base: Mapping[str, Any] = {**OFF, **NEVER, "regime": "on", "hedge": "reduce", "hedge_exposure": 0.7}
    rules = [{**base, **trigger} for trigger in ({}, *TRIGGERS.values())]
    found = ours(crypto8, rules, costs("next_open"))
    assert apart(crypto8, rules, costs("next_open"), found) == []
    assert (np.abs(found - found[:, :1]).max(axis=0)[1:] > 1e-4).all(), "each trigger trades"


@pytest.mark.parametrize("fill", FILLS)
def test_random_configurations_are_on_wild_prices_with_shorts_and_an_index(fill: Fill) -> None:
    rules = drawn(14, seed=FILLS.index(fill))
    for market in (wild(), with_book(wild(seed=12))):
        found = ours(market, rules, costs(fill))
        assert apart(market, rules, costs(fill), found) == []
        assert (np.abs(found).max(axis=0) > 0.0).mean() > 0.9, "nearly all of them trade"


@pytest.mark.parametrize("hours", [4, 12])
def test_they_are_on_bars_within_the_day(hours: int) -> None:
    market = wild(T=1300, hours=hours)
    rules = [rule | {"agreement": "on", "frame_window": 5} for rule in drawn(6, seed=7)]
    assert apart(market, rules, costs("next_open"), ours(market, rules, costs("next_open"))) == []


def test_cash_that_is_spent_buys_no_dust() -> None:
    """What is left of an order by the last roundings of the cash is below the smallest order, and is none."""
    market = wild(seed=12)
    more = {f"exposure_{name}": 1.5 for name in REGIMES}
    rule = {**OFF, **NEVER, **more, "regime": "on", "rebalance_bars": 3, "min_trade": 0.0}
    table = pd.DataFrame([{**portfolio_way.DEFAULTS, **rule}])
    engine = Engine(market, STRATEGY, costs("close"), NumpyBackend(), switched_off(STRATEGY, table))
    grown, before = [], np.zeros((market.n_assets, 1))
    for *_, state in engine.walk(table):
        units = state.account.units
        grown.append((units - before)[units > before])
        before = units
    bought = np.concatenate(grown)
    assert len(bought) > 100
    assert bought.min() > SMALLEST_ORDER / 2  # a difference of units is good to their rounding
