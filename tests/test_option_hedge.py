"""option_hedge means what its page says: theory of hedging errors and costs, identities, and known failures excluded."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from histories import market_for, options_on
from running import NUMPY, run

from kernels import STRATEGIES, Costs, InputError, backtest, paths
from kernels.backends import choose, why_not
from kernels.blocks import SUMS, Blocks, BlockStatistics, BlockSums
from kernels.engine import Engine, switched_off
from kernels.launch import Backend
from kernels.market import FloatArray
from kernels.metrics import aggregate, metrics
from kernels.option_market import PER_PATH, Contract, OptionMarket, gbm
from kernels.strategies.option_hedge import EDGE, Rule, step

STRATEGY = STRATEGIES["option_hedge"]
FREE = Costs(fee_bps=0.0, slippage_bps=0.0)
CHARGED = Costs(fee_bps=5.0, slippage_bps=0.0)
S0, SIGMA = 100.0, 0.2
FAST = "numpy" if why_not("numba") else "numba"


def market(scenarios: int = 200, bars: int = 31, step_days: float = 1.0, **how: Any) -> OptionMarket:
    """One 30-day cycle at a time; drift = rate unless said otherwise."""
    contract = how.pop("contract", Contract(tenor_days=30.0))
    how = {"seed": 3, "volatility": SIGMA, "rate": 0.03} | how
    how.setdefault("drift", how["rate"])
    return gbm(("X",), scenarios=scenarios, bars=bars, step_days=step_days, contract=contract, spot=S0, **how)


def sums(history: OptionMarket, rows: list[dict[str, Any]], costs: Costs = FREE) -> dict[str, FloatArray]:
    """Every sum of the block statistics over all blocks, (S, C) each."""
    defaults = {p.name: p.default for p in STRATEGY.parameters}
    table = pd.DataFrame([defaults | row for row in rows], dtype=object)
    # nothing is declared off, so that one compiled kernel serves all tests
    values = Engine(history, STRATEGY, costs, choose(FAST).backend).run(table).statistics.compose()
    return {name: value.reshape(history.n_scenarios, len(rows)) for name, value in values.items()}


def profit(history: OptionMarket, rows: list[dict[str, Any]], costs: Costs = FREE) -> FloatArray:
    """Sum of the bar returns, (S, C): the profit of a unit of exposure over K_0."""
    return sums(history, rows, costs)["r1"]


def returns(history: OptionMarket, row: dict[str, Any], costs: Costs = FREE, scenario: int = 0) -> FloatArray:
    """(T - 1,) bar returns of one configuration on one path."""
    rows = pd.DataFrame([row], dtype=object)
    engine = Engine(history, STRATEGY, costs, NUMPY, switched_off(STRATEGY, rows))
    found: FloatArray = engine.paths(rows, scenario).returns[:, 0]
    return found


# ---- the theory of hedging errors and costs


@pytest.mark.parametrize("kind", ["call", "put", "straddle"])
def test_hedging_at_the_true_volatility_earns_nothing_on_average(kind: str) -> None:
    """Zero cost, all of the delta, drift = rate: every traded value is a martingale after discounting, so is the book."""
    history = market(4000, contract=Contract(kind, tenor_days=30.0), dividend_yield=0.01)
    earned = profit(history, [{}, {"rebalance_days": 5.0}, {"gamma_hedge_ratio": 1.0}, {"hedge_ratio": 0.5}])
    error = earned.std(axis=0, ddof=1) / np.sqrt(len(earned))
    assert (np.abs(earned.mean(axis=0)) < 3.0 * error).all()
    assert (error < 5e-4).all()  # of the underlier's price: the claim is sharp


@pytest.fixture(scope="module")
def fine() -> OptionMarket:
    """4000 paths of 240 bars of three hours, at rate zero, an option at the money."""
    return market(4000, 241, 0.125, rate=0.0)


REBALANCES = np.array([240, 120, 60, 30])


@pytest.fixture(scope="module")
def rebalanced(fine: OptionMarket) -> dict[str, FloatArray]:
    return sums(fine, [{"rebalance_days": 30.0 / n} for n in REBALANCES], CHARGED)


def test_the_hedging_error_is_that_of_theory(fine: OptionMarket) -> None:
    """sqrt(pi/4) vega sigma / sqrt(n): Derman and Kamal (1999), "When you cannot hedge continuously"."""
    error = profit(fine, [{"rebalance_days": 30.0 / n} for n in REBALANCES]).std(axis=0, ddof=1)
    theory = np.sqrt(np.pi / 4) * fine.vega[0, 0, 0] * SIGMA / np.sqrt(REBALANCES) / S0
    # The theory integrates 1/sqrt(time left); a sum over n bars misses zeta(1/2) / (pi sqrt(2) / 2) / sqrt(n) = 0.66 / sqrt(n)
    # of that variance, 0.33 / sqrt(n) of the deviation. Sampling: with the errors' kurtosis near 5 a deviation of 4000 paths
    # has a standard error of sqrt(4 / (4 * 4000)) = 1.6 %.
    tolerance = 0.33 / np.sqrt(REBALANCES) + 3 * 0.016
    assert (np.abs(error / theory - 1.0) < tolerance).all(), error / theory


def test_doubling_the_rebalances_divides_the_error_by_root_two(fine: OptionMarket) -> None:
    error = profit(fine, [{"rebalance_days": 30.0 / n} for n in REBALANCES]).std(axis=0, ddof=1)
    # the bias above, at n = 30 and 60: 0.33 (1/sqrt(30) - 1/sqrt(60)) = 1.8 %; two deviations of the same paths: 2 * 1.6 %
    np.testing.assert_allclose(error[1:] / error[:-1], np.sqrt(2.0), rtol=0.018 + 2 * 0.016)


def test_the_cost_of_rebalancing_grows_like_the_root_of_its_number(rebalanced: dict[str, FloatArray]) -> None:
    """Leland (1985): E sum |change of N| S = sqrt(2/pi) sigma sqrt(dt) sum E(S^2 Gamma), and S^2 Gamma is a martingale.

    Entering costs the same for all n, so differences of costs are compared: C(n) = entry + leave + b sqrt(n).
    """
    # E|change of N| is that of a small step except for the last few, which are 1/n of the cost: 2 / 120 of a difference
    cost = rebalanced["cost"]
    ours, others = cost[:, 0] - cost[:, 1], cost[:, 1] - cost[:, 2]
    error = (ours - np.sqrt(2.0) * others).std(ddof=1) / np.sqrt(len(cost))
    assert ours.mean() == pytest.approx(np.sqrt(2.0) * others.mean(), abs=3.0 * error + 2 / 120 * ours.mean())
    # at the money and rate zero S^2 Gamma is S phi(0) / (sigma sqrt(tenor)) on average, to (sigma sqrt(tenor))^2 / 8
    slope = CHARGED.fractions["fee"] * np.sqrt(2.0 / np.pi) / np.sqrt(2.0 * np.pi)
    assert (ours + others).mean() / (np.sqrt(240) - np.sqrt(60)) == pytest.approx(slope, rel=2 / 60)


def test_a_second_option_makes_the_error_smaller() -> None:
    error = profit(market(1000), [{"gamma_hedge_ratio": x} for x in (None, 0.25, 0.5, 0.75)]).std(axis=0)
    assert (np.diff(error) < 0.0).all()
    assert error[3] < 0.4 * error[0]


# ---- identities


@pytest.mark.parametrize("side", ["sell", "buy"])
@pytest.mark.parametrize("spread", [0.0, 0.03])
def test_without_a_hedge_there_is_the_naked_option_alone(side: str, spread: float) -> None:
    """Two cycles: premium in, payoff out, cash at the rate; the mark is inside every bar's return."""
    history = market(20, 61, contract=Contract("put", side, 30.0, 1.02))
    growth = np.exp(history.rate / 365.0)
    for scenario in range(20):
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


