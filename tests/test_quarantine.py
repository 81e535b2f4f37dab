"""A study of which some configurations cannot be computed: it goes on without them, and everyone is told."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from studies import LEARNING, Watch, run_one, same, small_plan

from cluster import chunks, output, pool
from cluster.events import EventLog
from cluster.pool import Event, PoolError
from cluster.worker import Worker

pytestmark = pytest.mark.usefixtures("undrawn")


class Fragile(Worker):
    """A worker that raises on a hedge strength of one half."""

    def run(self, task: int, chunk: pa.Table) -> pa.Table:
        if 0.5 in chunk["hedge_strength"].to_pylist():
            raise ZeroDivisionError("half a hedge")
        return super().run(task, chunk)


@pytest.fixture
def one_row_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "FIRST_ROWS", 1)
    monkeypatch.setattr(chunks, "MOST_ROWS", 1)


@pytest.mark.parametrize("overrides", [(), LEARNING], ids=["grid", "tpe"])
def test_a_study_goes_on_without_what_cannot_be_computed_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_row_chunks: None, overrides: tuple[str, ...]
) -> None:
    search = ("strategy.search.hedge_strength=[0.0, 0.5, 1.0]", "tracking.enabled=false", *overrides)
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    whole = run_one(small_plan(tmp_path / "whole", *search))
    monkeypatch.setattr(pool, "Worker", Fragile)
    plan, watch = small_plan(tmp_path / "broken", *search), Watch()
    outcome = run_one(plan, watch)

    table = pd.read_parquet(plan.folder / "configs.parquet")
    halves = table["hedge_strength"] == 0.5
    assert halves.any()
    assert (table["status"] == "quarantined").equals(halves)
    assert (table.loc[halves, "score"] == 0).all()
    assert (table.loc[halves, "targets_met"] == 0).all()
    if not overrides:  # a search that learns goes another way without them
        same(table[~halves], pd.read_parquet(whole.folder / "configs.parquet")[~halves])

    kept = pd.read_csv(plan.folder / "quarantined.csv")
    assert len(kept) == halves.sum() == outcome.found.quarantined
    assert set(kept["hedge_strength"]) == {0.5}
    assert kept["error"].str.contains("raised ZeroDivisionError: half a hedge").all()
    assert EventLog(plan.folder).tags == {"chunks_quarantined": str(len(watch.events))}
    assert (
        f"{halves.sum()} configurations could not be computed" in output.caveats(plan, 1, outcome.found.quarantined)[0]
    )


def test_a_study_whose_baselines_cannot_be_computed_ends_at_once_and_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small_plan(tmp_path, "tracking.enabled=false")
    with monkeypatch.context() as patch:
        patch.setattr(pool.Worker, "run", lambda *_: 1 / 0)
        with pytest.raises(PoolError, match="nothing could be computed of a batch of 2 configurations: raised ZeroDiv"):
            run_one(plan)
    assert run_one(plan, resume=True).trials == plan.trials


@pytest.mark.parametrize("ends", [True, False], ids=["finished", "failed"])
def test_mlflow_is_told_what_was_lost_however_the_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_row_chunks: None, ends: bool
) -> None:
    from mlflow import MlflowClient

    plan = small_plan(tmp_path, "strategy.search.hedge_strength=[0.0, 0.5, 1.0]")
    monkeypatch.setattr(pool, "Worker", Fragile)
    if ends:
        run_one(plan)
    else:
        monkeypatch.setattr("cluster.conclusion.find", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_one(plan)
    client = MlflowClient(tracking_uri=plan.config.tracking.uri)
    (experiment,) = (e.experiment_id for e in client.search_experiments() if e.name.startswith("hedgegrid/"))
    (run,) = (run for run in client.search_runs([experiment]) if "mlflow.parentRunId" not in run.data.tags)
    assert run.info.status == ("FINISHED" if ends else "FAILED")
    assert run.data.tags["chunks_quarantined"] == "3"  # one for each threshold


def test_events_of_earlier_runs_count_and_a_torn_line_does_not(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    for kind in ("workers_lost", "chunks_retried", "chunks_retried"):
        log.keep(Event(kind, "worker 1 lost: its node died"))
    path = tmp_path / "events.jsonl"
    path.write_text(path.read_text() + '{"at": "2026-')
    again = EventLog(tmp_path)
    assert again.tags == log.tags == {"workers_lost": "1", "chunks_retried": "2"}
    again.keep(Event("workers_lost", "worker 2 lost: its node died"))
    assert EventLog(tmp_path).tags == {"workers_lost": "2", "chunks_retried": "2"}
