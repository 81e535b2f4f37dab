"""option_hedge means what its page says: identities that hold path by path, and known failures that are excluded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from option_draws import CONTRACTS, COSTS, RULES
from option_runs import CHARGED, S0, SIGMA, STRATEGY, bars, market, profit, returns, sums

from kernels import Costs, backtest, paths
from kernels.market import FloatArray
from kernels.option_market import Contract, OptionMarket


@pytest.mark.parametrize("kind", ["call", "put", "straddle"])
@pytest.mark.parametrize(("side", "spread"), [("sell", 0.03), ("buy", 0.0)])
def test_without_a_hedge_there_is_the_naked_option_alone(kind: str, side: str, spread: float) -> None:
    """Two cycles: premium in, payoff out, cash at the rate; the mark is inside every bar's return."""
    history = market(8, 61, contract=Contract(kind, side, 30.0, 1.02))
    growth = np.exp(history.rate / 365.0)
    for scenario in range(8):
        mark, sold = history.mark[scenario, :, 0], history.next_mark[scenario, :, 0]
        cash, values = 0.0, [0.0]
        for t in range(61):
            cash *= growth
            if history.opens[t] or t == 60:
                # the old option is settled: exercise pays its payoff, and costs no spread
                cash += -mark[t] + sold[t] - spread * abs(sold[t])
            values.append(cash - sold[t])
        naked = np.diff(values[1:]) / history.capital[scenario, 1:, 0]
        naked[0] += values[1] / S0  # the first bar has no return: what it paid is in the second's
        stock = Costs(fee_bps=0.0, slippage_bps=0.0, option_spread=spread)
        ours = returns(history, {"hedge_ratio": 0.0}, stock, scenario)
        # 60 bars of a few roundings of numbers near 1
        np.testing.assert_allclose(ours, naked, rtol=0.0, atol=60 * 2.0**-50)


def test_exposure_scales_returns_and_leaves_sharpe() -> None:
    """The capital base is the underlier's price at the cycle's start; were exposure in it, the scale would cancel."""
    history, sizes = market(50, 91), [0.5, 1.0, 2.0, 3.0]
    got = sums(history, [{"exposure": x} for x in sizes], CHARGED)
    np.testing.assert_array_equal(got["r1"][:, [0, 2]], got["r1"][:, [1]] * [0.5, 2.0])  # powers of two change no digit
    np.testing.assert_allclose(got["r1"][:, 3], 3.0 * got["r1"][:, 1], rtol=1e-12, atol=1e-15)
    sharpe = backtest(history, STRATEGY, [{"exposure": x} for x in sizes], costs=CHARGED).metrics["sharpe"]
    np.testing.assert_allclose(sharpe, sharpe[0], rtol=1e-9)  # a variance is a difference of sums of 90 squares
    half, one = (returns(history, {"exposure": x}, CHARGED) for x in (0.5, 1.0))
    np.testing.assert_allclose(2.0 * half, one, atol=1e-15)


@settings(max_examples=20)
@given(rule=RULES, contract=CONTRACTS, costs=COSTS, seed=st.integers(0, 9))
def test_without_impact_twice_the_exposure_is_twice_every_return(
    rule: dict[str, Any], contract: Contract, costs: Costs, seed: int
) -> None:
    """Of any rule, contract, fee and spread, on every path, to the bit: a power of two changes no digit."""
    history = market(10, 61, contract=contract, seed=seed, dividend_yield=0.01, implied_volatility=0.25)
    rule["exposure"] = min(rule["exposure"], 1.5)
    got = sums(history, [rule, rule | {"exposure": 2.0 * rule["exposure"]}], replace(costs, impact="none"))
    for name, factor in {"r1": 2.0, "r2": 4.0, "cost": 2.0, "turnover": 2.0, "orders": 1.0, "wins": 1.0}.items():
        np.testing.assert_array_equal(got[name][:, 1], factor * got[name][:, 0], err_msg=name)


