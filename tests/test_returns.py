"""The returns of every bar, of many configurations at once: what `bars` gives for each, and nothing else worked out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from histories import AnyMarket, history, option_history, options_on
from rules import BUDGET, TANGLE
from rules import CATALOGUE as SHIPPED
from running import NUMPY, launch, plan, some_values

from kernels import STRATEGIES, Costs, Strategy
from kernels.blocks import Blocks
from kernels.engine import Engine, switched_off
from kernels.launch import Backend, layout
from kernels.option_market import OptionMarket

OPTIONS = STRATEGIES["option_hedge"]
CATALOGUE = [*SHIPPED, BUDGET, TANGLE]


def one_history(strategy: Strategy, assets: int = 3) -> AnyMarket:
    if strategy.market is not OptionMarket:
        return history(150, assets)
    two = option_history(150, assets)
    return options_on(two.tickers, two.timestamps, two.spot[:1], two.volatility[:1], two.contract)


def drawn(strategy: Strategy, count: int, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({p.name: some_values(p, rng, count) for p in strategy.parameters}, dtype=object)


def engine(market: AnyMarket, strategy: Strategy, rows: pd.DataFrame, backend: Backend) -> Engine:
    return Engine(market, strategy, Costs(), backend, switched_off(strategy, rows))


@pytest.mark.parametrize(
    ("strategy", "assets"), [(STRATEGIES["tsmom_hedge"], 1), *((strategy, 3) for strategy in CATALOGUE)]
)
def test_every_backend_gives_those_of_numpy(strategy: Strategy, assets: int, backend: Backend) -> None:
    market, rows = one_history(strategy, assets), drawn(strategy, 70)
    found = engine(market, strategy, rows, backend).returns(rows)
    meaning = engine(market, strategy, rows, NUMPY).returns(rows)
    if strategy is OPTIONS:  # exp and log are an ulp apart between libraries
        np.testing.assert_allclose(found, meaning, rtol=1e-12, atol=1e-12)
    else:
        assert np.array_equal(found, meaning, equal_nan=True)


@pytest.mark.parametrize("strategy", CATALOGUE, ids=lambda s: s.name)
def test_they_are_those_of_every_configuration_alone(strategy: Strategy) -> None:
    market, rows = one_history(strategy), drawn(strategy, 5)
    one = engine(market, strategy, rows, NUMPY)
    found = one.returns(rows)
    assert found.shape == (market.n_bars - 1, len(rows))
    for chosen in range(len(rows)):
        alone = one.bars(rows.iloc[[chosen]]).of("r1")[:, 0]
        assert np.array_equal(found[:, chosen], alone, equal_nan=True)


def test_they_add_up_to_the_sums_of_their_blocks(backend: Backend) -> None:
    strategy, rows = STRATEGIES["tsmom_hedge"], drawn(STRATEGIES["tsmom_hedge"], 20)
    market = history(150)
    one = engine(market, strategy, rows, backend)
    by_month = np.add.reduceat(one.returns(rows), one.blocks.edges[:-1] - 1, axis=0)
    monthly = engine(market, strategy, rows, NUMPY).run(rows).statistics.of("r1")
    # sums of at most 31 returns in another order: 31 roundings of 2**-53 of amounts below 1
    np.testing.assert_allclose(by_month, monthly, rtol=0.0, atol=31 * 2.0**-53)


def test_mixed_precision_keeps_them_near(backend: Backend) -> None:
    strategy, rows = STRATEGIES["tsmom_hedge"], drawn(STRATEGIES["tsmom_hedge"], 40)
    market = history(150)
    mixed = engine(market, strategy, rows, replace(backend, precision="mixed")).returns(rows)  # type: ignore[type-var]
    exact = engine(market, strategy, rows, backend).returns(rows)
    # a bar is off by some roundings of 2**-24, but where a stop on a tie fell the other way
    assert (np.abs(mixed - exact) < 1e-4).mean() > 0.9
    assert not np.array_equal(mixed, exact)


@pytest.mark.parametrize("strategy", CATALOGUE, ids=lambda s: s.name)
def test_nothing_else_is_worked_out(strategy: Strategy) -> None:
    market, rows = one_history(strategy), drawn(strategy, 3)
    full, whole = plan(market, strategy, rows), launch(market, strategy, rows)
    only = replace(whole, program=replace(whole.program, kept="returns"))
    schedule = layout(only)[0]
    assert only.program.sums == ("r1",)
    assert [name for name in schedule.state if name.startswith("sums.")] == ["sums.r1"]
    assert "account.opened_at" not in schedule.state  # only trades that won ask for it
    assert schedule.operations < full.operations
    blocks = Blocks.bars_of(market)
    assert NUMPY.run(only, blocks).shape == (1, market.n_bars - 1, 3)


def test_launches_are_cut_by_the_bytes_of_the_returns_alone() -> None:
    strategy, rows = STRATEGIES["tsmom_hedge"], drawn(STRATEGIES["tsmom_hedge"], 10)
    market = history(150)
    small = type("Small", (), {"name": "numpy", "lanes": 1, "output_bytes": 3 * 8 * 149, "run": NUMPY.run})()
    sizes = [len(part) for part, _ in engine(market, strategy, rows, small).returns_by_launch(rows)]
    assert sizes == [3, 3, 3, 1]


def test_of_many_histories_there_are_none() -> None:
    with pytest.raises(ValueError, match="a market of one history is needed, this one has 2"):
        engine(option_history(150), OPTIONS, drawn(OPTIONS, 1), NUMPY).returns(drawn(OPTIONS, 1))
