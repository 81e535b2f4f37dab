"""The drawdown guard: when it halts, how long, what it says, and that only the caller's time counts."""

from __future__ import annotations

import logging
import math
import threading
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import InputError
from kernels.drawdown_guard import DrawdownGuard
from kernels.risk_rule import drawdown_guard
from kernels.risk_settings import GuardLimits
from kernels.trace import Graph, Symbol


def at(hours: float) -> pd.Timestamp:
    """A time after midnight of a Monday, in UTC."""
    return pd.Timestamp("2026-11-16", tz="UTC") + pd.Timedelta(hours=hours)


def guard(equity: float = 100.0, **limits: Any) -> DrawdownGuard:
    made = DrawdownGuard(GuardLimits(**limits))
    made.update_equity(at(0), equity)
    return made


def test_a_loss_of_5_percent_in_a_day_halts() -> None:
    watched = guard()
    assert watched.update_equity(at(10), 95.01).allowed
    halted = watched.update_equity(at(11), 95.0)
    assert (halted.allowed, halted.multiplier, halted.reasons) == (
        False,
        0.0,
        ("daily_loss_limit_reached", "cool_down"),
    )
    assert not halted


def test_the_day_begins_with_the_last_equity_of_the_day_before() -> None:
    watched = guard()
    watched.update_equity(at(23), 97.0)
    assert watched.update_equity(at(25), 93.0).allowed  # 4.1 % of 97
    assert not watched.update_equity(at(26), 92.1)  # 5.05 %
    gapped = guard()
    assert not gapped.update_equity(at(24), 94.0)  # lost overnight


def test_a_halt_lasts_for_the_cool_down_though_the_day_is_over_and_equity_is_back() -> None:
    watched = guard()
    watched.update_equity(at(10), 94.0)
    assert watched.update_equity(at(11), 100.0).reasons == ("cool_down",)
    assert watched.check(at(33.99)).reasons == ("cool_down",)
    assert watched.check(at(34)).allowed
    assert watched.check(at(33.99)).reasons == ("cool_down",)  # to ask registers nothing
    assert guard(cool_down_hours=0.0).update_equity(at(10), 94.0).reasons == ("daily_loss_limit_reached",)


def test_a_limit_reached_during_a_halt_begins_another_cool_down() -> None:
    watched = guard()
    watched.update_equity(at(1), 95.0)
    watched.update_equity(at(24), 91.0)
    watched.update_equity(at(24.5), 90.0)  # 5.3 % of the new day
    assert watched.check(at(25)).reasons == ("daily_loss_limit_reached", "cool_down")
    assert watched.check(at(48)).reasons == ("cool_down",)
    assert watched.check(at(48.5)).allowed


def test_a_drawdown_of_20_percent_holds_until_equity_recovers_or_a_person_restarts() -> None:
    watched = guard(daily_loss=1.0)
    for day, equity in enumerate((110.0, 100.0, 95.0, 88.0)):
        watched.update_equity(at(24 * day), equity)
    assert watched.check(at(24 * 30)).reasons == ("total_drawdown_limit_reached",)
    assert watched.update_equity(at(24 * 31), 88.5).allowed
    assert not watched.update_equity(at(24 * 32), 80.0)
    restarted = watched.restart(at(24 * 32 + 1))
    assert (restarted.allowed, restarted.reasons) == (True, ())
    assert watched.update_equity(at(24 * 33), 65.0).allowed  # of 80, which is the peak now
    assert not watched.update_equity(at(24 * 34), 64.0)


def test_five_losses_in_a_row_halt_and_are_forgotten_with_the_cool_down() -> None:
    watched = guard()
    for n in range(4):
        assert watched.record_trade(at(n), -1.0).allowed
    watched.record_trade(at(4), 0.0)  # no loss: the row is broken
    for n in range(4):
        assert watched.record_trade(at(5 + n), -1.0).allowed
    assert watched.record_trade(at(9), math.nan).reasons == ("consecutive_losses_limit_reached", "cool_down")
    assert not watched.check(at(32.9))
    assert watched.check(at(33)).allowed
    assert watched.record_trade(at(33), -1.0).warnings == ()


def test_warnings_come_at_80_percent_of_a_limit() -> None:
    watched = guard()
    assert watched.update_equity(at(1), 96.01).warnings == ()
    assert watched.update_equity(at(2), 96.0).warnings == ("daily_loss_warning",)
    for n in range(4):
        warned = watched.record_trade(at(3 + n), -1.0)
    assert warned.warnings == ("daily_loss_warning", "consecutive_losses_warning")
    assert warned.allowed
    slow = guard()
    for day, equity in enumerate((100.0, 96.0, 92.0, 88.0, 84.5, 84.0)):
        now = slow.update_equity(at(24 * day), equity)
    assert now.warnings == ("total_drawdown_warning",)


