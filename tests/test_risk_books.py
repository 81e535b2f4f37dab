"""Books under risk limits: what never happens, what they say, eight threads on one of them, and the page's own program."""

from __future__ import annotations

import logging
import math
import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_risk import ROOMY, book, pair

from benchmarks import risk_limits as benchmark
from benchmarks.risk_soak import ANSWERS, KINDS, closes, hourly, soak, symbols, together
from kernels.risk_limits import RiskLimits
from kernels.risk_rule import exposure_multiplier
from kernels.risk_settings import Limits

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


# ---- the page


def test_the_program_of_the_page_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "risk_limits.md").read_text(encoding="utf-8")
    code, shown = re.search(r"```python\n(.*?)```.*?```text\n(.*?)```", page, re.DOTALL).groups()  # type: ignore[union-attr]
    with benchmark.unlogged():
        exec(code, {})
    assert capsys.readouterr().out == shown
