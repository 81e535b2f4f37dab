"""The risk limits: the worked examples of their page, the rule, what they never do, and eight threads on one book."""

from __future__ import annotations

import logging
import math
import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_risk import PlainRisk

from benchmarks import risk_limits as benchmark
from benchmarks.risk_soak import ANSWERS, KINDS, closes, hourly, soak, symbols, together
from kernels import InputError
from kernels.risk_limits import Decision, RiskLimits, final_size
from kernels.risk_rule import correlation_multiplier, exposure_multiplier
from kernels.risk_settings import Limits
from kernels.trace import Graph, Symbol

ROOMY = Limits(symbol_limit=1.0, direction_limit=1.0, regime_limit=1.0)


def pair(rho: float, bars: int = 101, seed: int = 0) -> dict[str, np.ndarray]:
    """Closes of A and B whose last `bars - 1` log returns correlate by exactly `rho`."""
    random = np.random.default_rng(seed).normal(size=(bars - 1, 2))
    random -= random.mean(axis=0)
    unit, _ = np.linalg.qr(random)
    moves = {"A": unit[:, 0], "B": rho * unit[:, 0] + math.sqrt(1.0 - rho * rho) * unit[:, 1]}
    return {name: 100.0 * np.exp(np.concatenate([[0.0], np.cumsum(0.1 * x)])) for name, x in moves.items()}


def book(limits: Limits, **closes: np.ndarray) -> RiskLimits:
    """A book with 100 of equity."""
    made = RiskLimits(limits, equity=100.0)
    if closes:
        made.update_prices(hourly(len(next(iter(closes.values())))), closes)
    return made


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
            for book in (ours, plain):
                book.update_prices(pd.DatetimeIndex(hourly(80)[rows]), {names[i]: prices[rows, i]})
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


# ---- what never happens


@pytest.mark.parametrize(("exposure", "pyramiding"), KINDS)
def test_random_orders_never_exceed_a_limit_and_are_never_enlarged(exposure: str, pyramiding: bool) -> None:
    """The benchmark does it a million times; the referee of benchmarks/risk_soak.py raises where a limit is broken."""
    with benchmark.unlogged():
        done = soak(5_000, 17, Limits(exposure=exposure, pyramiding=pyramiding), count=30)  # type: ignore[arg-type]
    assert sum(done.answers.values()) == 5_000
    assert min(done.answers[kind] for kind in ANSWERS) > 10


def test_the_referee_sees_a_broken_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernels.risk_limits.exposure_multiplier", lambda limit, exposure, size: 0.9)
    with benchmark.unlogged(), pytest.raises(AssertionError):
        soak(2_000, 17, Limits(correlation_cut=0.0))


FRACTIONS = st.floats(0.0, 1.0)


@given(FRACTIONS, FRACTIONS, st.floats(-2.0, 2.0), st.floats(1e-6, 2.0))
def test_a_looser_limit_never_leaves_less_and_a_larger_exposure_never_more(
    tight: float, loose: float, exposure: float, size: float
) -> None:
    tight, loose = sorted((tight, loose))
    assert exposure_multiplier(tight, exposure, size) <= exposure_multiplier(loose, exposure, size)
    assert exposure_multiplier(tight, exposure + 0.1, size) <= exposure_multiplier(tight, exposure, size)
    left = exposure_multiplier(tight, exposure, size)
    assert left == 0.0 or exposure + left * size <= tight + 1e-15  # one rounding of numbers below 2


@given(st.permutations(range(6)), st.integers(0, 1000))
def test_permuting_symbols_permutes_answers(order: list[int], seed: int) -> None:
    prices, names = closes(120, 7, seed), symbols(7)
    seen = []
    for places in (list(range(6)), order):
        limits = book(ROOMY)
        for i in places:
            limits.update_prices(hourly(120), {names[i]: prices[:, i]})
            limits.open(names[i], ("long", "short")[i % 2], 3.0 + 0.1 * i)
        limits.update_prices(hourly(120), {names[6]: prices[:, 6]})
        decision = limits.check(names[6], "long", 90.0)
        seen.append((decision.allowed, decision.multiplier, set(decision.reasons)))
    assert seen[0] == seen[1]


def test_no_prices_of_the_future_are_needed_and_levels_do_not_matter() -> None:
    both = pair(0.92)
    for scale in (1.0, 1e-6, 1e6):
        limits = book(ROOMY, A=both["A"], B=scale * both["B"])
        limits.open("A", "long", 10.0)
        assert limits.check("B", "long", 10.0).reasons == ("correlation_A_0.92_reduced_0.53",)


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


