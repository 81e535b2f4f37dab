"""Samplers of a user's own, the Gaussian process, and what samplers do with several objectives."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from planted import HEDGE, MIXED, TARGETS, opened, planted, run, same

from kernels.errors import InputError
from search import samplers
from search.cloud import Cloud
from search.front import front_of
from search.objectives import Objectives
from search.sampler_names import SAMPLERS
from search.space import Space
from search.study import Study
from search.targets import Targets

TPE = "optuna.samplers:TPESampler"
SQUARE = Space.of(HEDGE, search={name: {"low": 0, "high": 1} for name in ("x", "y")})
BOTH = Objectives.of(None, TARGETS, MIXED)
FILE = """
import numpy as np
from optuna.samplers import BaseSampler

class Near(BaseSampler):
    "A step from the best so far."
    def __init__(self, width=0.1, seed=None):
        if width <= 0:
            raise ValueError("width > 0 must hold")
        self.width, self.rng = width, np.random.default_rng(seed)
    def infer_relative_search_space(self, study, trial):
        return {}
    def sample_relative(self, study, trial, search_space):
        return {}
    def sample_independent(self, study, trial, name, distribution):
        told = [t for t in study.trials if t.value is not None]
        at = max(told, key=lambda t: t.value).params[name] if told else 0.5
        return float(np.clip(at + self.width * self.rng.normal(), distribution.low, distribution.high))

class Forgetful(Near):
    def __init__(self):
        super().__init__()

class Broken(Near):
    def sample_independent(self, study, trial, name, distribution):
        raise RuntimeError("never written")

class Half(BaseSampler):
    pass

class Other:
    pass
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return str(path)


def pareto(folder: Path, sampler: str, **changed: Any) -> Study:
    return opened(folder, sampler, **{"objectives": BOTH, "space": MIXED, **changed})


# --- a user's own


@pytest.mark.parametrize("several", [False, True])
def test_a_sampler_by_import_path_goes_on_where_it_was_stopped(tmp_path: Path, several: bool) -> None:
    settings = {"space": MIXED, "options": {"n_startup_trials": 4}, "objectives": BOTH if several else None}
    whole = run(opened(tmp_path / "whole", TPE, **settings))
    same(whole, run(opened(tmp_path / "again", TPE, **settings)))
    assert not whole.equals(run(opened(tmp_path / "other", TPE, seed=8, **settings)))
    journal = (tmp_path / "whole" / "optuna.journal").read_bytes()
    for i, cut in enumerate(np.random.default_rng(5).integers(0, len(journal), 4)):
        folder = tmp_path / str(i)
        shutil.copytree(tmp_path / "whole", folder)
        (folder / "optuna.journal").write_bytes(journal[:cut])
        same(run(opened(folder, TPE, resume=True, **settings)), whole)


def test_a_sampler_of_a_file_learns_with_its_options(tmp_path: Path, file: str) -> None:
    settings = {"space": SQUARE, "trials": 48}
    wide = run(opened(tmp_path / "wide", f"{file}:Near", **settings))
    study = opened(tmp_path / "narrow", f"{file}:Near", options={"width": 0.02}, **settings)
    narrow = run(study)
    assert narrow["x"].diff().abs().mean() < wide["x"].diff().abs().mean()
    assert wide["sharpe"].tail(16).mean() > wide["sharpe"].head(16).mean()
    resumed = opened(tmp_path / "narrow", f"{file}:Near", options={"width": 0.02}, resume=True, **settings)
    same(resumed.results(), narrow)


def test_a_study_is_not_resumed_with_another_sampler(tmp_path: Path, file: str) -> None:
    run(opened(tmp_path / "demo", f"{file}:Near", space=SQUARE), 1)
    with pytest.raises(InputError, match=r"sampler_options.width is not set there, 0.2 now"):
        opened(tmp_path / "demo", f"{file}:Near", space=SQUARE, options={"width": 0.2}, resume=True)
    with pytest.raises(InputError, match=r'sampler is ".*:Near" there, "tpe" now'):
        opened(tmp_path / "demo", "tpe", space=SQUARE, resume=True)
    Path(file).write_text(FILE.replace("0.5", "0.4"))
    with pytest.raises(InputError, match="sampler_code is "):
        opened(tmp_path / "demo", f"{file}:Near", space=SQUARE, resume=True)


