"""The long book that a study file describes: what it becomes, what is refused by its key, what it changes of a study."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from book_rule import book_of
from histories import history
from studies import run_one, without_figures

from cluster.book_sources import market_of
from cluster.cli import main
from cluster.config import StudyConfig, load_study, resolved_yaml, studies, study_digest
from cluster.identity import kept_identity
from cluster.plan import Plan, make_plan
from kernels import Market
from kernels.errors import InputError
from kernels.second_market import cross_correlation, values_as_of

RULE = Path(__file__).with_name("book_rule.py")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: 200 days of three tickers, a volatility whose high is below its low, a second market."""
    monkeypatch.chdir(tmp_path)
    source = history(200, 3)
    stamps = [str(stamp)[:10] for stamp in source.timestamps]
    tickers = [
        pd.DataFrame({"timestamp": stamps, "symbol": t, "close": source.close[:, a]}) for a, t in enumerate("ABC")
    ]
    pd.concat(tickers).to_csv("prices.csv", index=False)
    level = 20.0 + np.sin(np.arange(200.0))
    vix = pd.DataFrame({"timestamp": stamps, "symbol": "VIX", "open": 0.0, "high": 1.0, "low": 9.0, "close": level})
    vix["late"] = 2.0 * level
    pd.concat([vix, vix.iloc[:150].assign(symbol="OLD"), vix.drop(range(60, 90)).assign(symbol="HOLE")]).to_csv(
        "vols.csv", index=False
    )
    (tmp_path / "vols.txt").write_bytes((tmp_path / "vols.csv").read_bytes())
    pd.concat([tickers[0].assign(symbol="SPY"), tickers[1].iloc[:1].assign(symbol="ONE")]).to_csv(
        "other.csv", index=False
    )
    return tmp_path


BOOK: dict[str, Any] = {
    "weights": {"C": 0.25, "A": 0.5},
    "hedge_asset": "B",
    "frames": ["bar", "1w"],
    "volatility": {"path": "vols.csv", "symbol": "VIX", "column": "close", "scale": 0.01},
    "beside": {"path": "other.csv", "ticker": "SPY"},
}


def study(**changes: Any) -> StudyConfig:
    content: dict[str, Any] = {
        "name": "held",
        "market": {"source": "csv", "path": "prices.csv", "bars_per_year": 365},
        "costs": {"fill": "next_close"},
        "book": BOOK,
        "strategy": {"name": "book_rule", "file": str(RULE), "search": {"cut": [0.0, 0.5]}},
        "search": {"sampler": "grid"},
        "compute": {"backend": "numpy"},
        "tracking": {"enabled": False},
    }
    return StudyConfig.model_validate(content | changes)


def with_book(**changes: Any) -> StudyConfig:
    return study(book=BOOK | changes)


def planned(config: StudyConfig) -> Plan:
    return make_plan(config, Path("runs"))


def volatility(**changes: Any) -> dict[str, Any]:
    return {"volatility": BOOK["volatility"] | changes}


def beside(**changes: Any) -> dict[str, Any]:
    return {"beside": BOOK["beside"] | changes}