@settings(max_examples=20)
@given(rule=RULES, contract=CONTRACTS, seed=st.integers(0, 9), law=st.sampled_from(["linear", "square_root"]))
def test_with_impact_each_unit_of_a_larger_book_earns_no_more(
    rule: dict[str, Any], contract: Contract, seed: int, law: Any
) -> None:
    """Of any rule on every path: impact grows faster than the trade, and no rule looks at it."""
    coefficient = {"linear": 1e-8, "square_root": 1.0}[law]
    costs = Costs(1.0, 1.0, impact=law, impact_coefficient=coefficient, capital=1e6, adv=1e7)
    history = market(10, 61, contract=contract, seed=seed)
    small, large = (sums(history, [rule | {"exposure": x}], costs) for x in (0.5, 2.0))
    per_unit = large["r1"] / 2.0 - small["r1"] / 0.5
    # 60 bars of numbers up to 1e3 (the shares of a deep second hedge), a dozen roundings each
    assert (per_unit <= 60 * 12 * 1e3 * 2.0**-52).all()
    traded = small["turnover"][:, 0] > 1e-3
    assert (per_unit[traded] < 0.0).all()


@pytest.mark.parametrize("law", ["linear", "square_root"])
@pytest.mark.parametrize("rule", [{}, {"band": 0.1, "trade_to": "edge"}, {"gamma_hedge_ratio": 0.5}])
def test_with_impact_a_larger_book_has_a_worse_sharpe(law: Any, rule: dict[str, Any]) -> None:
    coefficient = {"linear": 1e-9, "square_root": 1.0}[law]
    impact = Costs(fee_bps=0.0, slippage_bps=0.0, impact=law, impact_coefficient=coefficient, capital=1e6, adv=1e7)
    # sold dearer than true, so that there is a Sharpe to lose
    history = market(50, 91, implied_volatility=0.25)
    rows = [rule | {"exposure": x} for x in (0.1, 0.5, 1.0, 2.0, 3.0)]
    sharpe = backtest(history, STRATEGY, rows, costs=impact).metrics["sharpe"]
    assert (np.diff(sharpe) < 0.0).all()


@pytest.mark.parametrize("step_days", [1.0, 0.25])
def test_impact_follows_its_law(step_days: float) -> None:
    """A trade of x dollars costs lambda x^2 or eta sigma_day x sqrt(x / ADV): seen in a book that trades once.

    Deep in the money the hedge is bought at the start and delivered at the end; a day's volatility is a day's in bars of any
    length.
    """
    history = market(1, int(30 / step_days) + 1, step_days, contract=Contract(tenor_days=30.0, moneyness=0.5))
    exposure, capital, adv = 2.0, 5e6, 1e8
    x = exposure * capital * history.delta[0, 0, 0]
    daily = SIGMA / np.sqrt(365)
    laws: dict[Any, tuple[float, float]] = {
        "linear": (2e-9, 2e-9 * x**2),
        "square_root": (0.7, 0.7 * daily * x * np.sqrt(x / adv)),
    }
    for law, (coefficient, paid) in laws.items():
        costs = Costs(0.0, 0.0, impact=law, impact_coefficient=coefficient, capital=capital, adv=adv)
        got = sums(history, [{"exposure": exposure, "band": 0.5}], costs)
        assert got["cost"][0, 0] == pytest.approx(paid / capital, rel=1e-9)


MORE = st.builds(
    lambda fee, slippage, spread, impact: (fee, slippage, spread, impact),
    st.floats(0.0, 30.0),
    st.floats(0.0, 30.0),
    st.floats(0.0, 0.1),
    st.floats(0.0, 1e-7),
)


def dearer(costs: Costs, more: tuple[float, float, float, float], *, fees: bool) -> Costs:
    """The same environment with more spread and impact, and with more of the fees if `fees`."""
    fee, slippage, spread, impact = more
    spread_more = replace(
        costs, option_spread=costs.option_spread + spread, impact_coefficient=costs.impact_coefficient + impact
    )
    if not fees:
        return spread_more
    return replace(spread_more, fee_bps=costs.fee_bps + fee, slippage_bps=costs.slippage_bps + slippage)


