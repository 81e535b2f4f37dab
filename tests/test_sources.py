"""Where market data comes from: every file that is no market is refused in one sentence with the next step."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.config import FileMarket, Sp500Market, SyntheticMarket
from cluster.sources import load
from kernels.errors import InputError
from kernels.market_check import describe


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with one sound market as prices.parquet and prices.csv."""
    monkeypatch.chdir(tmp_path)
    close = 100.0 + np.arange(20)
    stamps = pd.date_range("2020-01-01", periods=20, tz="UTC")
    frame = pd.DataFrame({"timestamp": stamps, "symbol": "BTC", "close": close, "volume": close})
    frame.to_parquet(tmp_path / "prices.parquet")
    frame.to_csv(tmp_path / "prices.csv", index=False)
    return tmp_path


def file(path: str, **options: Any) -> FileMarket:
    source = "csv" if path.endswith(".csv") else "parquet"
    return FileMarket.model_validate({"source": source, "path": path, **options})


def refusal(market: FileMarket) -> str:
    with pytest.raises(InputError) as caught:
        load(market)
    (problem,) = caught.value.problems
    assert "\n" not in problem
    assert market.path in problem
    return problem


def test_parquet_and_csv_give_the_same_market(folder: Path) -> None:
    market = load(file("prices.parquet"))
    assert load(file("prices.csv")).digest == market.digest
    assert market.bars_per_year == 365.0


def test_home_is_expanded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert load(file("~/prices.csv")).n_bars == 20


def test_options_of_the_study_reach_the_market(folder: Path) -> None:
    market = load(file("prices.parquet", start="2020-01-03", end="2020-01-04", bars_per_year=252, tickers=["BTC"]))
    assert (market.n_bars, market.bars_per_year) == (2, 252.0)


def test_a_missing_file_names_its_neighbours_and_where_paths_start(folder: Path) -> None:
    message = refusal(file("price.parquet"))
    assert "did you mean prices.parquet" in message
    assert str(folder) in message
    assert "~" in message
    assert "folder nowhere" in refusal(file("nowhere/price.parquet"))


def test_a_folder_is_no_file(folder: Path) -> None:
    (folder / "data.csv").mkdir()
    (folder / "data.csv" / "btc.parquet").touch()
    message = refusal(file("data.csv"))
    assert "is a folder" in message
    assert "btc.parquet" in message


@pytest.mark.parametrize("name", ["empty.csv", "empty.parquet"])
def test_an_empty_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).touch()
    assert "is empty (0 bytes)" in refusal(file(name))


@pytest.mark.parametrize("kept", [0.2, 0.9, 0.999])
def test_a_truncated_parquet_is_refused(folder: Path, kept: float) -> None:
    content = (folder / "prices.parquet").read_bytes()
    (folder / "cut.parquet").write_bytes(content[: int(kept * len(content))])
    assert "is cut off" in refusal(file("cut.parquet"))


