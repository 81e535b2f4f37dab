"""The market of options: when cycles roll, what is marked, what is delivered, what is refused; and the book on it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from histories import history, option_history, part
from hypothesis import given, settings
from hypothesis import strategies as st
from option_draws import CONTRACTS, COSTS, RULES
from plain_option_book import book, price
from running import run

from kernels import STRATEGIES, Costs, InputError, paths
from kernels.metrics import metrics
from kernels.option_market import PER_PATH, Contract, OptionMarket, black_scholes_pricer, gbm, write_cycles
from kernels.planes import OPTION_PLANES, option_planes

STRATEGY = STRATEGIES["option_hedge"]
DAY = np.timedelta64(86_400_000_000, "us")
MONTHLY = Contract(tenor_days=30.0)


def simulated(bars: int = 61, scenarios: int = 1, contract: Contract = MONTHLY, **how: Any) -> OptionMarket:
    how = {"step_days": 1.0, "seed": 5, "rate": 0.03, "dividend_yield": 0.01} | how
    return gbm(("X",), scenarios=scenarios, bars=bars, contract=contract, **how)


def on_days(days: list[float], contract: Contract, assets: int = 1) -> OptionMarket:
    """Flat prices on bars at the given days."""
    stamps = np.datetime64("2024-01-05", "us") + (np.array(days) * 86_400e6).astype("timedelta64[us]")
    shape = (1, len(days), assets)
    pricer = black_scholes_pricer(np.full(shape, 0.2), 0.0, 0.0)
    names = tuple("XYZ"[:assets])
    return write_cycles(
        names, stamps, np.full(shape, 50.0), contract, pricer, rate=0.0, dividend_yield=0.0, bars_per_year=252.0
    )


# ---- cycles


def test_an_option_is_sold_on_the_bar_on_which_the_last_one_expires() -> None:
    market = simulated(91)
    assert np.flatnonzero(market.opens).tolist() == [0, 30, 60]
    np.testing.assert_allclose(market.tau[0, [0, 1, 29, 30, 89], 0] * 365.0, [30, 29, 1, 30, 1])
    np.testing.assert_array_equal(market.live, np.arange(91) < 90)
    for name in ("next_mark", "delta", "gamma", "vega", "tau", "strike"):
        assert getattr(market, name)[0, -1, 0] == 0.0  # nothing is owed any more


def test_marks_are_of_the_option_carried_into_the_bar_and_out_of_it() -> None:
    market = simulated(61)
    held = market.mark[0, :, 0] != market.next_mark[0, :, 0]
    assert np.flatnonzero(held).tolist() == [0, 30, 60]
    spot, strike = market.spot[0, :, 0], market.strike[0, :, 0]
    assert market.mark[0, 30, 0] == max(spot[30] - strike[29], 0.0)
    assert strike[30] == pytest.approx(spot[30] * np.exp((0.03 - 0.01) * 30 / 365), rel=1e-15)
    assert market.next_mark[0, 7, 0] == pytest.approx(
        price("call", spot[7], strike[7], 23 / 365, 0.2, 0.03, 0.01)[0], rel=1e-12
    )
    np.testing.assert_array_equal(market.capital[0, :, 0], spot[[0] * 31 + [30] * 30])


@pytest.mark.parametrize(
    ("tenor", "rolls", "left"),
    [(30.0, [0, 22, 44], 30.0), (7.0, [0, 5, 10, 15], 7.0), (8.5, [0, 6, 12, 18, 24, 29], 8.0), (5.5, [0, 4], 4.0)],
)
def test_on_trading_days_an_option_expires_on_the_last_bar_within_its_tenor(
    tenor: float, rolls: list[int], left: float
) -> None:
    """The first bar is a Monday; a weekend passes without a bar."""
    days = [d for d in range(90) if d % 7 < 5]
    market = on_days([float(d) for d in days], Contract(tenor_days=tenor))
    opened = np.flatnonzero(market.opens)
    for here, then in pairwise(opened):
        assert days[then] - days[here] <= tenor < days[then + 1] - days[here]
    assert opened[: len(rolls)].tolist() == rolls
    assert market.tau[0, 0, 0] * 365.0 == pytest.approx(left)
    assert market.step_days == 1.0


@pytest.mark.parametrize("step", [0.1, 0.7, 1 / 24, 1 / 3])
def test_a_tenor_that_is_no_whole_number_of_bars_ends_exactly_on_a_bar(step: float) -> None:
    """Else a remainder of 1e-16 years would make it a sale at a mark instead of an exercise."""
    market = simulated(int(20 / step), step_days=step, contract=Contract(tenor_days=2.99, moneyness=0.9))
    rolls = np.flatnonzero(market.opens)[1:]
    assert len(rolls) >= 5
    np.testing.assert_array_equal(market.delivered[0, rolls, 0], np.ones(len(rolls)))
    strike = market.strike[0, rolls - 1, 0]
    np.testing.assert_array_equal(market.mark[0, rolls, 0], market.spot[0, rolls, 0] - strike)


def test_a_cycle_that_the_history_cuts_off_is_bought_back_at_its_mark() -> None:
    market = simulated(51, contract=replace(MONTHLY, moneyness=0.8))
    assert np.flatnonzero(market.opens).tolist() == [0, 30]
    assert market.tau[0, 30, 0] * 365.0 == pytest.approx(30.0)  # not the 20 days that are left of the history
    assert market.delivered[0, 30, 0] == 1.0
    assert market.delivered[0, 50, 0] == 0.0
    spot, strike = market.spot[0, 50, 0], market.strike[0, 49, 0]
    assert market.mark[0, 50, 0] == pytest.approx(price("call", spot, strike, 10 / 365, 0.2, 0.03, 0.01)[0], rel=1e-12)


@pytest.mark.parametrize("step", [1.0, 0.7])
def test_a_longer_history_changes_no_option_sold_before(step: float) -> None:
    """0.7 days do not divide 30: the last bar within the tenor lies beyond the end of the shorter history."""
    long = simulated(200, step_days=step)
    volatility = long.volatility[:, :150]
    short = write_cycles(
        long.tickers,
        long.timestamps[:150],
        long.spot[:, :150],
        long.contract,
        black_scholes_pricer(volatility, 0.03, 0.01),
        rate=0.03,
        dividend_yield=0.01,
        bars_per_year=long.bars_per_year,
    )
    for name in PER_PATH:
        # an expiry beyond the end is a sum of steps: off by a rounding of 100 days, in a strike of 100
        np.testing.assert_allclose(getattr(short, name)[:, :149], getattr(long, name)[:, :149], rtol=1e-10, atol=1e-10)


def test_exercise_delivers_by_kind_and_side() -> None:
    for kind, side, moneyness, delivered in (
        ("call", "sell", 0.5, 1.0),
        ("call", "sell", 2.0, 0.0),
        ("put", "sell", 2.0, -1.0),
        ("put", "buy", 2.0, 1.0),
        ("straddle", "sell", 2.0, -1.0),
        ("straddle", "buy", 0.5, -1.0),
    ):
        market = simulated(31, contract=Contract(kind, side, moneyness=moneyness))
        assert market.delivered[0, -1, 0] == delivered, (kind, side)


def test_several_underliers_are_several_books() -> None:
    together = option_history(200, 3)
    for a in range(3):
        alone = part(together, assets=[a])
        for name in PER_PATH:
            np.testing.assert_array_equal(getattr(alone, name)[..., 0], getattr(together, name)[..., a])


def test_planes_are_the_ones_that_generated_source_counts_on() -> None:
    planes = option_planes(option_history(40), Costs())
    assert {name: array.ndim == 3 for name, array in planes.items()} == OPTION_PLANES


# ---- chance


def test_the_same_seed_is_the_same_market_whatever_is_sold() -> None:
    """Common random numbers: configurations, contracts and marks are compared on the same paths."""
    one = simulated(scenarios=4)
    assert simulated(scenarios=4).digest == one.digest
    for other in (
        simulated(scenarios=4, contract=Contract("put", "buy", 20.0, 1.1)),
        simulated(scenarios=4, implied_volatility=0.3),
    ):
        np.testing.assert_array_equal(other.spot, one.spot)
        assert other.digest != one.digest
    assert (simulated(scenarios=4, seed=6).spot[:, 1:] != one.spot[:, 1:]).all()


def test_another_process_with_another_hash_seed_draws_the_same_paths() -> None:
    code = (
        "from kernels.option_market import Contract, gbm\n"
        "print(gbm(('X',), scenarios=2, bars=40, step_days=1.0, contract=Contract(), seed=5).digest)"
    )
    made = [
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": salt}, check=True,
            capture_output=True, text=True,
        ).stdout
        for salt in ("1", "2")
    ]  # fmt: skip
    assert made[0] == made[1]


def test_paths_drift_and_vary_as_asked() -> None:
    market = simulated(31, scenarios=20_000, step_days=365 / 30, contract=Contract(tenor_days=300), drift=0.08)
    end = market.spot[:, -1, 0] / 100.0
    # E = e^(mu - q) after a year; log-deviation 0.2; 3 standard errors of 20 000 paths
    assert end.mean() == pytest.approx(np.exp(0.07), abs=3 * end.std() / np.sqrt(20_000))
    assert np.log(end).std() == pytest.approx(0.2, rel=3 / np.sqrt(2 * 20_000))


# ---- what is refused


def test_every_mistake_in_a_contract_is_named_at_once() -> None:
    with pytest.raises(InputError) as refused:
        Contract("forward", "lend", 0.5, 9.0, 0.5)
    assert str(refused.value).splitlines() == [
        "contract.kind: choose one of call, put, straddle, got 'forward'",
        "contract.side: choose sell or buy, got 'lend'",
        "contract.tenor_days: 1 <= tenor_days <= 1000 must hold, got 0.5",
        "contract.moneyness: 0.2 <= moneyness <= 5 must hold, got 9.0",
        "contract.second_tenor: 1 <= second_tenor <= 20 must hold, got 0.5",
    ]


def test_a_tenor_that_no_bar_reaches_or_that_outlives_the_history_is_refused() -> None:
    with pytest.raises(InputError, match=r"an option of 3 days expires before the next bar \(7 days on\)"):
        on_days([0.0, 7.0, 14.0], Contract(tenor_days=3.0))
    with pytest.raises(InputError, match="an option of 30 days outlives the whole history of 14 days"):
        on_days([0.0, 7.0, 14.0], Contract(tenor_days=30.0))


def test_paths_that_cannot_be_traded_on_are_refused_with_their_place() -> None:
    stamps = np.datetime64("2024-01-01", "us") + np.arange(40) * DAY
    spot, volatility = np.full((2, 40, 1), 100.0), np.full((2, 40, 1), 0.2)
    spot[1, 7, 0], volatility[0, 3, 0] = -1.0, np.nan

    def sell(stamps: Any, spot: Any, volatility: Any) -> OptionMarket:
        pricer = black_scholes_pricer(volatility, 0.0, 0.0)
        how = {"rate": 0.0, "dividend_yield": 0.0, "bars_per_year": 365.0}
        return write_cycles(("X",), stamps, spot, MONTHLY, pricer, **how)

    with pytest.raises(InputError) as refused:
        sell(stamps[::-1], spot, volatility)
    assert refused.value.problems == (
        "option market, scenario 1, bar 7, X: spot must be a number above 0, got -1",
        "option market, scenario 0, bar 3, X: volatility must be a number above 0, got nan",
        "option market: timestamps must strictly increase; sort the bars and keep one of each time",
    )
    with pytest.raises(
        InputError, match=r"spot has shape \(40, 1\); 40 timestamps and 1 tickers make \(scenarios, 40, 1\)"
    ):
        sell(stamps, spot[0], volatility)
    with pytest.raises(InputError, match="at least 2 bars are needed for a return, got 1"):
        sell(stamps[:1], spot[:1, :1], volatility[1:, :1])


def test_a_market_of_another_kind_is_refused() -> None:
    rows = pd.DataFrame([{"exposure": 1.0}])
    with pytest.raises(
        InputError, match="'option_hedge': it trades an OptionMarket, this is a Market; take a market of"
    ):
        run(history(60), STRATEGY, rows)
    with pytest.raises(InputError, match="'tsmom_hedge': it trades a Market, this is an OptionMarket"):
        run(option_history(60), STRATEGIES["tsmom_hedge"], pd.DataFrame([{"lookback": 10}]))


# ---- the book, against plain Python


@settings(max_examples=60)
@given(rule=RULES, contract=CONTRACTS, costs=COSTS, seed=st.integers(0, 9), step=st.sampled_from([0.5, 1.0]))
def test_the_book_is_the_spreadsheets(
    rule: dict[str, Any], contract: Contract, costs: Costs, seed: int, step: float
) -> None:
    market = simulated(70, scenarios=2, contract=contract, seed=seed, step_days=step, implied_volatility=0.25)
    rows = pd.DataFrame([rule], dtype=object)
    plain = [book(market, rule, costs, scenario) for scenario in (0, 1)]
    ours = paths(market, STRATEGY, rows, costs=costs)
    # 80 bars of about ten additions of numbers up to 1e3 (shares, cash and the strike of a deep second hedge)
    np.testing.assert_allclose(ours.returns[:, 0], plain[0].returns, rtol=0.0, atol=1e-10)
    worth = ours.values[:, 0, 0]  # noqa: PD011 - an array
    np.testing.assert_allclose(worth, plain[0].worth[1:], rtol=0.0, atol=1e-10 * 100.0)
    found = run(market, STRATEGY, rows, costs=costs).statistics
    sums = found.compose()
    each = metrics(found, market.bars_per_year)
    sources = ("naked_profit", "stock_profit", "second_profit", "stock_cost", "option_cost", "impact_cost")
    for name in ("cost", "turnover", "orders", *sources):
        wanted = [getattr(one, name) for one in plain]
        ours_of = each[name] if name in sources else sums[name]
        np.testing.assert_allclose(ours_of, wanted, rtol=1e-9, atol=1e-9, err_msg=name)
