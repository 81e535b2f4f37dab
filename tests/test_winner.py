"""What stands behind a winner: dearer costs, unseen paths, neighbours, its paths, its portfolio; and the words for it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from studies import Watch, option_plans, same, small_plan

from cluster import job
from cluster.advice import advise, say
from cluster.cli import main
from cluster.plan import Plan
from cluster.portfolio import Portfolio, conclude
from cluster.running import Outcome
from cluster.winner import CLOSE
from kernels import METRICS, STRATEGIES, Costs, InputError
from kernels.metrics import aggregate

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """Two tickers' studies, finished."""
    return job.run(option_plans(tmp_path_factory.mktemp("winner")), Watch())


@pytest.fixture(scope="module")
def outcome(outcomes: list[Outcome]) -> Outcome:
    return outcomes[0]


def test_at_its_own_costs_a_winner_is_what_the_study_found(outcome: Outcome) -> None:
    row, space = outcome.found.best.iloc[0], outcome.plan.space
    for metric in outcome.plan.strategy.metrics:
        assert outcome.found.winner.stress.loc[1.0, metric] == row[space.measured(metric)]
    assert outcome.found.winner.stress.loc[1.0, "score"] == row["score"]


def test_dearer_trading_never_earns_more(outcome: Outcome) -> None:
    stress = outcome.found.winner.stress
    assert list(stress.index) == [1.0, 2.0, 3.0]
    assert stress["total_return"].is_monotonic_decreasing
    # the same trades at twice and three times the price
    np.testing.assert_allclose(stress["cost_paid"], stress.loc[1.0, "cost_paid"] * stress.index, rtol=1e-9)


def test_at_its_break_even_a_winner_earns_nothing(outcome: Outcome) -> None:
    winner, plan = outcome.found.winner, outcome.plan
    assert 1.0 < winner.break_even < math.inf
    engine = replace(plan.task, costs=plan.costs.times(winner.break_even)).engine()
    left = engine.metrics(winner.configuration)["total_return"].iloc[0]
    # found to half a percent of what costs take
    assert abs(left) < 0.02 * abs(winner.stress.loc[1.0, "total_return"])


def test_unseen_paths_are_other_paths_of_the_same_market(outcome: Outcome) -> None:
    winner, plan = outcome.found.winner, outcome.plan
    assert winner.unseen is not None
    (again, _) = option_plans(outcome.folder.parent.parent, "market.stream=validation", "name=again")
    assert again.market.digest != plan.market.digest
    fresh = again.task.engine().metrics(winner.configuration).iloc[0]
    for metric in plan.strategy.metrics:
        assert winner.unseen[metric] == fresh[metric]


def test_a_history_has_no_unseen_paths(tmp_path: Path) -> None:
    (outcome,) = job.run([small_plan(tmp_path, "tracking.enabled=false")], Watch())
    assert outcome.found.winner.unseen is None
    assert len(outcome.found.paths) == 3  # the best and two baselines, on the one path there is


def test_the_neighbours_are_those_within_reach_of_the_best_score(outcome: Outcome) -> None:
    table = pd.read_parquet(outcome.folder / "configs.parquet")
    near = table[table["score"] >= table["score"].max() - CLOSE]
    found = outcome.found.winner.neighbours
    assert (found.count, found.tried) == (len(near), len(table))
    assert found.ranges == {n: (near[n].min(), near[n].max()) for n in ("rebalance_days", "exposure")}


def test_every_path_of_the_best_and_the_baselines_is_kept(outcome: Outcome) -> None:
    paths = pd.read_parquet(outcome.folder / "paths.parquet")
    assert paths.groupby("label").size().to_dict() == {outcome.found.compared.index[0]: 25, "unhedged": 25}
    own = paths[paths["label"] != "unhedged"]
    row = outcome.found.best.iloc[0]
    for metric in ("total_return", "max_drawdown", "cost_paid", "orders", "profit"):
        assert own[metric].median() == pytest.approx(row[metric], rel=1e-12)
    assert own["profit"].std() == pytest.approx(row["hedging_error"], rel=1e-12)


# ---- words


def test_the_advice_says_the_numbers_of_the_files(outcome: Outcome) -> None:
    best = yaml.safe_load((outcome.folder / "best.yaml").read_text())
    told = (outcome.folder / "advice.md").read_text()
    assert f"size {best['parameters']['exposure']:g} x capital" in told
    assert f"sharpe {best['metrics']['sharpe']:#.3g}".lower() in told.lower()
    assert f"It earns nothing at {best['break_even']:.3g} times these costs" in told
    assert set(best["at_dearer_costs"]) == {"2x", "3x"}
    assert f"sharpe {best['on_unseen_paths']['sharpe']:#.3g}" in told
    near = outcome.found.winner.neighbours
    assert (f"{near.count} of 6 configurations score within" if near.count > 1 else "a point, not a plateau") in told


def test_a_winner_that_loses_to_a_baseline_is_not_praised(tmp_path: Path) -> None:
    """Without a premium for variance every hedge costs and none earns: half the delta is a bet that happens to win."""
    plans = option_plans(
        tmp_path,
        "market.implied_volatility=0.2",
        "market.tickers=[NEAR]",
        "strategy.search={rebalance_days: [1, 2]}",
        "strategy.compare={lucky: {hedge_ratio: 0.0, exposure: 0.05}, same: {rebalance_days: 1}}",
    )
    (outcome,) = job.run(plans, Watch())
    best = outcome.found.baselines["score"].max()
    row = outcome.found.winner.stress.iloc[0]
    assert best >= row["score"]
    assert outcome.found.advice[-1].startswith("Nothing that was tried beats the baseline")


