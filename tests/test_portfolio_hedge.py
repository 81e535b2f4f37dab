"""portfolio_hedge keeps what it promises: nothing of it off the base book, nothing of the future, and its worked example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from histories import history, part
from plain_long_book import plain_returns
from protected_books import (
    BOOK,
    FREE,
    NEVER,
    OFF,
    PROTECTED,
    SHORT,
    drawn,
    from_returns,
    moving_together,
    returns,
    walked,
    weights,
)
from running import NUMPY, agree, launch, run

from kernels import Costs
from kernels.account import FILLS
from kernels.book_hedge import MEASURES, METHODS
from kernels.book_planes import agreement, asset_labels, market_labels, mean_rho
from kernels.indicators import realised_volatility
from kernels.launch import Backend
from kernels.long_book import LongBook
from kernels.regime import REGIMES
from kernels.state import leaves

BASE = (0.5, 0.4, -0.1)
T = 170
MARKET = replace(history(T, seed=2), book=LongBook(weights=BASE, hedge_asset="X1"))
REAL = Costs(4.0, 5.0, "next_open", option_spread=0.02, cash_rate=0.03)
HEDGES = METHODS[1:]
ROWS = drawn(24, seed=1)


def armed(steps: Sequence[Any]) -> np.ndarray:
    return np.stack([step.rule.armed for step in steps])


# ---- off is off


@pytest.mark.parametrize("fill", ["next_open", "close"])
@pytest.mark.parametrize("held", [(0.5, 0.3, 0.2), BASE])
def test_with_all_five_off_it_is_the_base_book(fill: Any, held: tuple[float, ...]) -> None:
    """Against an account in plain Python, costs, cash limit, drift and smallest trades included."""
    market, costs = replace(MARKET, book=LongBook(weights=held)), replace(REAL, fill=fill)
    row = OFF | SHORT | NEVER | {"rebalance_bars": 7, "rebalance_drift": 0.04, "min_trade": 0.005}
    plain = plain_returns(market, held, 7, 0.04, 0.005, costs)
    # T bars, each a dozen roundings of 2**-53 of its own: T * 12 * 2**-53 < 1e-12
    np.testing.assert_allclose(returns(market, [row], costs)[:, 0], plain, rtol=0.0, atol=1e-12)


def test_what_is_off_has_no_parameters() -> None:
    """All five off: whatever their numbers are, not a bit changes."""
    base = OFF | {
        "base": "given",
        "rebalance_bars": 4,
        "rebalance_drift": 0.1,
        "max_turnover": None,
        "min_trade": 0.001,
    }
    same = dict.fromkeys(("rebalance_volatility", "rebalance_correlation", "rebalance_drawdown"))
    found = returns(MARKET, [row | base | same for row in ROWS], REAL)
    assert (found == found[:, :1]).all()
    assert found.any()


@pytest.mark.parametrize("fill", FILLS)
def test_a_hedge_of_strength_zero_is_off_to_the_bit(fill: Any) -> None:
    """Also with trailing exits, rolls of puts, and few reasons to rebalance but the hedge's."""
    rows = [row | {"hedge_exposure": 0.02, "hedge_regimes": "any"} for row in ROWS[:8]]
    asked = [row | {"hedge": h, "hedge_strength": s} for s in (0.0, 0.5) for h in HEDGES for row in rows]
    found = returns(MARKET, [row | {"hedge": "off"} for row in rows] + asked, replace(REAL, fill=fill))
    off, none, some = found[:, :8], found[:, 8:40].reshape(-1, 4, 8), found[:, 40:].reshape(-1, 4, 8)
    assert (none == off[:, None]).all()
    assert ((some != off[:, None]).any(axis=0).sum(axis=1) >= 5).all()  # every method is armed, and does something


# ---- the future, the order of assets, the unit of prices


@cache
def whole(fill: Any) -> list[Any]:
    """What ROWS carry out of every bar of MARKET."""
    return walked(MARKET, ROWS, replace(REAL, fill=fill))


@pytest.mark.parametrize("fill", FILLS)
def test_labels_stops_and_hedges_do_not_look_ahead(fill: Any) -> None:
    """Cut off or replaced: what rules remember of bar t is the same to the bit, and positions but for the last fill."""
    cut, other = 116, history(T, seed=9)
    columns = {name: np.concatenate([c[:cut], 3.0 * getattr(other, name)[cut:]]) for name, c in MARKET.columns.items()}
    for past, known in ((MARKET.until(150), 150), (replace(MARKET, **columns), cut)):
        seen = walked(past, ROWS, replace(REAL, fill=fill))
        for t in range(known):
            now, then = leaves(whole(fill)[t].rule), leaves(seen[t].rule)
            if t + 1 < known or fill == "close":
                now, then = now | leaves(whole(fill)[t].account), then | leaves(seen[t].account)
            assert all(np.array_equal(now[name], then[name]) for name in now), t
    assert 0.1 < armed(whole(fill)).mean() < 0.9
    assert (whole(fill)[-1].sums.parts.stops > 0.0).sum() >= 10


