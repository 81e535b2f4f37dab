"""portfolio_hedge keeps what it promises: nothing of it off the base book, nothing of the future, and its worked example."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from histories import history, part
from plain_long_book import plain_returns
from protected_books import (
    BASE,
    BOOK,
    FREE,
    MARKET,
    NEVER,
    OFF,
    PROTECTED,
    REAL,
    SHORT,
    T,
    armed,
    drawn,
    returns,
    walked,
    weights,
)
from running import launch

from kernels.account import FILLS
from kernels.book_hedge import METHODS
from kernels.book_planes import agreement, asset_labels, market_labels
from kernels.long_book import LongBook
from kernels.regime import REGIMES
from kernels.state import leaves

HEDGES = METHODS[1:]
ROWS = drawn(24, seed=1)


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