@pytest.mark.parametrize(
    ("sampler", "options", "sentence"),
    [
        ("nowhere.at_all:Mine", {}, "module 'nowhere.at_all' cannot be imported (ModuleNotFoundError: No module named"),
        (":Mine", {}, "module '' cannot be imported"),
        ("nowhere.py:Mine", {}, "nowhere.py cannot be read (FileNotFoundError"),
        ("optuna.samplers:TPSampler", {}, "optuna.samplers has no 'TPSampler'; did you mean TPESampler?"),
        ("collections:Nothing", {}, "collections has no 'Nothing'; it has no sampler"),
        ("FILE:Other", {}, "is no class of optuna.samplers.BaseSampler; derive it from that class"),
        ("FILE:Half", {}, "leaves out infer_relative_search_space, sample_independent, sample_relative; write them"),
        ("FILE:Near", {"widht": 1}, "search.sampler_options.widht: "),
        ("FILE:Near", {"widht": 1}, "has no such option; did you mean width? options are width"),
        ("FILE:Near", {"width": -1}, "does not take them (ValueError: width > 0 must hold), got width: -1"),
        ("FILE:Near", {"seed": 1}, "every trial has a seed of its own; set search.seed"),
        ("FILE:Forgetful", {}, "from the same seed and trials; let its constructor take `seed`"),
        ("FILE:Broken", {}, "cannot propose a configuration of this space: RuntimeError: never written"),
        ("optuna.samplers:PartialFixedSampler", {}, "does not take them (TypeError"),
        ("tpe", {"n_startup_trials": 3}, "are for a sampler of your own, written as package.module:ClassName"),
        ("gpp", {}, "'gpp' is unknown; did you mean gp? samplers are grid"),
    ],
)
def test_a_sampler_that_cannot_be_one_is_refused(
    tmp_path: Path, file: str, sampler: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError) as refused:
        opened(tmp_path / "demo", sampler.replace("FILE", file), space=SQUARE, options=options)
    assert sentence in str(refused.value)
    assert not (tmp_path / "demo").exists()


def test_a_file_that_does_not_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import nothing_of_that_name")
    with pytest.raises(InputError, match=r"mine.py does not run \(ModuleNotFoundError"):
        opened(tmp_path / "demo", f"{tmp_path}/mine.py:Mine", space=SQUARE)


# --- the Gaussian process


def test_gp_says_what_to_install_where_pytorch_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"gp needs PyTorch, which is not installed; pip install 'hedgegrid\[gp\]'"):
        Study.open(tmp_path / "demo", "demo", SQUARE, TARGETS, sampler="gp", trials=8, batch=4, seed=1)


@pytest.mark.parametrize("several", [False, True])
def test_gp_goes_on_where_it_was_stopped(tmp_path: Path, several: bool) -> None:
    settings: dict[str, Any] = {"trials": 13, "batch": 10, "space": MIXED, "objectives": BOTH if several else None}
    whole = run(opened(tmp_path / "whole", "gp", **settings))
    journal = (tmp_path / "whole" / "optuna.journal").read_bytes()
    # inside the last batch's asking: after its second trial's own proposal was stored, and before its parameters were
    asked = journal.index(b"gp:relative_params", journal.index(b"gp:relative_params") + 1)
    cut = journal.index(b"\n", asked) + 1
    (tmp_path / "whole" / "optuna.journal").write_bytes(journal[:cut])
    resumed = opened(tmp_path / "whole", "gp", resume=True, **settings)
    assert resumed.done == 10
    same(run(resumed), whole)


def test_gp_finds_a_planted_optimum_better_than_chance(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"space": SQUARE, "trials": 16, "batch": 5}
    best = {name: run(opened(tmp_path / name, name, **settings))["sharpe"].max() for name in ("gp", "random")}
    assert best["gp"] > best["random"]


# --- several objectives


def test_every_sampler_that_has_a_name_is_made() -> None:
    assert (*samplers.POINTS, *samplers.LEARNERS) == SAMPLERS


PARETO = tuple(name for name in SAMPLERS if name not in ("cmaes", "gp"))


@pytest.mark.parametrize("sampler", PARETO)
def test_the_winner_of_several_objectives_is_the_pick_of_the_front(tmp_path: Path, sampler: str) -> None:
    settings = (
        {"space": Space.of(HEDGE, search={"x": [0.0, 0.3, 0.9], "y": [0.2, 0.7, 1.0]})} if sampler == "grid" else {}
    )
    study = pareto(tmp_path / "demo", sampler, **settings)
    assert len(study.best(3)) == 0
    results = run(study)
    found = study.front()
    assert found is not None
    same(found.rows, front_of(BOTH, [results]).rows)
    assert found.reference is not None
    assert found.reference["trial"] == study.best(1)["trial"].item()
    same(study.best(5), results.iloc[BOTH.best_first(results)[:5]].reset_index(drop=True))
    assert study.highest(1)["score"].item() == results["score"].max()
    assert run(opened(tmp_path / "score", sampler, space=study.space)).columns.equals(results.columns)


