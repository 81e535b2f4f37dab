"""How likely a configuration is to meet every target: composed as the kernel does, drawn as arrays are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from histories import market_for

from kernels import STRATEGIES
from kernels.account import Costs
from kernels.backends import choose
from kernels.blocks import SUMS, Blocks, BlockStatistics, sums_of
from kernels.engine import Engine, switched_off
from kernels.metrics import catalogue_of, metrics
from search.bootstrap import resample
from search.joint import ahead, joint, monthly
from search.targets import Targets


def one(name: str, bars: int = 400) -> tuple[Engine, pd.DataFrame]:
    """A strategy at its defaults on a market of its kind, by the meaning."""
    strategy = STRATEGIES[name]
    row = pd.DataFrame([{p.name: p.default for p in strategy.parameters}])
    market = market_for(strategy, bars)
    return Engine(market, strategy, Costs(), choose("numpy").backend, switched_off(strategy, row)), row


@pytest.fixture(scope="module")
def trend() -> tuple[Engine, BlockStatistics]:
    engine, row = one("tsmom_hedge")
    return engine, engine.bars(row)


def wanted(**at_least: float) -> Targets:
    return Targets.of(
        {metric: {"at_least": value, "reservation": value - 1.0} for metric, value in at_least.items()},
        metrics=list(at_least),
    )


@pytest.mark.parametrize("name", ["tsmom_hedge", "option_hedge"])
def test_bars_composed_to_months_are_the_kernels_own_months(name: str) -> None:
    engine, row = one(name)
    months, bars = engine.run(row).statistics, engine.bars(row)
    assert np.array_equal(monthly(bars).values, months.values)
    if bars.values.shape[2] == 1:  # noqa: PD011 - an array
        again = monthly(bars, np.tile(np.arange(len(bars.blocks)), (3, 1)))
        assert np.array_equal(again.values, np.repeat(months.values, 3, axis=2))
        assert np.array_equal(again.blocks.edges, months.blocks.edges)


def test_a_replicate_is_measured_as_the_kernel_measures(trend: tuple[Engine, BlockStatistics]) -> None:
    engine, bars = trend
    drawn = resample(len(bars.blocks), 6.0, 4, seed=1)
    found = metrics(monthly(bars, drawn), engine.market.bars_per_year)
    for r, order in enumerate(drawn):
        history = BlockStatistics(bars.blocks, bars.values[:, order], bars.account)  # noqa: PD011 - an array
        months = monthly(history)
        edges = months.blocks.edges - months.blocks.edges[0]
        for month in range(len(months.blocks)):
            composed = history.compose(np.arange(edges[month], edges[month + 1]))
            assert [composed[n][0] for n in sums_of(bars.account)] == months.values[:, month, 0].tolist()  # noqa: PD011 - an array
        alone = metrics(months, engine.market.bars_per_year)
        pd.testing.assert_frame_equal(found.iloc[[r]].reset_index(drop=True), alone, check_exact=True)


def test_the_joint_probability_is_the_share_of_replicates_that_meet_all(trend: tuple[Engine, BlockStatistics]) -> None:
    engine, bars = trend
    year = engine.market.bars_per_year
    sharpe, consistency = (float(metrics(monthly(bars), year)[name].iloc[0]) for name in ("sharpe", "consistency"))
    both = joint(bars, wanted(sharpe=sharpe, consistency=consistency), year, replicates=800, seed=3)
    alone = [
        joint(bars, wanted(**{name: value}), year, replicates=800, seed=3).probability
        for name, value in (("sharpe", sharpe), ("consistency", consistency))
    ]
    assert both.each["probability"].tolist() == alone
    assert 0.0 < both.probability <= min(alone)
    # replicates lie round the history they are made of: half of them do as well, give or take
    assert alone[0] == pytest.approx(0.5, abs=0.1)
    assert (both.each["low"] < both.each["middle"]).all()
    assert (both.each["middle"] < both.each["high"]).all()
    assert (both.histories, both.block_bars is not None) == (800, True)


def test_the_same_seed_draws_the_same_replicates(trend: tuple[Engine, BlockStatistics]) -> None:
    engine, bars = trend
    one, again, other = (
        joint(bars, wanted(sharpe=0.0), engine.market.bars_per_year, replicates=300, seed=seed) for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(one.each, again.each, check_exact=True)
    assert one.each["low"].iloc[0] != other.each["low"].iloc[0]


def test_the_spread_of_replicates_is_the_closed_form() -> None:
    """Of independent normal returns a Sharpe ratio is good to sqrt(1 / years) a year (Lo 2002)."""
    returns = np.random.default_rng(2).normal(0.001, 0.01, 2000)
    found = joint(history_of(returns), wanted(sharpe=0.0), 250.0, replicates=2000, seed=0)
    low, high = found.each.loc["sharpe", "low"], found.each.loc["sharpe", "high"]
    # 90 % lie within 1.645 of them to either side; quantiles of 2000 are good to about 4 %, blocks of few bars to as much
    assert high - low == pytest.approx(2 * 1.645 * np.sqrt(250 / 2000), rel=0.1)


def history_of(returns: np.ndarray) -> BlockStatistics:
    """Statistics of bars that made these returns, whatever was held."""
    stamps = np.datetime64("2020-01-01", "us") + np.arange(len(returns) + 1) * np.timedelta64(1, "D")
    loss, growth = np.minimum(returns, 0.0), 1.0 + returns
    own = {f"r{k}": returns**k for k in (1, 2, 3, 4)} | {
        "losses": 1.0 * (returns < 0),
        "loss1": loss,
        "loss2": loss**2,
        "growth": growth,
        "peak": growth,
        "trough": growth,
    }
    values = np.stack([own.get(name, np.zeros(len(returns))) for name in SUMS])[:, :, None]
    return BlockStatistics(Blocks(np.arange(1, len(returns) + 2), stamps), values)


def test_what_is_better_on_every_bar_is_better_in_every_history_and_equals_are_as_good() -> None:
    returns = np.random.default_rng(8).normal(0.0005, 0.01, 600)
    plain, better = history_of(returns), history_of(returns + 0.001)
    both = {"bars_per_year": 252.0, "replicates": 50, "seed": 3}
    metrics_of = wanted(sharpe=1.0, cagr=0.1)
    assert ahead(better, plain, metrics_of, **both) == {"sharpe": 1.0, "cagr": 1.0}
    assert ahead(plain, better, metrics_of, **both) == {"sharpe": 0.0, "cagr": 0.0}
    assert ahead(plain, plain, metrics_of, **both) == {"sharpe": 0.5, "cagr": 0.5}


def test_ruin_meets_no_target_and_counts_among_the_worst() -> None:
    returns = np.random.default_rng(2).normal(0.002, 0.01, 300)
    returns[100] = -1.5
    found = joint(history_of(returns), wanted(sharpe=-100.0), 250.0, replicates=500, seed=0)
    # a replicate of 300 bars does without one of them with probability 1 / e
    assert found.probability == pytest.approx(np.exp(-1.0), abs=0.08)
    assert found.each.loc["sharpe", "low"] == -np.inf


def test_simulated_paths_are_counted_not_drawn() -> None:
    engine, row = one("option_hedge")
    bars = engine.bars(row)
    each = metrics(engine.run(row).statistics, engine.market.bars_per_year)
    between = float(each["total_return"].mean())
    found = joint(bars, wanted(total_return=between), engine.market.bars_per_year, replicates=10, seed=0)
    assert (found.probability, found.histories, found.block_bars) == (0.5, 2, None)
    assert found.each.loc["total_return", ["low", "high"]].tolist() == sorted(each["total_return"])
    assert set(each.columns) == {*catalogue_of(bars), "status"}
