"""The long book of a market: what is refused, that it knows no later bar than the prices do, that it is part of the data."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from book_rule import STRATEGY, book_of
from histories import history
from hypothesis import given
from hypothesis import strategies as st

from kernels import Costs, Market, Plane
from kernels.errors import InputError
from kernels.long_book import LongBook
from kernels.planes import PlaneStore
from kernels.strategy_check import check

WHOLE = history(300, 3)
OTHER = replace(history(100, 1, seed=3), timestamps=WHOLE.timestamps[0] + np.arange(100) * np.timedelta64(3, "D"))


def booked(**changes: Any) -> Market:
    """A market with a book of everything; its volatility begins at bar 40, the second market has a bar in three days."""
    implied = np.where(np.arange(300) < 40, np.nan, 0.2 + 0.1 * np.sin(np.arange(300) / 9.0))
    whole: dict[str, Any] = {"weights": (0.5, 0.0, -0.2), "hedge_asset": "X1", "frames": ("bar", "1w")}
    return replace(WHOLE, book=LongBook(**(whole | {"implied": implied, "beside": OTHER} | changes)))


def planes(market: Market) -> dict[str, np.ndarray]:
    return dict(PlaneStore(market, STRATEGY, Costs()).shared)


# ---- the book of a market


def implied(bar: int, value: float) -> np.ndarray:
    found = np.full(300, 0.2)
    found[bar] = value
    return found


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"weights": (0.5, 0.5)}, "book.weights: one weight per ticker is needed, got 2 for 3 tickers"),
        ({"weights": (0.5, np.nan, np.inf)}, "book.weights: weights must be finite, got X1 nan, X2 inf"),
        ({"weights": (0.0, -0.0, 0.0)}, "book.weights: all weights are 0, which is no book"),
        ({"weights": (0.1, 0.2, -0.3)}, "book.weights: their sum must not be 0, got X0 0.1, X1 0.2, X2 -0.3"),
        (
            {"weights": ("half", 0.2, 0.3)},
            "book.weights: numbers are needed, could not convert string to float: 'half'",
        ),
        ({"hedge_asset": "SPY"}, "book.hedge_asset: a ticker of the market is needed, got 'SPY'; it has X0, X1, X2"),
        ({"frames": ("1d",)}, "book.frames: '1d' is as long as another frame; bars of 1 day allow bar, 4x, 1w"),
        ({"frames": ("bar", "1h")}, "book.frames: unknown frame '1h'; bars of 1 day allow bar, 4x, 1w"),
        ({"frames": ("bar", "bar")}, "book.frames: 'bar' is there twice; keep one"),
        ({"frames": ()}, "book.frames: at least one is needed, got none"),
        ({"implied": np.full(299, 0.2)}, "book.volatility: one value per bar is needed, got shape (299,) for 300 bars"),
        ({"implied": implied(7, 0.0)}, "above 0 once it is known, got 0 at 2020-01-08; correct the row"),
        ({"implied": implied(7, np.nan)}, "above 0 once it is known, got nan at 2020-01-08"),
        ({"beside": history(300, 2)}, "book.beside: a second market of one ticker is needed, got X0, X1; name one"),
    ],
)
def test_a_book_that_does_not_fit_its_market_is_refused_in_one_sentence(change: dict[str, Any], answer: str) -> None:
    with pytest.raises(InputError) as caught:
        booked(**change)
    (problem,) = caught.value.problems
    assert answer in problem


def test_everything_wrong_with_a_book_is_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        booked(weights=(1.0,), hedge_asset="SPY", frames=("2w", "4h"), implied=implied(0, -1.0))
    assert len(caught.value.problems) == 5


def test_frames_finer_than_the_bar_are_refused() -> None:
    weeks = WHOLE.timestamps[0] + np.arange(300) * np.timedelta64(7, "D")
    with pytest.raises(InputError, match=r"book.frames: '1d' is finer than the bar; bars of 7 days allow bar, 4x"):
        replace(WHOLE, timestamps=weeks, book=LongBook(frames=("bar", "1d")))


def test_the_hedge_asset_is_the_first_ticker_where_none_is_named() -> None:
    assert book_of(booked()).hedge_column(WHOLE.tickers) == 1
    assert LongBook().hedge_column(WHOLE.tickers) == 0


@given(bar=st.integers(60, 300))
def test_a_market_cut_at_any_bar_has_the_book_of_what_was_known_then(bar: int) -> None:
    whole = booked()
    known = whole.until(bar)
    cut, kept = book_of(known), book_of(whole)
    assert (cut.weights, cut.hedge_asset, cut.frames) == (kept.weights, kept.hedge_asset, kept.frames)
    np.testing.assert_array_equal(cut.implied, kept.implied[:bar])  # type: ignore[index]
    assert cut.beside is not None
    over = known.timestamps[-1] + known.calendar.step
    assert cut.beside.timestamps[-1] + OTHER.calendar.step <= over
    assert (
        cut.beside.n_bars == len(OTHER.timestamps) or OTHER.timestamps[cut.beside.n_bars] + OTHER.calendar.step > over
    )


@given(bar=st.integers(100, 299))
def test_no_plane_of_a_book_changes_when_what_came_later_is_cut_off(bar: int) -> None:
    later, known = planes(booked()), planes(booked().until(bar))
    for name in (plane.name for plane in STRATEGY.planes):
        np.testing.assert_array_equal(later[name][:, :bar], known[name], err_msg=name)


def test_a_second_market_that_is_not_there_yet_cannot_be_cut_with_the_book() -> None:
    with pytest.raises(
        InputError, match=r"book.beside: two bars of X0 must be over at 2020-01-05, .* got 1; it begins on"
    ):
        booked().until(5)


def test_a_book_of_other_weights_or_volatility_is_other_data() -> None:
    others: list[dict[str, Any]] = [
        {},
        {"weights": (0.5, 0.0, -0.1)},
        {"weights": None},
        {"hedge_asset": "X0"},
        {"frames": None},
        {"implied": implied(7, 0.21)},
        {"implied": None},
        {"beside": OTHER.until(90)},
        {"beside": None},
    ]
    digests = [booked(**each).digest for each in others]
    assert len({*digests, WHOLE.digest}) == len(others) + 1
    assert booked().digest == booked(weights=[0.5, -0.0, -0.2]).digest == booked().until(300).digest
    assert book_of(booked()).digest == book_of(pickle.loads(pickle.dumps(booked()))).digest  # as workers get it


def test_prices_without_a_book_have_the_digest_that_they_always_had() -> None:
    two = Market(("A",), np.array(["2020-01-01", "2020-01-02"], "datetime64[us]"), np.array([[1.0], [2.0]]))
    assert two.digest == "f81edd7667a3564692aadc6a82170f67cdaacac6ad5d0b22e500f562257645aa"


def test_a_users_plane_that_looks_ahead_in_the_volatility_is_found() -> None:
    check(STRATEGY)

    def tomorrow(market: Market) -> np.ndarray:
        found = book_of(market).implied
        assert found is not None
        return np.append(found[1:], found[-1])

    ahead = [Plane("nervous", tomorrow) if plane.name == "nervous" else plane for plane in STRATEGY.planes]
    with pytest.raises(InputError, match="plane 'nervous' looks ahead"):
        check(replace(STRATEGY, planes=tuple(ahead)))
