"""The published sweep comes out to the printed digit on every backend, and each wrong port misses it as expected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from plain_account import PlainAccount, values
from published import PRINTED, Table, agreement, markdown, rows, sweep
from running import NUMPY, run

import kernels.planes
from kernels import STRATEGIES, Backtest, Costs, Market, paths
from kernels.indicators import drawdown
from kernels.launch import Backend

STRATEGY = STRATEGIES["tsmom_hedge"]
CENTRE = {"short_mode": "hedge_only", "hedge_threshold": -0.07, "hedge_strength": 0.3}


@pytest.fixture(scope="module")
def expected(shared_data: Path) -> Path:
    folder = shared_data.parent / "expected"
    if not folder.is_dir():
        pytest.skip("expected/ with the published tables is not beside the data folder")
    return folder


@pytest.fixture(scope="module")
def tables(expected: Path) -> tuple[Table, Table]:
    return sweep(expected), rows(expected)


@pytest.fixture(scope="module")
def configurations(tables: tuple[Table, Table]) -> pd.DataFrame:
    """The 80 cells, then long-only and always-short."""
    return pd.concat([tables[0].configurations, tables[1].configurations.iloc[-2:]], ignore_index=True)


@pytest.fixture(scope="module")
def meaning(crypto8: Market, configurations: pd.DataFrame) -> Backtest:
    return run(crypto8, STRATEGY, configurations, NUMPY)


@pytest.fixture(scope="module")
def published(crypto8: Market, configurations: pd.DataFrame, backend: Backend) -> Backtest:
    """82 configurations of 8 assets in one launch."""
    return run(crypto8, STRATEGY, configurations, backend)


def _rows_of(table: Table, metrics: pd.DataFrame, configurations: pd.DataFrame) -> pd.DataFrame:
    """The metrics of the table's configurations, found by value among those that were run."""
    keys = list(CENTRE)
    place = pd.MultiIndex.from_frame(configurations[keys]).get_indexer(
        pd.MultiIndex.from_frame(table.configurations[keys])
    )
    return metrics.iloc[place].reset_index(drop=True)


def test_at_least_355_of_the_359_printed_numbers_come_out_exactly_and_none_is_off_by_more_than_one_unit(
    tables: tuple[Table, Table], configurations: pd.DataFrame, published: Backtest
) -> None:
    apart = [t.units_apart(_rows_of(t, published.metrics, configurations)) for t in tables]
    printed, equal, furthest = agreement(*apart)
    assert printed == 359
    assert equal >= 355
    assert furthest <= 1.0


def test_the_whole_sweep_is_the_same_to_the_bit_as_on_numpy(published: Backtest, meaning: Backtest) -> None:
    assert np.array_equal(published.statistics.values, meaning.statistics.values, equal_nan=True)


# An independent re-implementation of the specification, five significant decimals of each.
CHECKED = (
    "cagr_to_volatility",
    "cagr",
    "max_drawdown",
    "volatility",
    "calmar",
    "cagr_to_loss_deviation",
    "total_return",
)
CHECK_VALUES = {
    ("disabled", -0.07, 0.3): (2.25407, 48.74982, -24.43417, 21.62742, 1.99515, 2.84323, 983.275),
    ("full", -0.07, 0.3): (1.85280, 47.66686, -27.67057, 25.72691, 1.72266, 2.73774, 936.808),
    ("hedge_only", -0.07, 0.8): (2.06044, 48.76732, -23.48038, 23.66835, 2.07694, 3.03363, 984.040),
    ("hedge_only", -0.07, 0.3): (2.32615, 49.05477, -20.71766, 21.08837, 2.36778, 3.21197, 996.668),
    ("hedge_only", -0.30, 0.1): (2.28852, 48.87864, -23.17213, 21.35818, 2.10937, 3.06677, 988.916),
}


@pytest.mark.parametrize("row", CHECK_VALUES, ids=str)
def test_check_values_come_out_at_their_printed_precision(
    row: tuple[str, float, float], configurations: pd.DataFrame, meaning: Backtest
) -> None:
    wanted = Table(pd.DataFrame([dict(zip(CENTRE, row, strict=True))]), pd.DataFrame())
    ours = _rows_of(wanted, meaning.metrics, configurations).iloc[0]
    for name, value in zip(CHECKED, CHECK_VALUES[row], strict=True):
        factor = next(f for metric, f, _ in PRINTED.values() if metric == name)
        decimals = 3 if name == "total_return" else 5
        assert round(factor * ours[name], decimals) == value, name


def test_each_account_ends_at_its_checked_equity(crypto8: Market) -> None:
    ends = paths(crypto8, STRATEGY, [CENTRE]).values[-1, :, 0]  # noqa: PD011 - an array
    assert ends.round(2).tolist() == [
        86223.76,  # BTC
        103229.75,
        94068.13,
        121135.13,
        183076.54,
        39382.33,
        84398.55,
        69461.57,  # AVAX
    ]


