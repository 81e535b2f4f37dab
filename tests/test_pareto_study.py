"""A study of several objectives from its file to what it leaves: the front in a table, in words, and as the winner's reason."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from rich.console import Console
from studies import run_one, same, small_plan

from cluster.console import outcome_json, show_outcome, show_plan
from cluster.front_view import SHOWN, shown
from cluster.job import Outcome
from cluster.repair import repair
from kernels.errors import InputError
from search.front import Front

PARETO = (
    "search.objective=pareto",
    "search.objectives=[sharpe, max_drawdown, turnover]",
    "targets={sharpe: {at_least: 0.5, reservation: 0}, max_drawdown: {at_most: 0.6, reservation: 0.8}}",
)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_one(small_plan(tmp_path_factory.mktemp("pareto"), *PARETO))


def test_the_front_is_in_the_folder_and_its_pick_is_the_winner(outcome: Outcome) -> None:
    rows = pd.read_parquet(outcome.folder / "front.parquet")
    trials = pd.read_parquet(outcome.folder / "configs.parquet")
    assert outcome.found.front is not None
    same(rows, outcome.found.front.rows)
    assert rows["reference"].sum() == 1
    same(
        rows.drop(columns=["knee", "reference"]),
        trials.set_index("trial", drop=False).loc[rows["trial"]].reset_index(drop=True),
    )
    winner = yaml.safe_load((outcome.folder / "best.yaml").read_text())
    assert winner["from"]["trial"] == rows.loc[rows["reference"], "trial"].item()
    assert winner["from"]["trial"] == outcome.found.best["trial"].iloc[0]


def test_the_front_is_told_in_words_and_shown(outcome: Outcome) -> None:
    front = outcome.found.front
    assert front is not None
    assert front.reference is not None
    sentence = outcome.found.advice[-1]
    assert (
        f"{len(front.rows)} are beaten by no other in sharpe, max_drawdown and turnover together: the front."
        in sentence
    )
    assert f"The winner, trial {front.reference['trial']}, is the one of them" in sentence
    assert ("no knee" in sentence) == (front.knee is None)
    assert ("none meets every target" in sentence) != front.met
    console = Console(file=io.StringIO(), width=200)
    show_outcome(console, outcome)
    show_plan(console, outcome.plan)
    assert isinstance(console.file, io.StringIO)
    told = console.file.getvalue()
    assert f"the front: {len(front.rows)} configurations" in told
    assert "the front of more sharpe, less max_drawdown, less turnover" in told
    assert "| trial | hedge_threshold | hedge_strength | sharpe |" in (outcome.folder / "note.md").read_text()
    assert json.loads(outcome_json([outcome], None))["advice"][-1] == sentence


def test_a_finished_study_of_several_objectives_is_whole(outcome: Outcome) -> None:
    def final_files() -> str:
        (found,) = repair(outcome.folder, outcome.folder.parent)
        return next(said for what, said, _ in found.rows if what == "final files")

    assert final_files() == "all there"
    whole = (outcome.folder / "front.parquet").read_bytes()
    (outcome.folder / "front.parquet").write_bytes(b"damaged")
    assert final_files().startswith("front.parquet: ")
    (outcome.folder / "front.parquet").write_bytes(whole)


def test_a_long_front_is_shown_evenly_with_its_marks() -> None:
    rows = pd.DataFrame({"trial": range(100), "knee": False, "reference": False})
    rows.loc[37, "knee"] = rows.loc[41, "reference"] = True
    some = shown(Front(rows, met=True))["trial"].tolist()
    assert {0, 37, 41, 99} < set(some)
    assert len(some) == SHOWN + 2


def test_every_mistake_about_objectives_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        small_plan(
            tmp_path,
            *("search.objective=pareto", "search.objectives=[sharpe, orders, sharp]", "search.sampler=cmaes"),
            *("search.trials=16", "search.configs_per_trial=4"),
        )
    keys = [problem.split(":")[0] for problem in refused.value.problems]
    assert keys.count("search.objectives") == 2
    assert {"search.sampler", "search.configs_per_trial"} <= set(keys)
    with pytest.raises(InputError, match=r"targets.hedging_error: target on unknown metric 'hedging_error'"):
        small_plan(tmp_path, *PARETO[:2], "targets={hedging_error: {at_most: 1, reservation: 2}}")