def test_a_damaged_parquet_is_refused(folder: Path) -> None:
    content = (folder / "prices.parquet").read_bytes()
    (folder / "holed.parquet").write_bytes(content[:4] + content[len(content) // 2 :])
    assert "is damaged" in refusal(file("holed.parquet"))


def test_one_format_under_the_name_of_the_other_is_told(folder: Path) -> None:
    (folder / "really_csv.parquet").write_bytes((folder / "prices.csv").read_bytes())
    (folder / "really_parquet.csv").write_bytes((folder / "prices.parquet").read_bytes())
    assert "set market.source: csv" in refusal(file("really_csv.parquet"))
    assert "set market.source: parquet" in refusal(file("really_parquet.csv"))


@pytest.mark.parametrize("row", ["2020-01-21,BTC,120.0", "2020-01-21,BTC,120.0,120.0,7"])
def test_a_ragged_csv_row_is_named(folder: Path, row: str) -> None:
    with (folder / "prices.csv").open("a") as csv:
        csv.write(row + "\n")
    message = refusal(file("prices.csv"))
    assert "Row #22: Expected 4 columns" in message
    assert row in message


def test_a_csv_in_another_encoding_is_refused(folder: Path) -> None:
    (folder / "latin.csv").write_bytes("timestamp,symbol,close\n2020-01-01,Zürich,1\n".encode("latin-1"))
    assert "UTF8" in refusal(file("latin.csv"))


def test_tickers_that_look_like_numbers_or_nothing_stay_words(folder: Path) -> None:
    rows = [f"2020-01-0{day},{ticker},{day}.5" for ticker in ("005930", "NA") for day in (1, 2, 3)]
    (folder / "korea.csv").write_text("\n".join(["date,ticker,close", *rows]))
    assert load(file("korea.csv")).tickers == ("005930", "NA")


def test_the_file_is_named_in_what_the_market_refuses(folder: Path) -> None:
    text = (folder / "prices.csv").read_text().replace("100.0,100.0", "n/a?,100.0")
    (folder / "words.csv").write_text(text)
    assert "words.csv: column 'close' is 'n/a?' in row 1" in refusal(file("words.csv"))


# ---- the data set that ships with a package


def test_sp500_is_a_market_of_closes_only() -> None:
    if importlib.util.find_spec("skfolio") is None:
        pytest.skip("skfolio is absent")
    market = load(Sp500Market(source="sp500", tickers=["KO", "AAPL"], start="2010-01-01", end="2012-12-31"))
    assert market.tickers == ("KO", "AAPL")
    assert market.open is None
    assert (market.bars_per_year, market.calendar.gaps) == (252.0, ())
    with pytest.raises(InputError, match="no ticker APPL; did you mean AAPL"):
        load(Sp500Market(source="sp500", tickers=["APPL"]))


def test_without_skfolio_the_extra_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skfolio.datasets", None)
    with pytest.raises(InputError, match=r"pip install 'hedgegrid\[data\]'"):
        load(Sp500Market(source="sp500"))


# ---- the simulation


def simulated(**options: Any) -> SyntheticMarket:
    return SyntheticMarket.model_validate({"source": "synthetic", "bars": 200, **options})


@given(seed=st.integers(0, 2**32), other=st.integers(0, 2**32))
def test_a_seed_is_a_market(seed: int, other: int) -> None:
    assert load(simulated(seed=seed)).digest == load(simulated(seed=seed)).digest
    assert (load(simulated(seed=seed)).digest == load(simulated(seed=other)).digest) == (seed == other)


@given(seed=st.integers(0, 2**32), volatility=st.floats(0.01, 2.0), drift=st.floats(-1.0, 1.0))
def test_simulated_bars_open_where_the_last_closed_and_nothing_is_odd(
    seed: int, volatility: float, drift: float
) -> None:
    market = load(simulated(seed=seed, volatility=volatility, drift=drift, stress_volatility=volatility))
    assert market.open is not None
    np.testing.assert_array_equal(market.open[1:], market.close[:-1])
    assert describe(market, jump=10.0).suspicions == ()


def test_an_asset_does_not_depend_on_how_many_assets_or_bars_follow() -> None:
    small, large = load(simulated(bars=100, assets=2)), load(simulated(bars=300, assets=5))
    np.testing.assert_array_equal(small.close, large.close[:100, :2])


def test_volatility_and_correlation_are_those_asked_for() -> None:
    market = load(simulated(bars=20_000, assets=2, volatility=0.5, correlation=0.6, stress_share=0.0))
    returns = np.diff(np.log(market.close), axis=0)
    # standard error of a volatility from 20 000 bars: 0.5 / sqrt(40 000) = 0.0025; of a correlation: 0.0045
    np.testing.assert_allclose(returns.std(axis=0) * np.sqrt(365), 0.5, atol=4 * 0.0025)
    np.testing.assert_allclose(np.corrcoef(returns.T)[0, 1], 0.6, atol=4 * 0.0045)
