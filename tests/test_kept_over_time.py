"""What a study keeps of every configuration beside its metrics, and walking forward on it, against backtests made here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from studies import LEARNING, Watch, run_one, small_plan

from cluster import chunks, job, pool, tried
from cluster.findings import compared
from cluster.plan import Plan, open_study
from cluster.walk_forward import annual_sharpe, walk_forward
from cluster.worker import Worker
from kernels import backtest
from kernels.blocks import Blocks, BlockStatistics
from kernels.metrics import metrics
from search.periods import Fold, is_kept
from search.study import Study

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = ("tracking.enabled=false", "selection.replicates=0")
REPEATING = ("search.sampler=tpe", "search.trials=20")  # of 12 points
CLOUDS = (*LEARNING, "search.configs_per_trial=4", "strategy.search.hedge_strength={low: 0, high: 1}")
ROLLING = (
    "market.bars=420",
    "selection.folds=3",
    "selection.window=rolling",
    "strategy.fixed={vol_window: 20}",
    "strategy.search.lookback=[10, 20]",
)
KINDS = {"grid": ("selection.folds=3",), "tpe, repeating": REPEATING, "clouds": CLOUDS, "rolling": ROLLING}


class Fragile(Worker):
    """A worker that raises on a hedge strength of one half."""

    def run(self, task: int, chunk: pa.Table) -> pa.Table:
        if 0.5 in chunk["hedge_strength"].to_pylist():
            raise ZeroDivisionError("half a hedge")
        return super().run(task, chunk)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Plan]:
    """One study of each kind, stopped after its first batch and resumed; and one of which a part cannot be computed."""
    plans = {}
    for kind, overrides in KINDS.items():
        plan = small_plan(tmp_path_factory.mktemp("kind"), *QUICK, "search.batch=4", *overrides)
        if kind != "rolling":
            watch = Watch()
            with pytest.raises(KeyboardInterrupt):
                job.run([plan], watch, stop=lambda told=watch: bool(told.rows))
        run_one(plan, resume=kind != "rolling")
        plans[kind] = plan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "FIRST_ROWS", 1)
        patch.setattr(chunks, "MOST_ROWS", 1)
        patch.setattr(pool, "Worker", Fragile)
        plan = small_plan(tmp_path_factory.mktemp("kind"), *QUICK, *REPEATING)
        run_one(plan)
        plans["quarantined"] = plan
    return plans


def evaluated(plan: Plan) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every configuration, and what is kept of it."""
    study = open_study(plan, resume=True)
    rows = pd.concat(study.configurations(), ignore_index=True)
    return rows, pd.concat(study.over_time(), ignore_index=True)


def again(plan: Plan, rows: pd.DataFrame) -> BlockStatistics:
    """The blocks of those configurations, backtested here."""
    table = rows[[p.name for p in plan.strategy.parameters]].reset_index(drop=True)
    return backtest(plan.market, plan.strategy, table, costs=plan.costs, backend="numpy").statistics


def folds(plan: Plan) -> tuple[Fold, ...]:
    assert plan.periods is not None
    return plan.periods.folds


def scores(plan: Plan, rows: pd.DataFrame, stretch: tuple[int, int]) -> np.ndarray:
    found = metrics(again(plan, rows), plan.market.bars_per_year, np.arange(*stretch))
    return plan.targets.score(found)["score"].to_numpy()