def test_no_plane_looks_ahead() -> None:
    """Of a book with a volatility of its own, and of one without; an order of the last bar fills beyond the data."""
    implied = np.random.default_rng(2).uniform(0.1, 0.6, T)
    rows = pd.DataFrame(ROWS[:6], dtype=object)
    for market in (MARKET, replace(MARKET, book=LongBook(hedge_asset="X2", implied=implied))):
        known, there = (launch(m, PROTECTED, rows, REAL) for m in (market.until(116), market))
        for name, plane in known.shared.items():
            bars = 115 if name in ("fill", "fillable") else 116
            assert np.array_equal(plane[:, :bars], there.shared[name][:, :bars]), name
        for name, (bank, _) in known.banks.items():
            assert np.array_equal(bank, there.banks[name][0][:, :116]), name
        assert {"factors_2", "put_gain", "hedge_beta", "asset_regime"} <= set(known.banks)


@pytest.mark.parametrize("fill", FILLS)
def test_another_order_of_the_assets_is_the_same_book(fill: Any) -> None:
    order = [2, 0, 1]
    turned = replace(part(MARKET, assets=order), book=LongBook(tuple(BASE[a] for a in order), "X1"))
    for one, other in zip(whole(fill), walked(turned, ROWS, replace(REAL, fill=fill)), strict=True):
        # Cholesky's factors depend on the order, w' C w on their rounding alone, and so do sums over 3 assets: a dozen
        # roundings a bar, T bars of them, of accounts of up to 1e5: T * 12 * 2**-53 * 1e5 < 1e-7
        np.testing.assert_allclose(other.account.units, one.account.units[order], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(other.account.cash, one.account.cash, rtol=1e-9, atol=1e-7)


def test_the_unit_of_prices_changes_nothing() -> None:
    meaning = returns(MARKET, ROWS, REAL)
    for scale, tolerance in ((1024.0, 0.0), (0.37, 1e-12)):  # by a power of two not a bit; T * 12 * 2**-53 < 1e-12
        other = replace(part(MARKET, scale=scale), book=MARKET.book)
        np.testing.assert_allclose(returns(other, ROWS, REAL), meaning, rtol=0.0, atol=tolerance)


# ---- features in a book


def test_the_regime_multiplies_what_is_held() -> None:
    """Rebalanced at every close, what is held is the base weight times its regime's exposure."""
    rule = {"regime_window": 10, "regime_memory": 50, "vol_high": 0.8, "vol_low": 0.2, "trend_strength": 4.0}
    rule |= {"confirm_bars": 2, "min_bars": 3}
    exposures = (1.0, 0.4, 0.5, 0.9, 0.8)
    row = BOOK | rule | {"regime": "on"} | {f"exposure_{n}": x for n, x in zip(REGIMES, exposures, strict=True)}
    both = walked(MARKET, [row | {"regime_of": whose} for whose in ("market", "asset")], FREE)
    for c, plane in enumerate((market_labels, asset_labels)):
        labels = plane(MARKET, *(np.array([float(value)]) for value in rule.values()))[0].astype(int)
        assert len(set(labels.ravel())) >= 4
        np.testing.assert_allclose(weights(MARKET, both)[..., c], BASE * np.array(exposures)[labels], atol=1e-12)


def test_agreement_of_the_mirrored_market_is_the_mirror() -> None:
    """One over every price, shorts for longs: the same sizes."""
    names = {"open": "open", "high": "low", "low": "high", "close": "close"}
    columns = {name: 1.0 / getattr(MARKET, of) for name, of in names.items()}
    mirror = replace(MARKET, **columns, book=LongBook(tuple(-w for w in BASE)))
    row = BOOK | {"agreement": "on", "agreement_least": 0.2, "agreement_fair": 0.4, "agreement_strong": 0.6}
    row |= {"rebalance_bars": 1}
    there, here = (walked(market, [row], FREE) for market in (mirror, MARKET))
    sizes = np.stack([step.rule.agreed[:, 0] for step in here])
    assert np.array_equal(sizes, np.stack([step.rule.agreed[:, 0] for step in there]))
    assert {0.0, 0.7, 1.2, 1.5} <= set(sizes.ravel())
    votes = agreement(MARKET, np.array([3.0]))[0] * np.sign(BASE)
    begun = sizes[1:] * (sizes[:-1] == 0.0) > 0.0
    assert (votes[1:][begun] >= 0.2).all()


def test_sizing_keeps_every_position_below_the_cap_of_its_drawdown() -> None:
    row = BOOK | {"sizing": "on", "agreement": "on", "agreement_least": 0.1}
    steps = walked(MARKET, [row], FREE)
    held = abs(weights(MARKET, steps)[..., 0]).max(axis=1)
    value = np.array(
        [float(s.account.cash[0] + s.account.units[:, 0] @ c) for s, c in zip(steps, MARKET.close, strict=True)]
    )
    fall = 1.0 - value / np.maximum.accumulate(value)
    assert (held <= 0.05 * np.clip(1.0 - 4.0 * (fall - 0.05), 0.3, 1.0) + 1e-12).all()
    assert held.max() > 0.049


# ---- the hedge in a book

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


# ---- rebalancing


def rebalanced(steps: Sequence[Any], c: int = 0) -> np.ndarray:
    return np.array([step.rule.waited[c] == 0.0 for step in steps])


def alone(trigger: str, value: float) -> dict[str, Any]:
    return OFF | SHORT | NEVER | {f"rebalance_{trigger}": value, "min_trade": 0.0}


def test_rebalancing_every_so_many_bars() -> None:
    due = rebalanced(walked(MARKET, [alone("bars", 7)], FREE))
    assert np.flatnonzero(due).tolist() == list(range(0, T, 7))


def test_each_other_trigger_alone() -> None:
    """Rebalanced on the first bar, then exactly where what it watches is above the number."""
    rows = [alone(*pair) for pair in (("drift", 0.03), ("volatility", 0.9), ("correlation", 0.2), ("drawdown", 0.1))]
    steps = walked(MARKET, rows, FREE)
    held = np.stack([step.account.units for step in steps[:-1]]) * MARKET.close[1:, :, None]
    equity = np.stack([step.account.cash for step in steps[:-1]]) + held.sum(axis=1)
    share = held / equity[:, None]  # before the order of bars 1 to T - 1
    drift = abs(share[..., 0] - BASE).max(axis=1)
    moves = np.log(MARKET.close[1:] / MARKET.close[:-1])
    volatility = np.zeros(T - 1)
    each = realised_volatility(MARKET, np.array([10.0]))[0]
    for t in range(10, T):
        risk = share[t - 1, :, 1] * each[t]
        window = moves[t - 10 : t] + 0.0
        with np.errstate(all="ignore"):
            rho = np.nan_to_num(np.corrcoef(window.T))
        np.fill_diagonal(rho, 1.0)
        volatility[t - 1] = np.sqrt(risk @ rho @ risk)
    rho = mean_rho(MARKET, np.array([10.0]), np.array([0.0]))[0, 1:, 0]
    peak = np.maximum.accumulate(np.concatenate([np.full((1, 4), 10_000.0), equity]), axis=0)[1:]
    fall = (1.0 - equity / peak)[:, 3]
    for c, watched in enumerate((drift > 0.03, volatility > 0.9, rho > 0.2, fall > 0.1)):
        due = rebalanced(steps, c)
        assert due[0]
        assert np.array_equal(due[1:], watched), rows[c]
        assert 5 < watched.sum() < T - 6


def test_no_bar_trades_more_than_the_turnover_cap() -> None:
    """What is missing to the target is done in part, all assets alike, and the rest with the next rebalance."""
    row = BOOK | {"max_turnover": 0.1}
    steps = walked(MARKET, [row, BOOK], FREE)
    units = np.stack([step.account.units for step in steps])
    cash = np.stack([step.account.cash for step in steps])
    equity = cash[1:] + (units[1:] * MARKET.close[1:, :, None]).sum(axis=1)
    turnover = (abs(np.diff(units, axis=0)) * MARKET.close[1:, :, None]).sum(axis=1) / equity
    assert turnover[:, 0].max() == pytest.approx(0.1, rel=1e-12)
    assert turnover[:, 1].max() > 0.15
    first = weights(MARKET, steps)[0]
    assert first[:, 0] == pytest.approx(0.1 * np.array(BASE))  # sum |base| is 1
    assert weights(MARKET, steps)[12, :, 0] == pytest.approx(np.array(BASE), abs=0.1)


def test_no_weight_is_changed_by_less_than_the_smallest_trade() -> None:
    row = BOOK | {"min_trade": 0.02}
    steps = walked(MARKET, [row], FREE)
    before = np.stack([step.account.units[:, 0] for step in steps[:-1]])
    done = np.stack([step.account.units[:, 0] for step in steps[1:]]) - before
    equity = np.array(
        [float(s.account.cash[0] + s.account.units[:, 0] @ c) for s, c in zip(steps, MARKET.close, strict=True)]
    )
    change = abs(done * MARKET.close[1:] / equity[1:, None])
    assert change[change > 0.0].min() >= 0.02 - 1e-12
    assert ((change > 0.0).any(axis=1) & (change == 0.0).any(axis=1)).sum() > 20  # asset by asset


# ---- one meaning


def test_every_backend_means_the_same_by_a_protected_book(backend: Backend) -> None:
    """Every feature in use, of the same planes, on two triggers: each more takes seconds to compile."""
    rows = pd.DataFrame(ROWS, dtype=object)
    optional: dict[str, Any] = dict.fromkeys(p.name for p in PROTECTED.parameters if p.optional)
    optional |= {name: rows[name].where(rows[name].notna(), 0.5) for name in ("max_turnover", "rebalance_drift")}
    keys = {key: rows[key].iloc[0] for plane in PROTECTED.planes for key in plane.keys}
    rows = rows.assign(**optional, **keys)
    agree(run(MARKET, PROTECTED, rows, backend, REAL), run(MARKET, PROTECTED, rows, NUMPY, REAL), backend)
