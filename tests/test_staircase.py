"""What each feature bought: its stairs are the winner's to the bit, blind to the future, and right where it is planted."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from feature_rule import STRATEGY
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from studies import Watch, run_one

from cluster import job, staircase
from cluster.cli import main
from cluster.conclusion import validate
from cluster.config import load_study
from cluster.kept import open_kept
from cluster.plan import Plan, make_plan
from cluster.running import Outcome
from cluster.staircase import HIDDEN, SEEN, WALKED, Staircase
from cluster.staircase_view import show_staircase, table_of
from cluster.staircase_words import sentences
from cluster.stairs import Stretch, of_plain, plain, stairs
from cluster.winner import engine_for
from kernels import Feature, InputError, Parameter
from kernels.blocks import Blocks
from kernels.metric import OF_RETURNS
from kernels.metrics import measure, metrics
from kernels.strategy_check import check
from search.lock import release
from search.paired import of_returns, paired, word_of

pytestmark = pytest.mark.usefixtures("undrawn")
BARS = 800
RULE = Path(__file__).with_name("feature_rule.py")


def prices(folder: Path, bars: int = BARS, otherwise_from: int | None = None) -> Path:
    """Two months up and one down, in turns, of an asset; other prices from some bar on."""
    rng = np.random.default_rng(5)
    drift = np.where(np.arange(bars) % 90 < 60, 0.006, -0.010)
    log = drift + 0.012 * rng.standard_normal(bars)
    if otherwise_from is not None:
        log[otherwise_from:] = 0.03 * np.random.default_rng(6).standard_normal(bars - otherwise_from)
    close = 100.0 * np.exp(np.cumsum(log))
    open_ = np.concatenate([close[:1], close[:-1]])
    table = {
        "timestamp": pd.date_range("2020-01-01", periods=bars, tz="UTC").strftime("%Y-%m-%d"),
        **{"symbol": "A", "open": open_, "close": close, "volume": 1.0},
        **{"high": np.maximum(open_, close) * 1.001, "low": np.minimum(open_, close) * 0.999},
    }
    path = folder / "prices.csv"
    pd.DataFrame(table).to_csv(path, index=False)
    return path


def planned(folder: Path, *overrides: str, **made: int) -> Plan:
    """A study of all three features switched on; two numbers are searched."""
    folder.mkdir(exist_ok=True)
    study = {
        "name": "stairs",
        "market": {"source": "csv", "path": str(prices(folder, **made)), "bars_per_year": 365},
        "strategy": {
            "file": str(RULE),
            "name": "feature_rule",
            "fixed": {"guard": "on", "idle": "on", "churn": "on"},
            "search": {"window": [6, 10, 14], "size": [0.5, 0.6]},
            "compare": {"bare": {"guard": "off", "idle": "off", "churn": "off"}},
        },
        "costs": {"fee_bps": 20, "slippage_bps": 10},
        "targets": {
            "sharpe": {"at_least": 1.0, "reservation": 0.0},
            "max_drawdown": {"at_most": 0.1, "reservation": 0.3},
            "turnover": {"at_most": 10, "reservation": 100},
        },
        "search": {"sampler": "grid", "batch": 4, "seed": 3},
        "selection": {"replicates": 19},
        "compute": {"backend": "numpy"},
        "tracking": {"enabled": False},
    }
    path = folder / "stairs.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return make_plan(load_study(path, overrides), folder / "runs")


def climbed(outcome: Outcome) -> Staircase:
    assert outcome.found.staircase is not None
    return outcome.found.staircase


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A finished study, whose hold-out is closed."""
    return run_one(planned(tmp_path_factory.mktemp("stairs")))


# ---- the stairs themselves


def test_the_last_stair_is_the_winner_and_the_first_has_all_features_off_to_the_bit(finished: Outcome) -> None:
    seen, best = climbed(finished).seen, finished.found.best
    bare = {"guard": "off", "idle": "off", "churn": "off"}
    row = best.iloc[:1][[p.name for p in STRATEGY.parameters]].assign(**bare)
    alone = engine_for(finished.plan, row).metrics(row)
    for metric in seen.metrics.columns:
        assert seen.whole(metric) == best[metric].iloc[0]
        assert seen.value("baseline", metric) == alone[metric].iloc[0]


