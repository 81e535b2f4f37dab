"""What is proposed ahead changes no study, and every run says what its time went into."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from planted import LEARNERS, SAMPLERS, opened, planted, run, same
from rich.console import Console
from studies import Watch, option_plans, without_figures

from cluster import console as view
from cluster import job
from cluster.portfolio import conclude
from search.study import Study


def eagerly(study: Study) -> Study:
    """Run a study that proposes, after each batch, what it can of the next one."""
    while (batch := study.ask()) is not None:
        study.ahead()
        study.tell(batch, planted(batch.configurations))
    return study


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_proposing_ahead_changes_nothing(tmp_path: Path, sampler: str) -> None:
    whole = run(opened(tmp_path / "whole", sampler, batch=4))
    same(eagerly(opened(tmp_path / "ahead", sampler, batch=4)).results(), whole)
    begun = opened(tmp_path / "cut", sampler, batch=4)
    begun.ask()
    begun.ahead()
    same(run(opened(tmp_path / "cut", sampler, batch=4, resume=True)), whole)


@pytest.mark.parametrize("sampler", LEARNERS)
def test_only_what_no_result_has_a_say_in_is_proposed_ahead(tmp_path: Path, sampler: str) -> None:
    study = opened(tmp_path, sampler, batch=4)
    proposed = []
    while (batch := study.ask()) is not None:
        study.ahead()
        proposed.append(len(study.optuna_study.trials))
        study.tell(batch, planted(batch.configurations))
    # tpe has ten random trials: trials 4 to 11 are proposed with ten told or fewer
    assert proposed == ([8, 12, 12, 16, 20] if sampler == "tpe" else [4, 8, 12, 16, 20])


def test_every_run_says_what_its_time_went_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_figures(monkeypatch)
    outcomes = job.run(option_plans(tmp_path), Watch())
    for outcome in outcomes:
        shares = view.shares(outcome.seconds)
        assert set(view.ALWAYS) <= set(shares)
        assert sum(shares.values()) == pytest.approx(1.0)
    portfolio = conclude("calls", tmp_path / "runs", outcomes)
    told = json.loads(view.outcome_json(outcomes, portfolio))
    for content in (told, *told["studies"], json.loads(view.outcome_json(outcomes[:1], None))):
        assert set(view.ALWAYS) <= set(content["shares_of_time"])
    shown = StringIO()
    view.show_tickers(Console(file=shown, width=400), outcomes, portfolio)
    view.show_outcome(Console(file=shown, width=400), replace(outcomes[0], seconds={"backtests": 3.0, "search": 1.0}))
    lines = [line for line in shown.getvalue().splitlines() if line.startswith("time")]
    assert lines[0].startswith("time of all: ")
    assert lines[1] == "time: 4.0 s; backtests 3.0 s (75%), search 1.0 s (25%), records 0.0 s (0%)"
    assert all(f"{what} " in line for line in lines for what in view.ALWAYS)
