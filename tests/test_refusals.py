"""What a user may get wrong: refused by `hedgegrid run` with code 2, before any backtest, and nothing left behind.

Each mistake alone is tested where it is found (market, sources, config, space, targets); here the whole path is walked.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from cluster import job
from cluster.cli import main
from kernels.backends import why_not

BARS = 60


def prices() -> pd.DataFrame:
    """A sound market as a long table: two tickers, daily."""
    rng = np.random.default_rng(1)
    stamps = pd.date_range("2020-01-01", periods=BARS, tz="UTC").strftime("%Y-%m-%d")
    tables = []
    for symbol in ("BTC", "ETH"):
        close = 100.0 * np.exp(np.cumsum(0.02 * rng.standard_normal(BARS)))
        open_ = np.append(100.0, close[:-1])
        high, low = np.maximum(open_, close) * 1.01, np.minimum(open_, close) * 0.99
        tables.append(
            pd.DataFrame(
                {
                    "timestamp": stamps,
                    "symbol": symbol,
                    "open": open_,
                    "high": high,
                    "low": low,
                    "close": close,
                    "volume": 1000.0,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def study(**changes: Any) -> dict[str, Any]:
    """A sound study of that market."""
    return {
        "name": "wrong",
        "market": {"source": "csv", "path": "prices.csv"},
        "strategy": {
            "name": "tsmom_hedge",
            "fixed": {"lookback": 20, "vol_window": 20},
            "search": {"hedge_strength": {"low": 0.2, "high": 1.0, "step": 0.2}},
        },
        "compute": {"backend": "numpy"},
        **changes,
    }


@dataclass(frozen=True)
class Mistake:
    """One thing done to the data (`spoil`), the files (`place`) or the study (`changes`), and the words it must get."""

    answer: tuple[str, ...]
    spoil: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    place: Callable[[Path], Any] | None = None
    changes: dict[str, Any] | None = None


def cell(row: int, column: str, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def spoil(table: pd.DataFrame) -> pd.DataFrame:
        table = table.astype({column: object})
        table.loc[row, column] = value
        return table

    return spoil


def market(**keys: Any) -> dict[str, Any]:
    return {"market": {"source": "csv", "path": "prices.csv", **keys}}


def strategy(**keys: Any) -> dict[str, Any]:
    return {"strategy": {**study()["strategy"], **keys}}


def parquet(spoil: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    def place(folder: Path) -> None:
        prices().to_parquet(folder / "prices.parquet")
        (folder / "prices.parquet").write_bytes(spoil((folder / "prices.parquet").read_bytes()))

    return place


PARQUET = {"market": {"source": "parquet", "path": "prices.parquet"}}

MISTAKES = {
    # the file
    "missing file": Mistake(("price.csv: no such file; did you mean prices.csv?",), changes=market(path="price.csv")),
    "empty file": Mistake(("prices.csv: is empty (0 bytes)",), place=lambda f: (f / "prices.csv").write_bytes(b"")),
    "empty parquet": Mistake(("prices.parquet: is empty",), place=parquet(lambda content: b""), changes=PARQUET),
    "truncated parquet": Mistake(
        ("prices.parquet: the Parquet file is cut off", "copy it again"),
        place=parquet(lambda content: content[: len(content) // 2]),
        changes=PARQUET,
    ),
    # the table
    "missing column": Mistake(("prices.csv: column 'close' is missing",), spoil=lambda t: t.drop(columns="close")),
    "words in a number column": Mistake(
        ("prices.csv: column 'close' is 'n/k' in row 5 for BTC",), spoil=cell(4, "close", "n/k")
    ),
    "no price": Mistake(("prices.csv: column 'close' is nan for BTC at 2020-01-05",), spoil=cell(4, "close", np.nan)),
    "infinite price": Mistake(
        ("prices.csv: column 'high' is inf for BTC at 2020-01-05",), spoil=cell(4, "high", "inf")
    ),
    "zero price": Mistake(
        ("prices.csv: column 'low' is 0 for BTC at 2020-01-05", "above 0"), spoil=cell(4, "low", 0.0)
    ),
    "negative price": Mistake(
        ("prices.csv: column 'low' is -1 for BTC at 2020-01-05", "above 0"), spoil=cell(4, "low", -1.0)
    ),
    "the same bar twice": Mistake(
        ("prices.csv", "2020-01-05", "BTC"), spoil=lambda t: pd.concat([t.iloc[:5], t.iloc[4:]])
    ),
    "unsorted bars": Mistake(("prices.csv", "sort"), spoil=lambda t: pd.concat([t.iloc[5:6], t.iloc[:5], t.iloc[6:]])),
    "mixed time zones": Mistake(
        ("prices.csv", "2020-01-05T00:00:00+02:00"), spoil=cell(4, "timestamp", "2020-01-05T00:00:00+02:00")
    ),
    "tickers of unlike length": Mistake(
        ("prices.csv", "ETH", "before_listing: flat"), spoil=lambda t: t.drop(index=range(BARS, BARS + 9))
    ),
    "a ticker with a hole": Mistake(("prices.csv", "ETH", "2020-02-10"), spoil=lambda t: t.drop(index=BARS + 40)),
    "a gap": Mistake(
        ("prices.csv", "2020-02-09", "2020-02-13", "gaps: keep"),
        spoil=lambda t: t.drop(index=[a + i for a in (0, BARS) for i in (40, 41, 42)]),
    ),
    "one bar": Mistake(
        ("prices.csv: one bar only (2020-01-01); two are needed",), spoil=lambda t: t.groupby("symbol").head(1)
    ),
    "fewer bars than the warm-up": Mistake(
        ("market", "after up to 21 bars", "the market has 15", "search shorter windows"),
        spoil=lambda t: t.groupby("symbol").head(15),
    ),
    "a price that never moves": Mistake(
        ("prices.csv", "ETH", "never"),
        spoil=lambda t: t.assign(
            **{c: t[c].where(t["symbol"] == "BTC", 7.0) for c in ("open", "high", "low", "close")}
        ),
    ),
    "fill at an open that is not there": Mistake(
        ("costs.fill", "open"), spoil=lambda t: t.drop(columns=["open", "high", "low"])
    ),
    # the study
    "unknown key": Mistake(("serach: unknown key; did you mean search?",), changes={"serach": {}}),
    "unknown strategy": Mistake(
        ("strategy.name: no strategy 'tsmom'; did you mean tsmom_hedge?",), changes=strategy(name="tsmom")
    ),
    "unknown parameter": Mistake(("lookbak", "did you mean lookback?"), changes=strategy(fixed={"lookbak": 20})),
    "unknown ticker": Mistake(("DOGE", "BTC, ETH"), changes=market(tickers=["BTC", "DOGE"])),
    "a missing strategy file": Mistake(
        ("strategy.file: mine.py: no such file",), changes=strategy(name="mine", file="mine.py")
    ),
    "a strategy file that does not run": Mistake(
        ("mine.py", "line 2"),
        place=lambda f: (f / "mine.py").write_text("import math\nSTRATEGY = math.nothing\n"),
        changes=strategy(name="mine", file="mine.py"),
    ),
    "a range upside down": Mistake(
        ("strategy.search.hedge_strength: low < high must hold, got low=1, high=0.2",),
        changes=strategy(search={"hedge_strength": {"low": 1.0, "high": 0.2}}),
    ),
    "a value out of its range": Mistake(
        ("strategy.fixed.lookback", "6 <= lookback <= 365 bars must hold, got 3"),
        changes=strategy(fixed={"lookback": 3}),
    ),
    "a searched cost": Mistake(
        ("costs.fee_bps", "cannot be searched"), changes={"costs": {"fee_bps": {"low": 1, "high": 9}}}
    ),
    "a cost among the searched": Mistake(("fee_bps", "cost"), changes=strategy(search={"fee_bps": [1, 2]})),
    "weights of zero": Mistake(
        ("targets.sharpe.weight: weight > 0 must hold, got 0",),
        changes={"targets": {"sharpe": {"at_least": 1.0, "reservation": 0.0, "weight": 0}}},
    ),
    "an unknown metric": Mistake(
        ("sharp", "did you mean sharpe"), changes={"targets": {"sharp": {"at_least": 1.0, "reservation": 0.0}}}
    ),
    "trials left out": Mistake(("search", "trials is needed"), changes={"search": {"sampler": "tpe"}}),
    # the surroundings
    "cuda without a device": Mistake(
        ("compute.backend: cuda was asked for",), changes={"compute": {"backend": "cuda"}}
    ),
    "a tracking address in no folder": Mistake(
        ("sqlite:///nowhere/mlflow.db", "nowhere", "does not exist"),
        changes={"tracking": {"uri": "sqlite:///nowhere/mlflow.db"}},
    ),
    "a tracking server that does not answer": Mistake(
        ("http://127.0.0.1:{port}", "no answer"), changes={"tracking": {"uri": "http://127.0.0.1:{port}"}}
    ),
    "a cluster that does not answer": Mistake(
        ("compute.address: nothing answers at 127.0.0.1:{port}",), changes={"compute": {"address": "127.0.0.1:{port}"}}
    ),
    "results that cannot be written": Mistake(
        ("runs/wrong: the results cannot be written, runs is a file", "--runs"),
        place=lambda f: (f / "runs").write_text("in the way"),
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_refused_before_anything_runs(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mistake = MISTAKES[kind]
    if kind == "cuda without a device" and why_not("cuda") is None:
        pytest.skip("a device answers here")
    with socket.socket() as probe:  # bound and not listening: nothing answers there, and nobody else takes it
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
        table = prices() if mistake.spoil is None else mistake.spoil(prices())
        table.to_csv(tmp_path / "prices.csv", index=False)
        text = yaml.safe_dump(study(**(mistake.changes or {})), sort_keys=False)
        (tmp_path / "wrong.yaml").write_text(text.replace("{port}", port))
        if mistake.place:
            mistake.place(tmp_path)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["hedgegrid", "run", "wrong.yaml"])
        monkeypatch.setattr(job, "open_pool", lambda *_: pytest.fail("a backtest was about to run"))
        with pytest.raises(SystemExit) as ended:
            main()
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert told.out == ""
    assert told.err.startswith("refused: ")
    message = told.err.removeprefix("refused: ").strip()
    print(f"{kind}: {message}")
    for words in mistake.answer:
        assert words.replace("{port}", port) in message
    assert sum(not line.endswith("is not a valid study:") for line in message.splitlines()) == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_sound_study_is_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prices().to_csv(tmp_path / "prices.csv", index=False)
    (tmp_path / "sound.yaml").write_text(yaml.safe_dump(study(), sort_keys=False))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["hedgegrid", "plan", "sound.yaml"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)


def test_mistakes_everywhere_are_told_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = study(
        **strategy(fixed={"lookbak": 20, "vol_window": 20}),
        **market(path="price.csv"),
        targets={"sharp": {"at_least": 1.0, "reservation": 0.0}},
        tracking={"uri": "sqlite:///nowhere/mlflow.db"},
    )
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["hedgegrid", "plan", "wrong.yaml"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert ended.value.code == 2
    for words in ("price.csv", "lookbak", "sharp", "nowhere"):
        assert words in told