@pytest.mark.parametrize("law", ["linear", "square_root"])
def test_with_impact_a_larger_book_has_a_worse_sharpe(law: Any) -> None:
    coefficient = {"linear": 1e-9, "square_root": 1.0}[law]
    impact = Costs(fee_bps=0.0, slippage_bps=0.0, impact=law, impact_coefficient=coefficient, capital=1e6, adv=1e7)
    # sold dearer than true, so that there is a Sharpe to lose
    history = market(50, 91, implied_volatility=0.25)
    sharpe = backtest(history, STRATEGY, [{"exposure": x} for x in (0.1, 0.5, 1.0, 2.0, 3.0)], costs=impact).metrics[
        "sharpe"
    ]
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


def test_cost_never_improves_the_profit_of_a_path() -> None:
    """For decisions that do not look at costs (all but the Whalley-Wilmott band), at any prefix of any path."""
    history = market(40, 61, contract=Contract("straddle", tenor_days=30.0, moneyness=0.97))
    rows = [{}, {"band": 0.05}, {"band": 0.1, "trade_to": "edge"}, {"gamma_hedge_ratio": 0.5}, {"hedge_ratio": 0.0}]
    ladder = [
        FREE,
        CHARGED,
        replace(CHARGED, slippage_bps=20.0),
        replace(CHARGED, slippage_bps=20.0, option_spread=0.02),
    ]
    ladder.append(replace(ladder[-1], impact="square_root", impact_coefficient=1.0))
    earned = [profit(history, rows, costs) for costs in ladder]
    for cheaper, dearer in pairwise(earned):
        assert (dearer <= cheaper + 1e-14).all()
    for row in rows:
        along = [np.cumsum(returns(history, row, costs)) for costs in (FREE, ladder[-1])]
        assert (along[1] <= along[0] + 1e-14).all()


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


