"""A team's records: a real PostgreSQL behind `hedgegrid mlflow`, and studies that record through the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow_pages import errors, runs, unfold, window
from servers import POSTGRES, Served, mlflow_server, postgres
from studies import SMALL, TRIALS, Watch, run_one, small_plan

from cluster.plan import Plan
from cluster.running import Outcome
from tracking.address import TrackingError, check_tracking_uri
from tracking.links import experiment_link

EVERYTHING = {f"trial {number}" for number in range(TRIALS)} | {"baseline disabled", "baseline full"}


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The team's server; skipped where PostgreSQL is not installed."""
    if not POSTGRES:
        pytest.skip("postgresql is not installed: a team's server cannot be tried")
    with postgres() as address, mlflow_server(address, tmp_path_factory.mktemp("team")) as served:
        assert "nothing is recorded yet" in served.said
        yield served


class Interrupted(Watch):
    """A display whose user presses Ctrl-C when the first batch has been scored."""

    def scored(self, plan: Plan, rows: pd.DataFrame) -> None:
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def stopped(team: Served, tmp_path_factory: pytest.TempPathFactory, undrawn: None) -> Plan:
    """The small study, stopped after its first batch."""
    plan = small_plan(tmp_path_factory.mktemp("study"), f"tracking.uri={team.address}")
    with pytest.raises(KeyboardInterrupt):
        run_one(plan, Interrupted())
    parent, trials = recorded(team)
    assert parent.info.status == "KILLED"
    assert {run.info.run_name for run in trials} < EVERYTHING
    return plan


@pytest.fixture(scope="module")
def finished(stopped: Plan) -> Outcome:
    """The same study resumed to its end."""
    return run_one(stopped, resume=True)


def recorded(team: Served) -> tuple[Any, list[Any]]:
    """The study's run, and its trials."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=team.address)
    experiment = client.get_experiment_by_name("hedgegrid/tsmom_hedge")
    assert experiment is not None
    found = list(client.search_runs([experiment.experiment_id]))
    (parent,) = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    return parent, [run for run in found if run is not parent]


def test_a_study_stopped_and_resumed_is_whole_in_postgresql(team: Served, finished: Outcome) -> None:
    from mlflow import MlflowClient

    run_one(finished.plan, resume=True)  # once more: nothing is doubled
    parent, trials = recorded(team)
    assert parent.info.status == "FINISHED"
    assert sorted(run.info.run_name for run in trials) == sorted(EVERYTHING)
    table = pd.read_parquet(finished.folder / "configs.parquet").set_index("trial")
    for run in trials:
        if run.info.run_name.startswith("trial"):
            assert run.data.metrics["score"] == table.loc[int(run.info.run_name.split()[1]), "score"]
    files = {entry.path for entry in MlflowClient(tracking_uri=team.address).list_artifacts(parent.info.run_id)}
    assert {"study.yaml", "best.yaml", "advice.md"} <= files


def test_a_teams_pages_look_as_those_of_a_file(team: Served, finished: Outcome, tmp_path: Path) -> None:
    assert finished.trials_url is not None
    assert finished.trials_url.startswith(team.address)
    with window(tmp_path / "browser") as page:
        page.open(experiment_link(team.address, "1"))
        assert [row["name"] for row in runs(page)] == ["small"]
        unfold(page)
        assert {row["name"] for row in runs(page, at_least=TRIALS + 3)} == EVERYTHING | {"small"}
        page.open(finished.trials_url)
        scores = [float(row["metrics.`score`"]) for row in runs(page, at_least=TRIALS + 2)]
        assert scores == sorted(scores, reverse=True)
        page.open(str(finished.study_url))
        assert finished.found.advice[0] in page.wait_for("Description", SMALL["question"])
        assert errors(page) == []


def test_a_wrong_database_is_refused_without_its_password() -> None:
    with pytest.raises(TrackingError, match="no database answers") as caught:
        check_tracking_uri("postgresql://ann:secret@127.0.0.1:1/mlflow")
    assert "secret" not in str(caught.value)


def test_a_database_without_its_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(TrackingError, match=r"hedgegrid\[server\]"):
        check_tracking_uri("postgresql:///mlflow?host=/run/postgresql")
