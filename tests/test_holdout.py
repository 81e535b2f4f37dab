"""The bars that a search does not see: nothing depends on them until `validate` opens them, once; then all is told."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from studies import LEARNING, Watch, option_plans, run_one, small_plan

from cluster import job
from cluster.cli import main
from cluster.conclusion import again
from cluster.config import load_study
from cluster.findings import Findings
from cluster.holdout import hide
from cluster.kept import Kept, open_kept
from cluster.plan import Plan, make_plan
from cluster.selection import on_hidden
from cluster.selection_config import SelectionConfig
from cluster.validation import HOLDOUT, Opened, keep, opened
from kernels import Market
from kernels.backends import choose
from kernels.engine import Engine, switched_off
from kernels.errors import InputError
from search.lock import release
from search.looks import LOOKS
from search.verdict import of_history

pytestmark = pytest.mark.usefixtures("undrawn")

BARS, HIDDEN = 300, 75
NOT_OF_ONE_RUN = re.compile(r"^  (study_id|data_digest|study_digest|study): .*$", re.MULTILINE)


def prices(folder: Path, *, otherwise: int | None = None) -> Path:
    """The prices of the small study in a file; `otherwise` is a seed of other prices for the hidden bars."""
    market = small_plan(folder, "selection.holdout=0", "tracking.enabled=false").market
    assert isinstance(market, Market)
    tables = []
    for a, ticker in enumerate(market.tickers):
        columns = {name: column[:, a].copy() for name, column in market.columns.items()}
        if otherwise is not None:
            factor = np.exp(np.random.default_rng(otherwise).normal(0.0, 0.5, HIDDEN))
            for name in ("open", "high", "low", "close"):
                columns[name][-HIDDEN:] *= factor
        stamps = pd.DatetimeIndex(market.timestamps).tz_localize("UTC").strftime("%Y-%m-%d")
        tables.append(pd.DataFrame({"timestamp": stamps, "symbol": ticker, **columns}))
    path = folder / "prices.csv"
    pd.concat(tables).to_csv(path, index=False)
    return path


def planned(folder: Path, *overrides: str, otherwise: int | None = None) -> Plan:
    folder.mkdir(exist_ok=True)
    path = prices(folder, otherwise=otherwise)
    market = f"market={{source: csv, path: {path}, bars_per_year: 365}}"
    return small_plan(folder, "tracking.enabled=false", market, *overrides)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A finished study, whose hold-out is closed."""
    plan = planned(tmp_path_factory.mktemp("finished"))
    run_one(plan)
    return plan


@pytest.fixture
def kept(finished: Plan, tmp_path: Path) -> Iterator[Kept]:
    """A copy of it, opened."""
    runs = tmp_path / "runs"
    shutil.copytree(finished.folder.parent, runs)
    yield open_kept(runs / "small")
    release(runs / "small")


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# ---- what is not seen


@pytest.mark.parametrize("kind", ["grid", "tpe"])
def test_hidden_prices_decide_nothing(tmp_path: Path, kind: str) -> None:
    told = []
    for name, seed in (("one", None), ("other", 5)):
        plan = planned(tmp_path / name, *(LEARNING if kind == "tpe" else ()), otherwise=seed)
        assert plan.holdout is not None
        outcome = run_one(plan)
        names = ("configs", "trials", "baselines", "paths")
        tables = {each: (plan.folder / f"{each}.parquet").read_bytes() for each in names}
        texts = {each: (plan.folder / each).read_text() for each in ("best.yaml", "advice.md", "note.md")}
        plain = {each: NOT_OF_ONE_RUN.sub("", text.replace(str(tmp_path / name), "")) for each, text in texts.items()}
        reality = {k: v for k, v in json.loads((plan.folder / "reality.json").read_text()).items() if k != "settings"}
        told.append((plan.data_digest, tables | plain | {"reality": reality, "line": outcome.found.verdict.line}))
    (one, first), (other, second) = told
    assert one != other
    assert first == second


def test_everything_that_is_asked_for_ends_where_the_hidden_bars_begin(finished: Plan) -> None:
    assert finished.holdout is not None
    assert (finished.market.n_bars, finished.holdout.bars, finished.holdout.first) == (
        BARS - HIDDEN,
        HIDDEN,
        BARS - HIDDEN,
    )
    assert finished.task.market.n_bars == BARS - HIDDEN
    assert finished.market.bars_per_year == finished.holdout.market.bars_per_year


