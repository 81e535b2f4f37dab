"""`hedgegrid validate`: killed anywhere, refused where nothing is to be opened, told who opened the same bars before."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hidden import copied, files, finish, planned
from studies import LEARNING, Watch, option_plans, run_one, small_plan

from cluster import job
from cluster.cli import main
from cluster.conclusion import validate
from cluster.config import load_study
from cluster.evidence_of import verdict_of
from cluster.findings import Findings
from cluster.kept import Kept, open_kept
from cluster.plan import Plan, make_plan
from cluster.validation import HOLDOUT
from kernels.errors import InputError
from search.lock import release
from search.looks import LOOKS

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A finished study, whose hold-out is closed."""
    return finish(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def kept(finished: Plan, tmp_path: Path) -> Iterator[Kept]:
    """A copy of it, opened."""
    with copied(finished, tmp_path) as here:
        yield here


def test_a_rule_held_against_the_baseline_is_as_narrow_as_the_others_and_says_whose_number_it_is(kept: Kept) -> None:
    *_, rule = verdict_of(validate(kept).verdict).rules
    assert re.fullmatch(r"-?[\d.]+", rule.limit)
    assert rule.explained.endswith("wanted is that of the best baseline")


# ---- killed meanwhile


class Killed(BaseException):
    """What nobody catches."""


def steps_of(run: Callable[[], Any], kill_at: int | None, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run with a kill before or after the n-th call that changes the disk; how many there were."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        if count == kill_at:
            raise Killed

    def around(call: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*given: Any, **named: Any) -> Any:
            step()
            answer = call(*given, **named)
            step()
            return answer

        return stepped

    with monkeypatch.context() as patch:
        for name in ("fsync", "replace", "rename", "unlink"):
            patch.setattr(os, name, around(getattr(os, name)))
        run()
    return count


def test_a_kill_leaves_it_closed_or_open_and_a_study_that_resume_completes(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = kept.plan.folder
    clean = files(folder.parent)

    def put_back() -> None:
        for path in folder.parent.rglob("*"):
            if path.is_file() and path.name != "lock":
                path.unlink()
        for name, content in clean.items():
            (folder.parent / name).parent.mkdir(parents=True, exist_ok=True)
            if Path(name).name != "lock":
                (folder.parent / name).write_bytes(content)

    steps = steps_of(lambda: validate(kept), None, monkeypatch)
    whole = (folder / "best.yaml").read_text()
    plan = make_plan(load_study(folder / "study.yaml"), folder.parent)
    left = set()
    # steps until holdout.json stands, and some of what is written after it
    for kill_at in [*range(1, 20, 3), *range(20, steps, max(1, (steps - 20) // 2))]:
        put_back()
        here = open_kept(folder)
        with pytest.raises(Killed):
            steps_of(lambda here=here: validate(here), kill_at, monkeypatch)
        is_open = (folder / HOLDOUT).exists()
        left.add(is_open)
        finished = (folder / "note.md").exists()
        outcome = run_one(plan, resume=True)
        assert outcome.found.selection is not None
        assert (outcome.found.selection.opened is not None) == is_open
        if is_open:
            assert not finished or kill_at >= steps - 2
        else:
            told = validate(open_kept(folder))
            assert told.selection is not None
            assert told.selection.opened_before == ()  # its own entry in the ledger is no other's
        same = re.sub(r"opened: .*", "", (folder / "best.yaml").read_text())
        assert same == re.sub(r"opened: .*", "", whole)
    assert left == {True, False}


def test_a_store_of_runs_that_does_not_answer_opens_nothing(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tracking.address import TrackingError

    def refused(*_: Any) -> None:
        raise TrackingError("no answer")

    tracked = kept.plan.config.tracking.model_copy(update={"enabled": True})
    plan = replace(kept.plan, config=kept.plan.config.model_copy(update={"tracking": tracked}))
    monkeypatch.setattr("cluster.conclusion.open_recorder", refused)
    before = files(kept.plan.folder.parent)
    with pytest.raises(InputError, match="no answer; nothing was opened or written"):
        validate(replace(kept, plan=plan))
    assert files(kept.plan.folder.parent) == before


# ---- opened before, by another study


def told(found: Findings) -> str:
    return " ".join(found.advice)


def test_bars_that_another_study_opened_are_no_longer_unseen(
    finished: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished.folder.parent, tmp_path / "runs")
    validate(open_kept(tmp_path / "runs" / "small"))
    shutil.rmtree(tmp_path / "runs" / "small")  # the ledger remembers
    release(tmp_path / "runs" / "small")
    shutil.copy(finished.folder.parents[1] / "small.yaml", tmp_path)
    market = f"market={{source: csv, path: {finished.config.market.path}, bars_per_year: 365}}"  # type: ignore[union-attr]
    plan = small_plan(tmp_path, "name=second", "selection.holdout=0.3", "tracking.enabled=false", market)
    outcome = run_one(plan)
    assert "They are no longer unseen: opened or searched before by small on" in told(outcome.found)
    assert outcome.found.selection is not None
    assert outcome.found.selection.opened is None
    main_validates(plan, capsys)
    shown = capsys.readouterr().out
    assert "these bars are no longer unseen: small opened or searched them on" in shown
    page = (plan.folder / "report.html").read_text()
    assert "It is no longer unseen: other studies of this data opened or searched it before" in page
    assert list(yaml.safe_load((plan.folder / "best.yaml").read_text())["hold_out"]["opened_before_by"]) == ["small"]
    lines = [json.loads(line) for line in (tmp_path / "runs" / LOOKS).read_text().splitlines()]
    assert [line["name"] for line in lines if "first" in line] == ["small", "second"]


def test_bars_that_another_study_searched_are_no_longer_unseen(tmp_path: Path) -> None:
    run_one(small_plan(tmp_path, "name=whole", "selection.holdout=0", "tracking.enabled=false"))
    found = run_one(small_plan(tmp_path, "name=second", "tracking.enabled=false")).found
    assert "They are no longer unseen: opened or searched before by whole on" in told(found)


def main_validates(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["hedgegrid", "validate", str(plan.folder)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code in (0, None)


# ---- refused


def refused(folder: Path) -> str:
    before = files(folder)
    with pytest.raises(InputError) as error:
        validate(open_kept(folder))
    assert files(folder) == before
    return str(error.value)


def test_a_study_that_is_not_finished_has_nothing_to_open(tmp_path: Path) -> None:
    plan, watch = planned(tmp_path, *LEARNING, "search.batch=4"), Watch()
    with pytest.raises(KeyboardInterrupt):
        job.run([plan], watch, stop=lambda: bool(watch.rows))
    assert "opening the hold-out needs a finished study, and 4 of 12 trials have results; go on with" in refused(
        plan.folder
    )


def test_without_hidden_bars_there_is_nothing_to_open(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "tracking.enabled=false", "selection.holdout=0", "selection.replicates=0")
    run_one(plan)
    assert "no bars were hidden from this study, since selection.holdout is 0; search under another name" in refused(
        plan.folder
    )


def test_simulated_paths_have_no_hold_out(tmp_path: Path) -> None:
    (plan,) = option_plans(tmp_path, "market.tickers=[NEAR]")
    run_one(plan)
    assert "since its market has 25 simulated paths; its winner is tried on unseen ones" in refused(plan.folder)
    with pytest.raises(InputError, match=r"selection\.holdout: 0\.2 of a market of options cannot be hidden"):
        option_plans(tmp_path, "selection.holdout=0.2")
    with pytest.raises(InputError) as error:
        option_plans(tmp_path, "selection.blocks=4", "selection.folds=2")
    assert [problem.split(" of a market")[0] for problem in error.value.problems] == [
        "selection.blocks: 4",
        "selection.folds: 2",
    ]


def test_a_single_history_of_options_says_why_nothing_is_hidden(tmp_path: Path) -> None:
    (plan,) = option_plans(tmp_path, "market.tickers=[NEAR]", "market.scenarios=1")
    told = " ".join(run_one(plan).found.advice)
    assert "No bars were hidden from this search, since a history of options cannot be cut" in told
