"""Where option markets come from: what a study names is simulated, resampled, marked or calibrated; the rest is refused."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from option_files import DATES, EXPIRIES, RATE, STRIKES, TRUE, VOLATILITY, chain, closes, implied_history, quotes

from cluster.config import StudyConfig, load_study
from cluster.heston_calibration import calibrate
from cluster.option_config import (
    BootstrapMarket,
    ChainConfig,
    GbmMarket,
    HestonMarket,
    OptionModelMarket,
    OptionQuotesMarket,
)
from cluster.option_history import stationary_bootstrap
from cluster.option_sources import OptionMarkets, load_options
from cluster.sources import load
from kernels import STRATEGIES, Costs, backtest
from kernels.errors import InputError
from kernels.option_market import PER_PATH, OptionMarket
from search.space import Space

STUDIES = sorted((Path(__file__).parents[1] / "configs" / "studies").glob("option_hedge_*.yaml"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with quotes.parquet and history.parquet."""
    monkeypatch.chdir(tmp_path)
    quotes().to_parquet("quotes.parquet")
    implied_history().to_parquet("history.parquet")
    return tmp_path


def quoted(**changes: Any) -> OptionQuotesMarket:
    given = {"source": "option_quotes", "path": "quotes.parquet", "tickers": ["ABC"], "rate": RATE}
    return OptionQuotesMarket.model_validate({**given, **changes})


def history(kind: type[OptionModelMarket] | type[BootstrapMarket] = OptionModelMarket, **changes: Any) -> Any:
    source = "option_model" if kind is OptionModelMarket else "bootstrap"
    given = {"source": source, "path": "history.parquet", "tickers": ["ABC"], "implied": {"column": "iv"}}
    return kind.model_validate({**given, **changes})


def only(markets: OptionMarkets) -> OptionMarket:
    (market,) = markets.values()
    return market


# ---- simulated


def test_the_bar_is_the_smallest_time_between_rebalances_that_is_searched() -> None:
    study: dict[str, Any] = {
        "name": "x",
        "market": {"source": "gbm", "scenarios": 2, "days": 40},
        "strategy": {"name": "option_hedge", "search": {"rebalance_days": [0.5, 1.0, 2.0]}},
    }
    config = StudyConfig.model_validate(study)
    assert config.smallest_rebalance_days == 0.5
    market = load(config.market, config.smallest_rebalance_days)
    assert isinstance(market, OptionMarket)
    assert (market.step_days, market.n_bars) == (0.5, 81)
    assert only(load_options(config.market, 5.0)).step_days == 1.0  # a bar is no longer than a day
    study["strategy"] = {"name": "option_hedge", "search": {"rebalance_days": {"low": 0.25, "high": 3.0}}}
    assert StudyConfig.model_validate(study).smallest_rebalance_days == 0.25


@pytest.mark.parametrize("source", ["gbm", "heston", "bootstrap"])
def test_streams_and_tickers_share_no_paths_and_a_seed_repeats_them(source: str, folder: Path) -> None:
    heston = {"v0": 0.05, "kappa": 3, "theta": 0.05, "xi": 0.5, "rho": -0.5}
    frame = pd.read_parquet("history.parquet")
    pd.concat([frame, frame.assign(symbol="DEF")]).to_parquet("history.parquet")

    def made(stream: str) -> OptionMarkets:
        common: dict[str, Any] = {"scenarios": 3, "bars": 40, "seed": 1, "stream": stream, "tickers": ["ABC", "DEF"]}
        if source == "gbm":
            return load_options(GbmMarket(source="gbm", **common))
        if source == "heston":
            return load_options(HestonMarket.model_validate({"source": "heston", "parameters": heston, **common}))
        return load_options(history(BootstrapMarket, **common))

    digests = [m.spot[:, -1].tobytes() for s in ("train", "validation", "holdout") for m in made(s).values()]
    assert len(set(digests)) == 6
    assert made("train")["DEF"].digest == made("train")["DEF"].digest


def test_an_option_market_of_several_tickers_is_one_per_ticker() -> None:
    market = GbmMarket(source="gbm", tickers=["A", "B"], scenarios=2, bars=40)
    assert list(load_options(market)) == ["A", "B"]
    with pytest.raises(InputError, match=r"set search\.scope: per_ticker"):
        load(market)


# ---- histories