@pytest.mark.parametrize("equity", [math.nan, math.inf, 0.0, -5.0, None, "much"])
def test_without_a_sound_equity_nothing_is_allowed(equity: float) -> None:
    assert DrawdownGuard().check(at(0)).reasons == ("invalid_equity",)
    watched = guard()
    assert watched.update_equity(at(1), equity).reasons == ("invalid_equity",)
    assert watched.update_equity(at(2), 96.0).allowed
    assert not watched.update_equity(at(3), 95.0)  # of the equity before the bad one


def test_time_is_the_callers_and_never_goes_back() -> None:
    watched = DrawdownGuard()
    watched.update_equity("1999-01-01T00:00", 100.0)
    watched.update_equity("1999-01-01T00:00", 99.0)  # many things happen at once
    with pytest.raises(InputError, match="timestamps never go back, got 1998-12-31 after 1999-01-01"):
        watched.record_trade("1998-12-31", -1.0)
    with pytest.raises(InputError, match="not the number 5"):
        watched.check(5)
    with pytest.raises(InputError, match="give one timestamp, got 2"):
        watched.check(["1999-01-02", "1999-01-03"])
    assert watched.check("1999-01-01T00:00").allowed


def test_settings_out_of_bounds_are_refused_by_name() -> None:
    with pytest.raises(InputError) as refused:
        GuardLimits(daily_loss=0.0, drawdown=1.5, losses=0, cool_down_hours=-1.0, warn_at=math.nan)
    assert {problem.split(":")[0] for problem in refused.value.problems} == {
        f"drawdown_guard.{name}" for name in ("daily_loss", "drawdown", "losses", "cool_down_hours", "warn_at")
    }


def test_halts_warnings_and_releases_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        watched = guard()
        for hour, equity in ((1, 96.0), (2, 95.9), (3, 94.0), (4, 93.0), (40, 93.0)):
            watched.update_equity(at(hour), equity)
        watched.restart(at(41))
    assert [(m.split("time=")[0], m.split("reasons=")[1]) for m in caplog.messages] == [
        ("[PORTFOLIO_RISK] drawdown guard released ", "['invalid_equity']"),
        ("[PORTFOLIO_RISK] drawdown guard warning ", "['daily_loss_warning']"),
        ("[PORTFOLIO_RISK] drawdown guard halted ", "['cool_down', 'daily_loss_limit_reached']"),
        ("[PORTFOLIO_RISK] drawdown guard released ", "['daily_loss_limit_reached', 'cool_down']"),
        ("[PORTFOLIO_RISK] drawdown guard restarted ", "[]"),
    ]


def test_the_rule_is_one_for_numbers_arrays_and_symbols() -> None:
    random = np.random.default_rng(0)
    daily, total, losses = (
        random.uniform(0.0, 0.1, 300),
        random.uniform(0.0, 0.4, 300),
        random.integers(0, 9, 300) * 1.0,
    )
    daily[0], total[1], losses[2] = np.nan, np.nan, np.nan  # not known is not allowed
    many = drawdown_guard(daily, 0.05, total, 0.2, losses, 5.0)
    one = [
        drawdown_guard(float(d), 0.05, float(t), 0.2, float(n), 5.0)
        for d, t, n in zip(daily, total, losses, strict=True)
    ]
    assert many.tolist() == one
    assert many[:3].tolist() == [0.0, 0.0, 0.0]
    assert 0.0 < many.mean() < 1.0
    graph = Graph()
    leaf = [graph.leaf("parameter", name, per_lane=True) for name in "abc"]
    assert isinstance(drawdown_guard(leaf[0], 0.05, leaf[1], 0.2, leaf[2], 5.0), Symbol)


events = st.lists(st.tuples(st.floats(0.0, 30.0), st.one_of(st.floats(50.0, 150.0), st.booleans())), max_size=30)


@given(events, st.floats(0.0, 48.0))
def test_an_allowed_order_is_below_every_limit_and_a_day_from_the_last_halt(
    happened: list[tuple[float, float | bool]], later: float
) -> None:
    watched = guard()
    now, peak, day_start, last, halted, before = 0.0, 100.0, 100.0, 100.0, -math.inf, set[str]()
    for wait, what in happened:
        if (now + wait) // 24 > now // 24:
            day_start = last
        now += wait
        if isinstance(what, bool):
            decision = watched.record_trade(at(now), -1.0 if what else 1.0)
        else:
            last, peak = what, max(peak, what)
            decision = watched.update_equity(at(now), what)
        reached = set(decision.reasons) - {"cool_down"}
        if reached - before:
            halted = now
        before = reached
        if decision:
            assert (day_start - last) / day_start < 0.05
            assert (peak - last) / peak < 0.20
            assert now - halted >= 24.0 - 1e-6  # times are kept to the microsecond
    seen = watched.check(at(now + later))
    assert seen == watched.check(at(now + later))
    assert seen.multiplier in (0.0, 1.0)


def test_threads_may_share_a_guard() -> None:
    watched, failed = guard(losses=10**6), []

    def trade() -> None:
        try:
            for _ in range(200):
                watched.record_trade(at(1), -1.0)
                watched.check(at(1))
        except BaseException as error:
            failed.append(error)

    workers = [threading.Thread(target=trade) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failed == []
    assert watched._state.losses == 1600