@pytest.mark.parametrize("sampler", ["sobol", "tpe", "nsga2"])
def test_a_study_of_several_objectives_goes_on_where_it_was_stopped(tmp_path: Path, sampler: str) -> None:
    whole = run(pareto(tmp_path / "whole", sampler))
    run(pareto(tmp_path / "cut", sampler), 2)
    same(run(pareto(tmp_path / "cut", sampler, resume=True)), whole)
    with pytest.raises(InputError, match=r'objectives.sharpe is "maximize" there, not set now'):
        opened(tmp_path / "cut", sampler, space=MIXED, resume=True)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_optuna_is_told_objectives_and_constraints_and_the_worst_of_what_is_invalid(
    tmp_path: Path, sampler: str
) -> None:
    targets = Targets.of({"sharpe": {"at_least": 1.0, "reservation": 0.0}}, metrics=["sharpe"])
    objectives = Objectives.of(
        ["sharpe", "profit_factor"], targets, MIXED
    )  # which planted() makes infinite here and there
    study = pareto(tmp_path / "demo", sampler, targets=targets, objectives=objectives, trials=40)
    results = run(study)
    odd = 0
    for trial, (_, row) in zip(study.optuna_study.trials, results.iterrows(), strict=True):
        if row["status"] == "ok" and np.isfinite(row["profit_factor"]):
            assert trial.values == [row["sharpe"], row["profit_factor"]]  # noqa: PD011 - a trial's, no table's
            assert trial.constraints == {"sharpe": -row["margin_sharpe"]}
        else:
            assert trial.values == [-np.inf, -np.inf]  # noqa: PD011
            assert trial.constraints == {"sharpe": np.inf}
            odd += 1
    assert 0 < odd < 40
    assert sum(study.importance().values()) == pytest.approx(1.0)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_learner_covers_a_planted_front_better_than_chance(tmp_path: Path, sampler: str) -> None:
    # sharpe is best at x = 0.3, y = 0.7, turnover at x = y = 0
    wanted = {"sharpe": {"at_least": -9, "reservation": -99}, "turnover": {"at_most": 9, "reservation": 99}}
    targets = Targets.of(wanted, metrics=HEDGE.metrics)
    objectives = Objectives.of(None, targets, SQUARE)

    def covered(name: str, seed: int) -> float:
        settings: dict[str, Any] = {"space": SQUARE, "targets": targets, "objectives": objectives, "trials": 48}
        study = opened(tmp_path / f"{name}{seed}", name, seed=seed, **settings)
        while (batch := study.ask()) is not None:
            trading = batch.configurations["x"] + batch.configurations["y"]
            study.tell(batch, planted(batch.configurations).assign(turnover=trading, status="ok"))
        front = study.front()
        assert front is not None
        return area(front.rows)

    def area(rows: pd.DataFrame) -> float:
        """Dominated below sharpe 2 and turnover 2, the front being in falling order of sharpe."""
        sharpe, left = rows["sharpe"].to_numpy() + 8.0, 2.0 - rows["turnover"].to_numpy()
        return float((sharpe * np.diff(left, prepend=0.0)).sum())

    seeds = range(3)
    assert np.mean([covered(sampler, seed) for seed in seeds]) > np.mean([covered("random", seed) for seed in seeds])


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_study_of_which_nothing_is_valid_has_an_empty_front(tmp_path: Path, sampler: str) -> None:
    study = pareto(tmp_path / "demo", sampler, trials=40)
    while (batch := study.ask()) is not None:
        study.tell(batch, planted(batch.configurations).assign(status="invalid"))
    front = study.front()
    assert front is not None
    assert (len(front.rows), front.reference) == (0, None)
    assert study.best(1)["trial"].item() == 0


@pytest.mark.parametrize(
    ("sampler", "changed", "sentence"),
    [
        (
            "cmaes",
            {"space": SQUARE},
            "cmaes learns from one score, and objective: pareto has several; use tpe, nsga2, gp",
        ),
        ("tpe", {"cloud": Cloud(4, 0.1, 0.1, "median")}, "objective: pareto the metrics of one configuration, got 4"),
        ("optuna.samplers:CmaEsSampler", {"space": SQUARE}, "cannot propose a configuration of this space for several"),
    ],
)
def test_what_cannot_do_several_objectives_is_refused(
    tmp_path: Path, sampler: str, changed: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError) as refused:
        pareto(tmp_path / "demo", sampler, **changed)
    assert sentence in str(refused.value)
    assert not (tmp_path / "demo").exists()