def test_a_model_history_is_the_closes_marked_at_their_implied_volatility(folder: Path) -> None:
    market = only(load_options(history()))
    assert market.spot.shape == (1, 60, 1)
    np.testing.assert_array_equal(market.spot[0, :, 0], closes())
    np.testing.assert_array_equal(market.volatility[0, :, 0], pd.read_parquet("history.parquet")["iv"])


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"implied": {"column": "iv", "scale": 100}}, "correct the row, or implied.scale (0.01 for percent)"),
        ({"implied": {"column": "vix"}}, "history.parquet: column vix is missing"),
        ({"tickers": ["XYZ"]}, "no rows of XYZ; it has ABC"),
        ({"start": "2025-01-01"}, "0 closes between start and end"),
        ({"contract": {"tenor_days": 900}}, "outlives the whole history"),
    ],
)
def test_a_history_that_cannot_be_marked_is_refused(folder: Path, change: dict[str, Any], answer: str) -> None:
    with pytest.raises(InputError) as caught:
        load_options(history(**change))
    (problem,) = caught.value.problems
    assert answer in problem


def test_missing_volatilities_are_carried_up_to_the_stated_share(folder: Path) -> None:
    frame = pd.read_parquet("history.parquet")
    frame.loc[[5, 6], "iv"] = np.nan
    frame.to_parquet("history.parquet")
    found = load_options(history())
    assert (only(found).volatility[0, 4:7, 0] == frame["iv"][4]).all()
    assert "2 implied volatilities carried forward" in found.notes["ABC"][0]
    with pytest.raises(InputError, match=r"missing on 2 of 60 days \(3%, the first 2024-01-08\), max_missing is 1%"):
        load_options(history(implied={"column": "iv", "max_missing": 0.01}))


def test_resampled_days_are_days_of_the_history_returns_and_volatilities_together(folder: Path) -> None:
    market = only(load_options(history(BootstrapMarket, scenarios=20, bars=40, block_bars=5)))
    frame = pd.read_parquet("history.parquet")
    pairs = np.diff(np.log(frame[["close", "iv"]].to_numpy()), axis=0)  # (59, 2)
    found = np.diff(np.log(np.stack([market.spot[:, :, 0], market.volatility[:, :, 0]], axis=-1)), axis=1).reshape(
        -1, 2
    )
    nearest = np.abs(found[:, None] - pairs).max(axis=2).min(axis=1)
    assert nearest.max() < 1e-12  # a logarithm of a product of 40 exponentials


def test_blocks_are_as_long_as_asked_on_average() -> None:
    days = stationary_bootstrap(np.random.default_rng(1), 500, (400, 250), 8.0)
    broken = (np.diff(days, axis=1) % 500 != 1).mean()
    # a block breaks with probability 1/8, but 1 in 500 breaks goes on by chance: 3 standard errors of 99 600 draws
    assert abs(broken - (1 / 8) * (1 - 1 / 500)) < 3 * np.sqrt(1 / 8 / 99_600)
    assert abs(np.bincount(days.ravel(), minlength=500).std() / 200) < 0.5  # every day is drawn


# ---- listed contracts


def test_a_listed_contract_is_marked_at_its_own_price_and_held_to_expiry(folder: Path) -> None:
    market = only(load_options(quoted()))
    strike = market.strike[0, :, 0]
    assert set(strike[:-1]) <= set(STRIKES)
    assert [str(d)[:10] for d in market.timestamps[market.opens > 0]] == ["2024-01-01", "2024-01-30", "2024-02-28"]
    file = quotes()
    for t in (3, 25, 50):
        row = file[(file["quote_date"] == DATES[t]) & (file["strike"] == strike[t]) & (file["right"] == "C")].iloc[0]
        assert market.mark[0, t, 0] == market.next_mark[0, t, 0] == row["last_price"]
    np.testing.assert_allclose(market.volatility[0, :-1, 0], VOLATILITY, atol=1e-8)  # each mark's own
    t = 21  # the first expiry: the payoff, and the share that goes with it
    payoff = max(closes()[t] - strike[t - 1], 0.0)
    assert market.mark[0, t, 0] == pytest.approx(payoff, abs=1e-12)
    assert market.delivered[0, t, 0] == float(payoff > 0)


@pytest.mark.parametrize("untraded", ["C", "CP"])
def test_on_days_without_a_trade_the_last_implied_volatility_marks_it(untraded: str, folder: Path) -> None:
    """The calls alone, or nothing of this underlier: a day stays a day of the history, its close is known."""
    whole = only(load_options(quoted()))
    file = pd.read_parquet("quotes.parquet")
    file.loc[file["quote_date"].isin(DATES[[4, 5, 30]]) & file["right"].isin([*untraded]), "volume"] = 0
    file.to_parquet("quotes.parquet")
    found = load_options(quoted())
    # volatility is constant here, so the carried mark is the price that was not traded
    for plane in ("mark", "next_mark", "delta", "volatility"):
        np.testing.assert_allclose(getattr(only(found), plane), getattr(whole, plane), atol=1e-8)
    assert "3 of 56 marks carried forward" in found.notes["ABC"][0]
    with pytest.raises(InputError, match=r"3 of 56 marks \(5%\) have no implied volatility of their own"):
        load_options(quoted(max_carried=0.01))


