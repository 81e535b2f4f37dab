"""A portfolio of books is what its members' bars make it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from histories import history
from option_runs import CHARGED, FAST, STRATEGY, market

from kernels import STRATEGIES, Costs, InputError, Strategy
from kernels.backends import choose
from kernels.blocks import SUMS, Blocks, BlockStatistics
from kernels.engine import Engine, switched_off
from kernels.market import Market
from kernels.metrics import aggregate
from kernels.option_market import OptionMarket
from kernels.portfolio import combine

TSMOM = STRATEGIES["tsmom_hedge"]


def bars(
    on: Market | OptionMarket, strategy: Strategy = STRATEGY, costs: Costs = CHARGED, **row: object
) -> tuple[BlockStatistics, BlockStatistics]:
    """A configuration bar by bar, and by calendar month."""
    defaults = {p.name: p.default for p in strategy.parameters}
    table = pd.DataFrame([defaults | row], dtype=object)
    engine = Engine(on, strategy, costs, choose(FAST).backend, switched_off(strategy, table))
    return engine.bars(table), engine.run(table).statistics


@pytest.mark.parametrize("strategy", [STRATEGY, TSMOM], ids=lambda s: s.name)
def test_a_portfolio_of_one_is_that_one_to_the_bit(strategy: Strategy) -> None:
    on = market(4, 61) if strategy is STRATEGY else history()
    by_bar, by_month = bars(on, strategy)
    ours = combine([by_bar], Blocks.monthly(on))
    np.testing.assert_array_equal(ours.values, by_month.values[: len(SUMS)])  # noqa: PD011 - an array


def test_two_equal_books_are_one_with_twice_the_orders() -> None:
    history = market(3, 61)
    by_bar, by_month = bars(history, band=0.05)
    ours = combine([by_bar, by_bar], Blocks.monthly(history)).compose()
    alone = by_month.compose()
    for name in SUMS:
        np.testing.assert_array_equal(ours[name], alone[name] * (2 if name in ("orders", "trades", "wins") else 1))


def test_books_that_know_nothing_of_each_other_fall_less_together() -> None:
    first, second, third = (market(200, 61, seed=seed) for seed in (1, 2, 3))
    members = [bars(on, hedge_ratio=0.5) for on in (first, second, third)]
    blocks = Blocks.monthly(first)
    together = aggregate(combine([m for m, _ in members], blocks), first.bars_per_year, 200).iloc[0]
    alone = pd.concat([aggregate(m, first.bars_per_year, 200) for _, m in members])
    assert together["max_drawdown"] < 0.75 * alone["max_drawdown"].mean()
    # three independent books: a third of the variance; 200 paths of 60 bars know it to 2 %
    assert together["volatility"] == pytest.approx(alone["volatility"].mean() / np.sqrt(3.0), rel=0.1)
    assert together["exposure"] == pytest.approx(alone["exposure"].mean(), rel=0.02)


def test_members_of_other_bars_or_scenarios_are_refused() -> None:
    one, longer, more = (bars(m)[0] for m in (market(2, 61), market(2, 91), market(3, 61)))
    for other in (longer, more):
        with pytest.raises(InputError, match="must have the same bars and scenarios, got 60 bars x 2 from"):
            combine([one, other], Blocks.monthly(market(2, 61)))