def test_the_first_bitcoin_weights_are_the_checked_ones(crypto8: Market) -> None:
    planes = {plane.name: plane.compute for plane in STRATEGY.planes}
    window = np.array([30.0])
    sign, inverse = planes["signal"](crypto8, window), planes["inverse_volatility"](crypto8, window)
    weights = (sign * np.minimum(0.35 * inverse, 0.35 / 0.05))[0, :, 0]
    first = int(np.flatnonzero(weights)[0])
    assert first == 31
    assert str(crypto8.timestamps[first])[:10] == "2020-02-01"
    assert weights[first : first + 3].round(6).tolist() == [0.610235, 0.632051, 0.655718]


# ---- what a wrong port shows


def _signature(metrics: pd.DataFrame) -> tuple[float, int]:
    """The published ratio and the total return in percent."""
    return round(metrics["cagr_to_volatility"].iloc[0], 2), round(100.0 * metrics["total_return"].iloc[0])


@pytest.mark.parametrize(
    ("switched", "costs", "wrong"),
    [
        ({}, Costs(), (2.33, 997)),  # the right port
        ({"stop_loss": None}, Costs(), (2.28, 959)),
        ({"rebalance_threshold": 0.0}, Costs(), (2.18, 786)),
        ({}, Costs(fee_bps=0.0, slippage_bps=0.0), (2.45, 1116)),
        ({}, Costs(slippage_bps=0.0), (2.39, 1062)),
    ],
    ids=["none", "no stop", "no threshold", "zero cost", "no slippage"],
)
def test_a_rule_switched_off_shows_the_wrong_ports_signature(
    switched: dict[str, float | None], costs: Costs, wrong: tuple[float, int], crypto8: Market, backend: Backend
) -> None:
    right = CENTRE | {"stop_loss": 0.1, "rebalance_threshold": 0.05}
    both = pd.DataFrame([right | switched, right])
    assert _signature(run(crypto8, STRATEGY, both, backend, costs).metrics) == wrong


def test_filling_one_bar_early_shows_the_wrong_ports_signature(
    crypto8: Market, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = kernels.planes.market_planes

    def early(market: Market, costs: Costs) -> dict[str, np.ndarray]:
        planes = right(market, costs)
        return planes | {"fill": planes["open"]}

    monkeypatch.setattr(kernels.planes, "market_planes", early)
    assert _signature(run(crypto8, STRATEGY, pd.DataFrame([CENTRE]), backend).metrics) == (2.87, 1516)


@pytest.mark.parametrize(("limited", "shown"), [(True, (2.33, 997)), (False, (2.36, 1044))])
def test_longs_not_limited_by_cash_show_the_wrong_ports_signature(
    limited: bool, shown: tuple[float, int], crypto8: Market
) -> None:
    orders = []
    right = STRATEGY.account.execute

    def recorded(order, *rest):  # type: ignore[no-untyped-def]
        orders.append(order)
        return right(order, *rest)

    watched = replace(STRATEGY, account=STRATEGY.account._replace(execute=recorded))
    ours = paths(crypto8, watched, [CENTRE]).values[:, :, 0]  # noqa: PD011 - an array
    weight = np.stack([order.weight[:, 0] for order in orders])
    trade = np.stack([order.trade[:, 0] for order in orders])
    assert crypto8.open is not None
    plain = np.array(
        [
            values(PlainAccount(0.0004, 0.0005, limited), weight[:, a], trade[:, a], crypto8.open[1:, a], closes)
            for a, closes in enumerate(crypto8.close.T)
        ]
    ).T
    if limited:  # two thousand orders, each a few roundings of 2**-53 apart
        np.testing.assert_allclose(ours, plain[1:], rtol=2192 * 8 * 2.0**-53)
    returns = (plain[1:] / plain[:-1] - 1.0).mean(axis=1)
    total = np.prod(1.0 + returns) - 1.0
    ratio = ((1.0 + total) ** (365 / 2190) - 1.0) / (returns.std(ddof=1) * np.sqrt(365))
    assert (round(ratio, 2), round(100.0 * total)) == shown


# ---- docs/tsmom_hedge.md

DOC = Path(__file__).resolve().parents[1] / "docs" / "tsmom_hedge.md"


def test_the_documented_table_is_what_this_version_computes(
    tables: tuple[Table, Table], crypto8: Market, configurations: pd.DataFrame, meaning: Backtest
) -> None:
    """To write the table anew: `print(published.markdown(...))` as below."""
    metrics = _rows_of(tables[1], meaning.metrics, configurations)
    assert markdown(tables[1], metrics) in DOC.read_text()
    apart = [t.units_apart(_rows_of(t, meaning.metrics, configurations)) for t in tables]
    printed, equal, _ = agreement(*apart)
    assert f"{equal} of the {printed} printed numbers" in DOC.read_text()


def test_the_documented_shares_of_armed_days_are_measured(crypto8: Market) -> None:
    armed = (drawdown(crypto8)[32:] < -0.07).mean(axis=0)
    assert f"{armed.min():.0%} to {armed.max():.0%} of days".replace("%", " %") in DOC.read_text()


def test_the_documented_gain_of_the_hedge_is_not_significant(crypto8: Market) -> None:
    returns = paths(crypto8, STRATEGY, [CENTRE, CENTRE | {"short_mode": "disabled"}]).returns
    gain = returns[:, 0] - returns[:, 1]
    t = gain.mean() / gain.std(ddof=1) * np.sqrt(len(gain))
    assert f"t = {t:.2f}" in DOC.read_text()
