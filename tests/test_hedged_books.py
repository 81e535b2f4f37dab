"""What the hedge does to a book: when it goes on and off, what each method earns and costs, and the worked example."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from protected_books import BOOK, FREE, armed, from_returns, moving_together, returns, walked

from kernels import Costs
from kernels.book_hedge import MEASURES, METHODS
from kernels.long_book import LongBook

HEDGES = METHODS[1:]

TWINS = np.repeat(0.02 * np.random.default_rng(8).standard_normal((129, 1)), 2, axis=1)


@pytest.mark.parametrize("measure", MEASURES)
def test_two_twins_hedged_wholly_do_not_vary(measure: str) -> None:
    """rho 1, beta 1, `inverse` at strength 1, no costs: as much is short as long."""
    row = BOOK | {"hedge": "inverse", "hedge_strength": 1.0, "hedge_exposure": 0.1, "exposure_measure": measure}
    market = from_returns(TWINS, LongBook(weights=(0.3, 0.6)))
    steps = walked(market, [row, row | {"hedge": "off"}], FREE)
    found = returns(market, [row, row | {"hedge": "off"}], FREE)
    on = armed(steps)[:-1, 0] > 0.0  # at the close before the return
    assert on.sum() > 100
    # beta is a quotient of two equal sums, so 1; units of 1e2 are rounded to 2**-53 of themselves: a few 1e-16 of equity
    assert abs(found[on, 0]).max() < 1e-15
    assert found[on, 1].std() > 0.01


def test_the_worked_example() -> None:
    """8 longs of 1.5 %, mean correlation 0.92, a fall of 20 %: 2.4 % of equity, 1.68 % with 30 % hedged by a short of beta 1.

    12 % of equity times 0.92 is 11 %: below a trigger of 15 %, so that one never hedges.
    """
    moves = np.concatenate([moving_together(8, 0.92, T=124), np.full((1, 9), np.log(0.8))])
    market = from_returns(moves, LongBook(weights=(0.0, *[0.015] * 8), hedge_asset="X0"))
    row = BOOK | {"correlation_window": 20, "beta_window": 20, "exposure_measure": "mean", "hedge_strength": 0.3}
    row |= {"hedge": "inverse", "hedge_exposure": 0.1}
    rows = [row | {"hedge": "off"}, row, row | {"hedge_exposure": 0.15}, row | {"exposure_measure": "effective"}]
    steps = walked(market, rows, FREE)
    before = steps[-2].rule
    assert before.exposure[:3] == pytest.approx([0.12 * 0.92] * 3, rel=1e-9)
    assert before.exposure[3] == pytest.approx(0.015 * np.sqrt(8 + 56 * 0.92), rel=1e-9)
    assert before.armed.tolist() == [0.0, 1.0, 0.0, 1.0]
    lost = returns(market, rows, FREE)[-1]
    assert lost == pytest.approx([-0.024, -0.0168, -0.024, -0.0168], rel=1e-9)
    assert armed(steps)[:, 2].max() == 0.0


@pytest.mark.parametrize("hedge", HEDGES)
def test_a_hedge_arms_above_its_trigger_and_disarms_below_the_lower_one(hedge: str) -> None:
    """A market that moves as one, then apart: on between the bar where e passes the trigger and that where it is below
    (1 - hysteresis) of it."""
    apart = 0.01 * np.random.default_rng(0).standard_normal((80, 4))
    market = from_returns(np.concatenate([apart, moving_together(3, 0.95, 60), apart]), LongBook((0.0, 0.2, 0.2, 0.2)))
    row = BOOK | {"hedge": hedge, "hedge_exposure": 0.45, "hedge_hysteresis": 0.2, "correlation_window": 20}
    steps = walked(market, [row], FREE)
    on, e = armed(steps)[:, 0] > 0.0, np.array([step.rule.exposure[0] for step in steps])
    before = np.concatenate([[False], on[:-1]])
    assert np.array_equal(on, e > np.where(before, 0.45 * 0.8, 0.45))
    assert (e[on] < 0.45).any()
    assert np.abs(np.diff(on.astype(int))).sum() >= 2
    waits = walked(market, [row | {"rebalance_bars": None}], FREE)
    ordered = np.flatnonzero([step.rule.waited[0] == 0.0 for step in waits])
    turned = np.flatnonzero(on != before)
    assert set(turned) <= set(ordered)  # a hedge does not wait for the calendar


def test_the_hedge_asset_has_no_stop_while_it_is_shorted() -> None:
    """A fall of 5 % on the last bar stops every long; the hedge asset's short and what is left of its long stay."""
    moves = np.concatenate([moving_together(3, 0.95, size=1e-4), np.full((1, 4), np.log(0.95))])
    market = from_returns(moves, LongBook((0.2, 0.2, 0.2, 0.2)))
    row = BOOK | {"trailing_exit": "on", "max_hold_bars": 2000, "hedge": "inverse", "hedge_exposure": 0.3}
    row |= {"rebalance_bars": None, "hedge_strength": 0.1}
    steps = walked(market, [row, row | {"hedge": "off"}], FREE)
    assert steps[-2].rule.armed.tolist() == [1.0, 0.0]
    assert steps[-1].sums.parts.stops.tolist() == [3.0, 4.0]


