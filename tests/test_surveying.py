"""A study's reality check: of every configuration evaluated, the same whoever computes it, however often it is stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from studies import LEARNING, Watch, on_ray, option_plans, run_one, small_plan

from cluster import chunks, job, pool
from cluster.plan import Plan
from cluster.pool import LocalPool
from cluster.surveying import REALITY, Reality, kept, replicates
from cluster.work import HOPELESS, Surveyed
from cluster.worker import Inquiry, Terms, Worker
from search.exact_check import Check, Replicates
from search.manifest import Manifest
from search.reality_check import Excess

pytestmark = pytest.mark.usefixtures("undrawn")

SOBOL = (
    "search.sampler=sobol",
    "search.trials=120",
    "strategy.search.hedge_threshold={low: -0.3, high: -0.05}",
    "strategy.search.hedge_strength={low: 0, high: 1}",
)
CLOUDS = (*LEARNING, "search.configs_per_trial=4", "strategy.search.hedge_strength={low: 0, high: 1}")
KINDS = {"grid": (), "points known beforehand": SOBOL, "learning": LEARNING, "clouds": CLOUDS}


def planned(folder: Path, *overrides: str) -> Plan:
    return small_plan(folder, "tracking.enabled=false", *overrides)


def told(plan: Plan) -> bytes:
    return (plan.folder / REALITY).read_bytes()


def by_hand(plan: Plan) -> Reality:
    """The same from all configurations in the study's folder, with nothing in between."""
    found = json.loads(told(plan))
    names = [p.name for p in plan.strategy.parameters]
    tried = pd.read_parquet(plan.folder / "configs.parquet")[names]
    engine, label = plan.task.engine(), found["baseline"]
    bars = plan.market.n_bars - 1
    baseline = np.zeros(bars) if label is None else engine.returns(plan.baselines.loc[[label]])[:, 0]
    drawn = Replicates.drawn(bars, found["block_length"], replicates(plan), plan.config.search.seed)
    excess = Check(drawn, baseline).of(engine.returns(tried.drop_duplicates()))
    return Reality(
        excess.found,
        excess.p_value,
        excess.upper_p_value,
        label,
        replicates(plan),
        found["block_length"],
        excess.configurations,
        len(tried) - excess.configurations,
        tuple(excess.consistent.tolist()),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_configuration_ever_evaluated_takes_part(kind: str, tmp_path: Path) -> None:
    plan = planned(tmp_path, *KINDS[kind])
    outcome = run_one(plan)
    found = kept(Manifest(plan.folder))
    assert found == by_hand(plan)
    assert found is not None
    assert found.configurations + found.left_out == plan.configurations
    assert outcome.seconds["reality check"] > 0.0


def test_the_baseline_is_the_best_scoring_one(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    run_one(plan)
    scores = pd.read_parquet(plan.folder / "baselines.parquet").set_index("label")["score"]
    found = kept(Manifest(plan.folder))
    assert found is not None
    assert found.baseline == scores.idxmax()


def test_without_a_baseline_it_is_cash(tmp_path: Path) -> None:
    plan = planned(tmp_path, "strategy.compare={}")
    run_one(plan)
    found = kept(Manifest(plan.folder))
    assert found == by_hand(plan)
    assert found is not None
    assert found.baseline is None


@pytest.mark.parametrize("kind", ["points known beforehand", "learning"])
@pytest.mark.parametrize("rows", [1, 7])
def test_chunks_of_any_size_give_the_same_bits(
    kind: str, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(tmp_path, *KINDS[kind], "search.trials=24")
    run_one(plan)
    once = told(plan)
    (plan.folder / REALITY).unlink()
    monkeypatch.setattr(chunks, "FIRST_ROWS", rows)
    monkeypatch.setattr(chunks, "MOST_ROWS", rows)
    run_one(plan, resume=True)
    assert told(plan) == once


def test_two_workers_give_the_bits_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(tmp_path, *SOBOL)
    terms = Terms(None, 60, 3.0, 5)
    table = plan.space.sobol(60, 1)
    monkeypatch.setattr(chunks, "FIRST_ROWS", 16)
    local, fleet = LocalPool([plan.task]), on_ray(plan.task, workers=2)
    try:
        for rows in ([range(10, 50), range(60, 120)], table):
            found = []
            for own in (local, fleet):
                own.survey(0, terms, rows)
                _, surveyed = own.result(Watch())
                assert isinstance(surveyed, Surveyed)
                assert isinstance(surveyed.excess, Excess)
                assert (surveyed.left_out, surveyed.whole) == (0, True)
                found.append(surveyed.excess)
            assert found[0].found == found[1].found
            assert found[0].configurations == found[1].configurations
            assert np.array_equal(found[0].consistent, found[1].consistent)
            assert np.array_equal(found[0].least_favourable, found[1].least_favourable)
    finally:
        fleet.close()


# ---- stopped, resumed, damaged


def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the chunks that are surveyed from now on."""
    sizes: list[int] = []
    survey = Worker.survey

    def counted(self: Worker, task: int, first: int, end: int, inquiry: Inquiry) -> tuple[Excess, float]:
        sizes.append(end - first)
        return survey(self, task, first, end, inquiry)

    monkeypatch.setattr(Worker, "survey", counted)
    return sizes


def test_a_finished_study_is_not_surveyed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(tmp_path)
    run_one(plan)
    once, sizes = told(plan), asked(monkeypatch)
    run_one(plan, resume=True)
    assert (told(plan), sizes) == (once, [])
    (plan.folder / REALITY).write_bytes(once.replace(b"0", b"1"))
    run_one(plan, resume=True)  # it is not what was written: asked again
    assert (told(plan), sum(sizes)) == (once, plan.trials)


def test_more_trials_are_another_survey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(tmp_path, *SOBOL, "search.trials=20")
    run_one(plan)
    once, sizes = told(plan), asked(monkeypatch)
    more = planned(tmp_path, *SOBOL, "search.trials=24")
    run_one(more, resume=True)
    assert sum(sizes) == 24
    assert told(more) != once


def test_a_survey_that_is_stopped_leaves_nothing_and_is_made_on_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(tmp_path, *SOBOL)
    sizes = asked(monkeypatch)

    with pytest.raises(KeyboardInterrupt):
        job.run([plan], Watch(), stop=lambda: bool(sizes))
    stopped = list(sizes)
    assert (plan.folder / REALITY).exists() == (sum(stopped) == plan.trials)
    run_one(plan, resume=True)
    assert kept(Manifest(plan.folder)) == by_hand(plan)


# ---- what cannot be computed


class Broken(Worker):
    """Surveys of these trials raise."""

    rows: range = range(0)

    def survey(self, task: int, first: int, end: int, inquiry: Inquiry) -> tuple[Excess, float]:
        if set(range(first, end)) & set(self.rows):
            raise ArithmeticError("no survey of these")
        return super().survey(task, first, end, inquiry)


def broken(rows: range, size: int, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> tuple[Surveyed, Sequence[str]]:
    """A survey of the plan's trials in chunks of that size, of which some raise."""
    monkeypatch.setattr(Broken, "rows", rows)
    monkeypatch.setattr(pool, "Worker", Broken)
    monkeypatch.setattr(chunks, "FIRST_ROWS", size)
    monkeypatch.setattr(chunks, "MOST_ROWS", size)
    own, watch = LocalPool([plan.task]), Watch()
    own.survey(0, Terms(None, 20, 2.0, 1), [range(plan.trials)])
    _, surveyed = own.result(watch)
    assert isinstance(surveyed, Surveyed)
    assert watch.configurations == 0  # they were done before
    return surveyed, [event.text for event in watch.events]


def test_a_chunk_that_cannot_be_computed_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(tmp_path, *SOBOL)
    surveyed, events = broken(range(45, 46), 20, plan, monkeypatch)
    assert surveyed.excess is not None
    assert (surveyed.excess.configurations, surveyed.left_out) == (100, 20)
    assert events == ["chunk 40-59 quarantined: raised ArithmeticError: no survey of these"]


def test_a_survey_without_hope_ends_and_loses_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(tmp_path, *SOBOL)
    surveyed, events = broken(range(120), 5, plan, monkeypatch)
    assert surveyed == Surveyed(None, 120, True)
    assert len(events) == HOPELESS
    outcome = run_one(plan)
    assert outcome.evaluated == 120
    assert not (plan.folder / REALITY).exists()


# ---- which studies have one


def test_many_histories_have_none_and_one_has(tmp_path: Path) -> None:
    (several, *_) = option_plans(tmp_path, "market.tickers=[NEAR]")
    run_one(several)
    assert not (several.folder / REALITY).exists()
    (alone, *_) = option_plans(tmp_path, "market.tickers=[NEAR]", "market.scenarios=1", "name=single")
    run_one(alone)
    assert kept(Manifest(alone.folder)) == by_hand(alone)


def test_none_is_made_where_none_is_asked_for(tmp_path: Path) -> None:
    plan = planned(tmp_path, "selection.replicates=0")
    run_one(plan)
    assert not (plan.folder / REALITY).exists()
    assert kept(Manifest(plan.folder)) is None
