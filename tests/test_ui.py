"""A study as its users see it in MLflow's pages, in a real browser: listed, nested, sorted, explained, drawn."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from browser import Page
from mlflow_pages import COLUMNS, choose_file, errors, runs, unfold, window
from servers import Served, mlflow_server
from studies import SMALL, TRIALS, run_one, small_plan

from cluster.running import Outcome
from tracking.address import sqlite_path
from tracking.links import experiment_link

MANY = 2000


@dataclass(frozen=True)
class Shown:
    """A finished study, and the server that shows it."""

    study: Outcome
    served: Served

    def address(self, url: str | None) -> str:
        """The address that the study named, on the server of this test."""
        assert url is not None
        return self.served.address + url.partition("localhost:5000")[2]

    @property
    def page(self) -> str:
        """Of the study's own run."""
        return self.address(self.study.study_url)

    @property
    def ranking(self) -> list[str]:
        """Names of trials and baselines, best score first."""
        trials = pd.read_parquet(self.study.folder / "configs.parquet")
        scores = {f"trial {row.trial}": row.score for row in trials.itertuples()}
        scores |= {f"baseline {name}": score for name, score in self.study.found.baselines["score"].items()}
        return sorted(scores, key=lambda name: -scores[name])


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, page: Page) -> Iterator[Shown]:
    """The small study with its figures, recorded without a server, then shown by one."""
    folder = tmp_path_factory.mktemp("shown")
    plan = small_plan(folder)
    study = run_one(plan)
    with mlflow_server(plan.config.tracking.uri, folder) as served:
        yield Shown(study, served)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with window(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def quiet(page: Page) -> Iterator[None]:
    """Nothing that a page asked for was missing, no script failed."""
    page.errors.clear()
    yield
    assert errors(page) == []


def test_the_experiment_lists_the_study_with_its_trials_below_it(shown: Shown, page: Page) -> None:
    page.open(experiment_link(shown.served.address, "1"))
    assert [row["name"] for row in runs(page)] == ["small"]
    unfold(page)
    rows = runs(page, at_least=TRIALS + 3)
    assert rows[0]["name"] == "small"
    assert {row["name"] for row in rows[1:]} == set(shown.ranking)


def test_the_table_of_trials_is_sorted_by_score_in_the_studys_columns(shown: Shown, page: Page) -> None:
    page.open(shown.address(shown.study.trials_url))
    rows = runs(page, at_least=TRIALS + 2)
    assert [row["name"] for row in rows] == shown.ranking
    scores = [float(row["metrics.`score`"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    columns = page.run(COLUMNS)
    first = columns.index("score")
    assert columns[first : first + 3] == ["score", "targets_met", "sharpe"]


def test_the_studys_page_says_what_to_do_and_shows_its_note(shown: Shown, page: Page) -> None:
    page.open(shown.page)
    text = page.wait_for("Description", SMALL["question"])
    assert page.run("document.querySelector('strong, b').innerText") == shown.study.found.advice[0]
    assert text.index(shown.study.found.advice[0]) < text.index(SMALL["question"])
    table = page.run("[...document.querySelectorAll('table tr')].map(row => row.innerText.split('\\t')[0].trim())")
    listed = [name.removeprefix("baseline ") for name in shown.ranking]
    assert [name for name in table if name in listed][:3] == [name for name in listed if name.startswith("trial")][:3]
    assert {"disabled", "full"} <= set(table)
    assert "chosen in sample" in text


def test_figures_and_files_open_beside_the_study(shown: Shown, page: Page) -> None:
    page.open(shown.page.replace("?", "/artifacts?"))
    page.wait_for("figures", "study.yaml")
    choose_file(page, "best.yaml", "document.body.innerText.includes('strategy: tsmom_hedge')")
    choose_file(page, "advice.md", f"document.body.innerText.includes({json.dumps(shown.study.found.advice[0])})")
    choose_file(page, "figures", "document.querySelector('[artifact-name=\"equity.png\"]') !== null")
    picture = "[...document.images].some(image => image.src.startsWith('blob:') && image.naturalWidth > 1000)"
    choose_file(page, "equity.png", picture)


def test_the_report_is_read_in_mlflows_own_page(shown: Shown, page: Page) -> None:
    page.open(shown.page.replace("?", "/artifacts?"))
    page.wait_for("report.html", "study.yaml")
    # MLflow frames a page of ours so that it may run its scripts and reach nothing; it draws all the same.
    assert choose_file(page, "report.html", "document.querySelector('iframe')?.sandbox.value") == "allow-scripts"
    page.wait_in_frame("document.querySelectorAll('svg.main-svg').length")
    assert shown.study.found.advice[0] in page.wait_in_frame("document.body.innerText")


def test_how_busy_the_machine_was_is_drawn_apart(shown: Shown, page: Page) -> None:
    page.open(shown.page.replace("?", "/system-metrics?"))
    page.wait_for("System metrics", "cpu_utilization_percentage")
    page.open(shown.page.replace("?", "/model-metrics?"))
    assert "cpu_utilization" not in page.wait_for("best_score")


def test_two_thousand_runs_stay_usable(shown: Shown, page: Page, capsys: pytest.CaptureFixture[str]) -> None:
    """The trials of the study, copied within MLflow's database until there are so many (recording takes half a minute)."""
    path = sqlite_path(shown.study.plan.config.tracking.uri)
    assert path is not None
    best = multiply(path, MANY)
    began = time.perf_counter()
    page.open(shown.address(shown.study.trials_url))
    rows = runs(page, at_least=50)
    sorted_after = time.perf_counter() - began
    assert rows[0]["name"] == best
    scores = [float(row["metrics.`score`"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    began = time.perf_counter()
    page.open(shown.page)
    page.wait_for("Description", SMALL["question"])
    with capsys.disabled():
        print(f"[{MANY} runs: sorted table {sorted_after:.1f} s, study {time.perf_counter() - began:.1f} s]", end="")


def multiply(path: Path, count: int) -> str:
    """Copies of the study's first trial in MLflow's own tables, until there are `count` runs; the name of the best."""
    with sqlite3.connect(path) as database:
        (source,) = database.execute("SELECT run_uuid FROM runs WHERE name = 'trial 0'").fetchone()
        (have,) = database.execute("SELECT count(*) FROM runs").fetchone()
        copies = [(uuid.uuid4().hex, f"trial {number}") for number in range(1000, 1000 + count - have)]
        for table in ("runs", "metrics", "latest_metrics", "params", "tags"):
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            taken = ", ".join("?" if column == "run_uuid" else column for column in columns)
            copy = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {taken} FROM {table} WHERE run_uuid = ?"
            database.executemany(copy, [(run, source) for run, _ in copies])
        for run, name in copies:
            database.execute("UPDATE runs SET name = ? WHERE run_uuid = ?", (name, run))
            score = 0.5 + int(name.split()[1]) / 10_000
            database.execute("UPDATE latest_metrics SET value = ? WHERE run_uuid = ? AND key = 'score'", (score, run))
    database.close()
    return copies[-1][1]