def test_walking_forward_the_whole_rule_is_what_walking_forward_trades(finished: Outcome) -> None:
    found, selection = climbed(finished), finished.found.selection
    assert found.walked is not None
    assert selection is not None
    assert selection.walked is not None
    growth = np.prod(1.0 + selection.walked.returns) - 1.0
    assert found.walked.whole("total_return") == pytest.approx(growth, rel=1e-12)
    assert found.walked.bars == len(selection.walked.returns)
    assert (found.folds, found.chosen) == (5, {"guard": 5, "idle": 5, "churn": 5})


@given(on=st.lists(st.sampled_from(["guard", "idle", "churn"]), unique=True))
def test_each_stair_has_one_feature_more_and_every_other_number_of_the_winner(on: list[str]) -> None:
    features = [name for name in ("guard", "idle", "churn") if name in on]
    row = {"window": 7, "size": 0.4} | {name: "on" if name in on else "off" for name in ("guard", "idle", "churn")}
    table = stairs(STRATEGY, pd.DataFrame([row]), features)
    count = (table[["guard", "idle", "churn"]] == "on").sum(axis=1).tolist()
    k = len(features)
    assert count == [*range(k + 1), *[k - 1] * k]
    assert (table["window"] == 7).all()
    assert (table["size"] == 0.4).all()
    assert table.iloc[k].to_dict() == row


def test_a_dead_feature_changes_nothing_at_all_and_is_not_shown(finished: Outcome) -> None:
    found = climbed(finished)
    for stretch in found.stretches.values():
        assert stretch.is_dead("idle")
        assert (stretch.metrics.loc["+ idle"] == stretch.metrics.loc["+ guard"]).all()
    assert found.walked is not None
    assert found.walked.interval("idle", "removed", "sharpe") == (0.0, 0.0)
    assert found.walked.better("idle", "removed", "max_drawdown") == 0.5
    assert found.word(finished.plan, "idle") == "not shown"


def test_planted_help_has_earned_its_place_and_planted_cost_has_not(finished: Outcome) -> None:
    plan, found = finished.plan, climbed(finished)
    assert [found.word(plan, name) for name in found.on] == ["earned", "not shown", "harmed"]
    guard, idle, churn = sentences(plan, found)
    assert guard.startswith("guard earned its place, as claimed: max_drawdown ")
    assert idle == "idle: not shown: it makes no difference to any metric walking forward."
    assert churn.startswith("churn cost more than it gave: sharpe ")
    assert found.walked is not None
    assert found.walked.change("churn", "cost_paid") > 0.1
    assert "a year in trading and takes " in churn