# ---- bad input


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"symbol_limit": -0.1}, "risk_limits.symbol_limit: a share of equity of 0 or more must hold, got -0.1"),
        ({"direction_limit": math.nan}, "risk_limits.direction_limit: a share of equity of 0 or more"),
        ({"regime_limit": 1.5}, "risk_limits.regime_limit: at most 1 must hold where leverage is not allowed, got 1.5"),
        ({"correlation_limit": 1.0}, "risk_limits.correlation_limit: from 0 to below 1"),
        ({"correlation_cut": 1.1}, "risk_limits.correlation_cut: from 0 to 1"),
        ({"correlation_lookback": 2.5}, "risk_limits.correlation_lookback: a whole number of 3 or more"),
        ({"correlation_lookback": 20}, "correlation_common <= correlation_lookback must hold"),
        ({"exposure": "sideways"}, "risk_limits.exposure: choose one of net, gross, got 'sideways'"),
        ({"on_unknown": "guess"}, "risk_limits.on_unknown: choose one of cap, ignore"),
        ({"enabled": "false"}, "risk_limits.enabled: give true or false, got 'false'"),
    ],
)
def test_settings_out_of_bounds_are_refused_by_name(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as refused:
        Limits(**change)  # type: ignore[arg-type]
    assert words in str(refused.value)


def test_every_mistake_in_the_settings_is_told_at_once() -> None:
    with pytest.raises(InputError) as refused:
        Limits(symbol_limit=-1.0, direction_limit=2.0, exposure="x", correlation_cut=-1.0)  # type: ignore[arg-type]
    assert len(refused.value.problems) == 4
    assert Limits(symbol_limit=2.0, allow_leverage=True).symbol_limit == 2.0


@pytest.mark.parametrize(
    ("stamps", "values", "words"),
    [
        ("2026-01-01T00:00", 5.0, "prices of A: out of order, 2026-01-01 after 2026-01-05 04:00"),
        ("2026-01-05T04:00", 5.0, "prices of A: duplicate timestamp 2026-01-05 04:00; send each bar once"),
        (["2026-02-02", "2026-02-01"], [5.0, 5.0], "prices of A: out of order, 2026-02-01 after 2026-02-02"),
        (["2026-02-02", "2026-02-02"], [5.0, 5.0], "prices of A: duplicate timestamp 2026-02-02"),
        ("2026-02-01", 0.0, "prices of A: a close is finite and above 0, got 0 at 2026-02-01"),
        ("2026-02-01", math.nan, "prices of A: a close is finite and above 0, got nan"),
        ("2026-02-01", "dear", "prices of A: closes are numbers, got 'dear'"),
        (["2026-02-01", "2026-02-02"], 5.0, "prices of A: one close per timestamp, got 1 closes and 2 timestamps"),
        (1_700_000_000, 5.0, "a timestamp is a date and a time, not the number 1700000000"),
        ("one day", 5.0, "update_prices: not a timestamp"),
        (None, 5.0, "update_prices: a timestamp is missing"),
    ],
)
def test_prices_that_cannot_be_are_refused_and_nothing_is_taken(stamps: object, values: object, words: str) -> None:
    limits, untouched = book(ROOMY, **pair(0.92)), book(ROOMY, **pair(0.92))
    with pytest.raises(InputError) as refused:
        limits.update_prices(stamps, {"NEW": np.full(np.size(values), 3.0), "A": values})
    assert words in str(refused.value)
    for made in (limits, untouched):
        made.update_prices("2026-03-01", {"NEW": 3.0})
        made.open("A", "long", 10.0)
    assert limits.check("B", "long", 10.0) == untouched.check("B", "long", 10.0)
    assert limits.check("NEW", "long", 10.0) == untouched.check("NEW", "long", 10.0)


def test_time_zones_are_one_time() -> None:
    limits = book(ROOMY)
    limits.update_prices(pd.Timestamp("2026-01-01 12:00", tz="Europe/Berlin"), {"A": 5.0})
    with pytest.raises(InputError, match="duplicate timestamp 2026-01-01 11:00"):
        limits.update_prices("2026-01-01T11:00", {"A": 5.0})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("C",), "close: no position in 'C' is open; open: A, B"),
        (("A", "short"), "close: 'A' is held long, not short"),
        (("B",), "close: 'B' is held long and short; say which side"),
        (("A", "long", 11.0), "close: 10.00 long of 'A' is held, got 11.00"),
        (("A", "long", -1.0), "close: the notional of 'A' is a finite amount above 0, got -1.0"),
        (("A", "buy"), "side of 'A': choose one of long, short, got 'buy'"),
    ],
)
def test_closing_what_is_not_held_is_refused(arguments: tuple[str], words: str) -> None:
    limits = book(ROOMY)
    for name, side in (("A", "long"), ("B", "long"), ("B", "short")):
        limits.open(name, side, 10.0)
    before = limits.stats()
    with pytest.raises(InputError) as refused:
        limits.close(*arguments)
    assert words in str(refused.value)
    assert limits.stats() == before


