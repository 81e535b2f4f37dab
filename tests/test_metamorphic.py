"""What must not matter does not: the future, the order of assets and configurations, neighbours, units, absent rules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from histories import AnyMarket, history, market_for, part
from hypothesis import given, settings
from hypothesis import strategies as st
from rules import BUDGET, PORTFOLIO, SHORTEST, TANGLE
from rules import CATALOGUE as SHIPPED
from running import NUMPY, launch, run, some_values

import kernels.engine
from kernels import STRATEGIES, Costs, Market, Strategy, paths
from kernels.blocks import SUMS, Blocks
from kernels.engine import Engine
from kernels.launch import Backend, Launch
from kernels.market import FloatArray
from kernels.option_market import OptionMarket

TSMOM = STRATEGIES["tsmom_hedge"]
CATALOGUE = [*SHIPPED, BUDGET, TANGLE]
each_strategy = pytest.mark.parametrize("strategy", CATALOGUE, ids=lambda s: s.name)


def rows_of(strategy: Strategy, count: int = 40, seed: int = 1, **fixed: Any) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = {p.name: some_values(p, rng, count) for p in strategy.parameters}
    return pd.DataFrame(values, dtype=object).assign(**fixed)


def statistics(market: AnyMarket, strategy: Strategy, rows: pd.DataFrame, backend: Backend = NUMPY) -> FloatArray:
    values: FloatArray = run(market, strategy, rows, backend).statistics.values  # noqa: PD011 - an array
    return values


# ---- the future


@each_strategy
@pytest.mark.parametrize("cut", [33, 100, 214, 336, 399])
def test_cutting_off_the_future_changes_no_past_month(strategy: Strategy, cut: int, backend: Backend) -> None:
    market, rows = market_for(strategy), rows_of(strategy)
    if cut < SHORTEST.get(strategy.name, 0):
        pytest.skip("windows that a history of so few bars does not fill are refused")
    past = part(market, slice(cut))
    # The order of the last bar fills at a price that is now beyond the data, so that bar's own month may differ.
    whole = int((Blocks.monthly(past).edges[1:] < cut).sum())
    assert whole > 0
    known = statistics(past, strategy, rows, backend)[:, :whole]
    assert np.array_equal(known, statistics(market, strategy, rows, backend)[:, :whole], equal_nan=True)


@each_strategy
@pytest.mark.parametrize("cut", [33, 214, 399])
@pytest.mark.parametrize("fill", ["next_open", "next_close", "close"])
def test_no_plane_looks_ahead(strategy: Strategy, cut: int, fill: Any) -> None:
    market, rows = market_for(strategy), rows_of(strategy, 5)
    if cut < SHORTEST.get(strategy.name, 0):
        pytest.skip("windows that a history of so few bars does not fill are refused")
    whole, past = (launch(m, strategy, rows, Costs(fill=fill)) for m in (market, part(market, slice(cut))))
    for name, plane in past.shared.items():
        # A book of options is closed on the last bar; an order of the last bar fills beyond the data.
        closing = strategy.market is OptionMarket or (name in ("fill", "fillable") and fill != "close")
        known = cut - closing
        assert np.array_equal(plane[:, :known], whole.shared[name][:, :known]), name
    for name, (bank, _) in past.banks.items():
        assert np.array_equal(bank, whole.banks[name][0][:, :cut]), name


@pytest.mark.parametrize(("fill", "orders"), [("next_open", 0.0), ("next_close", 0.0), ("close", 3.0)])
def test_an_order_of_the_last_bar_is_ignored_unless_it_fills_at_once(
    fill: Any, orders: float, market: Market, backend: Backend
) -> None:
    """Eight bars, so the first signal of 6-bar windows comes on the last."""
    row = {"lookback": 6, "vol_window": 6, "short_mode": "full", "trailing_stop_atr": 3.0}
    ours = run(part(market, slice(8)), TSMOM, pd.DataFrame([row]), backend, Costs(fill=fill))
    assert ours.metrics["orders"].tolist() == [orders]


# ---- order


@each_strategy
def test_permuting_assets_permutes_their_accounts_and_leaves_the_portfolio(strategy: Strategy) -> None:
    order = [2, 0, 1]
    market, rows = market_for(strategy), rows_of(strategy)
    ours, turned = paths(market, strategy, rows), paths(part(market, assets=order), strategy, rows)
    # Sums over 3 assets are rounded in another order: 2**-52 per bar of a return below 1, which a rule that reads such
    # sums carries on. 400 bars and ten such sums each: 4000 * 2**-52 < 1e-12, of an account of up to 1e5 units of 1.
    exact = strategy in SHIPPED and strategy is not PORTFOLIO  # no value of one asset enters the rule of another
    values = ours.values[:, order]  # noqa: PD011 - an array
    np.testing.assert_allclose(turned.values, values, rtol=0.0 if exact else 1e-12)
    np.testing.assert_allclose(turned.returns, ours.returns, rtol=0.0, atol=1e-12)


@each_strategy
@settings(max_examples=10)
@given(order=st.permutations(range(40)))
def test_permuting_configurations_permutes_results_to_the_bit(
    strategy: Strategy, backend: Backend, order: list[int]
) -> None:
    market, rows = market_for(strategy), rows_of(strategy)
    turned, ours = run(market, strategy, rows.iloc[order], backend), run(market, strategy, rows, backend)
    places = np.arange(40 * market.n_scenarios).reshape(-1, 40)[:, order].ravel()
    values = ours.statistics.values[:, :, places]  # noqa: PD011 - an array
    assert np.array_equal(turned.statistics.values, values, equal_nan=True)
    pd.testing.assert_frame_equal(turned.metrics, ours.metrics.iloc[order], check_exact=True)


# ---- company


@dataclass(frozen=True)
class Cramped:
    """A backend with room for a few configurations per launch."""

    backend: Backend
    lanes: int
    n_blocks: int

    @property
    def name(self) -> str:
        return self.backend.name

    @property
    def output_bytes(self) -> int:
        return 8 * len(SUMS) * self.n_blocks * self.lanes

    def run(self, launch: Launch, blocks: Blocks) -> FloatArray:
        assert launch.n_configurations <= self.lanes
        return self.backend.run(launch, blocks)


@each_strategy
@pytest.mark.parametrize("lanes", [1, 7, 64])
def test_a_result_does_not_depend_on_how_launches_are_split(strategy: Strategy, lanes: int, backend: Backend) -> None:
    market = market_for(strategy)
    rows = rows_of(strategy, 100) if strategy in SHIPPED else rows_of(strategy, 100, window=20)
    cramped = Cramped(backend, lanes, len(Blocks.monthly(market)) * market.n_scenarios)
    rows = rows if lanes > 1 else rows.iloc[:5]
    together = statistics(market, strategy, rows, backend)
    assert np.array_equal(statistics(market, strategy, rows, cramped), together, equal_nan=True)


@pytest.mark.parametrize("slices", [1, 2, 5])
def test_a_result_does_not_depend_on_how_many_slices_of_a_bank_fit(
    slices: int, market: Market, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(TSMOM)
    together = statistics(market, TSMOM, rows, backend)
    monkeypatch.setattr(kernels.engine, "BANK_BYTES", slices * 2 * 8 * market.n_bars * market.n_assets)
    assert np.array_equal(statistics(market, TSMOM, rows, backend), together, equal_nan=True)


@each_strategy
def test_a_result_does_not_depend_on_neighbours_or_lane(strategy: Strategy, backend: Backend) -> None:
    """Row 3 among others, in another place among strangers, and beside copies of itself; on the last scenario."""
    market = market_for(strategy)
    rows, strangers = rows_of(strategy, 30), rows_of(strategy, 130, seed=9)
    home = statistics(market, strategy, rows, backend)[:, :, 3 - 30]
    moved = pd.concat([strangers, rows.iloc[[3]]], ignore_index=True)
    assert np.array_equal(statistics(market, strategy, moved, backend)[:, :, -1], home, equal_nan=True)
    copies = pd.concat([rows.iloc[[3]]] * 3 + [rows.iloc[:3]], ignore_index=True)
    for lane in range(3):
        assert np.array_equal(statistics(market, strategy, copies, backend)[:, :, lane - 6], home, equal_nan=True)


def test_a_result_does_not_depend_on_the_number_of_threads(market: Market) -> None:
    numba = pytest.importorskip("kernels.backends.numba")
    rows = rows_of(TSMOM, 700)
    one, three = (statistics(market, TSMOM, rows, numba.NumbaBackend(threads=n)) for n in (1, 3))
    assert np.array_equal(one, three, equal_nan=True)


# ---- units


@each_strategy
@pytest.mark.parametrize("power", [-2, 1, 5])
def test_prices_in_units_of_a_power_of_two_change_no_bit(strategy: Strategy, power: int, backend: Backend) -> None:
    """Prices near 100, so the smallest order that is traded (1e-8 units of the asset) stays far below every order."""
    if strategy is TANGLE:
        pytest.skip("its weights contain prices, on purpose")
    market, rows = market_for(strategy), rows_of(strategy)
    if strategy.market is OptionMarket:
        rows["risk_aversion"] = (
            None  # a Whalley-Wilmott band is in shares and grows with (S Gamma^2)^(1/3): it has units
        )
    scaled = statistics(part(market, scale=2.0**power), strategy, rows, backend)
    assert np.array_equal(scaled, statistics(market, strategy, rows, backend), equal_nan=True)


@pytest.mark.parametrize("scale", [3.7, 1e-3])
def test_prices_in_any_units_change_nothing_but_rounding(scale: float, market: Market) -> None:
    rows = rows_of(TSMOM)
    # Each price is rounded once more, by 2**-53. A window's variance is a difference of sums of up to 365 squares:
    # 365 * 2**-52 relative in the weight, as much per bar in the equity, 400 bars: 365 * 400 * 2**-52 < 1e-10.
    ours, scaled = paths(market, TSMOM, rows).equity, paths(part(market, scale=scale), TSMOM, rows).equity
    np.testing.assert_allclose(scaled, ours, rtol=1e-10)


# ---- absent rules


@settings(max_examples=15)
@given(seed=st.integers(0, 50), fee=st.floats(0.0, 50.0), slippage=st.floats(0.0, 50.0))
def test_costs_never_make_an_account_richer(seed: int, fee: float, slippage: float) -> None:
    """Each asset's account, at every bar, for targets of at most 0.9 of the equity.

    Let E' <= E be the equities with and without costs when an order is filled. Both then hold the same fraction w, and at
    price ratio g the free account is worth E (1 - w + w g), the other E' (1 - w + w g) less what it paid. The bracket is
    positive as long as the free account is solvent, so the order is kept. The bound matters: where cash limits buying,
    a fee makes the account hold less than it wants, which in a fall is luck. It also needs orders that do not look at
    the equity, and says nothing of the portfolio, which averages returns and not values.
    """
    market = history(200, 3, seed)
    rows = rows_of(TSMOM, 20, seed, max_leverage=0.9)
    rows["lookback"], rows["vol_window"] = 20, 10
    free = paths(market, TSMOM, rows, costs=Costs(0.0, 0.0)).values  # noqa: PD011 - an array
    charged = paths(market, TSMOM, rows, costs=Costs(fee, slippage)).values  # noqa: PD011 - an array
    solvent = np.minimum.accumulate(free, axis=0) > 0.0
    # An order below 1e-8 units may be sent by one account only: 1e-8 * price 1e4 of a value of 1e4, 200 times.
    assert (charged <= free * (1.0 + 1e-9) + 1e-4)[solvent].all()
    assert solvent.mean() > 0.9


def test_a_hedge_of_strength_zero_is_no_hedge(market: Market, backend: Backend) -> None:
    rows = rows_of(TSMOM, short_mode="hedge_only", hedge_strength=0.0)
    without = rows.assign(short_mode="disabled", hedge_strength=1.0)
    ours = statistics(market, TSMOM, rows, backend)
    assert np.array_equal(ours, statistics(market, TSMOM, without, backend), equal_nan=True)


def test_a_hedge_of_full_strength_that_is_always_armed_is_a_full_short(backend: Backend) -> None:
    """Closes that fall from the first bar on are below any threshold after a few bars, before the first signal."""
    falling = history()
    slide = np.exp(-0.05 * np.arange(falling.n_bars))[:, None]
    columns: dict[str, Any] = {n: a if n == "volume" else a * slide for n, a in falling.columns.items()}
    market = replace(falling, **columns)
    rows = rows_of(TSMOM, short_mode="hedge_only", hedge_strength=1.0, hedge_threshold=-0.01, lookback=30)
    full = rows.assign(short_mode="full")
    assert np.array_equal(
        statistics(market, TSMOM, rows, backend), statistics(market, TSMOM, full, backend), equal_nan=True
    )


@pytest.mark.parametrize("off", [{"trailing_stop_atr"}, {"stop_loss", "trailing_stop_atr"}], ids=["one stop", "both"])
def test_leaving_a_switched_off_stop_out_of_the_kernel_changes_no_bit(
    off: set[str], market: Market, backend: Backend
) -> None:
    """None in every row leaves the stop's operations out; None beside other values is a stop infinitely far away."""
    rows = rows_of(TSMOM)
    rows["stop_loss"] = rows["stop_loss"].fillna(0.1)
    rows[list(off)] = None
    without = Engine(market, TSMOM, Costs(), backend, frozenset(off)).run(rows)
    infinite = Engine(market, TSMOM, Costs(), backend).run(rows)
    assert np.array_equal(without.statistics.values, infinite.statistics.values, equal_nan=True)
