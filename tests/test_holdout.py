"""The bars that a search does not see: nothing depends on them until they are opened, once; what is told of them then."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hidden import BARS, HIDDEN, copied, files, finish, planned
from hypothesis import given
from hypothesis import strategies as st
from studies import LEARNING, run_one, small_plan

from cluster.conclusion import validate
from cluster.holdout import hide
from cluster.kept import Kept, open_kept
from cluster.plan import Plan
from cluster.selection import on_hidden
from cluster.selection_config import SelectionConfig
from cluster.validation import HOLDOUT, Opened, keep, opened
from kernels import Market
from kernels.backends import choose
from kernels.engine import Engine, switched_off
from kernels.errors import InputError
from search.verdict import of_history

pytestmark = pytest.mark.usefixtures("undrawn")

NOT_OF_ONE_RUN = re.compile(r"^  (study_id|data_digest|study_digest|study): .*$", re.MULTILINE)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A finished study, whose hold-out is closed."""
    return finish(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def kept(finished: Plan, tmp_path: Path) -> Iterator[Kept]:
    """A copy of it, opened."""
    with copied(finished, tmp_path) as here:
        yield here


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
    found = validate(kept)
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
    validate(kept)
    before = files(kept.plan.folder.parent)
    with pytest.raises(InputError, match=r"its hold-out was opened on \d{4}-\d\d-\d\d, which can be done once"):
        validate(kept)
    assert files(kept.plan.folder.parent) == before


def test_a_record_that_is_damaged_is_said(kept: Kept) -> None:
    validate(kept)
    path = kept.plan.folder / HOLDOUT
    path.write_bytes(path.read_bytes().replace(b"0.", b"1."))
    with pytest.raises(InputError, match="SHA-256"):
        validate(kept)


def test_a_search_does_not_go_on_when_its_hold_out_is_open(tmp_path: Path) -> None:
    sobol = ("search.sampler=sobol", "strategy.search.hedge_threshold={low: -0.3, high: -0.05}")
    plan = planned(tmp_path, *sobol, "search.trials=8")
    run_one(plan)
    validate(open_kept(plan.folder))
    before = files(plan.folder)
    with pytest.raises(InputError, match=r"so its search is over: search\.trials was 8, is 9 now; set it back"):
        run_one(planned(tmp_path, *sobol, "search.trials=9"), resume=True)
    assert files(plan.folder) == before
    outcome = run_one(plan, resume=True)  # what was found is told again
    assert outcome.found.selection is not None
    assert outcome.found.selection.opened is not None


def test_nor_does_one_that_ended_early_get_more_patience(tmp_path: Path) -> None:
    early = (*LEARNING, "search.trials=40", "search.batch=4")
    plan = planned(tmp_path, *early, "search.patience=1")
    assert run_one(plan).trials < 40
    validate(open_kept(plan.folder))
    with pytest.raises(InputError, match=r"search\.patience was 1, is 9 now; set it back"):
        run_one(planned(tmp_path, *early, "search.patience=9"), resume=True)
    assert run_one(plan, resume=True).trials < 40


def test_whoever_is_ruined_on_the_hidden_bars_is_not_supported_and_no_match(kept: Kept) -> None:
    plan, baselines = kept.plan, [0.5, np.nan]
    rows = pd.DataFrame(
        {"sharpe": [np.nan, *baselines], "calmar": [np.nan, np.inf, -np.inf]}, ["best", *plan.baselines.index]
    )
    shown = Opened("2026-01-01T00:00:00", "2020-01-01", "2020-02-01", 20, 12, None, (("other", "2025-01-01"),), rows)
    keep(plan, kept.study.manifest, "some study", shown)
    read = opened(plan, kept.study.manifest)
    assert read is not None
    pd.testing.assert_frame_equal(read.rows, rows, check_exact=True)
    assert replace(read, rows=None) == replace(shown, rows=None)  # type: ignore[arg-type]
    judged = on_hidden(plan, read)
    assert (judged.sharpe, judged.baseline) == (-np.inf, 0.5)
    verdict = of_history(deflated=1.0, overfitting=0.0, reality_check=0.01, tried=1, hold_out=judged)
    assert verdict.line == "not supported: hold-out Sharpe -inf <= 0, hold-out Sharpe -inf < 0.5 of the best baseline"