def test_names_that_are_none_are_refused() -> None:
    limits = book(ROOMY)
    for arguments, words in (
        (("", "long", 1.0), "symbol: give its name"),
        (("A", "buy", 1.0), "side of 'A': choose one of long, short"),
        (("A", "long", 1.0, 7), "regime of 'A': give its name"),
    ):
        for asked in (limits.check, limits.open, limits.check_and_open):
            with pytest.raises(InputError, match=words):
                asked(*arguments)
    with pytest.raises(InputError, match="open: the notional of 'A' is a finite amount above 0"):
        limits.open("A", "long", math.nan)
    assert limits.stats().open_positions == 0


# ---- the book


def test_fills_in_pieces_are_one_position_and_parts_of_it_close_in_all_its_regimes() -> None:
    limits = book(ROOMY)
    limits.open("A", "long", 30.0, "bull")
    limits.open("A", "long", 10.0, "bear")
    assert limits.stats().open_positions == 1
    limits.close("A", notional=20.0)
    assert limits.stats().regime_exposures == pytest.approx({"bull": 0.15, "bear": 0.05})
    limits.mark("A", "long", 40.0)
    assert limits.stats().regime_exposures == pytest.approx({"bull": 0.30, "bear": 0.10})
    for _ in range(3):
        limits.close("A", notional=40.0 / 3.0)
    assert limits.stats().open_positions == 0
    assert limits.stats().regime_exposures == {}


def test_stats_say_what_the_limits_see() -> None:
    limits = book(replace(ROOMY, direction_limit=0.5), **pair(0.92))
    limits.open("A", "long", 20.0, "bull")
    limits.open("A", "short", 5.0)
    limits.open("B", "long", 10.0, "bear")
    limits.open("NEW", "short", 15.0, "bear")
    limits.check("C", "long", 30.0)
    limits.check("C", "long", 300.0)
    seen = limits.stats()
    assert seen.enabled
    assert (seen.open_positions, seen.blocked_trades, seen.reduced_trades) == (4, 1, 1)
    assert (seen.total_exposure, seen.long_exposure, seen.short_exposure) == pytest.approx((0.5, 0.3, 0.2))
    assert seen.max_correlation == pytest.approx(0.92)
    assert seen.unknown_correlations == 3  # NEW beside each of the others
    assert seen.symbol_exposures == pytest.approx({"A": 0.15, "B": 0.1, "NEW": -0.15})
    assert seen.regime_exposures == pytest.approx({"bull": 0.2, "bear": 0.25})
    limits.update_equity(0.0)
    assert math.isnan(limits.stats().total_exposure)


def test_every_refusal_and_reduction_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    limits = book(Limits())
    with caplog.at_level(logging.INFO):
        limits.check("A", "long", 10.0)
        limits.check("A", "long", 40.0, "bull")
        limits.check_and_open("A\n[PORTFOLIO_RISK] forged", "short", 1e6)
    assert caplog.messages == [
        "[PORTFOLIO_RISK] reduced symbol='A' side=long notional=40.0 equity=100.0 regime='bull' multiplier=0.6250 "
        "reasons=['symbol_exposure_reduced_0.62']",
        "[PORTFOLIO_RISK] refused symbol='A\\n[PORTFOLIO_RISK] forged' side=short notional=1000000.0 equity=100.0 "
        "regime=None multiplier=0.0000 reasons=['symbol_exposure_limit_exceeded']",
    ]


# ---- threads


def test_eight_threads_on_one_book_add_up_and_keep_every_limit() -> None:
    with benchmark.unlogged():
        done = together(2_400, 3, Limits(exposure="gross", pyramiding=True))
    assert sum(done.answers.values()) == 2_400
    assert min(done.answers[kind] for kind in ANSWERS) > 10


def test_room_is_given_once_where_it_is_asked_and_taken_in_one_step() -> None:
    """Eight threads ask for the same 20 % of one symbol at once: without the step, all would be told yes."""
    limits = RiskLimits(Limits(symbol_limit=0.25, pyramiding=True), equity=100.0)
    gate, sent = threading.Barrier(8), []

    def trade() -> None:
        gate.wait()
        decision = limits.check_and_open("A", "long", 20.0)
        sent.append(20.0 * decision.multiplier)

    assert all(limits.check("A", "long", 20.0) for _ in range(8))  # to ask takes nothing
    workers = [threading.Thread(target=trade) for _ in range(8)]
    with benchmark.unlogged():
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert sorted(sent)[:6] == [0.0] * 6
    assert math.fsum(sent) == pytest.approx(25.0)


# ---- the benchmark


def test_what_is_timed_is_fifty_positions_and_every_kind_of_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "ROUNDS", 40)
    monkeypatch.setattr(benchmark, "ORDERS", 400)
    made, _ = benchmark.market()
    assert benchmark.book(benchmark.ROOMY, made).stats().open_positions == 50
    asked = {row[0]: row[3:] for row in benchmark.asked(made).rows}
    assert asked["nothing binds"] == ("40", "0", "0")
    assert asked["three limits on exposure bind"] == asked["too close to all 50: 50 reasons"] == ("0", "40", "0")
    for table in (benchmark.told(made), benchmark.soaked(made)):
        assert all(len(row) == len(table.columns) for row in table.rows)
