"""Market data is refused whole, each mistake named; what passes is exactly what was given."""

from __future__ import annotations

from datetime import date, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kernels.errors import InputError
from kernels.market import Market
from kernels.market_calendar import calendar_of
from kernels.market_check import describe

DATA = Path(__file__).parents[1] / ".." / "shared" / "data"


def long_table(days: int = 6, tickers: tuple[str, ...] = ("BTC", "ETH")) -> pd.DataFrame:
    """Rows of a small sound market, ticker after ticker; row 1 is BTC on 2020-01-01."""
    frames = []
    for i, ticker in enumerate(tickers):
        close = 100.0 * (i + 1) + np.arange(days)
        columns = {"open": close - 0.5, "high": close + 1, "low": close - 1, "close": close, "volume": 10.0 + close}
        stamps = pd.date_range("2020-01-01", periods=days, tz="UTC")
        frames.append(pd.DataFrame({"timestamp": stamps, "symbol": ticker, **columns}))
    return pd.concat(frames, ignore_index=True)


def with_cell(column: str, value: Any, row: int = 3) -> pd.DataFrame:
    frame = long_table()
    if isinstance(value, str):
        frame[column] = frame[column].astype(object)
    frame.loc[row - 1, column] = value
    return frame


def refusal(frame: pd.DataFrame, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        Market.from_frame(frame, name="prices.csv", **options)
    assert all(problem.startswith("prices.csv: ") for problem in caught.value.problems)
    return str(caught.value)


# ---- refusals of a table: what is broken, and what the message must say

BROKEN_CELLS = {
    "text": (with_cell("close", "n/a"), ["'close'", "'n/a'", "row 3", "BTC", "2020-01-03", "not text"]),
    "a word among volumes": (with_cell("volume", "many", 8), ["'volume'", "'many'", "row 8", "ETH", "2020-01-02"]),
    "NaN": (with_cell("close", np.nan), ["'close' is nan for BTC at 2020-01-03"]),
    "infinite": (with_cell("high", np.inf), ["'high' is inf for BTC at 2020-01-03"]),
    "zero": (with_cell("close", 0.0), ["'close' is 0 for BTC at 2020-01-03", "prices are above 0"]),
    "negative": (with_cell("open", -3.0, 9), ["'open' is -3 for ETH at 2020-01-03", "prices are above 0"]),
    "negative volume": (with_cell("volume", -1.0), ["'volume' is -1 for BTC at 2020-01-03", "0 or more"]),
    "high below close": (with_cell("high", 101.0), ["'high' is 101 for BTC at 2020-01-03"]),
    "low above open": (with_cell("low", 101.9), ["'low' is 101.9 for BTC at 2020-01-03"]),
    "no time": (with_cell("timestamp", pd.NaT), ["'timestamp' is NaT in row 3"]),
    "no symbol": (with_cell("symbol", None), ["'symbol' is empty in row 3"]),
}


@pytest.mark.parametrize("kind", BROKEN_CELLS)
def test_a_broken_cell_is_named_with_column_row_and_value(kind: str) -> None:
    frame, expected = BROKEN_CELLS[kind]
    message = refusal(frame)
    for words in expected:
        assert words in message


@pytest.mark.parametrize("column", ["timestamp", "symbol", "close"])
def test_a_missing_column_is_named_with_the_near_one(column: str) -> None:
    message = refusal(long_table().rename(columns={column: column + "_"}))
    assert f"column '{column}'" in message
    assert f"did you mean '{column}_'" in message


def test_high_without_low_is_incomplete() -> None:
    assert "column 'low' is missing beside 'open' and 'high'" in refusal(long_table().drop(columns="low"))


def test_one_column_twice_is_ambiguous() -> None:
    frame = long_table()
    frame["Close"] = frame["close"]
    assert "column 'close' is there more than once" in refusal(frame)


def test_no_rows_and_one_bar_are_too_few() -> None:
    assert "no rows" in refusal(long_table().iloc[:0])
    assert "one bar only (2020-01-01)" in refusal(long_table(days=1))


def test_duplicate_rows_are_counted() -> None:
    frame = long_table()
    message = refusal(pd.concat([frame.iloc[:3], frame.iloc[2:]]))
    assert "BTC has more than one row for 2020-01-03 (1 duplicate row in the file)" in message


def test_unsorted_rows_are_named() -> None:
    message = refusal(long_table().iloc[[0, 2, 1, *range(3, 12)]])
    assert "timestamps of BTC must increase, got 2020-01-02 after 2020-01-03" in message


def test_mixed_time_zones_are_refused_with_both_values() -> None:
    frame = long_table()
    text = [stamp.isoformat() for stamp in frame["timestamp"]]
    text[4] = text[4].replace("+00:00", "+02:00")
    message = refusal(frame.assign(timestamp=text))
    assert "mixes time zones: 2020-01-01T00:00:00+00:00 in row 1, 2020-01-05T00:00:00+02:00 in row 5" in message


def test_mixed_time_zones_of_python_datetimes_are_refused() -> None:
    frame = long_table()
    stamps = [stamp.to_pydatetime() for stamp in frame["timestamp"]]
    stamps[4] = stamps[4].astimezone(timezone(timedelta(hours=9)))
    assert "mixes time zones" in refusal(frame.assign(timestamp=pd.Series(stamps, dtype=object)))


@pytest.mark.parametrize("value", ["03/01/2020", "soon", ""])
def test_a_date_that_is_not_iso_is_refused(value: str) -> None:
    text = [str(stamp.date()) for stamp in long_table()["timestamp"]]
    text[2] = value
    assert f"'timestamp' is {value!r} in row 3" in refusal(long_table().assign(timestamp=text))


def test_times_as_numbers_are_refused() -> None:
    assert "'timestamp' is 0 in row 1" in refusal(long_table().assign(timestamp=np.arange(12)))


def test_a_late_listing_is_refused_with_both_ways_out() -> None:
    message = refusal(long_table().drop(index=[6, 7]))
    assert "ETH lacks 2 of 6 bars that other tickers have, the first at 2020-01-01" in message
    assert "listed at 2020-01-03" in message
    assert "market.before_listing: flat" in message


@pytest.mark.parametrize("policy", ["refuse", "flat"])
def test_a_hole_in_one_ticker_is_refused_under_every_listing_policy(policy: str) -> None:
    message = refusal(long_table().drop(index=[8, 9]), before_listing=policy)
    assert "ETH lacks 2 of 6 bars that other tickers have, the first at 2020-01-03" in message


def test_a_price_that_never_moves_is_refused() -> None:
    frame = long_table()
    frame.loc[frame["symbol"] == "ETH", ["open", "high", "low", "close"]] = 5.0
    assert "close never moves for ETH (always 5)" in refusal(frame)


def test_a_gap_is_named_with_its_policy() -> None:
    frame = long_table(days=30)
    day = frame["timestamp"].dt.day
    message = refusal(frame[(day < 10) | (day > 12)])
    assert "1 gap in the common time axis, 3 bars missing" in message
    assert "the first of 3 bars between 2020-01-09 and 2020-01-13" in message
    assert "market.gaps: keep" in message
    assert Market.from_frame(frame[(day < 10) | (day > 12)], gaps="keep").n_bars == 27


def test_unknown_twice_and_no_tickers_are_refused() -> None:
    message = refusal(long_table(), tickers=["BTCC", "ETH", "ETH"])
    assert "no ticker BTCC; did you mean BTC?" in message
    assert "ETH is asked for 2 times" in message
    assert "empty list" in refusal(long_table(), tickers=[])


def test_a_window_without_bars_says_what_the_file_covers() -> None:
    assert "covers 2020-01-01 to 2020-01-06" in refusal(long_table(), start="2021-01-01")
    assert "start <= end must hold" in refusal(long_table(), start="2020-01-05", end="2020-01-02")
    assert "start is 'soon'" in refusal(long_table(), start="soon")


def test_every_mistake_is_listed_at_once_and_a_thousand_alike_only_counted() -> None:
    frame = long_table(days=1000)
    frame.loc[frame["symbol"] == "BTC", "close"] = 0.0
    frame.loc[5, "volume"] = -1.0
    message = refusal(frame.drop(index=1500))
    assert "'close' is 0 for BTC at 2020-01-01 (and in 999 more rows)" in message
    assert "'volume' is -1" in message
    assert "ETH lacks 1 of 1000 bars" in message
    assert len(message.splitlines()) < 10


def test_many_misaligned_tickers_are_capped() -> None:
    tickers = tuple(f"T{i}" for i in range(50))
    frame = long_table(tickers=tickers)
    message = refusal(frame[~((frame["timestamp"].dt.day == 3) & (frame["symbol"] != "T0"))])
    assert "44 more tickers lack bars" in message


# ---- what is understood


def test_a_table_becomes_the_market_it_describes() -> None:
    frame = long_table()
    market = Market.from_frame(frame.sample(frac=1, random_state=0).sort_values("timestamp", kind="stable"))
    assert sorted(market.tickers) == ["BTC", "ETH"]
    for name in ("open", "high", "low", "close", "volume"):
        wide = frame.pivot_table(index="timestamp", columns="symbol", values=name)[list(market.tickers)]
        np.testing.assert_array_equal(getattr(market, name), wide.to_numpy())


def test_tickers_come_as_asked_and_otherwise_as_they_first_appear() -> None:
    frame = long_table(tickers=("ZEC", "BTC", "ETH"))
    assert Market.from_frame(frame).tickers == ("ZEC", "BTC", "ETH")
    assert Market.from_frame(frame, tickers=["ETH", "ZEC"]).tickers == ("ETH", "ZEC")


@pytest.mark.parametrize(
    "spelling",
    [
        lambda frame: frame.rename(columns={"timestamp": "Date", "symbol": "Ticker", "close": "Close"}),
        lambda frame: frame.set_index("timestamp"),
        lambda frame: frame.set_index("timestamp", drop=False),
        lambda frame: frame.set_index(["timestamp", "symbol"]),
        lambda frame: frame.assign(symbol=frame["symbol"].astype("category")),
        lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
        lambda frame: frame.sort_values(["timestamp", "symbol"]),
        lambda frame: frame.assign(timestamp=frame["timestamp"].dt.tz_localize(None)),
        lambda frame: frame.assign(timestamp=frame["timestamp"].dt.tz_convert("America/New_York")),
        lambda frame: frame.assign(timestamp=frame["timestamp"].dt.as_unit("ns")),
        lambda frame: frame.assign(timestamp=frame["timestamp"].dt.as_unit("s")),
        lambda frame: frame.assign(timestamp=[str(stamp.date()) for stamp in frame["timestamp"]]),
        lambda frame: frame.assign(timestamp=[stamp.date() for stamp in frame["timestamp"]]),
        lambda frame: frame.assign(timestamp=[stamp.isoformat() for stamp in frame["timestamp"]]),
        lambda frame: frame.assign(volume=frame["volume"].astype("Int64"), note="x"),
    ],
)
def test_spellings_of_the_same_table_are_one_market(spelling: Any) -> None:
    assert Market.from_frame(spelling(long_table())).digest == Market.from_frame(long_table()).digest


def test_a_late_listing_can_be_held_flat_at_its_first_open() -> None:
    market = Market.from_frame(long_table().drop(index=[6, 7]), before_listing="flat")
    for name in ("open", "high", "low", "close"):
        np.testing.assert_array_equal(getattr(market, name)[:2, 1], 201.5)
    assert market.volume is not None
    np.testing.assert_array_equal(market.volume[:3, 1], [0.0, 0.0, 212.0])


def test_start_and_end_are_included_and_a_date_is_its_whole_day() -> None:
    hours = pd.date_range("2020-01-01", periods=72, freq="h")
    frame = pd.DataFrame({"timestamp": hours, "symbol": "BTC", "close": 1.0 + np.arange(72)})
    market = Market.from_frame(frame, start="2020-01-02", end=date(2020, 1, 2))
    assert (market.close[0, 0], market.close[-1, 0], market.n_bars) == (25.0, 48.0, 24)
    assert Market.from_frame(frame, end="2020-01-01T05:00").n_bars == 6


def test_mistakes_outside_the_wanted_rows_do_not_matter() -> None:
    assert Market.from_frame(with_cell("close", 0.0), tickers=["ETH"]).n_assets == 1
    assert Market.from_frame(with_cell("close", 0.0), start="2020-01-04").n_bars == 3


# ---- the calendar


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        (pd.date_range("2020-01-01", periods=400), 365),
        (pd.bdate_range("2020-01-01", periods=400), 252),
        (pd.date_range("2020-01-01", periods=4000, freq="h"), 8760),
        (pd.date_range("2020-01-01", periods=1000, freq="4h"), 2190),
        (pd.date_range("2020-01-01", periods=100, freq="W"), 52),
        (pd.date_range("2020-01-01", periods=60, freq="MS"), 12),
        (pd.date_range("2020-01-01", periods=20, freq="QS"), 4),
        ([d + pd.Timedelta(hours=h) for d in pd.bdate_range("2020-01-01", periods=60) for h in range(14, 21)], 252 * 7),
    ],
)
def test_bars_per_year_follow_from_the_timestamps(stamps: Any, expected: float) -> None:
    calendar = calendar_of(pd.DatetimeIndex(stamps).to_numpy())
    assert calendar.bars_per_year == expected
    assert calendar.gaps == ()