@settings(max_examples=50)
@given(rule=RULES, contract=CONTRACTS, costs=COSTS, more=MORE, seed=st.integers(0, 9))
def test_cost_never_improves_pnl(
    rule: dict[str, Any], contract: Contract, costs: Costs, more: tuple[float, float, float, float], seed: int
) -> None:
    """Of any rule, contract and costs: no bar of no path earns more where trading is dearer.

    The trades are the same, so what was paid is gone, with its interest (the rate is not negative). One rule looks at a
    cost: the Whalley-Wilmott band is wider where fee and slippage are higher, and a trade left undone may be luck. With
    `risk_aversion` only spread and impact are raised.
    """
    history = market(10, 61, contract=contract, seed=seed, dividend_yield=0.01)
    free = bars(history, rule, costs)
    paid = bars(history, rule, dearer(costs, more, fees=rule["risk_aversion"] is None))
    # a bar is a dozen operations on numbers up to 1e3 (the shares of a deep second hedge), of up to nine units (3 x 3)
    assert (paid - free <= 12 * 1e3 * 9 * 2.0**-50).all()


def test_a_band_that_looks_at_the_fee_may_be_lucky() -> None:
    """Why the Whalley-Wilmott band is left out above: a dearer fee trades less, which on some paths earns more."""
    history, row = market(200, 61), [{"risk_aversion": 1.0}]
    cheap, dear = (sums(history, row, Costs(fee, 0.0)) for fee in (1.0, 10.0))
    assert (dear["turnover"] <= cheap["turnover"]).mean() > 0.9
    assert (dear["r1"] > cheap["r1"]).any()
    assert dear["r1"].mean() < cheap["r1"].mean()


def test_marks_are_at_put_call_parity() -> None:
    call, put = (
        market(50, 61, contract=Contract(kind, tenor_days=30.0, moneyness=0.95), dividend_yield=0.02)
        for kind in ("call", "put")
    )
    carry, discount = np.exp(-0.02 * call.tau), np.exp(-0.03 * call.tau)
    forward = np.where(call.tau > 0.0, call.spot * carry - call.strike * discount, 0.0)
    # a few roundings of numbers up to 200
    np.testing.assert_allclose(call.next_mark - put.next_mark, forward, atol=1e-12)
    np.testing.assert_array_equal(call.gamma, put.gamma)


@pytest.mark.parametrize("hedge_ratio", [0.0, 0.4, 1.0, 1.3])
def test_a_put_and_a_call_hedged_at_one_strike_earn_the_same_up_to_the_forward(hedge_ratio: float) -> None:
    """Short call less short put is a short forward; with its delta of 1 hedged by h shares, 1 - h of it is left.

    Without dividends a forward's delta never moves, so its hedge is bought once: V_call - V_put = (h - 1) (S_t - S_0 e^rt).
    """
    contracts = [Contract(kind, tenor_days=30.0, moneyness=1.03) for kind in ("call", "put")]
    call, put = (market(50, 31, contract=contract) for contract in contracts)
    difference = np.subtract(*(profit(m, [{"hedge_ratio": hedge_ratio}])[:, 0] for m in (call, put)))
    forward = (call.spot[:, -1, 0] - S0 * np.exp(0.03 * 30 / 365)) / S0
    # 30 bars of a few roundings of numbers near 1
    np.testing.assert_allclose(difference, (hedge_ratio - 1.0) * forward, atol=30 * 2.0**-48)