# ---- rules


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
        return got.statistics.values.reshape(len(SUMS), -1, 3, len(rows))  # noqa: PD011 - an array

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
    shape = (len(SUMS), -1, 5, 4)
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


def test_a_quantile_beside_an_infinite_ratio_is_a_number_of_a_path() -> None:
    """A path without a losing bar has an infinite profit factor, and so may its neighbours in rank."""
    blocks = Blocks(np.array([1, 3]), np.datetime64("2024-01-01", "us") + np.arange(3) * np.timedelta64(1, "D"))
    start = np.array([leaf.start for leaf in BlockSums()])
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


# ---- failures of earlier systems


def test_the_cost_is_in_the_environment_and_cannot_be_searched() -> None:
    assert not {p.name for p in STRATEGY.parameters} & {f.name for f in fields(Costs)}


def test_what_the_first_bar_costs_is_in_the_return_and_in_the_cost() -> None:
    """The book begins on a bar that has no return; what it trades there must not be lost."""
    history = market(20, 31)
    free, charged = sums(history, [{"hedge_ratio": 1.0}]), sums(history, [{"hedge_ratio": 1.0}], CHARGED)
    # at rate 0.03 what was paid early would have earned interest: 0.03 * 30 / 365 = 0.25 % of the cost at most
    np.testing.assert_allclose(free["r1"] - charged["r1"], charged["cost"], rtol=0.0025)
    np.testing.assert_allclose(charged["cost"], CHARGED.fractions["fee"] * charged["turnover"], rtol=1e-12)
    assert (charged["turnover"] > history.delta[:, 0]).all()


def test_paths_of_the_first_scenario_are_its_returns() -> None:
    history = market(2, 31)
    got = paths(history, STRATEGY, [{"exposure": 2.0}], costs=CHARGED)
    np.testing.assert_allclose(got.returns[:, 0], returns(history, {"exposure": 2.0}, CHARGED), atol=0.0)
    assert got.values.shape == (30, 1, 1)  # noqa: PD011 - an array