def test_one_configuration_is_neither_point_nor_plateau(tmp_path: Path) -> None:
    plans = option_plans(
        tmp_path, "market.tickers=[NEAR]", "strategy.search={rebalance_days: [1]}", "strategy.compare={}"
    )
    (outcome,) = job.run(plans, Watch())
    assert "It is the only configuration tried." in outcome.found.advice


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"rebalance_days": 0.1}, "trade every 2.4 hours"),
        ({"hedge_ratio": 0.0}, "size 1 x capital; no hedge"),
        (
            {"hedge_ratio": 0.8, "band": 0.1, "trade_to": "edge"},
            "hold 80% of the delta; look every day, trade when more than",
        ),
        (
            {"risk_aversion": 2.0, "rebalance_days": 3.0},
            "look every 3 days, trade outside the Whalley-Wilmott band of 2",
        ),
        ({"gamma_hedge_ratio": 0.5}, "offset 50% of the gamma with the second option"),
        ({"vol_target": 0.2}, "scaled to 20% realised volatility"),
    ],
)
def test_a_configuration_is_said_as_an_instruction(row: dict[str, object], words: str) -> None:
    strategy = STRATEGIES["option_hedge"]
    assert words in say(strategy, {p.name: p.default for p in strategy.parameters} | row)


def test_costs_that_are_none_have_no_multiple() -> None:
    assert Costs(5.0, 2.0, option_spread=0.01).times(3.0) == Costs(15.0, 6.0, option_spread=0.03)
    with pytest.raises(InputError, match="option_spread from 0 to below 1"):
        Costs(option_spread=0.4).times(3.0)


def test_an_end_that_is_not_reached_is_told_as_far_as_it_was_looked_for(outcome: Outcome) -> None:
    """Half-spreads of a third of the mark cannot be multiplied by 64; three times is as dear as they get."""
    found, plan = outcome.found, outcome.plan
    endless = replace(found.winner, break_even=math.inf)
    returns = np.zeros(2)

    def told(plan: Plan) -> str:
        return " ".join(advise(plan, endless, found.baselines, returns, verdict=found.verdict, selection=None))

    assert "It still earns at 64 times these costs." in told(plan)
    assert "It still earns at 3 times these costs." in told(replace(plan, costs=Costs(option_spread=0.33)))


# ---- the portfolio


def test_the_portfolio_is_the_mean_of_its_winners_bar_by_bar(outcomes: list[Outcome], tmp_path: Path) -> None:
    found = conclude("calls", tmp_path, outcomes)
    assert isinstance(found, Portfolio)
    returns = np.mean([o.found.winner.bars.of("r1") for o in outcomes], axis=0)
    np.testing.assert_array_equal(found.equity, np.cumprod(1.0 + returns, axis=0))
    fell = (1.0 - found.equity / np.maximum(np.maximum.accumulate(found.equity, axis=0), 1.0)).max(axis=0)
    assert found.rows.loc["portfolio", "max_drawdown"] == pytest.approx(np.median(fell), abs=0.003)
    assert set(found.rows.index) == {"portfolio", "unseen", "members"}
    alone = [aggregate(o.found.winner.bars, 365.0, 25)["sharpe"].iloc[0] for o in outcomes]
    assert found.rows.loc["members", "sharpe"] == pytest.approx(np.mean(alone), rel=1e-9)
    kept = pd.read_parquet(tmp_path / "calls-portfolio" / "portfolio.parquet").set_index("row")
    same(kept[list(METRICS)], found.rows[list(METRICS)].rename_axis("row"))
    note = (tmp_path / "calls-portfolio" / "advice.md").read_text()
    assert all(sentence in note for o in outcomes for sentence in o.found.advice)


def test_a_target_on_a_single_books_metric_makes_no_portfolio_and_says_so(tmp_path: Path) -> None:
    plans = option_plans(tmp_path, "targets={hedging_error: {at_most: 0.01, reservation: 0.05}}")
    found = conclude("calls", tmp_path, job.run(plans, Watch()))
    assert isinstance(found, InputError)
    assert "the target on hedging_error is of a single book" in str(found)
    assert not (tmp_path / "calls-portfolio").exists()


def test_a_run_per_ticker_ends_with_winners_portfolio_and_advice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    option_plans(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    words = ["hedgegrid", "run", str(tmp_path / "calls.yaml"), "--runs", str(tmp_path / "runs"), "--quiet"]
    words += ["--set", "tracking.enabled=true", "--set", f"tracking.uri={uri}"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    told = capsys.readouterr().out
    assert told.index("the best of each ticker") < told.index("NEAR: size") < told.index("Portfolio of the 2 winners")
    client = MlflowClient(uri)
    (experiment,) = client.search_experiments(filter_string="name = 'hedgegrid/option_hedge'")
    (run,) = client.search_runs([experiment.experiment_id], "tags.scope = 'portfolio of winners'")
    assert {"advice.md", "portfolio.parquet"} <= {f.path for f in client.list_artifacts(run.info.run_id)}
    assert "Portfolio of the 2 winners" in run.data.tags["mlflow.note.content"]
    monkeypatch.setattr("sys.argv", [*words, "--resume", "--json"])
    with pytest.raises(SystemExit):
        main()
    content = json.loads(capsys.readouterr().out)
    assert [re.sub("calls-", "", s["study"]) for s in content["studies"]] == ["NEAR", "FAR"]
    assert content["portfolio"]["portfolio"]["sharpe"] == run.data.metrics["sharpe"]
    assert len(client.search_runs([experiment.experiment_id], "tags.scope = 'portfolio of winners'")) == 1
