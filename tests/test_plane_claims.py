"""What holds for every plane of a portfolio rule: blind to the future, to the order of assets, to the unit of prices."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from factor_rule import FACTOR_RULE
from histories import history, part
from plane_catalogue import FACTORS, OTHER, PLANES, STARTS
from running import agree, run, some_values

from kernels import METRICS, Market
from kernels.backends.numba import MANY, NumbaBackend
from kernels.launch import Backend
from kernels.second_market import cross_correlation, values_as_of

T, A = 300, 4
MARKET = history(T, A, seed=11)
EVERY = {**PLANES, "correlation factors": lambda market: np.moveaxis(FACTORS(market), 0, 1)}
WHOLE = {name: plane(MARKET) for name, plane in EVERY.items()}
CUTS = sorted({int(cut) for cut in np.random.default_rng(5).integers(STARTS, T, 6)} | {STARTS, T - 1})


def another_future(market: Market, cut: int, seed: int) -> Market:
    """The same bars before `cut`, others from there on."""
    other = history(T, A, seed=seed)
    columns = {
        name: np.concatenate([column[:cut], 3.0 * getattr(other, name)[cut:]])
        for name, column in market.columns.items()
    }
    return replace(market, **columns)


@pytest.mark.parametrize("name", EVERY)
def test_no_plane_looks_ahead(name: str) -> None:
    """Cut off or replaced, the bars after t change no bit of bar t."""
    for seed, cut in enumerate(CUTS):
        for past in (MARKET.until(cut), another_future(MARKET, cut, 100 + seed)):
            assert np.array_equal(EVERY[name](past)[:cut], WHOLE[name][:cut], equal_nan=True), f"cut at bar {cut}"


@pytest.mark.parametrize("cut", CUTS)
def test_no_plane_looks_ahead_in_a_second_market(cut: int) -> None:
    known = np.searchsorted(OTHER.timestamps, MARKET.timestamps[cut])
    columns = {
        name: column * np.where(np.arange(700) < known, 1.0, 2.0)[:, None] for name, column in OTHER.columns.items()
    }
    for plane in (partial(cross_correlation, window=25), values_as_of):
        whole = plane(MARKET, other=OTHER, ticker="X0")
        for other in (OTHER.until(known), replace(OTHER, **columns)):
            assert np.array_equal(plane(MARKET, other=other, ticker="X0")[:cut], whole[:cut], equal_nan=True)


@pytest.mark.parametrize("name", PLANES)
def test_another_order_of_the_assets_is_another_order_of_the_planes(name: str) -> None:
    order = [2, 0, 3, 1]
    whole = WHOLE[name]
    permuted = PLANES[name](part(MARKET, assets=order))
    for axis in range(1, whole.ndim):
        if whole.shape[axis] == A:
            whole = np.take(whole, order, axis=axis)
    assert np.array_equal(permuted, whole, equal_nan=True)


@pytest.mark.parametrize("name", EVERY)
def test_the_unit_of_prices_changes_nothing(name: str) -> None:
    """By a power of two no bit; by another number what the rounding of each price changes."""
    doubled, other = EVERY[name](part(MARKET, scale=1024.0)), EVERY[name](part(MARKET, scale=0.37))
    assert np.array_equal(doubled, WHOLE[name], equal_nan=True)
    # Returns change by 3 * 2**-53 beside 0.02; variances of calm windows are 1e-4 of that of wild ones, factors' 1e-6.
    np.testing.assert_allclose(other, WHOLE[name], rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", EVERY)
def test_no_plane_has_a_hole_once_it_is_known(name: str) -> None:
    assert WHOLE[name].shape[0] == T
    assert not np.isnan(WHOLE[name][STARTS:]).any()
    assert len(np.unique(WHOLE[name][STARTS:])) > 1


def test_the_planes_mean_the_same_on_every_backend(backend: Backend) -> None:
    """They are worked out once, by NumPy, and read by all backends: as banks that configurations share, and gathered."""
    rule, rng = FACTOR_RULE, np.random.default_rng(8)
    rows = pd.DataFrame({p.name: some_values(p, rng, 60) for p in rule.parameters})
    meaning = run(MARKET, rule, rows)
    agree(run(MARKET, rule, rows, backend), meaning, backend)
    assert meaning.metrics["turnover"].nunique() > 25
    unhedged = run(MARKET, rule, rows.assign(strength=0.0))
    assert (unhedged.metrics["exposure"] > meaning.metrics["exposure"]).any()


def test_factors_of_many_assets_mean_the_same_where_their_sums_are_taken_apart() -> None:
    """Above `numba.MANY` assets the compiled kernel sums factors in loops of their own: no bit changes, shared or gathered."""
    many, rng = history(T, MANY + 2, seed=9), np.random.default_rng(8)
    rows = pd.DataFrame({p.name: some_values(p, rng, 20) for p in FACTOR_RULE.parameters})
    for table in (rows, rows.assign(correlation_window=30)):
        compiled, meaning = run(many, FACTOR_RULE, table, NumbaBackend()), run(many, FACTOR_RULE, table)
        assert (compiled.statistics.values == meaning.statistics.values).all()  # noqa: PD011 - arrays
    assert meaning.metrics["turnover"].nunique() > 5


def test_strength_0_and_a_trigger_above_all_exposure_are_no_hedge() -> None:
    rule = FACTOR_RULE
    rows = pd.DataFrame({"measure": ["effective", "mean"] * 2, "strength": [0.0, 0.0, 0.9, 0.9], "hedge_exposure": 1.0})
    rows.loc[:1, "hedge_exposure"] = 0.01
    measured = run(MARKET, rule, rows).metrics[list(METRICS)]
    for other in (1, 2, 3):
        assert measured.iloc[other].equals(measured.iloc[0])
