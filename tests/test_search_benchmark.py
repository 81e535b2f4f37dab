"""The benchmark of searches counts configurations and launches as a study makes them, and says where a goal was not reached."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import search
from kernels import STRATEGIES
from kernels.backends.numpy import NumpyBackend
from kernels.engine import Engine
from search.space import Space

SPACE = Space.of(STRATEGIES["option_hedge"], search={name: search.RANGES[name] for name in ("band", "exposure")})


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Six paths, and studies of 48 configurations in launches of eight trials."""
    monkeypatch.setattr(search, "BUDGET", 48)
    monkeypatch.setattr(search, "BATCH", 8)
    market = search.option_market(6, "train")
    return Engine(market, SPACE.strategy, search.COSTS, NumpyBackend(), frozenset(SPACE.none_everywhere))


@pytest.mark.parametrize(("sampler", "size"), [("sobol", 1), ("cmaes", 4)])
def test_the_way_to_a_goal_is_counted_in_whole_launches(engine: Engine, sampler: str, size: int) -> None:
    found = search.run_study(sampler, SPACE, 0, size, np.inf, engine, engine)
    assert (found.configurations, found.launches) == (np.inf, np.inf)
    assert 0.0 < found.elsewhere <= found.best < 1.0
    there = search.run_study(sampler, SPACE, 0, size, found.best, engine, engine)
    assert there.best == found.best
    assert there.configurations == min(48, there.launches * 8 * size)


def test_a_goal_not_reached_by_most_has_no_median() -> None:
    never, soon = search.Found(0.7, np.inf, np.inf, 0.6), search.Found(0.8, 32.0, 2.0, 0.5)
    assert search.summary([never, soon, never]) == (
        "0.7000 (0.7000, 0.8000)",
        "not reached",
        "not reached",
        "1 of 3",
        "0.6000",
    )
    assert search.summary([soon, soon, never])[1:4] == ("32", "2", "2 of 3")