def test_weekends_and_a_closed_week_are_no_gap_but_a_fortnight_is() -> None:
    days = pd.bdate_range("2001-08-01", "2001-12-31")
    closed = days[(days < "2001-09-11") | (days > "2001-09-14")]  # New York, September 2001
    assert calendar_of(closed.to_numpy()).gaps == ()
    (gap,) = calendar_of(days[(days < "2001-09-11") | (days > "2001-09-24")].to_numpy()).gaps
    assert gap.missing == 10


@given(missing=st.sets(st.integers(1, 998), max_size=40))
def test_round_the_clock_every_missing_bar_is_counted(missing: set[int]) -> None:
    hours = np.datetime64("2020-01-01T00") + np.arange(1000)
    calendar = calendar_of(np.delete(hours, sorted(missing)))
    assert sum(gap.missing for gap in calendar.gaps) == len(missing)
    assert calendar.bars_per_year == 8760


# ---- the market itself

shapes = st.tuples(st.integers(2, 6), st.integers(1, 3))


@given(data=st.data(), shape=shapes)
def test_a_market_keeps_what_it_is_given_and_its_digest_names_every_number(
    data: st.DataObject, shape: tuple[int, int]
) -> None:
    prices = data.draw(hnp.arrays(np.float64, shape, elements=st.floats(0.01, 1e6)))
    tickers = tuple("ABC"[: shape[1]])
    stamps = np.datetime64("2020-01-01") + np.arange(shape[0])
    market = Market(tickers, stamps, prices)
    np.testing.assert_array_equal(market.close, prices)
    assert Market(tickers, stamps, prices.copy()).digest == market.digest
    t, a = data.draw(st.tuples(st.integers(0, shape[0] - 1), st.integers(0, shape[1] - 1)))
    other = prices.copy()
    other[t, a] = np.nextafter(other[t, a], np.inf)
    assert Market(tickers, stamps, other).digest != market.digest