REFUSED: Mapping[str, tuple[dict[str, Any], str]] = {
    "no such ticker": (
        {"weights": {"a": 0.5, "A": 0.5}},
        "book.weights: a is no ticker of the market; it has A, B, C",
    ),
    "no direction": ({"weights": {"A": 0.5, "C": -0.5}}, "book.weights: their sum must not be 0, got A 0.5, C -0.5"),
    "nothing held": ({"weights": {}}, "book.weights: all weights are 0, which is no book; give at least one ticker"),
    "a hedge elsewhere": ({"hedge_asset": "SPY"}, "book.hedge_asset: a ticker of the market is needed, got 'SPY'"),
    "a frame of a bar": ({"frames": ["1d", "1w"]}, "book.frames: '1d' is as long as another frame"),
    "no file": (volatility(path="vol.csv"), "book.volatility: vol.csv: no such file; did you mean vols.csv"),
    "no symbol": (volatility(symbol="VXX"), "book.volatility: vols.csv: no ticker VXX; did you mean VIX"),
    "no column": (volatility(column="iv"), "book.volatility: vols.csv: column iv is missing; there are timestamp"),
    "in percent": (volatility(scale=1.0), "got 20 on 2020-01-01 (200 such rows); set scale (0.01 for percent)"),
    "ends early": (
        volatility(symbol="OLD"),
        "book.volatility: OLD in vols.csv ends on 2020-05-29: 50 bars of the market have no value of it, 2020-05-30 to "
        "2020-07-18; set market.end to 2020-05-29, or give a file that goes on",
    ),
    "a hole": (
        volatility(symbol="HOLE"),
        "book.volatility: HOLE in vols.csv has no value between 2020-02-29 and 2020-03-31: at 20 bars of the market the last "
        "one is more than 10 days old",
    ),
    "no CSV": (
        volatility(path="vols.txt"),
        "vols.txt: is not Parquet (it starts with b'time', not PAR1); for a CSV name it .csv",
    ),
    "no second file": (beside(path="none.csv"), "book.beside: none.csv: no such file"),
    "no second ticker": (beside(ticker="SPX"), "book.beside: other.csv: no ticker SPX; did you mean SPY"),
    "one bar": (beside(ticker="ONE"), "book.beside: other.csv: one bar only (2020-01-01); two are needed"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_mistake_in_the_book_is_refused_by_its_key_before_anything_runs(kind: str, folder: Path) -> None:
    change, answer = REFUSED[kind]
    with pytest.raises(InputError) as caught:
        planned(with_book(**change))
    (problem,) = caught.value.problems
    assert answer in problem
    assert not (folder / "runs").exists()


def test_mistakes_of_the_book_are_told_with_those_of_the_market(folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        planned(
            study(
                market={"source": "csv", "path": "price.csv"}, book=BOOK | volatility(symbol="V") | beside(path="x.csv")
            )
        )
    told = str(caught.value)
    assert all(words in told for words in ("price.csv: no such file", "no ticker V;", "book.beside: x.csv"))
    with pytest.raises(InputError) as caught:
        planned(with_book(weights={"D": 1.0}, hedge_asset="E", frames=["1h"], **volatility(symbol="OLD")))
    assert len(caught.value.problems) == 4


def test_keys_and_values_of_the_wrong_kind_are_told_with_their_path(folder: Path) -> None:
    wrong = folder / "wrong.yaml"
    text = resolved_yaml(study()).replace("hedge_asset: B", "hedge: B").replace("scale: 0.01", "scale: -1")
    wrong.write_text(text.replace("A: 0.5", "A: half"))
    with pytest.raises(InputError) as caught:
        load_study(wrong)
    told = str(caught.value)
    for words in ("book.hedge: unknown key; did you mean hedge_asset?", "book.volatility.scale: ", "book.weights.A: "):
        assert words in told


def test_a_book_is_refused_where_nothing_would_read_it(folder: Path) -> None:
    unread = study(strategy={"name": "tsmom_hedge", "search": {"hedge_strength": [0.5, 1.0]}})
    with pytest.raises(InputError, match="book: strategy 'tsmom_hedge' trades no book of all tickers"):
        planned(unread)
    options: dict[str, Any] = {"source": "gbm", "scenarios": 4, "days": 40}
    rule = {"name": "option_hedge", "search": {"exposure": [0.5, 1.0]}}
    with pytest.raises(InputError, match=r"book: a market of options \(gbm\)") as caught:
        planned(study(market=options, strategy=rule))
    assert len(caught.value.problems) == 1


def test_a_book_is_refused_where_each_ticker_is_a_study(folder: Path) -> None:
    market = {"source": "csv", "path": "prices.csv", "tickers": ["A", "B"]}
    with pytest.raises(InputError, match=r"book: one book is of all tickers together, .* set search\.scope"):
        studies(study(market=market, search={"sampler": "grid", "scope": "per_ticker"}))


def test_a_study_gets_the_book_that_its_file_describes(folder: Path) -> None:
    plan = planned(study())
    book = book_of(plan.whole)  # type: ignore[arg-type]
    assert (book.weights, book.hedge_asset, book.frames) == ((0.5, 0.0, 0.25), "B", ("bar", "1w"))
    assert book.implied is not None
    np.testing.assert_allclose(book.implied, 0.01 * (20.0 + np.sin(np.arange(200.0))))
    assert book.beside is not None
    np.testing.assert_array_equal(book.beside.close[:, 0], history(200, 3).close[:, 0])
    doubled = planned(with_book(**volatility(column="late"))).whole
    np.testing.assert_allclose(book_of(doubled).implied, 2.0 * book.implied)  # type: ignore[arg-type]


@pytest.mark.parametrize("bar", [90, 137])
def test_what_the_files_say_later_changes_no_bar_before(bar: int, folder: Path) -> None:
    def known() -> tuple[np.ndarray, np.ndarray]:
        market = market_of(study())
        assert isinstance(market, Market)
        book = book_of(market)
        assert book.implied is not None
        assert book.beside is not None
        return book.implied[:bar], cross_correlation(market, book.beside, "SPY", 20)[:bar]

    before = known()
    for name in ("vols.csv", "other.csv"):
        table = pd.read_csv(name)
        later = table["timestamp"] >= sorted(table["timestamp"].unique())[bar]
        table.loc[later, "close"] = 30.0 + np.arange(later.sum()) % 7
        table.to_csv(name, index=False)
    for then, now in zip(before, known(), strict=True):
        np.testing.assert_array_equal(then, now)


def test_the_hidden_bars_are_hidden_in_the_book_too(folder: Path) -> None:
    plan = planned(study())
    seen = book_of(plan.market)  # type: ignore[arg-type]
    assert plan.market.n_bars == 150
    assert seen.implied is not None
    assert seen.beside is not None
    assert (len(seen.implied), seen.beside.n_bars) == (150, 150)
    assert plan.task.market is plan.market
    assert plan.data_digest == planned(study(selection={"holdout": 0.2})).data_digest


def test_what_a_file_has_after_the_markets_last_bar_is_no_data_of_the_study(folder: Path) -> None:
    market = {"source": "csv", "path": "prices.csv", "end": "2020-06-01", "bars_per_year": 365}
    before = planned(study(market=market)).data_digest
    for name in ("vols.csv", "other.csv"):
        pd.read_csv(name).query("timestamp <= '2020-06-01'").to_csv(name, index=False)
    assert planned(study(market=market)).data_digest == before


def test_other_weights_or_another_volatility_are_another_study(folder: Path) -> None:
    kinds = [
        study(),
        with_book(weights={"A": 1.0}),
        with_book(**volatility(column="late")),
        study(book=None),
        study(book={}),
    ]
    assert len({study_digest(each) for each in kinds}) == len(kinds)
    assert (
        len({planned(each).data_digest for each in kinds}) == len(kinds) - 1
    )  # a section that says nothing changes nothing


def test_a_study_is_not_gone_on_with_another_book(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_figures(monkeypatch)
    plan = planned(study())
    run_one(plan)
    assert kept_identity(plan).data_digest == plan.data_digest
    with pytest.raises(
        InputError, match=r"book was .*'hedge_asset': 'B'.* when this study began, is .*'hedge_asset': 'C'"
    ):
        kept_identity(planned(with_book(hedge_asset="C")))
    vols = pd.read_csv("vols.csv")
    vols["close"] += 0.5
    vols.to_csv("vols.csv", index=False)
    with pytest.raises(InputError, match="the market data changed since this study began") as caught:
        run_one(planned(study()), resume=True)
    assert len(caught.value.problems) == 1


def test_the_plan_shows_the_book(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "held.yaml").write_text(resolved_yaml(study()))
    assert load_study(folder / "held.yaml") == study()
    monkeypatch.setattr(sys, "argv", ["hedgegrid", "plan", "held.yaml"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "weights A 0.5, C 0.25, others 0; hedge asset B; frames bar, 1w" in told
    assert "volatility 19.0% to 21.0%, known from 2020-01-01" in told
    assert "beside it SPY, 150 bars, 2020-01-01 to 2020-05-29" in told


# ---- real prices


def real(folder: Path, name: str) -> str:
    path = folder / name
    if not path.is_file():
        pytest.skip(f"{name} is not in the data folder")
    return str(path)


def test_a_book_of_funds_is_read_with_the_vix_whose_highs_break_the_rules_of_prices(shared_data: Path) -> None:
    vix = real(shared_data, "vol_indices.parquet")
    funds = {
        "source": "parquet",
        "path": real(shared_data, "multi_asset_daily.parquet"),
        "tickers": ["SPY", "QQQ", "TLT"],
    }
    book = {"weights": {"QQQ": 0.2, "SPY": 0.4}, "volatility": {"path": vix, "symbol": "VIX", "scale": 0.01}}
    with pytest.raises(InputError, match=r"VIX in .* ends on 2026-07-23: 21 bars of the market have no value of it"):
        market_of(study(market=funds, book=book))
    market = market_of(study(market=funds | {"end": "2026-07-23"}, book=book))
    assert isinstance(market, Market)
    read = book_of(market)
    assert read.weights == (0.4, 0.2, 0.0)
    assert read.implied is not None
    table = pd.read_parquet(vix).set_index("timestamp")["close"]
    days = pd.DatetimeIndex(market.timestamps).tz_localize("UTC")
    closes = table.reindex(days).ffill().to_numpy()  # the session is over for both at once
    assert np.isnan(closes[0]) or closes[0] == 100.0 * read.implied[0]
    np.testing.assert_allclose(read.implied[5:], 0.01 * closes[5:])


def test_crypto_is_read_beside_a_fund_that_rests_at_weekends(crypto8: Market, shared_data: Path) -> None:
    crypto = {"source": "parquet", "path": real(shared_data, "crypto8_daily.parquet"), "tickers": list(crypto8.tickers)}
    funds = {"path": real(shared_data, "multi_asset_daily.parquet"), "ticker": "SPY"}
    vix = {"path": real(shared_data, "vol_indices.parquet"), "symbol": "VIX", "column": "close", "scale": 0.01}
    weights = {"BTC": 0.3, "ETH": 0.2}
    everything = {
        "weights": weights,
        "hedge_asset": "ETH",
        "frames": ["bar", "4x", "1w"],
        "volatility": vix,
        "beside": funds,
    }
    market = market_of(study(market=crypto, book=everything))
    assert isinstance(market, Market)
    read = book_of(market)
    assert read.weights == (0.3, 0.2, 0, 0, 0, 0, 0, 0)
    assert read.hedge_column(market.tickers) == 1
    assert read.implied is not None
    assert read.beside is not None
    assert np.isfinite(read.implied).all()
    weekend = pd.DatetimeIndex(market.timestamps).day_of_week >= 5
    np.testing.assert_array_equal(read.implied[1:][weekend[1:]], read.implied[:-1][weekend[1:]])
    assert read.beside.timestamps[-1] == np.datetime64("2025-12-31")  # the file goes on
    spy = values_as_of(market, read.beside, "SPY")
    assert np.isfinite(spy).all()
    moving = cross_correlation(market, read.beside, "SPY", 60)
    assert 0.2 < moving[-500:, 0].mean() < 0.8  # Bitcoin with American stocks
