"""What a user may get wrong about options: `hedgegrid run` answers with code 2 and one sentence, and leaves nothing behind.

Every answer names the file, row or key, the rule, the value and the next step.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from option_files import DATES, chain, implied_history, quotes

from cluster import job
from cluster.cli import main
from kernels import Costs

Spoil = Callable[[pd.DataFrame], pd.DataFrame]
SOURCES: dict[str, dict[str, Any]] = {
    "quotes": {"source": "option_quotes", "path": "quotes.parquet", "rate": 0.03},
    "history": {"source": "option_model", "path": "history.parquet", "implied": {"column": "iv"}},
    "bootstrap": {
        "source": "bootstrap",
        "path": "history.parquet",
        "implied": {"column": "iv"},
        "scenarios": 2,
        "bars": 40,
    },
    "chain": {"source": "heston", "chain": {"path": "chain.parquet"}, "scenarios": 2, "bars": 40},
    "gbm": {"source": "gbm", "scenarios": 2, "bars": 40},
}
TABLES = {"quotes": quotes, "history": implied_history, "bootstrap": implied_history, "chain": chain}


@dataclass(frozen=True)
class Mistake:
    """A source, what is done to its file (`spoil`) or its study (`market` and other keys), and the words of the answer."""

    source: str
    answer: tuple[str, ...]
    spoil: Spoil | None = None
    market: dict[str, Any] | None = None
    study: dict[str, Any] | None = None


def at(place: Any, column: str, value: Any) -> Spoil:
    """The table with another value in a column: of one row by its number from 1, or of the rows that `place` finds."""

    def spoil(table: pd.DataFrame) -> pd.DataFrame:
        rows = table.index == place - 1 if isinstance(place, int) else place(table)
        old = table[column].astype(str) if isinstance(value, str) else table[column]
        return table.assign(**{column: old.mask(rows, value)})

    return spoil


def searched(**space: Any) -> dict[str, Any]:
    return {"strategy": {"name": "option_hedge", "search": space}}


def of_day(day: int) -> Callable[[pd.DataFrame], Any]:
    return lambda table: table["quote_date"] == DATES[day]


def quiet(table: pd.DataFrame) -> pd.DataFrame:
    """17 days on which nothing trades."""
    return at(lambda t: t["quote_date"].isin(DATES[3:20]), "volume", 0)(table)


def with_bids(table: pd.DataFrame) -> pd.DataFrame:
    table = table.assign(bid=table["last_price"], ask=table["last_price"]).drop(columns="last_price")
    return at(5, "bid", 99.0)(table)


def shaken(table: pd.DataFrame) -> pd.DataFrame:
    """A chain whose prices are off by 30 % at random."""
    noise = np.exp(0.3 * np.random.default_rng(1).standard_normal(len(table)))
    return table.assign(bid=table["bid"] * noise, ask=table["ask"] * noise)


FINER = (
    "parameter 'rebalance_days': 0.1 days asks for 2.4-hour bars; this market has 1-day bars; ask for 1 days or more"
)
FIFTH = "quotes.parquet, row 5 (ABC 2024-01-01, 2024-01-30 100 C"
A_DATE = "a date such as 2020-01-31 is needed there"
A_NUMBER = "a finite number is needed there"
MISTAKES = {
    # rebalancing
    "rebalance finer than the quotes": Mistake("quotes", (FINER,), study=searched(rebalance_days=[0.1, 1])),
    "rebalance finer than the history": Mistake("history", (FINER,), study=searched(rebalance_days=[0.1, 1])),
    "rebalance finer than resampled days": Mistake("bootstrap", (FINER,), study=searched(rebalance_days=[0.1, 1])),
    "rebalance finer than the step that the study names": Mistake(
        "gbm", (FINER,), market={"step_days": 1}, study=searched(rebalance_days={"low": 0.1, "high": 5, "step": 0.7})
    ),
    # rows that cannot be quotes
    "an expired quote": Mistake(
        "quotes",
        ("quotes.parquet, row 5 (ABC 2024-01-01, 2023-12-29 100 C at 2.92798): expired, its quote_date is after its expiry",),
        spoil=at(5, "expiry", pd.Timestamp("2023-12-29")),
    ),
    "an expired quote in a chain": Mistake(
        "chain",
        ("chain.parquet, row 4 (ABC 2024-03-01, 2024-02-01 195 C", "expired", "leave it out"),
        spoil=at(4, "expiry", pd.Timestamp("2024-02-01")),
    ),
    "a crossed quote": Mistake("quotes", (FIFTH, "99 to 2.9", "crossed, bid is above ask", "leave it out"), spoil=with_bids),
    "a crossed quote in a chain": Mistake(
        "chain", ("chain.parquet, row 4", "500 to 55.2", "crossed, bid is above ask"), spoil=at(4, "bid", 500.0)
    ),
    "a negative time value": Mistake(
        "quotes",
        ("quotes.parquet, row 361 (ABC 2024-01-15, 90 C at 0.01)", "negative time value, exercise is worth 8.8", "correct the"),
        spoil=at(of_day(10), "last_price", 0.01),
        market={"contract": {"moneyness": 0.9}},
    ),
    "a row twice": Mistake(
        "quotes",
        ("quotes.parquet, row 1501 (ABC 2024-01-01, 2024-01-30 100 C", "there twice on one day", "keep one of the rows"),
        spoil=lambda table: pd.concat([table, table.iloc[[4]]]),
    ),
    "a row twice in a chain": Mistake(
        "chain",
        ("chain.parquet, row 301 (ABC 2024-03-01", "there twice on one day", "keep one of the rows"),
        spoil=lambda table: pd.concat([table, table.iloc[[4]]]),
    ),
    "a day twice": Mistake(
        "history",
        ("history.parquet, row 6 (ABC 2024-01-05): dates must strictly increase", "keep one of each day"),
        spoil=lambda table: pd.concat([table.iloc[:5], table.iloc[4:]]),
    ),
    "days out of order": Mistake(
        "history",
        ("history.parquet, row 2 (ABC 2024-03-21): dates must strictly increase", "sort the rows"),
        spoil=lambda table: table.iloc[::-1],
    ),
    "two closes on one day": Mistake(
        "quotes", (FIFTH, "a day has one underlying_close", "correct the row"), spoil=at(5, "underlying_close", 500.0)
    ),
    "neither call nor put": Mistake("quotes", ("quotes.parquet, row 5", "right must be C or P"), spoil=at(5, "right", "call")),
    "a strike of nothing": Mistake("quotes", ("row 5", "a strike must be above 0"), spoil=at(5, "strike", 0.0)),
    "a negative price": Mistake("quotes", (FIFTH, "must not be negative"), spoil=at(5, "last_price", -1.0)),
    "a trade without a price": Mistake("quotes", (FIFTH, "volume without a price"), spoil=at(5, "last_price", np.nan)),
    # columns that cannot be read
    "words for strikes": Mistake(
        "quotes", ("quotes.parquet, row 5: column strike is 'n/k'", A_NUMBER), spoil=at(5, "strike", "n/k")
    ),
    "words for prices": Mistake(
        "quotes", ("quotes.parquet, row 5: column last_price is 'n/k'", A_NUMBER), spoil=at(5, "last_price", "n/k")
    ),
    "words for volumes": Mistake("quotes", ("row 5: column volume is 'n/k'", A_NUMBER), spoil=at(5, "volume", "n/k")),
    "words for bids": Mistake("chain", ("chain.parquet, row 5: column bid is 'n/k'", A_NUMBER), spoil=at(5, "bid", "n/k")),
    "words for closes": Mistake(
        "history", ("history.parquet, row 5: column close is 'n/k'", A_NUMBER), spoil=at(5, "close", "n/k")
    ),
    "words for volatilities": Mistake("bootstrap", ("row 5: column iv is 'n/k'", A_NUMBER), spoil=at(5, "iv", "n/k")),
    "an infinite strike": Mistake("quotes", ("row 5: column strike is inf", A_NUMBER), spoil=at(5, "strike", np.inf)),
    "words for dates": Mistake(
        "quotes", ("quotes.parquet, row 5: column quote_date is 'soon'", A_DATE), spoil=at(5, "quote_date", "soon")
    ),
    "an expiry left out": Mistake("quotes", ("row 5: column expiry is empty", A_DATE), spoil=at(5, "expiry", pd.NaT)),
    "numbers for dates": Mistake(
        "history",
        ("history.parquet, row 1: column timestamp is 20240131 (and in 59 more rows)", A_DATE),
        spoil=lambda table: table.assign(timestamp=20240131),
    ),
    "a column left out": Mistake(
        "quotes", ("quotes.parquet: column right is missing",), spoil=lambda table: table.drop(columns="right")
    ),
    # volatilities
    "implied volatilities missing beyond the share": Mistake(
        "history",
        ("history.parquet, ABC: iv is missing on 10 of 60 days (17%, the first 2024-01-08), max_missing is 5%", "raise"),
        spoil=at(lambda table: table.index.isin(range(5, 15)), "iv", np.nan),
    ),
    "no implied volatility at all": Mistake(
        "bootstrap", ("history.parquet, ABC: iv is empty on all 60 days",), spoil=lambda table: table.assign(iv=np.nan)
    ),
    "no implied volatility on the first day": Mistake(
        "history",
        ("iv is missing on 2024-01-01, the first day, which needs one; set market.start to 2024-01-03",),
        spoil=at(lambda table: table.index < 2, "iv", np.nan),
        market={"start": "2024-01-01"},
    ),
    "marks missing beyond the share": Mistake(
        "quotes",
        ("quotes.parquet, ABC: 17 of 56 marks (30%)", "max_carried is 25%", "raise market.max_carried"),
        spoil=quiet,
        market={"max_carried": 0.25},
    ),
    "volatilities in percent": Mistake(
        "history",
        ("iv times implied.scale 1 must lie between 0.01 and 5 per year, got 24.6762 on 2024-01-01", "0.01 for percent"),
        spoil=lambda table: table.assign(iv=100.0 * table["iv"]),
    ),
    "a close left out": Mistake(
        "history", ("history.parquet, ABC: close is empty on 2024-01-05", "leave out"), spoil=at(5, "close", np.nan)
    ),
    "a close of nothing": Mistake(
        "bootstrap", ("close must be above 0, got 0 on 2024-01-05", "correct the row"), spoil=at(5, "close", 0.0)
    ),
    # what is not in the file
    "a strike that is not in the chain": Mistake(
        "quotes",
        ("no call is listed within 5% of strike 150.358 for expiry 2024-01-30, the nearest that trades is 115", "moneyness"),
        market={"contract": {"moneyness": 1.5}},
    ),
    "a tenor that is not listed": Mistake(
        "quotes",
        ("no contract has 300 days to expiry, give or take 50%; expiries are 1 to 81 days away", "contract.tenor_days"),
        market={"contract": {"tenor_days": 300}},
    ),
    "a tenor that outlives the history": Mistake(
        "history",
        ("contract.tenor_days: an option of 900 days outlives the whole history of 81 days", "take a shorter tenor"),
        market={"contract": {"tenor_days": 900}},
    ),
    "a tenor that outlives the paths": Mistake(
        "gbm", ("contract.tenor_days: an option of 60 days outlives",), market={"contract": {"tenor_days": 60}}
    ),
    "a tenor beyond all bounds": Mistake(
        "gbm", ("market.contract.tenor_days", "1000", "2000"), market={"contract": {"tenor_days": 2000}}
    ),
    "a ticker that the quotes do not have": Mistake(
        "quotes", ("quotes.parquet: no rows of ABD; did you mean ABC?",), market={"tickers": ["ABD"]}
    ),
    "a ticker that the history does not have": Mistake(
        "history", ("history.parquet: no rows of XYZ; it has ABC",), market={"tickers": ["XYZ"]}
    ),
    "a ticker that the chain does not have": Mistake(
        "chain", ("chain.parquet: no rows of XYZ; it has ABC",), market={"tickers": ["XYZ"]}
    ),
    "no rows of quotes": Mistake(
        "quotes", ("quotes.parquet: the table has columns and no rows",), spoil=lambda table: table.iloc[:0]
    ),
    "no rows of closes": Mistake(
        "history", ("history.parquet: the table has columns and no rows",), spoil=lambda table: table.iloc[:0]
    ),
    "no rows of a chain": Mistake(
        "chain", ("chain.parquet: the table has columns and no rows",), spoil=lambda table: table.iloc[:0]
    ),
    "dates that the quotes do not have": Mistake(
        "quotes",
        ("quotes.parquet, ABC: no quotes from 2025-01-01 to the last; the file has 2024-01-01 to 2024-03-22",),
        market={"start": "2025-01-01"},
    ),
    "a session that the chain does not have": Mistake(
        "chain",
        ("chain.parquet, ABC: no quotes from 2024-03-04 to 2024-03-04; the file has 2024-03-01",),
        market={"chain": {"path": "chain.parquet", "date": "2024-03-04"}},
    ),
    "no underlier's price": Mistake(
        "quotes", ("quotes.parquet, ABC: no row has underlying_close",), spoil=lambda t: t.assign(underlying_close=np.nan)
    ),
    # calibration
    "a chain that is too short": Mistake(
        "chain",
        ("chain.parquet, ABC 2024-03-01: 5 usable quotes, min_quotes is 30", "take another date"),
        spoil=lambda table: table[table["strike"] == 250.0],
    ),
    "a chain that is no Heston model": Mistake(
        "chain",
        ("chain.parquet, ABC 2024-03-01: Heston's model", "max_rmse is 0.5", "take another date"),
        spoil=shaken,
        market={"chain": {"path": "chain.parquet", "max_rmse": 0.5, "max_quotes": 30}},
    ),
    "a premium larger than the reversion": Mistake(
        "chain",
        ("variance_risk_premium: must be below kappa (2)", "got 3"),
        market={
            "chain": None,
            "parameters": {"v0": 0.04, "kappa": 2, "theta": 0.05, "xi": 0.5, "rho": -0.5},
            "variance_risk_premium": 3,
        },
    ),
    # what is wanted
    "a target on a metric that nobody writes": Mistake(
        "gbm",
        ("targets.return: target on unknown metric 'return'; did you mean total_return?",),
        study={"targets": {"return": {"at_least": 0.3, "reservation": 0.0}}},
    ),
}  # fmt: skip


def answer(study: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What `hedgegrid run` says of a study that it must refuse: one mistake, code 2, and no file made or changed."""
    folder = Path.cwd()
    (folder / "wrong.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(sys, "argv", ["hedgegrid", "run", "wrong.yaml"])
    monkeypatch.setattr(job, "open_pool", lambda *_: pytest.fail("a backtest was about to run"))
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert told.out == ""
    assert told.err.startswith("refused: ")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    message = told.err.removeprefix("refused: ").removeprefix("wrong.yaml is not a valid study:\n").strip()
    assert len(message.splitlines()) == 1, message
    return message


def study(source: str, **changes: Any) -> dict[str, Any]:
    """A sound study of that source."""
    return {
        "name": "wrong",
        "market": {"tickers": ["ABC"], **SOURCES[source]},
        **searched(hedge_ratio=[0.5, 1.0]),
        "compute": {"backend": "numpy"},
        "tracking": {"enabled": False},
        **changes,
    }


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_about_options_is_refused_before_anything_runs(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mistake = MISTAKES[kind]
    monkeypatch.chdir(tmp_path)
    if kind == "a chain that is no Heston model":
        pytest.importorskip("QuantLib")
    if mistake.source in TABLES:
        table = TABLES[mistake.source]()
        name = "history" if mistake.source == "bootstrap" else mistake.source
        (mistake.spoil(table) if mistake.spoil else table).to_parquet(f"{name}.parquet", index=False)
    wrong = study(mistake.source, **(mistake.study or {}))
    wrong["market"] |= mistake.market or {}
    told = answer(wrong, monkeypatch, capsys)
    print(f"{kind}: {told}")
    for words in mistake.answer:
        assert words in told


@pytest.mark.parametrize("where", ["costs", "strategy.search"])
@pytest.mark.parametrize("cost", [field.name for field in fields(Costs)])
def test_no_cost_can_be_searched(
    cost: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every key of `costs`, as a list of choices under costs and among the searched parameters."""
    monkeypatch.chdir(tmp_path)
    two = {"fill": ["next_open", "close"], "impact": ["none", "linear"]}.get(cost, [1.0, 2.0])
    asked = {"costs": {cost: two}} if where == "costs" else searched(**{cost: two})
    assert answer(study("gbm", **asked), monkeypatch, capsys).startswith(f"{where}.{cost}: ")


@pytest.mark.parametrize("source", SOURCES)
def test_the_sound_study_of_each_source_is_not_refused(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if source == "chain":
        pytest.importorskip("QuantLib")
    for name in ("quotes", "history", "chain"):
        TABLES[name]().to_parquet(f"{name}.parquet", index=False)
    Path("sound.yaml").write_text(yaml.safe_dump(study(source)))
    monkeypatch.setattr(sys, "argv", ["hedgegrid", "plan", "sound.yaml"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None), capsys.readouterr().err


def test_mistakes_of_one_file_are_told_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    table = at(5, "strike", "n/k")(at(7, "expiry", "soon")(quotes()))
    table.to_parquet("quotes.parquet", index=False)
    Path("wrong.yaml").write_text(
        yaml.safe_dump(study("quotes", targets={"return": {"at_least": 1, "reservation": 0}}))
    )
    monkeypatch.setattr(sys, "argv", ["hedgegrid", "plan", "wrong.yaml"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert ended.value.code == 2
    for words in ("row 5: column strike", "row 7: column expiry", "targets.return"):
        assert words in told