def test_returns_out_of_sample_do_not_depend_on_what_comes_after(
    finished: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other prices from a bar of the last test on: before it every stair of every fold returns the same."""
    kept: list[tuple[np.ndarray, Blocks]] = []
    unseen = staircase.unseen

    def keeping(plan: Plan, features: Any, metrics: Any, returns: np.ndarray, blocks: Blocks) -> Stretch:
        kept.append((returns, blocks))
        return unseen(plan, features, metrics, returns, blocks)

    monkeypatch.setattr(staircase, "unseen", keeping)
    changed = 570  # of 600 that the search sees; the last test begins at 547 or before
    for name, prices in (("same", {}), ("other", {"otherwise_from": changed})):
        run_one(planned(tmp_path / name, "selection.blocks=0", "selection.replicates=0", **prices))
    (one, blocks), (other, _) = kept
    before = changed - blocks.edges[0]
    assert 0 < before < len(one) == 600 - blocks.edges[0]
    assert np.array_equal(one[:before], other[:before])
    assert not np.array_equal(one[before:], other[before:])


# ---- what a study leaves


def test_an_interrupted_study_ends_with_the_same_bytes(finished: Outcome) -> None:
    folder = finished.plan.folder.parents[1]
    plan, watch = planned(folder, "name=again", "selection.replicates=0"), Watch()
    with pytest.raises(KeyboardInterrupt):
        job.run([plan], watch, stop=lambda: bool(watch.rows))
    run_one(plan, resume=True)
    assert (plan.folder / "staircase.parquet").read_bytes() == (finished.folder / "staircase.parquet").read_bytes()
    written = [yaml.safe_load((each / "best.yaml").read_text())["features"] for each in (plan.folder, finished.folder)]
    assert written[0] == written[1]
    assert "staircase.parquet" in (plan.folder / "manifest.jsonl").read_text()


def test_the_table_has_every_stair_of_every_stretch_and_what_is_sure(finished: Outcome) -> None:
    table = pq.read_table(finished.folder / "staircase.parquet").to_pandas()
    pd.testing.assert_frame_equal(table, table_of(finished.plan, climbed(finished)), check_dtype=False)
    assert set(table["bars"]) == {SEEN, WALKED}
    sure = table[(table["stair"] == "without guard") & (table["bars"] == WALKED) & (table["metric"] == "max_drawdown")]
    assert sure["better"].item() >= 0.95
    assert sure["high"].item() < 0.0
    assert table.loc[table["bars"] == SEEN, "better"].isna().all()


def test_the_terminal_shows_the_stairs_in_110_columns(finished: Outcome) -> None:
    console = Console(width=110, record=True, file=StringIO(), highlight=False)
    show_staircase(console, finished.plan, climbed(finished))
    text = console.export_text()
    assert "\u2026" not in text
    for word in (
        "in sample",
        "walking forward",
        "+ guard",
        "+ churn",
        "guard earned its place",
        "hold-out: not opened",
    ):
        assert word in text
    assert "Not of the returns alone, so not judged: turnover." in " ".join(text.split())


def test_validate_fills_the_hold_out_and_it_is_read_again_to_the_bit(
    finished: Outcome, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    release(finished.plan.folder)
    page = (finished.folder / "report.html").read_text()
    assert "What each feature bought" in page
    assert climbed(finished).hidden is None
    found = validate(open_kept(finished.plan.folder))
    release(finished.plan.folder)
    assert found.staircase is not None
    hidden = found.staircase.hidden
    assert hidden is not None
    assert found.selection is not None
    assert found.selection.opened is not None
    assert hidden.whole("sharpe") == found.selection.opened.rows["sharpe"].iloc[0]
    assert hidden.value("baseline", "sharpe") != hidden.whole("sharpe")
    assert "; on the hold-out max_drawdown " in sentences(finished.plan, found.staircase)[0]
    assert HIDDEN in set(pq.read_table(finished.folder / "staircase.parquet").to_pandas()["bars"])
    monkeypatch.setattr("sys.argv", ["hedgegrid", "report", str(finished.plan.folder)])
    with pytest.raises(SystemExit):
        main()
    again = (finished.folder / "report.html").read_text()
    assert f">{HIDDEN}<" in again


def test_a_stretch_is_read_from_json_as_it_was_written(finished: Outcome) -> None:
    walked = climbed(finished).walked
    assert walked is not None
    odd = replace(walked, metrics=walked.metrics * np.where(np.arange(walked.metrics.shape[1]) % 2, np.nan, np.inf))
    for each in (walked, odd):
        again = of_plain(json.loads(json.dumps(plain(each))))
        pd.testing.assert_frame_equal(again.metrics, each.metrics, check_exact=True)
        assert each.against is not None
        assert again.against is not None
        pd.testing.assert_frame_equal(again.against, each.against, check_exact=True, check_dtype=False)


def test_a_hold_out_that_says_the_opposite_takes_the_word_back(finished: Outcome) -> None:
    plan, found = finished.plan, climbed(finished)
    assert found.walked is not None
    assert found.walked.against is not None
    opposite = found.walked.against.assign(better=1.0 - found.walked.against["better"])
    contradicted = replace(found, hidden=replace(found.walked, against=opposite))
    assert [contradicted.word(plan, name) for name in found.on] == ["not shown"] * 3
    guard, *_ = sentences(plan, contradicted)
    assert guard.startswith("guard: not shown: max_drawdown ")
    assert ", better in 0%; it saves" in guard
    agreeing = replace(found, hidden=found.walked)
    assert [agreeing.word(plan, name) for name in found.on] == ["earned", "not shown", "harmed"]
    alone = replace(found, walked=None, hidden=found.walked)
    assert [alone.word(plan, name) for name in found.on] == ["earned", "not shown", "harmed"]
    assert " on the hold-out, better in " in sentences(plan, alone)[0]


def test_a_feature_that_some_folds_did_not_choose_says_so(finished: Outcome) -> None:
    found = replace(climbed(finished), chosen={"guard": 3, "idle": 0, "churn": 5})
    guard, idle, _ = sentences(finished.plan, found)
    assert guard.endswith("; 3 of 5 folds chose it.")
    assert idle == "idle: not shown: no fold of walking forward chose it."


# ---- where something is missing


def test_what_the_search_left_off_has_no_stair_and_without_bars_to_judge_by_nothing_is_judged(tmp_path: Path) -> None:
    few = ("selection.folds=0", "selection.holdout=0", "selection.blocks=0", "selection.replicates=0")
    plan = planned(tmp_path, "strategy.fixed={guard: on, idle: off, churn: off}", *few)
    outcome = run_one(plan)
    found = climbed(outcome)
    assert (found.on, found.left_off) == (("guard",), ("idle", "churn"))
    assert list(found.seen.metrics.index) == ["baseline", "+ guard", "without guard"]
    guard, idle, _ = sentences(plan, found)
    assert (
        "guard: not judged out of sample (walking forward: selection.folds is 0; hold-out: selection.holdout is 0)"
        in guard
    )
    assert idle == "idle: left off by the search."
    assert (
        yaml.safe_load((outcome.folder / "best.yaml").read_text())["features"]["churn"]["place"]
        == "left off by the search"
    )


def test_a_winner_without_any_feature_is_its_own_baseline(tmp_path: Path) -> None:
    few = ("selection.holdout=0", "selection.blocks=0", "selection.replicates=0")
    found = climbed(run_one(planned(tmp_path, "strategy.fixed={guard: off, idle: off, churn: off}", *few)))
    assert found.on == ()
    assert list(found.seen.metrics.index) == ["baseline"]


def test_a_feature_that_cannot_be_one_is_refused_by_name() -> None:
    numbers = (*STRATEGY.parameters, Parameter("one", "only", choices=("only",)))
    wrong = (
        Feature("gaurd"),
        Feature("size"),
        Feature("one"),
        Feature("idle"),
        Feature("idle"),
        Feature("churn", "orders"),
    )
    with pytest.raises(InputError) as error:
        check(replace(STRATEGY, parameters=numbers, features=(*wrong, "guard")))  # type: ignore[arg-type]
    told = [problem.partition(": ")[2] for problem in error.value.problems]
    assert [problem[:30] for problem in told] == [
        "feature 'gaurd': it is no para",
        "feature 'size': a parameter wi",
        "feature 'one': a parameter wit",
        "feature 'idle' is there twice;",
        "feature 'churn': claims 'order",
        "features: Feature('guard') fro",
    ]


# ---- paired histories


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), bars=st.integers(40, 200))
def test_metrics_of_returns_are_those_of_the_engine(finished: Outcome, seed: int, bars: int) -> None:
    plan = finished.plan
    row = plan.space.random(1, seed % 1000)
    engine = engine_for(plan, row)
    blocks = Blocks(engine.blocks.edges[: 3 + bars // 40], engine.blocks.timestamps)
    picked = np.arange(len(blocks))
    whole = metrics(engine.run(row).statistics, plan.market.bars_per_year, picked)
    returns = engine.returns(row)[: blocks.bars.sum()]
    values, ok = measure(of_returns(returns, blocks), plan.market.bars_per_year, None, OF_RETURNS)
    assert ok.all()
    np.testing.assert_allclose(values[:, 0], whole[list(OF_RETURNS)].iloc[0].to_numpy(float), rtol=1e-9, atol=1e-12)


def test_a_worthless_feature_is_seldom_called_anything() -> None:
    """On 500 days of fat tails, more and less of the same position in turns of a month, at random: on average the same."""
    days = np.arange("2020-01-01", "2021-05-16", dtype="datetime64[D]").astype("datetime64[us]")
    blocks = Blocks(np.append(np.arange(1, 501, 30), 501), days)
    better = {"sharpe": 1, "cagr": 1, "max_drawdown": -1, "consistency": 1}
    words = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        without = 0.0007 + 0.014 * rng.standard_t(4, 500)
        size = np.repeat(rng.choice([0.85, 1.15], 25), 20)
        both = np.stack([size * without, without], axis=1)
        (found,) = paired(both, [(0, 1)], better, blocks, 365.0, replicates=100, seed=seed)
        words.append(word_of(found["better"]))
    assert len(days) == 501
    assert words.count("not shown") >= 160
    assert words.count("earned") <= 20


def test_one_that_is_ruined_is_worse_in_every_history_and_two_that_are_equal_in_half() -> None:
    rng = np.random.default_rng(0)
    blocks = Blocks(
        np.arange(1, 302, 30), np.arange("2020-01-01", "2020-10-28", dtype="datetime64[D]").astype("datetime64[us]")
    )
    fine = 0.001 + 0.01 * rng.standard_normal(300)
    ruined = np.full(300, -1.5)
    better = {"sharpe": 1, "max_drawdown": -1}
    one, same = paired(
        np.stack([fine, ruined, fine], axis=1), [(0, 1), (0, 2)], better, blocks, 365.0, replicates=50, seed=1
    )
    assert (one["better"] == 1.0).all()
    assert (same["better"] == 0.5).all()
    assert (same[["low", "high"]] == 0.0).all(axis=None)
