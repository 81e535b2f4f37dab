"""A study gives the same trials however it is cut up, interrupted and resumed, and learners find the optimum."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import HEDGE, LEARNERS, MIXED, NUMBERS, SAMPLERS, TARGETS, opened, planted, run, same

from kernels.errors import InputError
from search import frozen
from search.samplers import POINTS
from search.space import Space
from search.study import Study
from search.targets import Targets


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_study_tries_every_trial_once_in_order(tmp_path: Path, sampler: str) -> None:
    study = opened(tmp_path / "demo", sampler)
    results = run(study)
    assert results["trial"].tolist() == list(range(study.trials)) == list(range(study.done))
    assert study.ask() is None
    names = [p.name for p in HEDGE.parameters]
    assert list(results.columns) == [
        "trial",
        *names,
        *["sharpe", "cagr", "profit_factor", "score", "targets_met", "status", "margin_sharpe", "margin_cagr"],
    ]
    assert results[names].dtypes.to_dict() == study.space.random(1, 0).dtypes.to_dict()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_seed_makes_the_study(tmp_path: Path, sampler: str) -> None:
    first = run(opened(tmp_path / "a", sampler))
    same(first, run(opened(tmp_path / "b", sampler)))
    if sampler != "grid":
        assert not first.equals(run(opened(tmp_path / "c", sampler, seed=8)))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("batches", [0, 2])
def test_interrupted_between_batches_and_resumed_is_uninterrupted(tmp_path: Path, sampler: str, batches: int) -> None:
    whole = run(opened(tmp_path / "whole", sampler))
    run(opened(tmp_path / "cut", sampler), batches)
    resumed = opened(tmp_path / "cut", sampler, resume=True)
    assert resumed.done == 8 * batches
    same(run(resumed), whole)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_batch_asked_and_never_told_is_asked_again(tmp_path: Path, sampler: str) -> None:
    study = opened(tmp_path / "demo", sampler)
    run(study, 1)
    lost, again = study.ask(), study.ask()
    found = opened(tmp_path / "demo", sampler, resume=True).ask()
    assert lost is not None
    for other in (again, found):
        assert other is not None
        assert (other.number, other.first) == (lost.number, lost.first) == (1, 8)
        same(other.configurations, lost.configurations)


@pytest.mark.parametrize("sampler", LEARNERS)
def test_a_learning_study_killed_at_any_write_resumes_as_if_it_had_not_been(tmp_path: Path, sampler: str) -> None:
    whole = run(opened(tmp_path / "whole", sampler))
    journal = (tmp_path / "whole" / "optuna.journal").read_bytes()
    rng = np.random.default_rng(3)
    for i, cut in enumerate(rng.integers(0, len(journal), 6)):
        folder = tmp_path / str(i)
        shutil.copytree(tmp_path / "whole", folder)
        (folder / "optuna.journal").write_bytes(journal[:cut])  # most cuts fall inside a line
        (folder / "optuna.journal.lock").symlink_to("optuna.journal")  # as a kill while writing leaves it
        same(run(opened(folder, sampler, resume=True)), whole)


@pytest.mark.parametrize("sampler", POINTS)
def test_a_study_of_known_points_does_not_depend_on_its_batches(tmp_path: Path, sampler: str) -> None:
    whole = run(opened(tmp_path / "whole", sampler))
    run(opened(tmp_path / "cut", sampler, batch=7), 2)
    same(run(opened(tmp_path / "cut", sampler, batch=5, resume=True)), whole)


@pytest.mark.parametrize("sampler", POINTS)
def test_a_lost_part_is_evaluated_again(tmp_path: Path, sampler: str) -> None:
    study = opened(tmp_path / "demo", sampler)
    whole = run(study)
    parts = sorted((tmp_path / "demo" / "configs").glob("part-*.parquet"))
    parts[1].rename(parts[1].with_suffix(".partial"))  # as a kill before the rename leaves it
    resumed = opened(tmp_path / "demo", sampler, resume=True)
    assert resumed.done == study.trials - 8
    same(run(resumed), whole)


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    run(opened(tmp_path / "demo", "sobol"))
    part = sorted((tmp_path / "demo" / "configs").glob("part-*.parquet"))[0]
    healthy = bytearray(part.read_bytes())
    healthy[60] ^= 1  # a bit of the first page
    part.write_bytes(healthy)
    with pytest.raises(InputError, match=r"part-000000000.parquet is damaged .*; remove it and resume"):
        opened(tmp_path / "demo", "sobol", resume=True).results()
    part.write_bytes(healthy[:100])
    with pytest.raises(InputError, match=r"part-000000000.parquet is damaged .*; remove it and resume"):
        opened(tmp_path / "demo", "sobol", resume=True)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_resumed_study_may_be_given_more_trials(tmp_path: Path, sampler: str) -> None:
    short = run(opened(tmp_path / "demo", sampler, trials=16))
    longer = run(opened(tmp_path / "demo", sampler, trials=24, resume=True))
    assert len(longer) == 24
    same(longer.head(16), short)


@pytest.mark.parametrize("sampler", LEARNERS)
def test_learning_finds_a_planted_optimum_better_than_chance(tmp_path: Path, sampler: str) -> None:
    space = Space.of(HEDGE, search={name: {"low": 0, "high": 1} for name in ("x", "y")})

    def best(name: str, seed: int) -> float:
        study = opened(tmp_path / f"{name}{seed}", name, space=space, trials=48, seed=seed)
        run(study)
        return float(study.best(1)["sharpe"].item())

    seeds = range(3)
    assert np.mean([best(sampler, seed) for seed in seeds]) > np.mean([best("random", seed) for seed in seeds])


def test_cmaes_goes_on_where_scores_say_nothing(tmp_path: Path) -> None:
    # 2 ranges in generations of 8: after 10 + 30 * 2 / 8 generations without a difference the search starts again
    space = Space.of(HEDGE, search={name: {"low": 0, "high": 1} for name in ("x", "y")})
    study = opened(tmp_path / "demo", "cmaes", space=space, trials=200)
    while (batch := study.ask()) is not None:
        study.tell(batch, planted(batch.configurations).assign(status="invalid"))
    results = study.results()
    assert (results["score"] == 0.0).all()
    assert results["x"].tail(40).std() > 0.05


@pytest.mark.parametrize("sampler", ["random", "nsga2"])
def test_the_best_are_the_highest_scores_and_the_earlier_among_equals(tmp_path: Path, sampler: str) -> None:
    study = opened(tmp_path / "demo", sampler)
    assert len(study.best(3)) == 0
    results = run(study)
    order = results.sort_values("score", ascending=False, kind="stable")
    same(study.best(5), order.head(5).reset_index(drop=True))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_optuna_sees_scores_parameters_and_constraints(tmp_path: Path, sampler: str) -> None:
    study = opened(tmp_path / "demo", sampler)
    results = run(study)
    seen = study.optuna_study.trials
    assert [trial.value for trial in seen] == results["score"].tolist()
    names = [p.name for p in HEDGE.parameters]
    same(study.space.table([study.space.row(trial.params) for trial in seen]), results[names])
    met = [sum(violation <= 0 for violation in trial.constraints.values()) for trial in seen]
    ok = results["status"] == "ok"
    assert results["targets_met"][ok].tolist() == [n for n, fine in zip(met, ok, strict=True) if fine]


def test_optuna_is_given_a_sample_of_a_large_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "LARGEST", 20)
    study = opened(tmp_path / "demo", "grid")
    results = run(study)
    seen = study.optuna_study.trials
    assert len(seen) == 20 < len(results)
    scores = results.set_index("trial")["score"]
    assert all(scores[trial.user_attrs["trial"]] == trial.value for trial in seen)
    for name in study.space.searched:
        assert {trial.params[name] for trial in seen} == set(results[name])


# --- refusals


@pytest.mark.parametrize("sampler", ["sobol", "tpe"])
def test_an_existing_study_is_not_written_over(tmp_path: Path, sampler: str) -> None:
    run(opened(tmp_path / "demo", sampler), 2)
    with pytest.raises(InputError) as refused:
        opened(tmp_path / "demo", sampler)
    said = str(refused.value)
    assert "already holds a study (16 of 20 trials done, last written 20" in said
    assert "continue it with --resume, use another name, or remove the folder" in said
    assert opened(tmp_path / "demo", sampler, resume=True).done == 16


def test_another_study_is_not_resumed(tmp_path: Path) -> None:
    run(opened(tmp_path / "demo", "tpe"), 1)
    other = Targets.of({"sharpe": {"at_least": 2.0}}, metrics=["sharpe"])
    with pytest.raises(InputError) as refused:
        opened(tmp_path / "demo", "tpe", resume=True, seed=8, batch=4, targets=other, trials=40)
    keys = [problem.split(": ")[1].split(" is ")[0] for problem in refused.value.problems]
    assert keys == [
        *["seed", "batch", "targets.sharpe.at_least", "targets.sharpe.weight"],
        *["targets.cagr.at_least", "targets.cagr.reservation", "targets.cagr.weight"],
    ]
    with pytest.raises(InputError, match=r"space.search.stop.kind is \"Choices\" there, not set now"):
        opened(tmp_path / "demo", "tpe", resume=True, space=NUMBERS)
    with pytest.raises(InputError, match=r"sampler is \"tpe\" there, \"sobol\" now"):
        opened(tmp_path / "demo", "sobol", resume=True)


@pytest.mark.parametrize(("sampler", "other"), [("sobol", "tpe"), ("tpe", "random"), ("tpe", "nsga2")])
def test_a_refusal_changes_nothing(tmp_path: Path, sampler: str, other: str) -> None:
    def contents() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    run(opened(tmp_path / "demo", sampler), 1)
    before = contents()
    for resume in (False, True):
        with pytest.raises(InputError):
            opened(tmp_path / "demo", other, resume=resume)
    assert contents() == before


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_study_of_which_nothing_was_evaluated_may_be_started_again(tmp_path: Path, sampler: str) -> None:
    opened(tmp_path / "demo", sampler).ask()
    same(run(opened(tmp_path / "demo", sampler, seed=8)), run(opened(tmp_path / "other", sampler, seed=8)))


def test_a_damaged_record_of_the_study_is_named(tmp_path: Path) -> None:
    opened(tmp_path / "demo", "tpe")
    (tmp_path / "demo" / "search.json").write_text("{")
    with pytest.raises(InputError, match=r"search.json is damaged"):
        opened(tmp_path / "demo", "tpe", resume=True)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"the study cannot be kept there .* name another folder"):
        opened(tmp_path / "file" / "demo", "tpe")


@pytest.mark.parametrize(
    ("sampler", "changed", "sentence"),
    [
        ("tpee", {}, "search.sampler: 'tpee' is unknown; did you mean tpe? samplers are grid, random, sobol, tpe"),
        ("tpe", {"trials": None}, "search.trials: is needed; only a grid knows its own number of trials"),
        ("tpe", {"trials": 0}, "search.trials: at least 1 is needed, got 0"),
        ("tpe", {"batch": 0}, "search.batch: at least 1 is needed, got 0"),
        ("tpe", {"seed": -1}, "search.seed: seed >= 0 must hold, got -1"),
        ("tpe", {"space": Space.of(HEDGE)}, "tpe has nothing to search"),
        ("nsga2", {"batch": 1}, "nsga2 needs at least 2, since its batch is its population, got 1"),
        ("cmaes", {"batch": 3}, "cmaes needs at least 4, since its batch is its population, got 3"),
        ("cmaes", {"space": MIXED}, "strategy.search.mode: cmaes moves numbers along ranges"),
    ],
)
def test_wrong_search_settings_are_refused_before_anything_is_written(
    tmp_path: Path, sampler: str, changed: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError) as refused:
        opened(tmp_path / "demo", sampler, **changed)
    assert sentence in str(refused.value)
    assert not (tmp_path / "demo").exists()


def test_a_grid_is_not_cut_off_by_trials(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the grid has 50 points, got trials=40; leave trials out"):
        Study.open(tmp_path / "a", "a", NUMBERS, TARGETS, sampler="grid", trials=40, batch=8, seed=1)
    study = Study.open(tmp_path / "b", "b", NUMBERS, TARGETS, sampler="grid", trials=1000, batch=8, seed=1)
    assert study.trials == 50
    with pytest.raises(InputError, match=r"strategy.search.x: a grid needs steps"):
        Study.open(tmp_path / "c", "c", MIXED, TARGETS, sampler="grid", trials=None, batch=8, seed=1)


def test_a_metric_named_as_a_parameter_is_kept_beside_it(tmp_path: Path) -> None:
    study = opened(tmp_path / "demo", "random")
    batch = study.ask()
    assert batch is not None
    rows = study.tell(batch, planted(batch.configurations).assign(x=1.0))
    assert (rows[study.space.measured("x")] == 1.0).all()
    assert rows["x"].tolist() == batch.configurations["x"].tolist()


def test_a_batch_is_told_whole(tmp_path: Path) -> None:
    study = opened(tmp_path / "demo", "random")
    batch = study.ask()
    assert batch is not None
    with pytest.raises(ValueError, match="8 rows of metrics are needed, got 7"):
        study.tell(batch, planted(batch.configurations).head(7))


def test_two_drivers_do_not_share_a_study(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    opened(folder, "random")
    ours = json.dumps(str(folder))
    script = f"""
from pathlib import Path
from kernels.errors import InputError
from search.lock import hold
try:
    hold(Path({ours}))
except InputError as error:
    print(error)
"""
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "is in use by another run of this study" in other.stdout