@pytest.mark.parametrize("kind", [*KINDS, "quarantined"])
def test_what_is_kept_of_a_configuration_is_what_a_backtest_of_it_gives(studies: dict[str, Plan], kind: str) -> None:
    plan = studies[kind]
    assert plan.periods is not None
    rows, kept = evaluated(plan)
    assert kept["trial"].equals(rows["trial"])
    assert kept["status"].equals(rows["status"])
    computed = (rows["status"] == "ok").to_numpy()
    assert computed.sum() > 5
    assert kept.loc[~computed, list(plan.periods.columns)].isna().all(axis=None)
    statistics, S = again(plan, rows[computed]), len(plan.periods.blocks)
    assert S >= 4
    for b, (first, end) in enumerate(plan.periods.blocks):
        for kind_of, name in ((f"block_sum_{b:02d}", "r1"), (f"block_squares_{b:02d}", "r2")):
            told = kept.loc[computed, kind_of]
            # float32 keeps 24 bits; sums of another order differ far below that
            np.testing.assert_allclose(told, statistics.of(name)[first:end].sum(axis=0), rtol=2.0**-23, atol=1e-12)
    assert len(folds(plan)) > 1
    for k, fold in enumerate(folds(plan)):
        told = kept.loc[computed, f"fold_score_{k:02d}"]
        np.testing.assert_array_equal(told, scores(plan, rows[computed], fold.train).astype(np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_the_results_of_a_study_do_not_show_it(studies: dict[str, Plan], kind: str) -> None:
    folder = studies[kind].folder
    for name in ("configs", "trials", "baselines"):
        assert not [column for column in pd.read_parquet(folder / f"{name}.parquet") if is_kept(str(column))]
    study = open_study(studies[kind], resume=True)
    assert not [column for column in study.best(1) if is_kept(str(column))]


def test_nothing_that_is_kept_changes_a_metric(studies: dict[str, Plan]) -> None:
    plan = studies["rolling"]
    assert plan.periods is not None
    engine, table = plan.task.engine(), plan.space.grid()
    with_it = engine.metrics(table, plan.periods.keep)
    without = engine.metrics(table)
    pd.testing.assert_frame_equal(with_it[list(without.columns)], without, check_exact=True)
    assert list(with_it.columns[len(without.columns) :]) == list(plan.periods.columns)


def test_quarantined_configurations_have_no_say(studies: dict[str, Plan]) -> None:
    plan = studies["quarantined"]
    study = open_study(plan, resume=True)
    found, (rows, _) = tried.read(plan, study), evaluated(plan)
    assert found.quarantined == (rows["status"] == "quarantined").sum() > 0
    assert found.r1.shape[1] == len(found.sharpes) == (rows["status"] == "ok").sum()
    assert not (found.sample["hedge_strength"] == 0.5).any()
    assert not (found.chosen["hedge_strength"] == 0.5).any()


# ---- walking forward


@pytest.fixture(scope="module", params=["grid", "rolling"])
def walked(studies: dict[str, Plan], request: pytest.FixtureRequest) -> Iterator[tuple[Plan, Study]]:
    plan = studies[request.param]
    yield plan, open_study(plan, resume=True)


def test_each_fold_chooses_the_best_of_the_bars_before_it(walked: tuple[Plan, Study]) -> None:
    plan, study = walked
    rows, _ = evaluated(plan)
    chosen = tried.read(plan, study).chosen
    assert len(chosen) == len(folds(plan))
    for k, fold in enumerate(folds(plan)):
        assert fold.train[1] == fold.test[0]
        best = scores(plan, rows, fold.train).astype(np.float32).argmax()
        assert int(chosen["trial"].iloc[k]) == rows["trial"].iloc[best]


def test_folds_test_the_second_half_without_a_gap_and_train_before_it(walked: tuple[Plan, Study]) -> None:
    plan, _ = walked
    months = Blocks.monthly(plan.market)
    assert [fold.test[0] for fold in folds(plan)][1:] == [fold.test[1] for fold in folds(plan)][:-1]
    assert folds(plan)[-1].test[1] == len(months)
    half = months.bars[: folds(plan)[0].train[1]].sum()
    assert half == pytest.approx(months.bars.sum() / 2, abs=16)  # half a month
    rolls = plan.config.selection.window == "rolling"
    lengths = {fold.train[1] - fold.train[0] for fold in folds(plan)}
    assert len(lengths) == (1 if rolls else len(folds(plan)))
    assert rolls or {fold.train[0] for fold in folds(plan)} == {0}


def test_what_walking_forward_earned_is_the_returns_of_what_was_chosen(walked: tuple[Plan, Study]) -> None:
    plan, study = walked
    chosen = tried.read(plan, study).chosen
    baselines = pd.read_parquet(plan.folder / "baselines.parquet").set_index("label")
    rows = compared(study.best(1), baselines)
    found = walk_forward(plan, chosen, rows)
    assert found is not None
    names = [p.name for p in plan.strategy.parameters]
    months, parts, beside = Blocks.monthly(plan.market), [], []
    for k, fold in enumerate(folds(plan)):
        table = pd.concat([chosen.iloc[[k]][names], rows[names]], ignore_index=True)
        returns = plan.task.engine().paths(table).returns
        first, end = (int(months.edges[edge]) - 1 for edge in fold.test)
        parts.append(returns[first:end, 0])
        beside.append(returns[first:end, 1:])
        told = found.folds.iloc[k]
        assert told["test_total_return"] == pytest.approx(np.prod(1.0 + parts[-1]) - 1.0)
        trained = returns[int(months.edges[fold.train[0]]) - 1 : first, 0]
        year = plan.market.bars_per_year
        assert told["train_sharpe"] == pytest.approx(trained.mean() / trained.std(ddof=1) * np.sqrt(year))
        assert told["test_sharpe"] == pytest.approx(annual_sharpe(parts[-1], year))
        assert told["train_score"] == pytest.approx(scores(plan, chosen.iloc[[k]], fold.train)[0])
        assert told["test_from"] == str(months.timestamps[first + 1].astype("datetime64[D]"))
        assert told["test_to"] == str(months.timestamps[end].astype("datetime64[D]"))
    stitched = np.concatenate(parts)
    assert found.returns == pytest.approx(stitched, abs=1e-12)
    assert np.stack(list(found.beside.values()), axis=1) == pytest.approx(np.concatenate(beside), abs=1e-12)
    assert found.sharpe == pytest.approx(annual_sharpe(stitched, plan.market.bars_per_year))
    assert len(found.timestamps) == len(stitched)
    assert found.timestamps[-1] == plan.market.timestamps[-1]
    table = found.folds
    assert found.positive == (table["test_total_return"] > 0).mean()
    inside = table["train_sharpe"].mean()
    assert (
        np.isnan(found.efficiency)
        if inside <= 0
        else found.efficiency == pytest.approx(table["test_sharpe"].mean() / inside)
    )


def test_drift_is_how_far_the_chosen_numbers_move_as_a_share_of_their_range(walked: tuple[Plan, Study]) -> None:
    plan, study = walked
    chosen = tried.read(plan, study).chosen.copy()
    chosen["hedge_strength"] = [0.25, 1.0, *[0.5] * (len(chosen) - 2)]
    found = walk_forward(plan, chosen, compared(study.best(1), pd.DataFrame()))
    assert found is not None
    assert set(found.drift) == set(plan.space.searched)
    assert found.drift["hedge_strength"] == pytest.approx(0.75)  # four values, each a quarter of the range


def test_words_have_no_drift(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, *QUICK, "strategy.search={short_mode: [hedge_only, full]}")
    study = run_one(plan).found.selection
    assert study is not None
    assert study.walked is not None
    assert study.walked.drift == {}


def test_of_very_many_configurations_evenly_taken_ones_are_compared(
    studies: dict[str, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = studies["rolling"]  # 24 configurations
    study = open_study(plan, resume=True)
    whole = tried.read(plan, study)
    monkeypatch.setattr(tried, "MOST", 10)
    monkeypatch.setattr(tried, "SAMPLE", 4)
    some = tried.read(plan, study)
    assert np.array_equal(some.r1, whole.r1[:, ::3])
    assert np.array_equal(some.r2, whole.r2[:, ::3])
    assert some.sample.equals(whole.sample.iloc[::6].reset_index(drop=True))
    assert np.array_equal(some.sharpes, whole.sharpes)
    assert some.chosen.equals(whole.chosen)