def test_cash_that_the_hedge_moves_earns_the_cash_rate() -> None:
    market = from_returns(moving_together(3, 0.95), LongBook((0.0, 0.2, 0.2, 0.2)))
    row = BOOK | {"hedge": "cash", "hedge_strength": 0.5, "hedge_exposure": 0.2}
    for rate in (0.04, -0.02):
        steps = walked(market, [row, row | {"hedge": "reduce"}], replace(FREE, cash_rate=rate))
        income = np.diff([step.sums.parts.income for step in steps[1:]], axis=0)
        on = armed(steps)[1:-1] > 0.0
        assert on[:, 0].sum() > 100
        assert income[on[:, 0], 0] == pytest.approx(np.full(on[:, 0].sum(), 0.5 * 0.6 * rate / 365.0), rel=1e-12)
        assert not income[~on[:, 0], 0].any()
        assert not income[:, 1].any()


def put_incomes(last: float, costs: Costs) -> tuple[np.ndarray, list[Any]]:
    """Income of each bar as a fraction of equity of a still market of volatility 30 %, its last bar a move of `last`."""
    moves = np.concatenate([moving_together(3, 0.95, size=1e-7), np.full((1, 4), last)])
    book = LongBook((0.0, 0.2, 0.2, 0.2), implied=np.full(131, 0.3))
    row = BOOK | {"hedge": "put", "hedge_strength": 0.5, "hedge_exposure": 0.2, "put_tenor": 10, "put_moneyness": 0.95}
    row |= {"correlation_window": 20, "beta_window": 20}  # all that repeats, so that betas are 1 throughout
    steps = walked(from_returns(moves, book), [row], costs)
    return np.diff([step.sums.parts.income[0] for step in steps[1:]], prepend=0.0), steps


def test_puts_decay_while_nothing_happens_and_pay_in_a_fall() -> None:
    """0.3 of equity is covered by puts struck 5 % below: a fall of 30 % pays 25 % of that, less what the premium was."""
    quiet, steps = put_incomes(0.0, FREE)
    on = armed(steps)[1:-1, 0] > 0.0
    assert on.sum() > 100
    assert (quiet[1:][on[: len(quiet) - 1]] < 0.0).all()
    tenors = quiet[59:129].reshape(7, 10).sum(axis=1)  # bars 61 to 130, rolled on bars 60, 70, ...
    assert tenors == pytest.approx(np.full(7, tenors[0]), rel=1e-3)  # the same premium each time
    fallen, _ = put_incomes(np.log(0.7), FREE)
    assert np.array_equal(fallen[:-1], quiet[:-1])
    assert fallen[-1] == pytest.approx(0.3 * 0.25 + tenors[-1] - quiet[120:-1].sum(), rel=2e-3)
    assert put_incomes(np.log(1.3), FREE)[0][-1] < 0.0


def test_puts_pay_their_spread_when_they_are_bought_and_rolled() -> None:
    free, spread = (put_incomes(0.0, replace(FREE, option_spread=x))[0] for x in (0.0, 0.1))
    premium = -free[69:79].sum()
    dear = np.flatnonzero(free - spread > 0.05 * premium) + 1
    assert set(range(20, 130, 10)) <= set(dear)
    assert len(dear) <= 13  # when it began, and at each roll
    assert (free - spread)[69] == pytest.approx(0.1 * premium, rel=1e-3)


def test_a_roll_renews_how_many_puts_there_are() -> None:
    """Between rolls nothing is rebalanced here: the units that puts cover stay, whatever the price does."""
    moves = moving_together(3, 0.95, size=0.004)
    moves[60:] += 0.002  # the price rises, and a share of equity is fewer units
    market = from_returns(moves, LongBook((0.0, 0.2, 0.2, 0.2), implied=np.full(130, 0.3)))
    row = BOOK | {"hedge": "put", "hedge_exposure": 0.2, "put_tenor": 10, "rebalance_bars": None}
    puts = np.array([step.rule.puts[0] for step in walked(market, [row], FREE)])
    changed = np.flatnonzero(puts[1:] != puts[:-1]) + 1
    assert {70, 80, 90, 100, 110, 120} <= set(changed)
    assert all(t % 10 == 0 for t in changed if t > 60)
    assert puts[129] < puts[69]