@given(
    bars=st.integers(20, 3000),
    looks_back=st.integers(0, 400),
    share=st.floats(0.001, 0.99),
)
def test_the_share_that_is_suggested_works_and_the_next_one_does_not(bars: int, looks_back: int, share: float) -> None:
    stamps = np.datetime64("2020-01-01", "us") + np.arange(bars) * np.timedelta64(1, "D")
    market = Market(tickers=("A",), timestamps=stamps, close=np.full((bars, 1), 100.0))

    def hidden(of: float) -> int:
        _, cut = hide(market, SelectionConfig(holdout=of), looks_back=looks_back, rule="rule")
        assert cut is not None
        assert cut.bars > looks_back
        assert cut.first > looks_back + 1
        return cut.bars

    try:
        hidden(share)
    except InputError as error:
        found = re.search(r"give (\S+) to (\S+), or 0 for none", str(error))
        if found is None:
            assert "no share" in str(error)
            assert 2 * looks_back + 3 > bars - bars / 1000  # a thousandth is the finest share that is tried
            return
        low, high = float(found[1]), float(found[2])
        assert hidden(low) <= hidden(high)
        for beyond in (low - 0.001, high + 0.001):
            if 0.0 < round(beyond, 3) < 1.0:
                with pytest.raises(InputError):
                    hidden(round(beyond, 3))


def test_a_history_too_short_to_hide_a_part_hides_none_and_says_so(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "tracking.enabled=false", "market.bars=80", "selection.replicates=0")
    assert plan.holdout is None
    told = " ".join(run_one(plan).found.advice)
    assert "No bars were hidden from this search, since its history is too short to hide a part of it" in told


# ---- opened


