"""Candles of several sizes against a plain reading of the clock, and votes that know no up from down."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from histories import history
from hypothesis import given, settings
from hypothesis import strategies as st
from plane_catalogue import hourly, sessions

from kernels import InputError, Market
from kernels.frames import alignment, candles, frame_problems, frames_of, votes
from kernels.market import FloatArray

DAYS = history(260, 3, seed=5)
HOURS = hourly(DAYS)
SESSIONS = sessions(DAYS)
GAPS = replace(HOURS.until(200), timestamps=HOURS.timestamps[np.random.default_rng(2).random(260) < 0.8][:200])


def mirrored(market: Market) -> Market:
    """What a short of it is to a long: prices upside down, volumes as they were."""
    assert market.open is not None
    assert market.high is not None
    assert market.low is not None
    return replace(
        market, open=1.0 / market.open, high=1.0 / market.low, low=1.0 / market.high, close=1.0 / market.close
    )


def plainly(market: Market, frame: str, step: timedelta) -> list[list[int] | None]:
    """At each bar the bars of the last candle that was over by then, by the clock alone, one bar at a time."""
    stamps = [stamp.item() for stamp in market.timestamps]

    def end(stamp: datetime) -> datetime:
        midnight = stamp.replace(hour=0)
        return midnight + timedelta(days=1 if frame == "1d" else 7 - stamp.weekday())

    done: list[list[int]] = []
    now: list[int] = []
    seen: list[list[int] | None] = []
    for t, stamp in enumerate(stamps):
        if now and (len(now) == 4 if frame == "4x" else stamp >= end(stamps[now[0]])):
            done.append(now)
            now = []
        now = [*now, t]
        if len(now) == 4 if frame == "4x" else stamp + step >= end(stamp):
            done.append(now)
            now = []
        seen.append(done[-1] if done else None)
    return seen


@pytest.mark.parametrize(
    ("market", "step"),
    [(DAYS, timedelta(1)), (SESSIONS, timedelta(1)), (HOURS, timedelta(hours=1)), (GAPS, timedelta(hours=1))],
    ids=["days", "sessions", "hours", "hours with gaps"],
)
def test_a_candle_is_seen_once_it_has_closed(market: Market, step: timedelta) -> None:
    assert market.high is not None
    assert market.volume is not None
    for frame in frames_of(market.calendar.step)[1:]:
        made = candles(market, frame)
        assert made.volume is not None
        for t, inside in enumerate(plainly(market, frame, step)):
            g = made.last[t]
            if inside is None:
                assert g == -1
                continue
            assert made.close[g].tolist() == market.close[inside[-1]].tolist()
            assert made.high[g].tolist() == market.high[inside].max(axis=0).tolist()
            assert made.low[g].tolist() == market.low[inside].min(axis=0).tolist()
            assert made.open[g].tolist() == market.open[inside[0]].tolist()
            np.testing.assert_allclose(made.volume[g], market.volume[inside].sum(axis=0), rtol=1e-14)


def test_a_week_of_sessions_is_over_on_monday_and_a_week_of_days_on_sunday() -> None:
    for market, weekday in ((SESSIONS, 0), (DAYS, 6)):
        last = candles(market, "1w").last
        changes = market.timestamps[1:][np.diff(last) > 0].astype("datetime64[D]")
        on = (changes.astype(int) + 3) % 7
        assert (on == weekday).mean() > 0.8  # else Monday is a holiday
        assert set(on) <= ({0, 1} if weekday == 0 else {6})


def vote_of(r: list[float], V: list[float]) -> float:
    """One asset's vote, from the docstring's sums."""
    n = len(r)
    sigma = np.sqrt(sum(x * x for x in r) / n)
    if sigma == 0.0:
        return 0.0
    price = np.concatenate([[0.0], np.cumsum(r)])[1:]
    trend = (price[-1] - price.mean()) / (sigma * np.sqrt(sum((i / n) ** 2 for i in range(n))))
    recent = sum(r[n - n // 2 :]) / (np.sqrt(n // 2) * sigma)
    flow = sum(v * np.sign(x) for v, x in zip(V, r, strict=True))
    spread = np.sqrt(sum(v * v for v in V)) * np.sqrt(np.mean(np.sign(r) ** 2))
    parts = [trend, recent, flow / spread if spread > 0.0 else 0.0]
    return float(np.mean(np.clip(np.array(parts) / 2.0, -1.0, 1.0)))


@pytest.mark.parametrize("frame", ["bar", "4x", "1w"])
def test_votes_are_the_sums_of_their_docstring(frame: str) -> None:
    window, made = 7, candles(DAYS, frame)
    assert made.volume is not None
    ours = votes(DAYS, frame, window)
    for t in range(260):
        g = made.last[t]
        for a in range(3):
            if g < window:
                assert ours[t, a] == 0.0
                continue
            closes = made.close[g - window : g + 1, a]
            expected = vote_of(list(np.diff(np.log(closes))), list(made.volume[g - window + 1 : g + 1, a]))
            assert ours[t, a] == pytest.approx(expected, abs=1e-12)


def test_a_straight_rise_has_every_vote_and_a_still_price_none() -> None:
    rise = 100.0 * 1.01 ** np.arange(260.0)
    close = np.column_stack([rise, rise[::-1], np.full(260, 5.0)])
    market = Market(("UP", "DOWN", "STILL"), DAYS.timestamps, close, volume=np.full((260, 3), 9.0))
    for frame in frames_of(market.calendar.step):
        np.testing.assert_allclose(votes(market, frame, 10)[-1], [1.0, -1.0, 0.0])
    np.testing.assert_allclose(alignment(market, np.array([10.0, 20.0]))[:, -1], [[1.0, -1.0, 0.0]] * 2)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(2, 8), st.booleans())
def test_the_mirrored_history_has_the_mirrored_votes(seed: int, window: int, with_volume: bool) -> None:
    market = history(120, 2, seed=seed)
    market = market if with_volume else replace(market, volume=None)
    long = alignment(market, np.array([float(window)]))
    assert (abs(long) <= 1.0).all()
    # 1 / price is rounded: returns are off by 3 * 2**-53 beside calm ones of 0.02, sums of 8 by as little
    np.testing.assert_allclose(alignment(mirrored(market), np.array([float(window)])), -long, rtol=0.0, atol=1e-12)


def test_alignment_is_a_mean_with_weights_that_rise_with_the_frame() -> None:
    each: list[FloatArray] = [votes(DAYS, frame, 6) for frame in ("bar", "4x", "1w")]
    ours = alignment(DAYS, np.array([6.0]), frames=("1w", "bar", "4x"))[0]
    np.testing.assert_allclose(ours, (each[0] + 2.0 * each[1] + 3.0 * each[2]) / 6.0, atol=1e-15)
    assert np.array_equal(alignment(DAYS, np.array([9.0, 6.0]))[1], ours)


@pytest.mark.parametrize(
    ("hours", "frames"),
    [
        (1, ("bar", "4x", "1d", "1w")),
        (6, ("bar", "1d", "1w")),  # four of them are a day
        (8, ("bar", "1d", "4x", "1w")),
        (24, ("bar", "4x", "1w")),
        (48, ("bar", "1w", "4x")),
        (168, ("bar", "4x")),
    ],
)
def test_a_bars_size_says_which_frames_there_are(hours: int, frames: tuple[str, ...]) -> None:
    assert frames_of(np.timedelta64(hours, "h")) == frames


@pytest.mark.parametrize(
    ("market", "frames", "says"),
    [
        (DAYS, ["bar", "1d"], "'1d' is as long as another frame; bars of 1 day allow bar, 4x, 1w"),
        (
            replace(DAYS, timestamps=DAYS.timestamps[0] + 7 * (DAYS.timestamps - DAYS.timestamps[0])),
            ["1d"],
            "'1d' is finer than the bar; bars of 7 days allow bar, 4x",
        ),
        (HOURS, ["bar", "2h"], "unknown frame '2h'; bars of 1 hour allow bar, 4x, 1d, 1w"),
        (DAYS, [], "at least one is needed, got none"),
        (DAYS, ["4x", "4x"], "'4x' is there twice"),
        (HOURS, ["1w"], "a vote of '1w' needs frame_window + 1 = 6 completed candles, 260 bars make 2"),
    ],
)
def test_frames_that_cannot_be_are_refused_by_name(market: Market, frames: list[str], says: str) -> None:
    assert says in " ".join(frame_problems(market, frames, [5]))
    with pytest.raises(InputError) as refused:
        alignment(market, np.array([5.0]), frames)
    assert says in str(refused.value)


def test_a_stray_bar_after_the_end_of_a_day_changes_no_closed_candle() -> None:
    stamps = HOURS.timestamps.copy()
    stray = int(
        np.flatnonzero(stamps.astype("datetime64[h]").astype(int) % 24 == 0)[2]
    )  # a midnight, half an hour early
    stamps[stray] -= np.timedelta64(30, "m")
    market = replace(HOURS, timestamps=stamps)
    before = candles(market.until(stray), "1d")
    after = candles(market, "1d")
    assert np.array_equal(after.close[: before.last[-1] + 1], before.close[: before.last[-1] + 1])
    assert after.last[stray - 1] == before.last[-1]
