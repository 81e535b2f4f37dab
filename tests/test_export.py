"""`hedgegrid export`: the winner as files that say the same, and that run again to the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from histories import history
from option_files import implied_history
from studies import option_plans, run_one, same, small_plan
from test_job import run_stopped
from typer.testing import CliRunner

from cluster.cli import app
from cluster.config import load_study, studies
from cluster.export import _Dumper, export
from cluster.plan import Plan, make_plan
from cluster.study_text import FileLoader
from kernels.errors import InputError

UNTRACKED = "tracking.enabled=false"
KEYS = (
    *(
        "hedgegrid_export",
        "rule",
        "verdict",
        "now",
        "strategy",
        "parameters",
        "score",
        "targets_met",
        "targets",
        "metrics",
    ),
    *(
        "costs",
        "at_dearer_costs",
        "break_even",
        "luck",
        "looks_at_this_data",
        "against_baselines",
        "better_than_baseline_in",
    ),
    *(
        "overfitting",
        "combinatorial",
        "walk_forward",
        "joint_target_probability",
        "plateau",
        "hold_out",
        "reality_check",
    ),
    *("notes", "data", "from", "study"),
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, undrawn: None) -> dict[str, Plan]:
    """Finished studies of prices, simulated options and a history of options; one that was stopped."""
    folder = tmp_path_factory.mktemp("kept")
    kept = {name: small_plan(folder, UNTRACKED, f"name={name}") for name in ("small", "stopped")}
    # the bar of a simulated market is the smallest rebalance_days of its study, which an export has not in it
    searched = "strategy.search={rebalance_days: [0.5, 1], exposure: [0.5, 1.0]}"
    kept["calls"] = option_plans(folder, "market.step_days=null", searched, "market.scenarios=3")[0]
    implied_history().to_parquet(folder / "iv.parquet")
    market = {"source": "option_model", "path": str(folder / "iv.parquet"), "tickers": ["ABC"]}
    market |= {"implied": {"column": "iv"}, "contract": {"tenor_days": 20}}
    kept["book"] = option_plans(folder, f"market={json.dumps(market)}", "name=book")[0]
    for name, plan in kept.items():
        if name == "stopped":
            run_stopped(plan)
        else:
            run_one(plan)
    return kept


def strictly(path: Path) -> dict[str, Any]:
    """JSON without the NaN and Infinity that Python alone would read."""

    def refuse(constant: str) -> Any:
        raise AssertionError(constant)

    content: dict[str, Any] = json.loads(path.read_text(), parse_constant=refuse)
    return content


@pytest.mark.parametrize("name", ["small", "calls", "book"])
def test_an_export_runs_again_to_the_same_bits(kept: dict[str, Plan], tmp_path: Path, name: str) -> None:
    plan = kept[name]
    files = export(plan.folder, to=tmp_path).files
    configs = pd.read_parquet(plan.folder / "configs.parquet")
    best = configs.nlargest(1, "score", keep="first").reset_index(drop=True)
    for file in files[:2]:  # the YAML and the JSON
        again = make_plan(load_study(file, (UNTRACKED, f"name={file.suffix[1:]}")), tmp_path / "runs")
        assert again.market.digest == plan.market.digest
        run_one(again)
        rerun = pd.read_parquet(again.folder / "configs.parquet")
        same(rerun.drop(columns="trial"), best.drop(columns="trial"))


@pytest.mark.parametrize("name", ["small", "calls", "book"])
def test_yaml_and_json_say_the_same_in_the_same_order(kept: dict[str, Plan], tmp_path: Path, name: str) -> None:
    exported = export(kept[name].folder, to=tmp_path)
    content = strictly(exported.files[1])
    assert content == yaml.safe_load(exported.files[0].read_text()) == exported.content
    if name == "small":
        assert tuple(content) == KEYS
    assert content["parameters"]["stop_loss" if name == "small" else "rebalance_days"]["meaning"]
    assert "rule" in content
    assert content["notes"]


def test_provenance_is_that_of_the_study(kept: dict[str, Plan], tmp_path: Path) -> None:
    plan = kept["small"]
    content = export(plan.folder, to=tmp_path).content
    best = yaml.safe_load((plan.folder / "best.yaml").read_text())
    assert content["from"] == best["from"]
    assert content["from"].items() >= json.loads((plan.folder / "identity.json").read_text()).items()
    assert content["data"] == {
        "tickers": ["SYN1", "SYN2"],
        "first": "2020-01-01",
        "last": "2020-10-26",
        "bars": 300,
        "paths": 1,
    }
    assert {key: best[key] for key in ("at_dearer_costs", "break_even", "luck")}.items() <= content.items()
    assert content["parameters"]["trailing_stop_atr"] == {"value": None, "unit": "ATR"} | {
        "meaning": "distance from the best price"
    }


def test_what_to_hold_now_is_in_shares_of_the_capital(kept: dict[str, Plan], tmp_path: Path) -> None:
    exported = export(kept["small"].folder, to=tmp_path)
    now = exported.content["now"]
    assert now["after"] == "2020-10-26"
    assert now["orders_fill_at"] == "the open of the next bar"
    assert list(now["target_weights"]) == ["SYN1", "SYN2"]
    table = pd.read_csv(exported.files[2])
    assert len(table) == 225  # what the search saw: the hold-out is closed
    last = table.iloc[-1]
    assert last["timestamp"] == "2020-08-12"
    for asset in now["assets"].values():
        assert (asset["action"] == "hold") <= (asset["target"] == asset["held"])
    best = yaml.safe_load((kept["small"].folder / "best.yaml").read_text())
    assert last["growth"] - 1.0 == pytest.approx(best["metrics"]["total_return"], rel=1e-12)


def test_a_book_says_the_hedge_per_option_and_simulated_paths_say_that_they_are(
    kept: dict[str, Plan], tmp_path: Path
) -> None:
    book = export(kept["book"].folder, to=tmp_path)
    (now,) = book.content["now"]["books"].values()
    assert now["cycle"] == "open"
    assert now["days_left"] > 0.0
    assert 0.0 < now["shares"] < 1.0  # of the delta of one call
    assert list(pd.read_csv(book.files[2])) == ["timestamp", "growth", "ABC shares", "ABC second"]
    calls = export(kept["calls"].folder, to=tmp_path)
    assert "simulated" in calls.content["now"]["none"]
    assert [path.suffix for path in calls.files] == [".yaml", ".json"]


def test_another_trial_is_exported_under_its_number(kept: dict[str, Plan], tmp_path: Path) -> None:
    plan = kept["small"]
    exported = export(plan.folder, to=tmp_path, trial=0, form="json")
    assert [path.name for path in exported.files] == ["small-trial-0.json", "small-trial-0-positions.csv"]
    configs = pd.read_parquet(plan.folder / "configs.parquet")
    assert exported.content["score"] == configs["score"].iloc[0]
    assert "luck" not in exported.content  # which is the winner's
    best = int(yaml.safe_load((plan.folder / "best.yaml").read_text())["from"]["trial"])
    assert export(plan.folder, to=tmp_path, trial=best).files[0].name == "small-winner.yaml"


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("stopped", {}, r"(?s)export needs a finished study, and 5 of 12 trials have results; go on with.*--resume"),
        ("small", {"trial": 12}, "--trial 12: the trials of small are 0 to 11"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_nothing_is_written(
    kept: dict[str, Plan], tmp_path: Path, name: str, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        export(kept[name].folder, to=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_study_whose_files_were_never_written_is_refused(kept: dict[str, Plan], tmp_path: Path) -> None:
    note = kept["small"].folder / "note.md"
    note.rename(tmp_path / "note.md")
    try:
        with pytest.raises(InputError, match=r"(?s)note.md: it is missing\); write them again with.*--resume"):
            export(kept["small"].folder)
    finally:
        (tmp_path / "note.md").rename(note)
    assert not (kept["small"].folder / "export").exists()


def test_a_folder_that_is_a_file_is_refused(kept: dict[str, Plan], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="out: is a file; name a folder"):
        export(kept["small"].folder, to=tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_study_whose_data_has_changed_is_refused(tmp_path: Path, undrawn: None) -> None:
    market = history()
    prices = pd.DataFrame(market.close[:200, :1], columns=["close"]).assign(
        timestamp=market.timestamps[:200], symbol="A"
    )
    prices.to_csv(tmp_path / "prices.csv", index=False)
    source = f"market={{source: csv, path: {tmp_path}/prices.csv}}"
    plan = small_plan(tmp_path, UNTRACKED, source, "costs.fill=next_close")
    run_one(plan)
    prices["close"] *= np.linspace(1.0, 1.01, 200)
    prices.to_csv(tmp_path / "prices.csv", index=False)
    with pytest.raises(InputError, match="the market data changed since this study began"):
        export(plan.folder)
    assert not (plan.folder / "export").exists()


@pytest.mark.parametrize("word", ["NO", "1e5", "12e45", "2020-01-01", "none", "null", "0x1f", "1:30", "~", "on"])
def test_a_word_stays_a_word_for_every_reader(word: str) -> None:
    text = yaml.dump({"ticker": word, "number": 1e-05, "whole": 3}, Dumper=_Dumper)
    for loader in (yaml.SafeLoader, FileLoader):
        assert yaml.load(text, Loader=loader) == {"ticker": word, "number": 1e-05, "whole": 3}


def test_the_command_says_what_to_do_and_where_the_files_are(kept: dict[str, Plan], tmp_path: Path) -> None:
    plan = kept["small"]
    words = ["export", "small", "--runs", str(plan.folder.parent), "--to", str(tmp_path), "--as", "yaml"]
    said = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
    assert said.exit_code == 0, said.output
    for part in ("SYN1", "after 2020-10-26", "of the whole capital", "hedgegrid run"):
        assert part in said.output, part
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small-winner-positions.csv", "small-winner.yaml"]
    assert [each.name for each in studies(load_study(tmp_path / "small-winner.yaml"))] == ["small-winner"]