def test_a_straddle_is_its_call_and_its_put(folder: Path) -> None:
    call, put, both = (only(load_options(quoted(contract={"kind": k}))) for k in ("call", "put", "straddle"))
    for plane in ("mark", "next_mark", "delta", "gamma", "vega", "delivered"):
        np.testing.assert_allclose(getattr(both, plane), getattr(call, plane) + getattr(put, plane), atol=1e-12)


def test_bids_and_asks_are_marked_at_their_mid(folder: Path) -> None:
    whole = only(load_options(quoted()))
    file = pd.read_parquet("quotes.parquet")
    half = np.minimum(0.05, 0.5 * file["last_price"])
    file.assign(bid=file["last_price"] - half, ask=file["last_price"] + half).drop(columns="last_price").to_parquet(
        "quotes.parquet"
    )
    np.testing.assert_allclose(only(load_options(quoted())).next_mark, whole.next_mark, atol=1e-12)


def test_between_two_listed_contracts_nothing_is_held(folder: Path) -> None:
    file = pd.read_parquet("quotes.parquet")
    file[~((file["expiry"] == EXPIRIES[1]) & (file["quote_date"] < DATES[25]))].to_parquet("quotes.parquet")
    found = load_options(quoted(tenor_tolerance=0.4))
    flat = slice(21, 25)
    market = only(found)
    for plane in ("next_mark", "delta", "gamma", "strike", "second_next_mark", "second_gamma"):
        assert (getattr(market, plane)[0, flat] == 0.0).all(), plane
    assert "on 4 days no listed contract was near enough" in found.notes["ABC"][-1]
    # an unhedged book without costs makes nothing on them
    whole = backtest(
        market, STRATEGIES["option_hedge"], pd.DataFrame({"hedge_ratio": [0.0]}), costs=Costs(0, 0), backend="numpy"
    )
    assert (whole.metrics["status"] == "ok").all()


def change(**values: Any) -> Any:
    """A call of the first day at the money, changed."""

    def changed(file: pd.DataFrame) -> pd.DataFrame:
        at = (file["quote_date"] == DATES[0]) & (file["strike"] == 100.0) & (file["right"] == "C")
        at &= file["expiry"] == EXPIRIES[0]
        return file.assign(**{k: file.get(k, file["last_price"]).mask(at, v) for k, v in values.items()})

    return changed


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "crossed": (change(bid=9.0, ask=8.0), {}, "crossed, bid is above ask"),
    "expired": (change(expiry=pd.Timestamp("2023-12-29")), {}, "expired, its quote_date is after its expiry"),
    "strike of 0": (change(strike=0.0), {}, "a strike must be above 0"),
    "right": (change(right="X"), {}, "right must be C or P"),
    "negative time value": (
        lambda file: file.assign(last_price=file["last_price"].mask(file["quote_date"] == DATES[10], 0.01)),
        {"contract": {"moneyness": 0.9}},
        "has negative time value",
    ),
    "strike": (lambda file: file, {"contract": {"moneyness": 1.5}}, "no call is listed within 5% of strike"),
    "tenor": (
        lambda file: file,
        {"contract": {"tenor_days": 300}},
        "no contract has 300 days to expiry, give or take 50%",
    ),
    "ticker": (lambda file: file, {"tickers": ["XYZ"]}, "no rows of XYZ; it has ABC"),
    "no underlier": (lambda file: file.assign(underlying_close=np.nan), {}, "no row has underlying_close"),
    "no column": (lambda file: file.drop(columns="right"), {}, "column right is missing"),
    "no price": (lambda file: file.drop(columns="last_price"), {}, "no prices; columns bid and ask"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_quotes_that_cannot_be_are_refused_in_a_sentence(kind: str, folder: Path) -> None:
    changed, options, answer = REFUSED[kind]
    changed(pd.read_parquet("quotes.parquet")).to_parquet("quotes.parquet")
    with pytest.raises(InputError) as caught:
        load_options(quoted(**options))
    (problem,) = caught.value.problems
    assert answer in problem
    assert problem.startswith("quotes.parquet")


# ---- calibration

CHAIN = ChainConfig(path="chain.parquet")


def test_a_chain_made_by_heston_gives_its_parameters_back() -> None:
    pytest.importorskip("QuantLib")
    found = calibrate(chain(), CHAIN, "ABC", RATE)
    assert found.rmse < 0.01  # vol points; the mids are exact
    assert found.dividend_yield == pytest.approx(0.01, abs=1e-6)
    for name in ("v0", "kappa", "theta", "xi", "rho"):
        assert getattr(found.parameters, name) == pytest.approx(getattr(TRUE, name), rel=0.02)
    assert found.sentence.startswith(f"ABC: Heston calibrated to {len(found.residuals)} quotes of 2024-03-01")
    assert f"Feller ratio {found.parameters.feller:.2f}" in found.sentence
    np.testing.assert_allclose(found.residuals["model"] - found.residuals["market"], found.residuals["error"] / 100)


def test_a_chain_that_cannot_be_calibrated_is_refused_with_the_reason() -> None:
    pytest.importorskip("QuantLib")
    with pytest.raises(InputError, match="usable quotes, min_quotes is 30"):
        calibrate(chain().query("strike == 250"), CHAIN, "ABC", RATE)
    noise = np.exp(0.3 * np.random.default_rng(1).standard_normal(len(chain())))
    noisy = chain().assign(bid=chain()["bid"] * noise, ask=chain()["ask"] * noise)
    with pytest.raises(InputError, match=r"RMSE of .* vol points, max_rmse is 0.5|does not fit"):
        calibrate(noisy, CHAIN.model_copy(update={"max_rmse": 0.5, "max_quotes": 30}), "ABC", RATE)


def test_without_quantlib_the_way_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "QuantLib", None)
    with pytest.raises(InputError, match=r"pip install 'hedgegrid\[options\]'"):
        calibrate(chain(), CHAIN, "ABC", RATE)


