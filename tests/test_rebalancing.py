"""When a book is traded to its targets, and how much of it: each trigger alone, the turnover cap, the smallest trade."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from protected_books import BASE, BOOK, FREE, MARKET, NEVER, OFF, SHORT, T, of_closes, walked, weights

from kernels.book_planes import mean_rho
from kernels.indicators import realised_volatility
from kernels.long_book import LongBook


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


def test_a_stop_is_no_drift() -> None:
    """The asset that leaves by its stop does not have the others traded; it is missing from the next bar on."""
    close = np.full((130, 2), 100.0)
    close[125:, 1] = 95.0
    row = alone("drift", 0.1) | {"trailing_exit": "on", "max_hold_bars": 2000}
    steps = walked(of_closes(close, LongBook((0.5, 0.5))), [row], FREE)
    assert steps[125].sums.parts.stops[0] == 1.0
    assert np.flatnonzero(rebalanced(steps)).tolist() == [0, 126]


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
