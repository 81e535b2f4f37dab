"""Block statistics compose to the same totals however the bars are cut, and metrics are what their formulas say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from histories import history, part
from hypothesis import given, settings
from hypothesis import strategies as st
from running import NUMPY, launch, run, some_values

from kernels import METRICS, STRATEGIES, paths
from kernels.blocks import SUMS, Blocks, BlockStatistics
from kernels.launch import Backend
from kernels.metrics import metrics

TSMOM = STRATEGIES["tsmom_hedge"]
MARKET = history()


def _rows(count: int, seed: int = 2) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame({p.name: some_values(p, rng, count) for p in TSMOM.parameters}, dtype=object)
    return rows.assign(lookback=20, vol_window=15)


ROWS = _rows(12)
RETURNS = paths(MARKET, TSMOM, ROWS).returns  # (T - 1, C), bar by bar


def blocks_at(edges: list[int]) -> Blocks:
    return Blocks(np.array(sorted({1, *edges, MARKET.n_bars}), dtype=np.int64), MARKET.timestamps)


def kept(blocks: Blocks, backend: Backend = NUMPY) -> BlockStatistics:
    return BlockStatistics(blocks, backend.run(launch(MARKET, TSMOM, ROWS), blocks))


WHOLE = kept(blocks_at([]))


# ---- partitions


@settings(max_examples=25)
@given(edges=st.lists(st.integers(1, MARKET.n_bars), max_size=12))
def test_any_partition_of_the_bars_gives_the_same_totals(edges: list[int]) -> None:
    once, cut = WHOLE.compose(), kept(blocks_at(edges)).compose()
    for name in SUMS:
        # 400 additions or products grouped otherwise: 2 * 400 * 2**-53 < 1e-13, of sums without cancellation below 1e3
        np.testing.assert_allclose(cut[name], once[name], rtol=1e-13, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("edges", [[], [2], [31, 32, 33, 250], list(range(1, 400, 7))])
def test_any_partition_is_the_same_to_the_bit_on_all_backends(edges: list[int], backend: Backend) -> None:
    blocks = blocks_at(edges)
    assert np.array_equal(kept(blocks, backend).values, kept(blocks).values, equal_nan=True)


@settings(max_examples=25)
@given(st.lists(st.integers(2, 399), min_size=3, max_size=8, unique=True), st.data())
def test_joining_blocks_in_two_steps_is_joining_them_at_once(edges: list[int], data: Any) -> None:
    """The drawdown monoid is associative: any set of blocks composes to what its own bars show."""
    blocks = blocks_at(edges)
    chosen = sorted(data.draw(st.sets(st.integers(0, len(blocks) - 1), min_size=1)))
    composed = kept(blocks).compose(np.array(chosen))
    bars = np.concatenate([np.arange(blocks.edges[b], blocks.edges[b + 1]) for b in chosen]) - 1
    growth = np.cumprod(1.0 + RETURNS[bars], axis=0)
    np.testing.assert_allclose(composed["growth"], growth[-1], rtol=1e-12)
    deepest = (1.0 - growth / np.maximum.accumulate(growth, axis=0)).max(axis=0)
    np.testing.assert_allclose(composed["drawdown"], deepest, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(composed["r1"], RETURNS[bars].sum(axis=0), rtol=0.0, atol=1e-12)


def test_monthly_blocks_are_calendar_months() -> None:
    blocks = Blocks.monthly(MARKET)
    assert blocks.edges[0] == 1
    assert blocks.edges[-1] == MARKET.n_bars
    for first, end in zip(blocks.edges[:-1], blocks.edges[1:], strict=True):
        assert len({str(stamp)[:7] for stamp in MARKET.timestamps[first:end]}) == 1
    assert len(blocks) == len({str(stamp)[:7] for stamp in MARKET.timestamps[1:]})


@given(st.integers(1, 40))
def test_even_blocks_differ_by_at_most_one_bar(count: int) -> None:
    bars = Blocks.even(MARKET, count).bars
    assert len(bars) == count
    assert bars.sum() == MARKET.n_bars - 1
    assert bars.max() - bars.min() <= 1


def test_days_of_broken_runs_are_the_days_within_each() -> None:
    blocks = blocks_at([11, 21, 31])
    assert blocks.days(np.array([0])) == 9.0  # bars 1 .. 10
    assert blocks.days(np.array([0, 1])) == 19.0
    assert blocks.days(np.array([0, 2])) == 18.0


# ---- metrics


def test_metrics_are_their_textbook_formulas() -> None:
    ours = metrics(WHOLE, 365.0)
    n, year = len(RETURNS), np.sqrt(365.0)
    growth = np.cumprod(1.0 + RETURNS, axis=0)
    mean, deviation = RETURNS.mean(axis=0), RETURNS.std(axis=0, ddof=1)
    z = (RETURNS - mean) / RETURNS.std(axis=0)
    losses = [r[r < 0.0] for r in RETURNS.T]
    total = growth[-1] - 1.0
    cagr = (1.0 + total) ** (365.0 / (n - 1)) - 1.0
    drawdown = (1.0 - growth / np.maximum.accumulate(growth, axis=0)).max(axis=0)
    loss_deviation = np.array([loss.std(ddof=1) for loss in losses])
    expected = {
        "total_return": total,
        "cagr": cagr,
        "volatility": deviation * year,
        "sharpe": mean / deviation * year,
        "sortino": mean / np.sqrt((np.minimum(RETURNS, 0.0) ** 2).mean(axis=0)) * year,
        "calmar": cagr / drawdown,
        "max_drawdown": drawdown,
        "cagr_to_volatility": cagr / (deviation * year),
        "cagr_to_loss_deviation": cagr / (loss_deviation * year),
        "profit_factor": np.array([r[r > 0.0].sum() / -r[r < 0.0].sum() for r in RETURNS.T]),
        "skew": (z**3).mean(axis=0),
        "kurtosis": (z**4).mean(axis=0),
    }
    assert (ours["status"] == "ok").all()
    for name, values in expected.items():
        # sums of powers lose digits to cancellation: a thousand roundings are left of sixteen digits
        np.testing.assert_allclose(ours[name], values, rtol=1e-10, atol=1e-12, err_msg=name)


def test_consistency_is_the_share_of_months_with_a_gain() -> None:
    months = pd.DatetimeIndex(MARKET.timestamps[1:]).to_period("M")
    by_month = pd.DataFrame(1.0 + RETURNS).groupby(np.asarray(months.astype(str))).prod()
    ours = run(MARKET, TSMOM, ROWS).metrics["consistency"]
    assert ours.tolist() == (by_month > 1.0).mean().tolist()


def test_shares_and_rates_stay_in_their_ranges() -> None:
    ours = run(MARKET, TSMOM, _rows(100)).metrics
    ours = ours[ours["status"] == "ok"]
    assert len(ours) > 80
    for name in ("consistency", "win_rate", "hedged_share"):
        assert ours[name].between(0.0, 1.0 + 1e-12).all(), name
    for name in ("max_drawdown", "volatility", "turnover", "cost_paid", "orders", "trades", "exposure"):
        assert (ours[name] >= 0.0).all(), name
    assert (ours["net_exposure"].abs() <= ours["exposure"] + 1e-12).all()
    assert (ours["kurtosis"] >= ours["skew"] ** 2 + 1.0 - 1e-6).all()  # Pearson's inequality


def test_a_rule_that_never_trades_has_no_risk_and_no_infinite_ratio() -> None:
    calm = part(MARKET, slice(25))  # the signal needs 31 bars
    ours = run(calm, TSMOM, pd.DataFrame([{}])).metrics.iloc[0]
    assert ours["status"] == "ok"
    for name in (
        "total_return",
        "sharpe",
        "sortino",
        "calmar",
        "volatility",
        "max_drawdown",
        "consistency",
        "win_rate",
    ):
        assert ours[name] == 0.0, name


def test_ruin_is_invalid_and_has_no_metrics() -> None:
    """A short of ten times the equity into a price that doubles."""
    close = 100.0 * np.concatenate([0.99 ** np.arange(40), 0.99**40 * 2.0 ** np.arange(1, 6)])[:, None]
    doubling = part(MARKET, slice(len(close)), [0])
    doubling = type(doubling)(doubling.tickers, doubling.timestamps, close, close, close, close)
    row = {"short_mode": "full", "stop_loss": None, "max_leverage": 10.0, "vol_target": 1.0}
    ours = run(doubling, TSMOM, pd.DataFrame([row])).metrics.iloc[0]
    assert ours["status"] == "invalid"
    assert ours[list(METRICS)].isna().all()


def test_every_metric_of_the_catalogue_is_computed_and_described() -> None:
    frame = run(MARKET, TSMOM, ROWS).metrics
    assert tuple(frame.columns) == (*METRICS, "status")
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.good in (-1, 0, 1)
        assert metric.doc
        assert metric.unit
