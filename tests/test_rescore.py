"""`hedgegrid rescore`: new targets give what a study of them would have given, and nothing of the study changes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from studies import LEARNING, TRIALS, run_one, same, small_plan
from test_job import run_stopped
from typer.testing import CliRunner

from cluster.cli import app
from cluster.plan import Plan
from cluster.rescore import _Ranking, changes, rescore, scored_again, show_rescored
from cluster.running import opened
from kernels.errors import InputError

UNTRACKED = "tracking.enabled=false"
CLOUDS = (*LEARNING, "search.configs_per_trial=4", "search.cloud_radius=0.2")
CALM = {"max_drawdown": {"at_most": 0.1, "reservation": 0.3}, "profit_factor": {"at_least": 1.2, "reservation": 1.0}}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, undrawn: None) -> dict[str, Plan]:
    """A grid, a study of clouds, the same grid by other targets, and the grid stopped after 5 trials and before any."""
    folder = tmp_path_factory.mktemp("kept")
    kept = {}
    for name, overrides in (
        ("grid", ()),
        ("clouds", CLOUDS),
        ("calm", (f"targets={CALM}",)),
        ("stopped", ()),
        ("begun", ()),
    ):
        (folder / name).mkdir()
        plan = kept[name] = small_plan(folder / name, *overrides, UNTRACKED)
        if name == "begun":
            with opened([plan], resume=False):
                pass
        elif name == "stopped":
            run_stopped(plan)
        else:
            run_one(plan)
    return kept


@pytest.fixture
def calm(tmp_path: Path) -> Path:
    path = tmp_path / "calm.yaml"
    path.write_text(yaml.safe_dump(CALM))
    return path


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file of a study but what rescoring adds."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "rescored" not in path.parts}


@pytest.mark.parametrize("name", ["grid", "clouds"])
def test_the_studys_own_targets_give_its_own_scores_and_nothing_of_it_changes(kept: dict[str, Plan], name: str) -> None:
    plan = kept[name]
    before = contents(plan.folder)
    found = rescore(plan.folder, plan.folder / "study.yaml")
    assert contents(plan.folder) == before
    scores, configs = (pd.read_parquet(p) for p in (found.folder / "scores.parquet", plan.folder / "configs.parquet"))
    same(scores, configs[list(scores)])
    assert changes(found) == ["These are the study's own targets: nothing changes."]
    assert found.winner == found.leader
    assert found.winner.rank == found.winner.rank_before == 1
    best = yaml.safe_load((found.folder / "best.yaml").read_text())
    own = yaml.safe_load((plan.folder / "best.yaml").read_text())
    alike = ("strategy", "parameters", "score", "targets_met", "margins", "metrics", "costs", "from")
    assert {key: best[key] for key in alike} == {key: own[key] for key in alike}
    same(found.baselines, pd.read_parquet(plan.folder / "baselines.parquet").set_index("label")[list(found.baselines)])


def test_new_targets_give_what_a_study_of_them_gives(kept: dict[str, Plan], calm: Path) -> None:
    found = rescore(kept["grid"].folder, calm)
    other = kept["calm"]
    assert found.plan.targets.score_spec == other.targets.score_spec
    scores = pd.read_parquet(found.folder / "scores.parquet")
    same(scores, pd.read_parquet(other.folder / "configs.parquet")[list(scores)])
    best = yaml.safe_load((other.folder / "best.yaml").read_text())
    assert (found.leader.trial, found.leader.score) == (best["from"]["trial"], best["score"])


@pytest.mark.parametrize("name", ["grid", "clouds"])
def test_ranks_are_places_in_the_order_of_scores(kept: dict[str, Plan], calm: Path, name: str) -> None:
    plan = kept[name]
    found = rescore(plan.folder, calm)
    scores = pd.read_parquet(found.folder / "scores.parquet")
    told = scores.groupby("trial")["score"].median()  # a cloud's statistic, and of one configuration its score
    order = list(told.sort_values(ascending=False, kind="stable").index)
    assert found.leader.rank == 1
    assert order[0] == found.leader.trial
    assert order.index(found.winner.trial) + 1 == found.winner.rank
    assert found.winner.score == told[found.winner.trial]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12), st.integers(1, 5))
def test_ranks_do_not_depend_on_how_results_are_cut(pairs: list[tuple[int, int]], piece: int) -> None:
    rows = pd.DataFrame({"trial": range(len(pairs)), "score": [float(after) for _, after in pairs]})
    before = np.array([float(score) for score, _ in pairs])
    ranking = _Ranking(3, "score")
    for first in range(0, len(rows), piece):
        ranking.add(rows.iloc[first : first + piece], before[first : first + piece])
    places = [ranking.place(trial) for trial in range(len(pairs))]
    assert sorted(place.rank for place in places) == sorted(place.rank_before for place in places)
    assert [p.trial for p in sorted(places, key=lambda p: p.rank)] == sorted(
        range(len(pairs)), key=lambda trial: (-pairs[trial][1], trial)
    )
    best = list(ranking.best["trial"])
    assert best == [p.trial for p in sorted(places, key=lambda p: p.rank)][: len(best)]


def test_a_second_rescore_is_the_same_bytes(kept: dict[str, Plan], calm: Path) -> None:
    written = [
        {path.name: path.read_bytes() for path in rescore(kept["clouds"].folder, calm).folder.iterdir()}
        for _ in range(2)
    ]
    assert written[0] == written[1]
    assert sorted(written[0]) == ["best.yaml", "scores.parquet", "targets.yaml"]


def test_the_targets_written_are_the_targets_given(kept: dict[str, Plan], calm: Path) -> None:
    found = rescore(kept["grid"].folder, calm)
    again = rescore(kept["grid"].folder, found.folder / "targets.yaml")
    assert again.folder == found.folder


def test_a_row_that_only_the_old_targets_could_not_score_is_scored(kept: dict[str, Plan]) -> None:
    plan = kept["calm"]
    rows = pd.DataFrame({"max_drawdown": 0.05, "profit_factor": 2.0}, index=range(4))
    rows["status"] = ["ok", "invalid", "invalid", "quarantined"]
    rows.loc[2:, ["max_drawdown", "profit_factor"]] = np.nan  # as where the equity reached zero
    rows["margin_calmar"] = np.inf
    again = scored_again(plan, plan.targets, rows)
    assert list(again["status"]) == ["ok", "ok", "invalid", "quarantined"]
    assert list(again["score"] > 0.0) == [True, True, False, False]
    assert "margin_calmar" not in again


def test_a_study_under_way_is_rescored_as_far_as_it_is(kept: dict[str, Plan], calm: Path) -> None:
    found = rescore(kept["stopped"].folder, calm)
    assert (found.done, found.trials, len(found.baselines)) == (5, TRIALS, 0)
    shown = io.StringIO()
    show_rescored(Console(file=shown, width=100), found, calm)
    assert "The study is not finished: 5 of 12 trials have results" in shown.getvalue()
    assert yaml.safe_load((found.folder / "best.yaml").read_text())["from"]["configurations_tried"] == 5


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hedging_error: {at_most: 0.1, reservation: 0.2}", "target on unknown metric 'hedging_error'; metrics are"),
        ("sharp: {at_least: 1}", "did you mean sharpe?"),
        ("sharpe: {at_least: 1, reservation: 2}", "must lie below at_least"),
        ("sharpe: {atleast: 1}", "did you mean at_least?"),
        ("targets: {}", "targets are metrics with at_least or at_most"),
        ("{name: small, market: {source: sp500}}", "has market, name but no targets"),
        ("", "is empty"),
        (None, "no such file"),
    ],
)
def test_targets_that_cannot_be_are_refused_and_nothing_is_written(
    kept: dict[str, Plan], tmp_path: Path, text: str | None, why: str
) -> None:
    folder, file = kept["grid"].folder, tmp_path / "targets.yaml"
    before = sorted(folder.rglob("*"))
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError) as refused:
        rescore(folder, file)
    assert why in str(refused.value)
    assert str(file) in str(refused.value)
    assert sorted(folder.rglob("*")) == before


def test_a_study_without_a_result_is_refused_with_the_way_on(kept: dict[str, Plan], calm: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)no trial has a result yet; go on with.*hedgegrid run .* --resume"):
        rescore(kept["begun"].folder, calm)
    assert not (kept["begun"].folder / "rescored").exists()


def test_a_damaged_part_leaves_nothing_half_written(tmp_path: Path, calm: Path, undrawn: None) -> None:
    plan = small_plan(tmp_path, UNTRACKED, "name=damaged")
    run_one(plan)
    part = plan.folder / "configs" / "part-000000005.parquet"
    damaged = bytearray(part.read_bytes())
    damaged[60] ^= 1
    part.write_bytes(damaged)
    with pytest.raises(InputError, match=r"part-000000005.parquet is damaged"):
        rescore(plan.folder, calm)
    assert not (plan.folder / "rescored").exists()


def test_the_command_shows_the_best_the_old_winner_and_the_price_of_another_look(
    kept: dict[str, Plan], calm: Path
) -> None:
    plan = kept["grid"]
    words = ["rescore", "small", "--targets", str(calm), "--runs", str(plan.folder.parent)]
    said = CliRunner().invoke(app, words, env={"COLUMNS": "100"})
    assert said.exit_code == 0, said.output
    for part in (
        f"small: best of {TRIALS} trials by the targets of calm.yaml beside the baselines",
        "max_drawdown <= 10.0%, profit_factor >= 1.20",
        "one more look at this data",
        "rescored/",
    ):
        assert part in " ".join(said.output.split()), part
    assert max(map(len, said.output.splitlines()[:12])) <= 100
