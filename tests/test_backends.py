"""One meaning: every backend computes what NumPy computes, for every strategy and any configurations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from histories import AnyMarket, history, market_for, part
from hypothesis import given, settings
from hypothesis import strategies as st
from rules import BUDGET, CURVE, PORTFOLIO, SHORTEST, TANGLE
from rules import CATALOGUE as SHIPPED
from running import NUMPY, agree, configurations, launch, plan, rounded_differently, run, some_values
from shim import COMPILER, ShimBackend

from kernels import STRATEGIES, Costs, InputError, Strategy
from kernels.account import FILLS, IMPACTS
from kernels.backends import choose
from kernels.blocks import SUMS, Blocks
from kernels.engine import Engine
from kernels.launch import Backend, layout
from kernels.planes import encode

CATALOGUE = [*SHIPPED, BUDGET, TANGLE]
OPTIONS = STRATEGIES["option_hedge"]  # the rule with functions of a mathematics library, where a configuration asks

COSTS = st.builds(
    Costs,
    st.sampled_from([0.0, 4.0, 150.0]),
    st.sampled_from([0.0, 5.0]),
    st.sampled_from(FILLS),
    option_spread=st.sampled_from([0.0, 0.02]),
    impact=st.sampled_from(IMPACTS),
    impact_coefficient=st.just(1e-7),
)


def markets(strategy: Strategy) -> st.SearchStrategy[AnyMarket]:
    """Three assets throughout: a kernel is compiled for a number of assets, which takes longer than all it then computes."""
    lengths = [max(T, SHORTEST.get(strategy.name, 2)) for T in (2, 3, 8, 45, 130, 400)]
    return st.builds(
        lambda T, seed: part(market_for(strategy, 400, 3, seed), slice(400 - T, None)),
        st.sampled_from(lengths),
        st.integers(0, 5),
    )


@pytest.mark.parametrize("strategy", CATALOGUE, ids=lambda s: s.name)
@settings(max_examples=25)
@given(data=st.data())
def test_every_backend_equals_numpy(strategy: Strategy, backend: Backend, data: Any) -> None:
    market, costs = data.draw(markets(strategy)), data.draw(COSTS)
    rows = data.draw(configurations(strategy, 40 if strategy is PORTFOLIO else 150))  # each may have planes of its own
    meaning = run(market, strategy, rows, NUMPY, costs)
    rounded = rounded_differently(plan(market, strategy, rows))
    assert not rounded or strategy is OPTIONS
    agree(run(market, strategy, rows, backend, costs), meaning, backend, rounded)


def _rows(strategy: Strategy, count: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({p.name: some_values(p, rng, count) for p in strategy.parameters}, dtype=object)


@pytest.mark.parametrize("assets", [[1], [2, 0, 1, 2, 0]], ids=["one asset", "five assets"])
def test_every_backend_equals_numpy_on_few_and_on_more_assets(assets: list[int], backend: Backend) -> None:
    one = history(90)
    columns = {name: array[:, assets] for name, array in one.columns.items()}
    market = replace(one, tickers=tuple(f"X{i}" for i in range(len(assets))), **columns)  # type: ignore[arg-type]
    strategy = STRATEGIES["tsmom_hedge"]
    rows = _rows(strategy, 65)
    agree(run(market, strategy, rows, backend), run(market, strategy, rows), backend)


@pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")
def test_a_book_of_64_assets_is_right_beyond_all_registers() -> None:
    """All its state in local memory, its correlation as 64 factors; Numba takes half a minute to compile it."""
    market, rows = market_for(PORTFOLIO, 140, 64), _rows(PORTFOLIO, 6)
    agree(run(market, PORTFOLIO, rows, ShimBackend()), run(market, PORTFOLIO, rows), ShimBackend())


def test_functions_of_a_mathematics_library_agree_to_their_rounding(backend: Backend) -> None:
    """exp, log and norm_cdf differ by an ulp between libraries, and no decision of this rule hangs on one."""
    market, rows = history(), _rows(CURVE, 70)
    meaning, ours = run(market, CURVE, rows), run(market, CURVE, rows, backend)
    agree(ours, meaning, backend, rounded=True)


@pytest.mark.parametrize("strategy", [*SHIPPED, BUDGET], ids=lambda s: s.name)
def test_mixed_precision_stays_near_float64(strategy: Strategy, backend: Backend) -> None:
    """float32 state with float64 sums: each bar's return is a few roundings of 2**-24 away, and so is each decision.

    A decision on a tie (a stop touched to the last digit) may fall the other way, so of many configurations most must be
    near: their return per bar is off by at most 40 roundings of 2**-24 * leverage, which a random walk of 400 bars adds
    up to sqrt(400) * 40 * 2**-24 < 5e-5 per unit of leverage.
    """
    if strategy is PORTFOLIO and backend.name == "numba":
        pytest.skip(
            "a quarter of a minute to compile; mixed precision is for graphics cards, whose source runs under g++"
        )
    market, rows = market_for(strategy), _rows(strategy, 100)
    exact = run(market, strategy, rows).metrics
    mixed = run(market, strategy, rows, replace(backend, precision="mixed")).metrics  # type: ignore[type-var]
    assert (mixed["status"] == exact["status"]).all()
    usable = exact["status"] == "ok"
    leverage = np.maximum(1.0, exact["exposure"])
    away = (np.log1p(mixed["total_return"]) - np.log1p(exact["total_return"])).abs() / leverage
    assert (away[usable] < 5e-5).mean() > 0.9
    assert not (mixed[usable] == exact[usable]).all(axis=None)  # it is another precision indeed


@pytest.mark.parametrize("strategy", [STRATEGIES["tsmom_hedge"], BUDGET], ids=lambda s: s.name)
def test_a_bank_read_slice_by_slice_is_the_same_as_slice_after_slice(strategy: Strategy, backend: Backend) -> None:
    """Configurations that read different slices of a bank, in one launch, against one launch per slice."""
    market, rows = history(), _rows(strategy, 40, seed=3).fillna(0.5)
    keys = list(dict.fromkeys(key for plane in strategy.planes for key in plane.keys))
    together = run(market, strategy, rows, backend).statistics.values  # noqa: PD011 - an array
    assert any(bank.shape[3] > 1 for bank, _ in launch(market, strategy, rows).banks.values())
    for _, same in rows.groupby(keys):
        alone = run(market, strategy, same, backend).statistics.values  # noqa: PD011 - an array
        assert np.array_equal(alone, together[:, :, same.index], equal_nan=True)


def test_a_few_configurations_run_in_the_kernel_of_the_study_that_they_are_of(backend: Backend) -> None:
    """Whatever slices they happen to share: a kernel takes longer to compile than they to run, and no bit changes."""
    market, strategy, searched = history(), STRATEGIES["tsmom_hedge"], frozenset({"lookback"})
    rows = _rows(strategy, 40, seed=3).assign(vol_window=20)
    few = rows.assign(lookback=30)
    programs = [
        next(engine._launches(encode(strategy, table), engine.blocks))[1]
        for table, names in ((rows, frozenset[str]()), (few, searched), (few, frozenset[str]()))
        for engine in [Engine(market, strategy, Costs(), backend, searched=names)]
    ]
    of_study, of_few, of_their_own = (layout(launch)[0] for launch in programs)
    assert of_few is of_study
    assert of_their_own is not of_study
    ours = Engine(market, strategy, Costs(), backend, searched=searched).run(few)
    agree(ours, run(market, strategy, few), backend)


def test_an_unknown_backend_or_precision_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="choose one of auto, numpy, numba, cuda, got 'gpu'"):
        choose("gpu")
    with pytest.raises(InputError, match="choose one of float64, mixed, got 'float32'"):
        choose("auto", "float32")
    with pytest.raises(InputError, match="mixed is for the compiled backends"):
        choose("numpy", "mixed")


def test_scenarios_run_side_by_side_as_each_would_alone(backend: Backend) -> None:
    """A launch of three histories gives, scenario after scenario, what NumPy gives for each of them."""
    rows = pd.DataFrame({"hedge_strength": np.linspace(0.0, 1.0, 70), "lookback": np.arange(70) % 9 + 20})
    alone = [launch(history(seed=seed), STRATEGIES["tsmom_hedge"], rows) for seed in (0, 1, 2)]
    together = replace(
        alone[0],
        shared={name: np.concatenate([one.shared[name] for one in alone]) for name in alone[0].shared},
        banks={
            name: (np.concatenate([one.banks[name][0] for one in alone]), index)
            for name, (_, index) in alone[0].banks.items()
        },
    )
    blocks = Blocks.monthly(history())
    found = backend.run(together, blocks).reshape(len(SUMS), len(blocks), 3, len(rows))
    for scenario, one in enumerate(alone):
        assert np.array_equal(found[:, :, scenario], NUMPY.run(one, blocks), equal_nan=True)