@given(data=st.data(), shape=shapes, bad=st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -1.0]))
def test_no_bad_price_gets_into_a_market(data: st.DataObject, shape: tuple[int, int], bad: float) -> None:
    name = data.draw(st.sampled_from(["open", "high", "low", "close"]))
    arrays = {key: np.full(shape, 10.0) for key in ("open", "high", "low", "close")}
    t, a = data.draw(st.tuples(st.integers(0, shape[0] - 1), st.integers(0, shape[1] - 1)))
    arrays[name][t, a] = bad
    stamps = np.datetime64("2020-01-01") + np.arange(shape[0])
    with pytest.raises(InputError, match=f"'{name}' is .* for {'ABC'[a]} at {stamps[t]}"):
        Market(tuple("ABC"[: shape[1]]), stamps, **arrays)


PRICE = np.array([[1.0, 2.0], [1.5, 2.5]])
DAYS = np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[D]")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"close": PRICE[:, 0]}, r"close has shape \(2,\); 2 timestamps and 2 tickers make \(2, 2\)"),
        ({"volume": PRICE[:1]}, r"volume has shape \(1, 2\)"),
        ({"close": [["a", "b"]]}, "close must be numbers"),
        ({"tickers": ("BTC", "BTC")}, "tickers must be unique, got BTC"),
        ({"tickers": (), "close": np.empty((2, 0))}, "no tickers"),
        ({"timestamps": DAYS[:1], "close": PRICE[:1]}, "at least 2 bars"),
        ({"timestamps": DAYS[::-1]}, "must strictly increase, got 2020-01-01 after 2020-01-02"),
        ({"timestamps": DAYS[[0, 0]]}, "must strictly increase"),
        ({"timestamps": ["soon", "later"]}, "timestamps must be dates"),
        ({"timestamps": [0, 1]}, "timestamps must be dates, got numbers"),
        ({"timestamps": np.array(["2020-01-01", "NaT"], dtype="datetime64[us]")}, "timestamp 1 is empty"),
        ({"bars_per_year": 0}, "bars_per_year must be a number above 0, got 0"),
        ({"bars_per_year": "365"}, "bars_per_year must be a number above 0, got '365'"),
        ({"bars_per_year": np.nan}, "bars_per_year must be a number above 0, got nan"),
    ],
)
def test_a_market_that_cannot_be_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Market(**{"tickers": ("BTC", "ETH"), "timestamps": DAYS, "close": PRICE, **arguments})