# ---- what a report has to say


def test_a_report_says_whether_marks_are_american_quotes_or_a_european_model(folder: Path) -> None:
    told = " ".join(load_options(quoted()).notes["ABC"])
    assert "marks are American as quoted" in told
    assert "European marks at iv" in " ".join(load_options(history()).notes["ABC"])
    assert any("Model marks are European" in note for note in STRATEGIES["option_hedge"].notes)


def test_a_report_says_that_without_a_premium_the_expected_profit_is_the_costs() -> None:
    given = {"v0": 0.05, "kappa": 3, "theta": 0.05, "xi": 0.5, "rho": -0.5}
    plain: dict[str, Any] = {"source": "heston", "parameters": given, "scenarios": 2, "bars": 40, "rate": 0.04}
    for changes, told in (
        ({}, "the expected P&L of a hedged book is its costs"),
        ({"variance_risk_premium": -1.0}, "the variance risk premium is -1: both are the study file's word"),
        ({"drift": 0.1}, "the price grows by 10.00% a year (rate 4.00%)"),
    ):
        (note,) = load_options(HestonMarket.model_validate({**plain, **changes})).notes["SIM"]
        assert told in note


# ---- the studies that come with the project


def test_the_megacap_study_has_3300_configurations_per_ticker_and_the_demo_needs_no_file() -> None:
    megacaps, demo = (load_study(p) for name in ("megacaps", "demo") for p in STUDIES if p.stem.endswith(name))
    space = Space.of(STRATEGIES["option_hedge"], fixed=megacaps.strategy.fixed, search=megacaps.strategy.search)
    assert len(space.grid()) == 3300
    assert megacaps.market.tickers == ["AAPL", "MSFT", "GOOGL", "AMZN", "META"]
    assert isinstance(demo.market, GbmMarket)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_that_comes_along_has_a_market_that_can_be_hedged(
    path: Path, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "checkout").mkdir()
    (tmp_path / "shared" / "data").symlink_to(shared_data)  # whatever the folder is called
    monkeypatch.chdir(tmp_path / "checkout")
    text = path.read_text()
    if missing := [name for name in re.findall(r"\.\./shared/data/[\w.-]+", text) if not Path(name).exists()]:
        pytest.skip(f"{', '.join(missing)} is not there")
    if "source: heston" in text:
        pytest.importorskip("QuantLib")
    study = load_study(path, ["market.scenarios=8"] if "scenarios:" in text else [])
    first = study.market.model_copy(update={"tickers": list(study.market.tickers or [])[:1]})  # type: ignore[union-attr]
    market = load(first, study.smallest_rebalance_days)
    assert isinstance(market, OptionMarket)
    assert all(np.isfinite(getattr(market, plane)).all() for plane in PER_PATH)
    rule = pd.DataFrame({"hedge_ratio": [0.0, 1.0]})
    found = backtest(market, STRATEGIES["option_hedge"], rule, costs=Costs(1, 2), backend="numpy").metrics
    assert (found["status"] == "ok").all()
