"""The risk limits: the worked examples of their page, and the rule, against the same rule written plainly."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_risk import ROOMY, book, pair
from plain_risk import PlainRisk
from running import agree, run, some_values

from benchmarks.risk_soak import closes, hourly, symbols
from kernels import InputError, Market, load_strategy
from kernels.launch import Backend
from kernels.risk_limits import Decision, RiskLimits, final_size
from kernels.risk_rule import correlation_multiplier, exposure_multiplier
from kernels.risk_settings import Limits
from kernels.trace import Graph, Symbol

# ---- the worked examples


@pytest.mark.parametrize(
    ("rho", "multiplier"),
    [(0.92, 0.53), (0.90, 0.67), (0.9625, 0.25), (0.99, 0.25), (1.0, 0.25), (0.85, 1.0), (0.3, 1.0)],
)
def test_an_order_too_close_to_a_position_is_cut_by_how_close(rho: float, multiplier: float) -> None:
    limits = book(ROOMY, **pair(rho))
    limits.open("A", "long", 10.0)
    decision = limits.check("B", "long", 10.0)
    assert decision.multiplier == pytest.approx(multiplier, abs=0.005)
    assert decision.reasons == ((f"correlation_A_{rho:.2f}_reduced_{multiplier:.2f}",) if multiplier < 1.0 else ())


def test_only_what_loses_together_is_cut() -> None:
    for rho, side, harmful in (
        (0.95, "long", True),
        (0.95, "short", False),
        (-0.95, "long", False),
        (-0.95, "short", True),
    ):
        limits = book(ROOMY, **pair(rho))
        limits.open("A", "long", 10.0)
        assert (limits.check("B", side, 10.0).multiplier < 1.0) is harmful


def test_a_cut_of_one_lets_a_correlation_of_one_refuse() -> None:
    limits = book(replace(ROOMY, correlation_cut=1.0), A=pair(0.0)["A"], B=pair(0.0)["A"])
    limits.open("A", "long", 10.0)
    assert limits.check("B", "long", 10.0) == Decision(False, 0.0, ("correlation_A_1.00_reduced_0.00",))
    assert limits.check("B", "short", 10.0).allowed


def test_long_and_short_of_one_symbol_count_together_where_gross() -> None:
    limits = book(Limits(exposure="gross"))
    limits.open("A", "long", 15.0)
    decision = limits.check("A", "short", 15.0)
    assert decision.multiplier == pytest.approx(10.0 / 15.0)
    assert decision.reasons == ("symbol_exposure_reduced_0.67",)


def test_a_hedge_frees_room_where_net() -> None:
    limits = book(Limits(pyramiding=True))
    limits.open("A", "long", 25.0)
    assert not limits.check("A", "long", 5.0)
    limits.open("A", "short", 15.0)
    assert limits.check("A", "long", 15.0) == Decision(True, 1.0, ())
    assert limits.check("A", "short", 35.0) == Decision(True, 1.0, ())  # 10 % long to 25 % short
    assert limits.check("A", "short", 70.0).multiplier == pytest.approx(0.5)


def test_the_direction_of_an_order_has_a_limit() -> None:
    limits = book(Limits(correlation_cut=0.0))
    for name in ("A", "B", "C"):
        limits.open(name, "long", 15.0)
    decision = limits.check("D", "long", 20.0)
    assert decision.multiplier == pytest.approx(0.75)
    assert decision.reasons == ("direction_exposure_reduced_0.75",)
    assert limits.check("D", "short", 20.0) == Decision(True, 1.0, ())


def test_a_regime_has_a_limit() -> None:
    limits = book(Limits(correlation_cut=0.0))
    limits.open("A", "long", 20.0, "TRENDING")
    limits.open("B", "short", 20.0, "TRENDING")
    decision = limits.check("C", "long", 15.0, "TRENDING")
    assert decision.multiplier == pytest.approx(10.0 / 15.0)
    assert decision.reasons == ("regime_exposure_reduced_0.67",)
    assert limits.check("C", "long", 15.0) == limits.check("C", "long", 15.0, "RANGING") == Decision(True, 1.0, ())


def test_the_chain_of_multipliers() -> None:
    wanted = final_size(20_000.0, optimiser=2.0)
    assert wanted == 40_000.0
    decision = RiskLimits(equity=100_000.0).check("BTC", "long", wanted)
    assert decision.multiplier == 0.625
    assert final_size(20_000.0, optimiser=2.0, limits=decision.multiplier) == 25_000.0
    assert final_size(20_000.0, optimiser=2.0, guard=0.0) == 0.0


def test_a_size_out_of_range_is_refused_by_name() -> None:
    with pytest.raises(InputError) as refused:
        final_size(math.nan, optimiser=2.5, guard=0.5, limits=1.1)
    assert [problem.split(":")[0] for problem in refused.value.problems] == ["base", "optimiser", "guard", "limits"]


# ---- the order of checks


def test_the_smallest_multiplier_is_the_answer_and_every_reason_is_told() -> None:
    limits = book(Limits(), **pair(0.92))
    limits.open("A", "long", 50.0, "bull")
    decision = limits.check("B", "long", 40.0)
    assert decision.reasons == (
        "symbol_exposure_reduced_0.62",
        "direction_exposure_reduced_0.25",
        "correlation_A_0.92_reduced_0.53",
    )
    assert decision.multiplier == pytest.approx(0.25)


def test_the_first_refusal_ends_it() -> None:
    limits = book(Limits(), **pair(0.92))
    limits.open("A", "long", 50.0, "bull")
    decision = limits.check("B", "long", 40.0, "bull")
    assert decision == Decision(
        False,
        0.0,
        ("symbol_exposure_reduced_0.62", "direction_exposure_reduced_0.25", "regime_exposure_limit_exceeded"),
    )
    assert not decision  # a refusal is false, so that `if decision:` cannot mistake it


def test_room_for_less_than_a_tenth_is_a_refusal() -> None:
    limits = book(Limits())
    assert limits.check("A", "long", 250.0).multiplier == pytest.approx(0.1)
    assert limits.check("A", "long", 251.0) == Decision(False, 0.0, ("symbol_exposure_limit_exceeded",))
    for name in ("B", "C"):
        limits.open(name, "long", 30.0)
    assert limits.check("A", "long", 1.0).reasons == ("direction_exposure_limit_exceeded",)


@pytest.mark.parametrize("notional", [math.nan, math.inf, -math.inf, 0.0, -5.0, None, "a lot", 10**400])
def test_an_order_without_a_size_is_refused(notional: float) -> None:
    assert book(Limits()).check("A", "long", notional) == Decision(False, 0.0, ("invalid_size",))


@pytest.mark.parametrize("equity", [math.nan, math.inf, 0.0, -100.0, None])
def test_without_equity_every_order_is_refused(equity: float) -> None:
    limits = book(Limits())
    limits.update_equity(equity)
    assert limits.check("A", "long", 1.0) == Decision(False, 0.0, ("invalid_equity",))
    assert RiskLimits().check("A", "long", 1.0).reasons == ("invalid_equity",)
    limits.update_equity(100.0)
    assert limits.check("A", "long", 1.0)


def test_amounts_beyond_all_numbers_are_refused() -> None:
    limits = RiskLimits(Limits(allow_leverage=True, symbol_limit=1e300), equity=1e-300)
    limits.open("A", "short", 1e300)
    assert limits.check("A", "long", 1e300).reasons == ("symbol_exposure_limit_exceeded",)
    limits.update_equity(1e300)
    assert limits.check("A", "long", 5e-324).reasons == ("invalid_size",)


def test_a_side_that_is_held_is_added_to_only_by_pyramiding() -> None:
    for pyramiding in (False, True):
        limits = book(Limits(pyramiding=pyramiding))
        limits.open("A", "long", 5.0)
        assert limits.check("A", "long", 5.0).allowed is pyramiding
        assert limits.check("A", "short", 5.0).allowed
    assert book(Limits()).check("A", "long", 5.0)


def test_disabled_limits_change_nothing() -> None:
    limits = book(Limits(enabled=False, symbol_limit=0.0))
    for notional in (1e9, 0.1, math.nan):
        assert limits.check("A", "long", notional) == Decision(True, 1.0, ("disabled",))
    assert limits.check("A", "long", 1.0).multiplier * (0.1 + 0.2) == 0.1 + 0.2
    assert limits.stats().blocked_trades == limits.stats().reduced_trades == 0
    assert limits.check_and_open("A", "long", 500.0).reasons == ("disabled",)
    assert limits.stats().long_exposure == 5.0


# ---- correlations


def test_unknown_correlations_are_capped_or_ignored_and_said() -> None:
    for on_unknown, multiplier, reason in (("cap", 0.25, "unknown_reduced_0.25"), ("ignore", 1.0, "unknown_ignored")):
        limits = book(replace(ROOMY, on_unknown=on_unknown), **pair(0.0, bars=30))  # 29 returns: one too few
        limits.open("A", "long", 10.0)
        for name in ("B", "NEW"):
            for side in ("long", "short"):
                assert limits.check(name, side, 10.0) == Decision(True, multiplier, (f"correlation_A_{reason}",))


def test_thirty_common_returns_are_enough() -> None:
    limits = book(ROOMY, **pair(0.92, bars=31))
    limits.open("A", "long", 10.0)
    assert limits.check("B", "long", 10.0).reasons == ("correlation_A_0.92_reduced_0.53",)


def test_prices_that_do_not_move_have_no_correlation() -> None:
    growing = 100.0 * 1.01 ** np.arange(101)  # every log return the same but for rounding
    for flat in (np.full(101, 7.0), growing):
        limits = book(ROOMY, A=flat, B=pair(0.0)["B"])
        limits.open("A", "long", 10.0)
        assert limits.check("B", "long", 10.0).reasons == ("correlation_A_unknown_reduced_0.25",)


def test_returns_are_aligned_by_timestamp() -> None:
    """A market that rests at times is compared over the same hours; positions in a list would be off by the gaps."""
    both = pair(0.9, bars=400, seed=3)
    opened = np.random.default_rng(5).random(400) < 0.6
    limits = book(ROOMY, A=both["A"])
    limits.update_prices(hourly(400)[opened], {"B": both["B"][opened]})
    limits.open("A", "long", 10.0)
    common = np.log(pd.DataFrame(both)[opened]).diff().tail(100).corr().iloc[0, 1]
    assert common > 0.86
    assert limits.check("B", "long", 10.0).multiplier == pytest.approx(
        float(correlation_multiplier(common, 0.85, 0.75))
    )
    assert limits.stats().max_correlation == 0.0
    limits.open("B", "long", 10.0)
    assert limits.stats().max_correlation == pytest.approx(common)


def test_only_the_last_returns_count() -> None:
    old, new = pair(0.0, bars=151, seed=1), pair(0.95, seed=2)
    joined = {name: np.concatenate([old[name], old[name][-1] * new[name][1:] / new[name][0]]) for name in old}
    limits = book(ROOMY, **joined)
    limits.open("A", "long", 10.0)
    assert limits.check("B", "long", 10.0).reasons == ("correlation_A_0.95_reduced_0.33",)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_closes_that_come_bar_by_bar_are_those_that_come_at_once(seed: int, pieces: int) -> None:
    prices, names = closes(140, 5, seed), symbols(5)
    whole, bits = book(ROOMY), book(ROOMY)
    whole.update_prices(hourly(140), {name: prices[:, i] for i, name in enumerate(names)})
    edges = np.linspace(0, 140, pieces + 1).astype(int)
    for start, end in pairwise(edges.tolist()):
        for i in np.random.default_rng(start).permutation(5):  # symbol by symbol, in any order
            bits.update_prices(hourly(140)[start:end], {names[i]: prices[start:end, i]})
    for limits in (whole, bits):
        for i, name in enumerate(names[:-1]):
            limits.open(name, ("long", "short")[i % 2], 10.0)
    for side in ("long", "short"):
        assert bits.check(names[-1], side, 10.0) == whole.check(names[-1], side, 10.0)
    assert bits.stats() == whole.stats()


# ---- the same as written plainly


@settings(max_examples=40)
@given(
    st.integers(0, 10_000),
    st.sampled_from(["net", "gross"]),
    st.booleans(),
    st.sampled_from(["cap", "ignore"]),
    st.sampled_from([0.0, 0.75, 1.0]),
)
def test_every_answer_is_that_of_the_rule_written_plainly(
    seed: int, exposure: str, pyramiding: bool, on_unknown: str, cut: float
) -> None:
    random = np.random.default_rng(seed)
    limits = Limits(
        exposure=exposure,  # type: ignore[arg-type]
        pyramiding=pyramiding,
        on_unknown=on_unknown,  # type: ignore[arg-type]
        correlation_cut=cut,
        correlation_lookback=40,
        correlation_limit=float(random.choice([0.5, 0.85])),
    )
    ours, plain = RiskLimits(limits, equity=1000.0), PlainRisk(limits, 1000.0)
    prices, names = closes(80, 7, seed), symbols(8)  # the last has no closes
    told = np.zeros(7, dtype=int)
    for _ in range(20):
        for i in np.flatnonzero(random.random(7) < 0.5):
            end = min(80, told[i] + int(random.integers(1, 40)))
            rows = np.flatnonzero(random.random(end - told[i]) < 0.95) + told[i]  # some bars are missing
            for told_too in (ours, plain):
                told_too.update_prices(pd.DatetimeIndex(hourly(80)[rows]), {names[i]: prices[rows, i]})
            told[i] = end
        symbol, side = names[random.integers(8)], ("long", "short")[random.integers(2)]
        wanted, regime = float(random.lognormal(4.0, 1.0)), [None, "bull", "bear"][random.integers(3)]
        allowed, multiplier, reasons = plain.check(symbol, side, wanted, regime)
        decision = ours.check(symbol, side, wanted, regime)
        assert ours.check_and_open(symbol, side, wanted, regime) == decision  # to ask has changed nothing
        assert (decision.allowed, list(decision.reasons)) == (allowed, reasons)
        assert decision.multiplier == pytest.approx(multiplier, rel=1e-9)
        if allowed:
            plain.fills.append((symbol, side, wanted * decision.multiplier, regime))
        if plain.fills and random.random() < 0.3:
            name, way, _, _ = plain.fills[random.integers(len(plain.fills))]
            ours.close(name, way)
            plain.fills = [fill for fill in plain.fills if fill[:2] != (name, way)]


# ---- one rule for numbers, arrays and symbols


def test_the_rule_on_arrays_is_the_rule_on_numbers() -> None:
    random = np.random.default_rng(0)
    limit, exposure, size = random.random(500), random.normal(size=500), random.random(500) + 0.01
    rho = random.uniform(-1.0, 1.0, 500)
    rho[::7] = np.nan
    many = exposure_multiplier(limit, exposure, size), correlation_multiplier(rho, 0.6, 0.75)
    for i in range(500):
        one = exposure_multiplier(float(limit[i]), float(exposure[i]), float(size[i]))
        assert isinstance(one, float)
        assert one == many[0][i]
        assert correlation_multiplier(float(rho[i]), 0.6, 0.75) == many[1][i]


def test_the_rule_can_be_traced() -> None:
    graph = Graph()
    leaves = [graph.leaf("parameter", name, per_lane=True) for name in ("limit", "exposure", "size")]
    assert isinstance(exposure_multiplier(*leaves), Symbol)
    assert isinstance(correlation_multiplier(*leaves), Symbol)


LIMITED = """    size = minimum(p.vol_target / bar.volatility, 2.0) + 0.01
    unknown = (size - size) / (size - size)  # NaN
    harm = where(bar.trend > 0.0, -4.0 * bar.drawdown, unknown)
    size = size * exposure_multiplier(0.6, abs(state.last), size) * correlation_multiplier(harm, 0.5, 0.75)
    size = size * drawdown_guard(-0.1 * bar.drawdown, 0.05, -bar.drawdown, 0.5, 5.5 * p.hedge_size, 5.0)
"""


def test_the_rule_means_the_same_on_every_backend(market: Market, backend: Backend) -> None:
    """A user's own strategy that is limited bar by bar; the functions are those that answer a trader."""
    text = (Path(__file__).resolve().parents[1] / "docs" / "examples" / "my_rule.py").read_text()
    line = "    size = minimum(p.vol_target / bar.volatility, 2.0)\n"
    names = "correlation_multiplier, drawdown_guard, exposure_multiplier"
    imported = "from kernels.state import per_asset\n"
    assert line in text
    assert imported in text
    limited = text.replace(line, LIMITED).replace(imported, f"from kernels.risk_rule import {names}\n{imported}")
    strategy = load_strategy("my_rule", limited, origin="my_rule.py")
    random = np.random.default_rng(4)
    rows = pd.DataFrame({p.name: some_values(p, random, 40) for p in strategy.parameters})
    meaning = run(market, strategy, rows)
    assert meaning.metrics["exposure"].nunique() > 20
    agree(run(market, strategy, rows, backend), meaning, backend)
