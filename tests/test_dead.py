"""Parameters that move nothing are found, those that move something are not."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml
from planted import HEDGE
from studies import LEARNING, run_one, small_plan, without_figures

from cluster.config import load_study
from kernels import STRATEGIES, Costs, Market, backtest
from search.dead import Dead, dead_by_probing, dead_of_grid
from search.points import scored
from search.space import Space
from search.targets import Targets

CRYPTO_GRID = Path(__file__).resolve().parent.parent / "configs" / "studies" / "tsmom_crypto8_grid.yaml"
TARGETS = Targets.of({"sharpe": {"at_least": 1.0}, "cagr": {"at_least": 0.3}}, metrics=["sharpe", "cagr"])
SEARCH = {
    "x": [0.1, 0.2, 0.3, 0.4],
    "y": {"low": 0, "high": 1, "step": 0.5},
    "mode": ["flat", "hedge"],
    "stop": [None, 0.1, 0.2],
}
SPACE = Space.of(HEDGE, search=SEARCH)


def measure(configurations: pd.DataFrame) -> pd.DataFrame:
    """`mode` moves nothing; `x` nothing from 0.2 to 0.3, and only where `y` is above 0; a stop off or at 0.2 is one."""
    x = configurations["x"].replace(0.3, 0.2)
    y, stop = configurations["y"], configurations["stop"].fillna(0.2)
    return pd.DataFrame({"sharpe": x * y + stop, "cagr": y - stop, "status": "ok"})


def told(found: list[Dead]) -> list[tuple[str, tuple[object, ...], bool]]:
    return [(each.parameter, each.tried, each.everywhere) for each in found]


EXPECTED = [("x", (0.2, 0.3), False), ("mode", ("flat", "hedge"), True), ("stop", (None, 0.2), False)]


def test_a_grid_shows_what_moves_nothing_at_any_setting() -> None:
    grid = SPACE.grid()
    table = scored(SPACE, TARGETS, grid, measure(grid))
    pieces = [table.iloc[:7], table.iloc[7:]]
    found = dead_of_grid(SPACE, TARGETS, pieces)
    assert told(found) == EXPECTED
    assert [each.settings for each in found] == [18, 36, 24]
    assert [each.moved for each in found] == [None, None, None]


def test_probing_finds_the_same() -> None:
    found = dead_by_probing(SPACE, TARGETS, SPACE.random(9, seed=1), measure)
    assert told(found) == EXPECTED
    assert {each.settings for each in found} == {9}
    assert found[1].sentence == (
        "mode: no effect on any metric anywhere that was looked at (2 values at 9 settings of the other parameters)"
    )


def test_a_range_is_probed_from_end_to_end() -> None:
    seen = []

    def kept(configurations: pd.DataFrame) -> pd.DataFrame:
        seen.append(configurations)
        return pd.DataFrame({"sharpe": configurations["y"], "cagr": 0.1, "status": "ok"})

    space = Space.of(HEDGE, search={"x": {"low": 0, "high": 1}, "y": {"low": 0, "high": 1}})
    (dead,) = dead_by_probing(space, TARGETS, space.random(3, seed=1), kept)
    assert (dead.parameter, dead.everywhere, len(dead.tried)) == ("x", True, 16)
    assert dead.tried[0] == 0.0
    assert dead.tried[-1] == pytest.approx(1.0)
    assert len(seen) == 1
    assert len(seen[0]) == 2 * 3 * 16


def test_what_hardly_moves_a_margin_is_told_with_how_much() -> None:
    def hardly(configurations: pd.DataFrame) -> pd.DataFrame:
        step = configurations["x"].map({0.1: 0.0, 0.2: 0.002, 0.3: 0.004, 0.4: 1.0})
        return pd.DataFrame({"sharpe": step, "cagr": configurations["y"], "status": "ok"})

    space = Space.of(HEDGE, search={"x": SEARCH["x"], "y": SEARCH["y"]})
    (dead,) = dead_by_probing(space, TARGETS, space.random(4, seed=1), hardly)
    assert (dead.tried, dead.everywhere) == ((0.1, 0.2, 0.3), False)
    assert dead.moved == pytest.approx(0.004)
    assert "x: hardly any effect between 0.1 and 0.3, no margin moves by more than 0.004" in dead.sentence


def test_what_could_not_be_computed_shows_nothing() -> None:
    grid = SPACE.grid()
    metrics = measure(grid)
    metrics.loc[grid["mode"] == "hedge", "status"] = "quarantined"
    found = dead_of_grid(SPACE, TARGETS, [scored(SPACE, TARGETS, grid, metrics)])
    assert [each.parameter for each in found] == ["x", "stop"]


def test_the_published_threshold_hardly_moves_anything_between_5_and_7_percent(crypto8: Market) -> None:
    config = load_study(CRYPTO_GRID)
    rule = STRATEGIES[config.strategy.name]
    space = Space.of(rule, fixed=config.strategy.fixed, search=config.strategy.search)
    targets = Targets.of(config.targets, metrics=rule.metrics)
    measured = backtest(crypto8, rule, space.grid(), costs=Costs(**config.costs.model_dump())).metrics
    (dead,) = dead_of_grid(space, targets, [scored(space, targets, space.grid(), measured)])
    assert dead.parameter == "hedge_threshold"
    assert dead.tried == (-0.05, -0.07)
    assert dead.moved is not None
    assert 0.0 < dead.moved < 0.002  # of the gap between a target and its reservation


def test_a_study_that_learns_is_probed_and_says_what_is_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_figures(monkeypatch)
    dead = ("strategy.fixed.short_mode=disabled", "strategy.compare={}", "tracking.enabled=false")
    plan = small_plan(tmp_path, *LEARNING, *dead)  # who never goes short has no use for a threshold
    outcome = run_one(plan)
    assert [(each.parameter, each.everywhere) for each in outcome.found.dead] == [
        ("hedge_threshold", True),
        ("hedge_strength", True),
    ]
    sentence = (
        "hedge_threshold: no effect on any metric anywhere that was looked at (16 values at 9 settings of the other "
        "parameters)"
    )
    assert f"{sentence}." in outcome.found.advice
    assert sentence in yaml.safe_load((outcome.folder / "best.yaml").read_text())["dead_parameters"]