def test_rounded_adjusted_prices_are_within_their_range() -> None:
    high = PRICE * (1 - 1e-7)
    assert Market(("BTC", "ETH"), DAYS, PRICE, open=PRICE, high=high, low=PRICE).n_bars == 2


# ---- what is odd


def test_a_sound_market_raises_no_suspicion() -> None:
    assert describe(Market.from_frame(long_table(days=60))).suspicions == ()


def test_everything_odd_is_told() -> None:
    frame = long_table(days=60)
    eth = frame["symbol"] == "ETH"
    early = eth & (frame["timestamp"] < "2020-01-11")
    frame.loc[early, ["open", "high", "low", "close"]] = 50.0
    frame.loc[early, "volume"] = 0.0
    frame.loc[59, "volume"] = 0.1
    found = {s.kind: s for s in describe(Market.from_frame(frame, bars_per_year=252)).suspicions}
    assert set(found) == {"flat", "jump", "no_volume", "no_range", "unfinished", "bars_per_year"}
    assert (found["flat"].tickers, found["flat"].bars) == (("ETH",), 10)
    assert "2020-01-01 to 2020-01-10" in found["flat"].text
    assert "+320% at 2020-01-11" in found["jump"].text
    assert found["unfinished"].tickers == ("BTC",)


def test_closes_only_and_one_asset_under_two_names_are_told() -> None:
    frame = long_table(days=60)[["timestamp", "symbol", "close"]]
    copy = frame[frame["symbol"] == "BTC"].assign(symbol="XBT")
    kinds = {s.kind: s.tickers for s in describe(Market.from_frame(pd.concat([frame, copy]))).suspicions}
    assert kinds == {"closes_only": ("BTC", "ETH", "XBT"), "twin": ("BTC", "XBT")}