def in_plain_numpy(plan: Plan, rows: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Sharpe ratio and total return of each on the hidden bars, from its returns over the whole history."""
    assert plan.holdout is not None
    table = rows[[p.name for p in plan.strategy.parameters]]
    engine = Engine(
        plan.holdout.market, plan.strategy, plan.costs, choose("numpy").backend, switched_off(plan.strategy, table)
    )
    hidden = engine.paths(table).returns[-HIDDEN:]
    year = plan.market.bars_per_year
    return {
        str(label): (r.mean() / r.std(ddof=1) * np.sqrt(year) if r.any() else 0.0, np.prod(1.0 + r) - 1.0)
        for label, r in zip(rows.index, hidden.T, strict=True)
    }


def test_what_is_opened_is_the_winner_and_the_baselines_on_exactly_the_hidden_bars(kept: Kept) -> None:
    found = again(kept, unhide=True)
    assert found.selection is not None
    shown = found.selection.opened
    assert shown is not None
    assert (shown.bars, shown.trials, shown.before) == (HIDDEN, 12, ())
    expected = in_plain_numpy(kept.plan, found.compared)
    assert list(shown.rows.index) == list(found.compared.index)
    for label, (sharpe, total) in expected.items():
        assert shown.rows.loc[label, "sharpe"] == pytest.approx(sharpe, abs=1e-9)
        assert shown.rows.loc[label, "total_return"] == pytest.approx(total, abs=1e-12)
    winner, *others = (sharpe for sharpe, _ in expected.values())
    rules = [rule for rule in found.verdict.rules if rule.what == "hold-out Sharpe"]
    assert [rule.value for rule in rules] == pytest.approx([winner, winner], abs=1e-9)
    assert [rule.sign for rule in rules] == [">", ">="]
    assert [rule.limit for rule in rules] == pytest.approx([0.0, max(others)], abs=1e-9)
    written = yaml.safe_load((kept.plan.folder / "best.yaml").read_text())
    assert written["hold_out"]["opened"] == shown.when
    assert written["verdict"] == found.verdict.line
    assert f"On the {HIDDEN} bars it had not seen ({shown.first_day} to {shown.last_day})" in " ".join(found.advice)
    assert "It was opened once" in (kept.plan.folder / "report.html").read_text()


def test_it_is_opened_once(kept: Kept) -> None:
    again(kept, unhide=True)
    before = files(kept.plan.folder.parent)
    with pytest.raises(InputError, match=r"its hold-out was opened on \d{4}-\d\d-\d\d, which can be done once"):
        again(kept, unhide=True)
    assert files(kept.plan.folder.parent) == before


def test_a_record_that_is_damaged_is_said(kept: Kept) -> None:
    again(kept, unhide=True)
    path = kept.plan.folder / HOLDOUT
    path.write_bytes(path.read_bytes().replace(b"0.", b"1."))
    with pytest.raises(InputError, match="SHA-256"):
        again(kept, unhide=True)


def test_a_search_does_not_go_on_when_its_hold_out_is_open(tmp_path: Path) -> None:
    sobol = ("search.sampler=sobol", "strategy.search.hedge_threshold={low: -0.3, high: -0.05}")
    plan = planned(tmp_path, *sobol, "search.trials=8")
    run_one(plan)
    again(open_kept(plan.folder), unhide=True)
    before = files(plan.folder)
    with pytest.raises(InputError, match=r"after 8 trials, so its search is over, got search.trials: 9"):
        run_one(planned(tmp_path, *sobol, "search.trials=9"), resume=True)
    assert files(plan.folder) == before
    outcome = run_one(plan, resume=True)  # what was found is told again
    assert outcome.found.selection is not None
    assert outcome.found.selection.opened is not None


def test_whoever_is_ruined_on_the_hidden_bars_is_not_supported_and_no_match(kept: Kept) -> None:
    plan, baselines = kept.plan, [0.5, np.nan]
    rows = pd.DataFrame(
        {"sharpe": [np.nan, *baselines], "calmar": [np.nan, np.inf, -np.inf]}, ["best", *plan.baselines.index]
    )
    shown = Opened("2026-01-01T00:00:00", "2020-01-01", "2020-02-01", 20, 12, (("other", "2025-01-01"),), rows)
    keep(plan, kept.study.manifest, "some study", shown)
    read = opened(plan, kept.study.manifest)
    assert read is not None
    pd.testing.assert_frame_equal(read.rows, rows, check_exact=True)
    assert replace(read, rows=None) == replace(shown, rows=None)  # type: ignore[arg-type]
    judged = on_hidden(plan, read)
    assert (judged.sharpe, judged.baseline) == (-np.inf, 0.5)
    verdict = of_history(deflated=1.0, overfitting=0.0, reality_check=0.01, tried=1, hold_out=judged)
    assert verdict.line == "not supported: hold-out Sharpe -inf <= 0, hold-out Sharpe -inf < 0.5 of the best baseline"


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

    steps = steps_of(lambda: again(kept, unhide=True), None, monkeypatch)
    whole = (folder / "best.yaml").read_text()
    plan = make_plan(load_study(folder / "study.yaml"), folder.parent)
    left = set()
    # steps until holdout.json stands, and some of what is written after it
    for kill_at in [*range(1, 20, 3), *range(20, steps, max(1, (steps - 20) // 2))]:
        put_back()
        here = open_kept(folder)
        with pytest.raises(Killed):
            steps_of(lambda here=here: again(here, unhide=True), kill_at, monkeypatch)
        is_open = (folder / HOLDOUT).exists()
        left.add(is_open)
        finished = (folder / "note.md").exists()
        outcome = run_one(plan, resume=True)
        assert outcome.found.selection is not None
        assert (outcome.found.selection.opened is not None) == is_open
        if is_open:
            assert not finished or kill_at >= steps - 2
        else:
            told = again(open_kept(folder), unhide=True)
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
        again(replace(kept, plan=plan), unhide=True)
    assert files(kept.plan.folder.parent) == before


# ---- opened before, by another study


def told(found: Findings) -> str:
    return " ".join(found.advice)


def test_bars_that_another_study_opened_are_no_longer_unseen(
    finished: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished.folder.parent, tmp_path / "runs")
    again(open_kept(tmp_path / "runs" / "small"), unhide=True)
    shutil.rmtree(tmp_path / "runs" / "small")  # the ledger remembers
    release(tmp_path / "runs" / "small")
    shutil.copy(finished.folder.parents[1] / "small.yaml", tmp_path)
    market = f"market={{source: csv, path: {finished.config.market.path}, bars_per_year: 365}}"  # type: ignore[union-attr]
    plan = small_plan(tmp_path, "name=second", "selection.holdout=0.3", "tracking.enabled=false", market)
    outcome = run_one(plan)
    assert "They are no longer unseen: opened before by small on" in told(outcome.found)
    assert outcome.found.selection is not None
    assert outcome.found.selection.opened is None
    main_validates(plan, capsys)
    shown = capsys.readouterr().out
    assert "these bars are no longer unseen: small opened them on" in shown
    page = (plan.folder / "report.html").read_text()
    assert "It was opened 2 times, which is 1 too many" in page
    assert list(yaml.safe_load((plan.folder / "best.yaml").read_text())["hold_out"]["opened_before_by"]) == ["small"]
    lines = [json.loads(line) for line in (tmp_path / "runs" / LOOKS).read_text().splitlines()]
    assert [line["name"] for line in lines if "first" in line] == ["small", "second"]


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
        again(open_kept(folder), unhide=True)
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
