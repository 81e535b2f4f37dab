"""The rules of option_hedge, one by one, and paths that know nothing of each other."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from histories import market_for, options_on
from option_runs import CHARGED, FAST, KEYS, S0, SIGMA, STRATEGY, bars, market, profit, returns, sums
from running import NUMPY, run

from kernels import InputError, backtest
from kernels.backends import choose
from kernels.blocks import SUMS, Blocks, BlockStatistics, BlockSums, sums_of
from kernels.engine import Engine, switched_off
from kernels.launch import Backend
from kernels.market import FloatArray
from kernels.metrics import aggregate, metrics
from kernels.option_market import PER_PATH, Contract, OptionMarket
from kernels.state import leaves
from kernels.strategies.option_hedge import EDGE, Rule, step

KEPT = sums_of(STRATEGY.account)

# ---- rules


def test_the_parameters_are_those_a_desk_was_promised() -> None:
    """Name, default, lowest, highest. None leaves a part out, as 0 does to the bit where a part has a weight (below)."""
    assert [(p.name, p.default, *(p.choices or (p.low, p.high))) for p in STRATEGY.parameters] == [
        ("exposure", 1.0, 0.05, 3.0),
        ("hedge_ratio", 1.0, 0.0, 1.5),
        ("rebalance_days", 1.0, 0.1, 20.0),
        ("band", 0.0, 0.0, 0.5),
        ("risk_aversion", None, 0.01, 100.0),
        ("trade_to", "centre", "centre", "edge"),
        ("delta_vol_weight", None, 0.0, 1.0),
        ("vol_window", 20, 5, 120),
        ("skew_delta", None, -1.0, 1.0),
        ("gamma_hedge_ratio", None, 0.0, 1.0),
        ("vol_target", None, 0.05, 1.0),
    ]


def test_how_often_it_rebalances_is_how_often_it_is_asked_to() -> None:
    """Two cycles of 30 days in bars of 2.4 hours, the price always near the strike, so that every rebalance trades."""
    bars = np.arange(601)
    stamps = np.datetime64("2024-01-01", "us") + bars * np.timedelta64(8640, "s")
    spot = 100.0 * np.exp(0.01 * np.sin(bars**1.5))[None, :, None]
    history = options_on(("X",), stamps, spot, np.full_like(spot, 1.0), Contract(tenor_days=30.0))
    asked = np.array([0.1, 0.2, 0.5, 1.0, 0.25, 0.35, 1.75, 7.0, 20.0])
    orders = sums(history, [{"rebalance_days": x} for x in asked])["orders"][0]
    # two rolls and the close; between them the multiples of `asked` within 30 days, counted anew from each roll
    np.testing.assert_array_equal(orders, 3 + 2 * (np.ceil(30.0 / asked - 1e-9) - 1))


def test_days_that_no_bar_ends_on_are_not_rounded_to_whole_bars() -> None:
    """1.5 days on daily bars are 20 rebalances in 30 days, not 15 (every second bar) nor 30."""
    history = market(1, 31, contract=Contract("straddle", tenor_days=30.0))
    counts = sums(history, [{"rebalance_days": x} for x in (1.0, 1.5, 2.0, 2.5, 3.0)])["orders"][0]
    np.testing.assert_array_equal(counts, [31, 21, 16, 13, 11])  # the roll, 30 / days, and the last closes


def test_a_rebalance_finer_than_the_bar_is_refused_with_the_bar_it_needs() -> None:
    daily = market(1, 31)
    sentence = "parameter 'rebalance_days': 0.1 days asks for 2.4-hour bars; this market has 1-day bars; ask for 1 days or more"
    with pytest.raises(InputError, match=sentence):
        backtest(daily, STRATEGY, [{"rebalance_days": 2.0}, {"rebalance_days": 0.1}])
    with pytest.raises(InputError, match=sentence):
        STRATEGY.check_market(daily, {"rebalance_days": (0.1, 20.0)})  # a space, before anything runs
    with pytest.raises(InputError, match=r"0\.1 days asks for 2.4-hour bars; this market has 3-hour bars"):
        STRATEGY.check_market(market(1, 300, 0.125), {"rebalance_days": (0.1, 20.0)})
    STRATEGY.check_market(market(1, 400, 0.1), {"rebalance_days": (0.1, 20.0)})
    STRATEGY.check_market(daily, {"band": (0.0, 0.5)})


def decision(bar: dict[str, float], **p: Any) -> tuple[Any, Any]:
    """One call of the rule at a bar with a share price of 100, a day after the last rebalance."""
    given = {
        "delta": 0.5,
        "gamma": 0.05,
        "second_gamma": 0.0,
        "second_delta": 0.0,
        "days": 1.0,
        "opens": 0.0,
        "band_cube": 0.0,
    }
    costs = SimpleNamespace(fee=0.001, slippage=0.0005)
    account = SimpleNamespace(shares=np.array([[bar.pop("shares")]]))
    chosen = {q.name: q.default for q in STRATEGY.parameters} | {"trade_to": 0.0} | p
    order, rule = step(
        SimpleNamespace(**(given | bar), costs=costs, account=account),
        Rule(np.array([[0.0]]), 1.0),
        SimpleNamespace(**chosen),
    )
    return order, rule


@pytest.mark.parametrize("aversion", [0.05, 1.0, 30.0])
def test_the_band_of_whalley_and_wilmott_is_their_formula(aversion: float) -> None:
    gamma, tau, rate = 0.05, 0.1, 0.03
    width = (1.5 * 0.0015 * np.exp(-rate * tau) * S0 * gamma**2 / aversion) ** (1.0 / 3.0)
    cube = {"band_cube": 1.5 * np.exp(-rate * tau) * S0 * gamma**2}
    for held, trades in (
        (0.5 - 1.001 * width, True),
        (0.5 - 0.999 * width, False),
        (0.5 + 1.001 * width, True),
        (0.5 + 0.999 * width, False),
    ):
        order, _ = decision(cube | {"shares": held}, risk_aversion=aversion, band=0.0)
        assert order.trade.item() is trades
    edge, _ = decision(cube | {"shares": 0.5 - 2.0 * width}, risk_aversion=aversion, trade_to=EDGE)
    assert edge.shares.item() == pytest.approx(0.5 - width, rel=1e-12)  # exp and log for a cube root: a few roundings


def test_the_band_plane_is_that_formula_of_every_bar() -> None:
    history = market(3, 61)
    plane = next(plane for plane in STRATEGY.planes if plane.name == "band_cube").compute(history)
    np.testing.assert_allclose(plane, 1.5 * np.exp(-0.03 * history.tau) * history.spot * history.gamma**2, rtol=1e-14)


def test_trading_to_the_edge_trades_less_than_to_the_centre() -> None:
    rows = [{"band": b, "trade_to": to} for b in (0.02, 0.05, 0.1) for to in ("centre", "edge")]
    turnover = sums(market(100, 31), rows, CHARGED)["turnover"].mean(axis=0)
    assert (turnover[1::2] < turnover[::2]).all()
    assert (np.diff(turnover[::2]) < 0.0).all()  # and a wider band trades less


def test_a_volatility_target_scales_each_cycle_by_what_was_realised_before_it() -> None:
    history, window, target = market(5, 121), 20, 0.3
    log_returns = np.diff(np.log(history.spot[:, :, 0]), axis=1)
    for scenario in range(5):
        plain, scaled = (
            returns(history, {"vol_target": v, "vol_window": window}, scenario=scenario) for v in (None, target)
        )
        for start in (0, 30, 60, 90):
            known = SIGMA if start == 0 else np.sqrt(365) * log_returns[scenario, start - window : start].std(ddof=1)
            part = slice(start, start + 30)  # returns of the bars after the roll, up to the next roll's own
            np.testing.assert_allclose(scaled[part], min(target / known, 3.0) * plain[part], atol=1e-14)
    rich, plain_rows = profit(history, [{"vol_target": 1.0}, {}]).T
    np.testing.assert_allclose(rich, 3.0 * plain_rows, rtol=0.35)  # 1.0 asks for 5 times and gets at most 3


@pytest.mark.parametrize("off", ["delta_vol_weight", "skew_delta", "gamma_hedge_ratio"])
@pytest.mark.parametrize("kind", ["call", "straddle"])
def test_a_part_at_zero_is_a_part_left_out_to_the_bit(off: str, kind: str, backend: Backend) -> None:
    """None in every row, zero in every row, and both beside numbers that others set."""
    history = market(3, 61, contract=Contract(kind, tenor_days=30.0), dividend_yield=0.01)
    base = {
        "delta_vol_weight": None,
        "skew_delta": None,
        "gamma_hedge_ratio": None,
        "vol_target": None,
        "risk_aversion": None,
    }

    def statistics(*rows: dict[str, Any]) -> FloatArray:
        got = run(history, STRATEGY, pd.DataFrame([base | row for row in rows], dtype=object), backend, CHARGED)
        return got.statistics.values.reshape(len(KEPT), -1, 3, len(rows))  # noqa: PD011 - an array

    alone = statistics({})[..., 0]
    others = {
        "delta_vol_weight": 0.5,
        "skew_delta": 0.3,
        "gamma_hedge_ratio": 0.4,
        "vol_target": 0.3,
        "risk_aversion": 1.0,
    }
    mixed = statistics({}, {off: 0.0}, others, {off: others[off]})
    np.testing.assert_array_equal(statistics({off: 0.0})[..., 0], alone)
    np.testing.assert_array_equal(mixed[..., 0], alone)
    np.testing.assert_array_equal(mixed[..., 1], alone)
    assert not np.array_equal(mixed[..., 3], alone)


# ---- scenarios


def chosen_paths(history: OptionMarket, order: list[int]) -> OptionMarket:
    return replace(history, **{name: getattr(history, name)[order] for name in PER_PATH})


def test_paths_do_not_know_each_other(backend: Backend) -> None:
    """Permuting scenarios permutes their results, and one alone gives what it gives among others, to the bit."""
    history = market_for(STRATEGY, 130, 1)
    history = chosen_paths(history, [0, 1, 1, 0, 1])
    rows = pd.DataFrame([{"rebalance_days": x, "hedge_ratio": h} for x in (0.1, 1.0) for h in (0.5, 1.0)])
    shape = (len(KEPT), -1, 5, 4)
    ours = run(history, STRATEGY, rows, backend).statistics.values.reshape(shape)  # noqa: PD011 - an array
    order = [3, 1, 4, 0, 2]
    turned = run(chosen_paths(history, order), STRATEGY, rows, backend).statistics.values  # noqa: PD011 - an array
    np.testing.assert_array_equal(turned.reshape(shape), ours[:, :, order])
    alone = run(chosen_paths(history, [2]), STRATEGY, rows, backend).statistics.values  # noqa: PD011 - an array
    np.testing.assert_array_equal(alone, ours[:, :, 2])


def test_metrics_are_of_each_path_and_then_aggregated() -> None:
    """The mean of many paths hardly falls: a drawdown taken from it would be several times too small."""
    history = market(50, 61, drift=0.03)
    row = {"hedge_ratio": 0.5}
    each = np.array([returns(history, row, CHARGED, scenario) for scenario in range(50)])
    growth = np.cumprod(1.0 + each, axis=1)
    fell = (1.0 - growth / np.maximum.accumulate(growth, axis=1)).max(axis=1)
    rows = pd.DataFrame([row])
    for how, wanted in (("median", np.median(fell)), ("mean", fell.mean()), (0.95, np.quantile(fell, 0.95))):
        engine = Engine(history, STRATEGY, CHARGED, NUMPY, switched_off(STRATEGY, rows), how)  # type: ignore[arg-type]
        assert engine.metrics(rows)["max_drawdown"].iloc[0] == pytest.approx(wanted, rel=1e-9)
    of_the_mean = np.cumprod(1.0 + each.mean(axis=0))
    averaged_first = (1.0 - of_the_mean / np.maximum.accumulate(of_the_mean)).max()
    assert averaged_first < 0.3 * np.median(fell)


def test_every_metric_is_the_median_of_its_paths_and_the_mean_path_is_another() -> None:
    """1000 independent paths: their mean moves sqrt(1000) = 32 times less than one of them, and falls as much less."""
    history, row = market(1000, 61), {"hedge_ratio": 0.5}
    rows = pd.DataFrame([{p.name: p.default for p in STRATEGY.parameters} | row], dtype=object)
    found = Engine(history, STRATEGY, CHARGED, choose(FAST).backend, searched=KEYS).run(rows)
    each = metrics(found.statistics, history.bars_per_year)
    assert len(each) == 1000
    for name, metric in STRATEGY.metrics.items():
        if metric.across is None:
            # at most one rounding of the mean of the two in the middle
            assert found.metrics[name][0] == pytest.approx(np.median(each[name]), rel=1e-15, abs=0.0), name
    mean_path = bars(history, row, CHARGED).mean(axis=1)
    growth = np.cumprod(1.0 + mean_path)
    averaged_first = {
        "max_drawdown": (1.0 - growth / np.maximum.accumulate(growth)).max(),
        "volatility": mean_path.std(ddof=1) * np.sqrt(history.bars_per_year),
    }
    for name, value in averaged_first.items():
        assert value < 0.1 * found.metrics[name][0], name


def test_a_quantile_beside_an_infinite_ratio_is_a_number_of_a_path() -> None:
    """A path without a losing bar has an infinite profit factor, and so may its neighbours in rank."""
    blocks = Blocks(np.array([1, 3]), np.datetime64("2024-01-01", "us") + np.arange(3) * np.timedelta64(1, "D"))
    start = np.array([leaf.start for leaf in leaves(BlockSums()).values()])
    sums_of = {
        1.0: {"r1": 0.02, "r2": 0.0003, "growth": 1.02},
        -1.0: {"r1": -0.01, "r2": 0.0003, "loss1": -0.02, "loss2": 0.0003},
    }
    values = np.tile(start[:, None, None], (1, 1, 4))
    for path, gain in enumerate([1.0, 1.0, 1.0, -1.0]):
        for name, value in (sums_of[gain] | {"trough": 0.99, "peak": 1.02, "drawdown": 0.0}).items():
            values[SUMS.index(name), 0, path] = value
    for share, wanted in (("median", np.inf), (0.9, np.inf), (0.0, 0.5), ("mean", np.inf)):
        got = aggregate(BlockStatistics(blocks, values), 365.0, 4, share)["profit_factor"]  # type: ignore[arg-type]
        assert got.tolist() == [wanted]


def test_every_metric_of_a_single_path_is_that_of_the_path_alone() -> None:
    history, rows = market(6, 61), [{}, {"band": 0.1}]
    together = backtest(history, STRATEGY, rows, backend="numpy")
    per_path = metrics(together.statistics, history.bars_per_year)
    for scenario in range(6):
        alone = backtest(chosen_paths(history, [scenario]), STRATEGY, rows, backend="numpy").metrics
        pd.testing.assert_frame_equal(per_path.iloc[2 * scenario : 2 * scenario + 2].reset_index(drop=True), alone)