@settings(max_examples=25)
@given(rule=RULES, moneyness=st.floats(0.9, 1.1), side=st.sampled_from(["sell", "buy"]), seed=st.integers(0, 9))
def test_of_any_rule_a_put_and_a_call_differ_by_the_part_of_the_forward_that_is_not_hedged(
    rule: dict[str, Any], moneyness: float, side: str, seed: int
) -> None:
    """Two cycles, no costs, rate or dividends, every bar of every path: call - put = (1 - h) of what it is unhedged.

    Both have one gamma and one vega, so bands, second options and sizes are the same, and their targets are h shares apart.
    """
    call, put = (
        market(5, 61, contract=Contract(kind, side, 30.0, moneyness), seed=seed, rate=0.0) for kind in ("call", "put")
    )

    def forward(h: float) -> FloatArray:
        return np.subtract(*(bars(m, rule | {"hedge_ratio": h}) for m in (call, put)))

    # a bar is a dozen operations on numbers up to 1e3 (the shares of a deep second hedge), of up to nine units (3 x 3)
    np.testing.assert_allclose(
        forward(rule["hedge_ratio"]), (1.0 - rule["hedge_ratio"]) * forward(0.0), rtol=0.0, atol=12 * 1e3 * 9 * 2.0**-50
    )


def test_a_straddle_is_a_call_and_a_put() -> None:
    rows = [{}, {"hedge_ratio": 0.3, "rebalance_days": 4.0}, {"gamma_hedge_ratio": 0.7}, {"skew_delta": 0.2}]
    call, put, straddle = (
        profit(market(50, 61, contract=Contract(kind, tenor_days=30.0)), rows) for kind in ("call", "put", "straddle")
    )
    np.testing.assert_allclose(straddle, call + put, atol=60 * 2.0**-48)


@pytest.mark.parametrize("kind", ["call", "put", "straddle"])
def test_buying_is_the_mirror_of_selling(kind: str) -> None:
    rows = [
        {},
        {"band": 0.1, "trade_to": "edge"},
        {"gamma_hedge_ratio": 0.7},
        {"skew_delta": 0.2, "delta_vol_weight": 0.5},
    ]
    sold, bought = (profit(market(50, 61, contract=Contract(kind, side, 30.0)), rows) for side in ("sell", "buy"))
    np.testing.assert_array_equal(bought, -sold)  # every number changes its sign and nothing else


def test_exercise_delivers_the_share() -> None:
    """Deep in the money the hedge is one share from start to end: one order in, none out, its cost paid once."""
    history = market(10, 31, contract=Contract(tenor_days=30.0, moneyness=0.5), rate=0.0)
    got = sums(history, [{"band": 0.01}], CHARGED)
    np.testing.assert_array_equal(got["orders"], 1.0)
    np.testing.assert_allclose(got["turnover"], 1.0, atol=1e-12)
    np.testing.assert_allclose(got["r1"], -CHARGED.fractions["fee"], atol=1e-12)  # all that a riskless book does is pay
    worthless = sums(replaced(history, Contract(tenor_days=30.0, moneyness=1.0)), [{"hedge_ratio": 1.0}], CHARGED)
    assert (worthless["orders"] > 20).all()


def replaced(history: OptionMarket, contract: Contract) -> OptionMarket:
    """The same paths with another contract."""
    return market(history.n_scenarios, history.n_bars, history.step_days, contract=contract, rate=history.rate)


def test_a_win_is_a_cycle_that_left_the_book_richer() -> None:
    history = market(30, 61, implied_volatility=0.22)
    got = sums(history, [{"hedge_ratio": 0.0}], Costs(0.0, 0.0, option_spread=0.05))
    sold, owed = history.next_mark[:, [0, 30], 0], history.mark[:, [30, 60], 0]
    # Unhedged, a cycle wins if the premium, less half the spread and with interest, exceeds the payoff; cash of an earlier
    # cycle earns interest too: 0.03 * 30 / 365 of a few dollars, which decides nothing here
    margin = sold * 0.95 * np.exp(0.03 * 30 / 365) - owed
    assert (np.abs(margin) > 0.05).all()
    np.testing.assert_array_equal(got["wins"][:, 0], (margin > 0.0).sum(axis=1))
    np.testing.assert_array_equal(got["trades"], 2.0)


def test_paths_of_the_first_scenario_are_its_returns() -> None:
    history = market(2, 31)
    got = paths(history, STRATEGY, [{"exposure": 2.0}], costs=CHARGED)
    np.testing.assert_allclose(got.returns[:, 0], returns(history, {"exposure": 2.0}, CHARGED), atol=0.0)
    assert got.values.shape == (30, 1, 1)