# ---- real data


def real(file: str) -> pd.DataFrame:
    if not (DATA / file).exists():
        pytest.skip(f"../shared/data/{file} is absent")
    return pd.read_parquet(DATA / file)


def test_crypto8_is_padded_before_listing_and_unfinished_at_the_end() -> None:
    market = Market.from_frame(real("crypto8_daily.parquet"))
    assert (market.n_bars, market.n_assets, market.bars_per_year) == (2192, 8, 365.0)
    suspicions = describe(market).suspicions
    assert {s.tickers[0] for s in suspicions if s.kind == "flat"} == {"SOL", "AVAX"}
    assert [s.tickers for s in suspicions if s.kind == "unfinished"] == [market.tickers]


def test_the_outages_of_hourly_crypto_are_found() -> None:
    frame = real("crypto_hourly.parquet")
    assert "15 gaps in the common time axis, 32 bars missing" in refusal(frame)
    market = Market.from_frame(frame, gaps="keep")
    assert (market.n_bars, market.bars_per_year) == (52576, 8760.0)


def test_a_stock_listed_late_is_held_flat_when_asked() -> None:
    frame = real("equities_daily.parquet")
    assert "META lacks 95 of 3680 bars" in refusal(frame)
    market = Market.from_frame(frame, before_listing="flat")
    assert (market.bars_per_year, market.calendar.gaps) == (252.0, ())
