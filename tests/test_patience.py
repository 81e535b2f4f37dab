"""A study ends early where batches in a row bring nothing better, alike wherever it was stopped before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import opened, planted, run, same
from studies import LEARNING, Watch, small_plan, without_figures

from cluster import job
from cluster.plan import open_study
from cluster.repair import repair
from kernels.errors import InputError
from search.cloud import Cloud
from search.patience import has_ended, without_improvement
from search.samplers import LEARNERS, POINTS
from search.study import Study

IDLE = 3


def idle_after(study: Study, batches: int) -> pd.DataFrame:
    """Run a study whose scores get better for so many batches, and then never again."""
    while (batch := study.ask()) is not None:
        level = min(batch.number, batches - 1)
        study.tell(batch, planted(batch.configurations).assign(sharpe=-1.0 + level / 10, cagr=0.0, status="ok"))
    return study.results()


@pytest.mark.parametrize("sampler", LEARNERS)
def test_a_study_ends_after_as_many_batches_as_it_has_patience_for(tmp_path: Path, sampler: str) -> None:
    study = opened(tmp_path, sampler, trials=64, patience=IDLE)
    results = idle_after(study, 2)
    assert len(results) == study.done == study.trials == 8 * (2 + IDLE)
    assert study.ask() is None


def test_as_good_is_not_better_and_a_study_that_gets_better_has_all_its_trials(tmp_path: Path) -> None:
    assert len(idle_after(opened(tmp_path / "a", "tpe", trials=20, patience=1), 9)) == 20
    level = opened(tmp_path / "b", "tpe", trials=64, patience=1)
    assert len(idle_after(level, 1)) == 16


@pytest.mark.parametrize("batches", [1, 4])
def test_it_ends_where_it_would_have_however_it_was_stopped(tmp_path: Path, batches: int) -> None:
    whole = run(opened(tmp_path / "whole", "tpe", trials=400, patience=IDLE))
    assert len(whole) < 400
    run(opened(tmp_path / "cut", "tpe", trials=400, patience=IDLE), batches)
    same(run(opened(tmp_path / "cut", "tpe", trials=400, patience=IDLE, resume=True)), whole)
    over = opened(tmp_path / "cut", "tpe", trials=400, patience=IDLE, resume=True)
    assert over.ask() is None
    assert over.trials == len(whole)


def test_more_patience_goes_on_where_less_has_ended(tmp_path: Path) -> None:
    impatient = run(opened(tmp_path / "a", "tpe", trials=80, patience=1))
    resumed = run(opened(tmp_path / "a", "tpe", trials=80, resume=True))
    assert len(impatient) < len(resumed) == 80
    same(resumed, run(opened(tmp_path / "b", "tpe", trials=80)))


def test_clouds_are_judged_by_what_is_told_of_them(tmp_path: Path) -> None:
    study = opened(tmp_path, "tpe", trials=400, patience=2, cloud=Cloud(4, 0.2))
    best = run(study)["cloud_score"].to_numpy().reshape(-1, 8).max(axis=1)
    assert study.trials == 8 * len(best) < 400
    assert best[-2:].max() <= best[:-2].max()


@given(
    scores=st.lists(st.floats(0, 1), max_size=60).map(np.array),
    batch=st.integers(1, 7),
    patience=st.integers(1, 5),
)
def test_patience_ends_with_the_first_run_of_batches_that_bring_nothing(
    scores: np.ndarray, batch: int, patience: int
) -> None:
    idle, best = 0, -1.0
    for end in range(batch, len(scores) + 1, batch):
        top = scores[end - batch : end].max()
        idle, best = (0, top) if top > best else (idle + 1, best)
        assert without_improvement(scores[:end], batch) == idle
        assert has_ended(scores[:end], batch, patience) == (idle >= patience)
        assert not has_ended(scores[: end - 1], batch, patience) or batch == 1
    assert not has_ended(scores, batch, None)


@pytest.mark.parametrize("sampler", POINTS)
def test_a_sampler_that_does_not_learn_needs_no_patience(tmp_path: Path, sampler: str) -> None:
    with pytest.raises(InputError, match=rf"search.patience: {sampler} does not learn, .*, or use one of tpe, cmaes"):
        opened(tmp_path / "a", sampler, patience=2)
    with pytest.raises(InputError, match=r"search.patience: at least 1 batch is needed, got 0"):
        opened(tmp_path / "a", "tpe", patience=0)
    assert not (tmp_path / "a").exists()


def test_a_run_that_ends_early_says_so_and_its_progress_is_of_what_it_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_figures(monkeypatch)
    early = ("search.batch=2", "search.patience=1", "search.trials=60", "tracking.enabled=false")
    plan = small_plan(tmp_path, *LEARNING, *early)
    watch = Watch()
    (outcome,) = job.run([plan], watch)
    assert outcome.trials < 60
    told = f"The search stopped after {outcome.trials // 2} batches of 30: 1 without improvement."
    assert told in outcome.found.advice
    assert told in (outcome.folder / "note.md").read_text()
    assert watch.configurations + watch.configurations_left_out == 60 + len(plan.baselines)
    progress = json.loads((outcome.folder / "progress.json").read_text())
    assert progress["trials"] == progress["configurations"] == {"done": outcome.trials, "of": outcome.trials}
    assert progress["seconds_left"] == 0.0
    assert len(pd.read_parquet(outcome.folder / "trials.parquet")) == outcome.trials
    (repaired,) = repair(outcome.folder, tmp_path / "runs")
    assert ("trials", f"{outcome.trials} of {outcome.trials} have results", "") in repaired.rows
    again = open_study(plan, resume=True)
    assert (again.trials, again.done, again.ask()) == (outcome.trials, outcome.trials, None)
