"""`hedgegrid compare`: what differs in the inputs of two studies, and what that does to their winners."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from histories import history
from rich.console import Console
from studies import TRIALS, option_plans, run_one, small_plan
from test_job import run_stopped
from typer.testing import CliRunner

from cluster.cli import app
from cluster.compare import Comparison, RealDifference, as_json, compare
from cluster.compare_view import show_comparison, verdict
from cluster.plan import Plan
from kernels import paths
from kernels.errors import InputError
from search.sharpe import sharpe_difference

UNTRACKED = "tracking.enabled=false"
TARGETS = "targets={sharpe: {at_least: 1.0}, max_drawdown: {at_most: 0.1}}"
CASES = {
    "one": (),
    "strict": ("targets.max_drawdown.at_most=0.05", "strategy.search.hedge_threshold=[-0.1, -0.2]"),
    "dear": ("costs.fee_bps=40",),
    "longer": ("market.bars=320",),
    "twin": ("search.seed=4",),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, undrawn: None) -> dict[str, Plan]:
    """Studies that differ from the first in one way each, and one that was stopped; all under one folder of runs."""
    folder = tmp_path_factory.mktemp("kept")
    kept = {}
    for name, overrides in {**CASES, "stopped": ()}.items():
        plan = kept[name] = small_plan(folder, TARGETS, *overrides, UNTRACKED, f"name={name}")
        if name == "stopped":
            run_stopped(plan)
        else:
            run_one(plan)
    return kept


def of(kept: dict[str, Plan], one: str, other: str) -> Comparison:
    return compare(one, other, kept["one"].folder.parent)


def shown(found: Comparison, width: int) -> str:
    file = io.StringIO()
    show_comparison(Console(file=file, width=width), found)
    return file.getvalue()


def test_the_inputs_that_differ_are_those_that_were_changed(kept: dict[str, Plan]) -> None:
    assert of(kept, "one", "strict").inputs == {
        "strategy.search.hedge_threshold": ([-0.05, -0.1, -0.2], [-0.1, -0.2]),
        "targets.max_drawdown.at_most": (0.1, 0.05),
    }
    assert of(kept, "one", "dear").inputs == {"costs.fee_bps": (4.0, 40.0)}
    assert set(of(kept, "one", "longer").inputs) == {"market.bars", "data_digest"}


def test_each_winner_is_scored_by_both_studies_targets(kept: dict[str, Plan]) -> None:
    found = of(kept, "one", "strict")
    one, strict = found.sides
    for side, other in ((one, strict), (strict, one)):
        own, others = side.score_by(side.plan.targets), side.score_by(other.plan.targets)
        assert own == (side.best["score"], side.best["targets_met"])  # to the last bit
        assert others is not None
        assert others[0] != own[0]
    assert any("Their targets differ" in warning for warning in found.warnings)


def test_the_sharpe_difference_is_that_of_the_winners_paths(kept: dict[str, Plan]) -> None:
    found = of(kept, "one", "dear")
    returns = []
    for side in found.sides:
        plan = side.plan
        row = plan.space.table([side.best[[p.name for p in plan.strategy.parameters]].to_dict()])
        returns.append(paths(plan.market, plan.strategy, row, costs=plan.costs).returns[:, 0])
    expected = sharpe_difference(*returns)
    assert isinstance(found.sharpe, RealDifference)
    assert found.sharpe.p_value == pytest.approx(expected.p_value, rel=1e-6)
    assert found.sharpe.difference == pytest.approx(expected.difference * math.sqrt(365.0), rel=1e-6)
    assert found.sharpe.difference == pytest.approx(found.sharpe.sharpes[0] - found.sharpe.sharpes[1], rel=1e-2)
    assert found.sharpe.correlation == pytest.approx(np.corrcoef(*returns)[0, 1], rel=1e-6)
    assert any("Their costs differ" in warning for warning in found.warnings)
    assert f"p-value {expected.p_value:.2g}" in verdict(found)


def test_equal_winners_do_not_differ(kept: dict[str, Plan]) -> None:
    found = of(kept, "one", "twin")
    assert set(found.inputs) == {"search.seed"}
    assert found.warnings == []
    assert "do not differ" in verdict(found)


def test_other_data_is_warned_of_and_no_returns_are_set_side_by_side(kept: dict[str, Plan]) -> None:
    found = of(kept, "one", "longer")
    assert isinstance(found.sharpe, str)
    assert any("Their data differs" in warning and "2020-10-26" in warning for warning in found.warnings)
    assert "cannot be told" in verdict(found)


def test_a_study_whose_prices_have_gone_on_still_compares_with_the_new_one(tmp_path: Path, undrawn: None) -> None:
    market = history()
    prices = pd.DataFrame({"timestamp": market.timestamps, "symbol": "A", "close": market.close[:, 0]})
    source = f"market={{source: csv, path: {tmp_path}/prices.csv}}"
    for name, bars in (("old", 200), ("new", 250)):
        prices.iloc[:bars].to_csv(tmp_path / "prices.csv", index=False)
        run_one(small_plan(tmp_path, UNTRACKED, source, "costs.fill=next_close", f"name={name}"))
    found = compare("old", "new", tmp_path / "runs")
    assert set(found.inputs) == {"data_digest"}
    assert "old's data is not what it was" in verdict(found)
    assert "the market data changed since this study began" in found.warnings[0]
    assert "a history that is no longer there and A from 2020" in found.warnings[1]


def test_a_metric_that_one_strategy_does_not_produce_leaves_no_score(tmp_path: Path, undrawn: None) -> None:
    calls = option_plans(tmp_path, "targets={hedging_error: {at_most: 0.1, reservation: 0.2}}")[0]
    trend = small_plan(tmp_path, UNTRACKED)
    run_one(calls)
    run_one(trend)
    found = compare(str(calls.folder), str(trend.folder), tmp_path / "runs")
    assert found.sides[1].score_by(calls.targets) is None
    assert any("tsmom_hedge does not produce hedging_error" in warning for warning in found.warnings)
    text = shown(found, 100)
    assert "option_hedge" in text
    assert "strategy.fixed" not in text  # two strategies: nothing of them is alike
    content = json.loads(as_json(found))
    assert content["scores"]["by the targets of calls-NEAR"][1] is None


@pytest.mark.parametrize("width", [80, 100])
def test_one_table_holds_the_comparison(kept: dict[str, Plan], width: int) -> None:
    text = shown(of(kept, "one", "strict"), width)
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.split())
    for part in (
        "one and strict",
        "targets.max_drawdown.at_most 0.1 0.05",
        "hedge_strength",
        "score by one's targets",
        "score by strict's targets",
        f"configurations tried {TRIALS} 8",
        "deflated Sharpe ratio",
        "Their Sharpe ratios do not differ",
        "warning: Their targets differ",
    ):
        assert part in words, part


def test_the_comparison_as_json_has_no_number_that_json_has_not(kept: dict[str, Plan]) -> None:
    def refuse(constant: str) -> Any:
        raise AssertionError(constant)

    runs = kept["one"].folder.parent
    said = CliRunner().invoke(app, ["compare", "one", "twin", "--runs", str(runs), "--json"])
    assert said.exit_code == 0, said.output
    content = json.loads(said.output, parse_constant=refuse)
    assert [study["study"] for study in content["studies"]] == ["one", "twin"]
    assert content["sharpe"]["p_value"] is None
    assert content["studies"][0]["configurations_tried"] == TRIALS


def test_an_unfinished_study_and_one_study_twice_are_refused(kept: dict[str, Plan]) -> None:
    with pytest.raises(InputError, match=r"(?s)compare needs a finished study, and 5 of 12 trials have results; go on"):
        of(kept, "one", "stopped")
    with pytest.raises(InputError, match="one and one are one study"):
        of(kept, "one", "one")
    with pytest.raises(InputError, match="no study on has begun"):
        of(kept, "one", "on")
