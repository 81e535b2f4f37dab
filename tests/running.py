"""Running a strategy on a chosen backend object, and drawing configurations of any strategy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from histories import AnyMarket
from hypothesis import strategies as st

from kernels import METRICS, Backtest, Costs, Parameter, Strategy
from kernels.backends.numpy import NumpyBackend
from kernels.engine import Engine, switched_off
from kernels.launch import Backend, Launch, layout
from kernels.option_market import OptionMarket
from kernels.planes import PlaneStore, encode
from kernels.program import Program
from kernels.schedule import Schedule

NUMPY = NumpyBackend()


def run(
    market: AnyMarket, strategy: Strategy, rows: pd.DataFrame, backend: Backend = NUMPY, costs: Costs | None = None
) -> Backtest:
    """`kernels.backtest` on a backend object, so that one `backend` fixture serves every test."""
    return engine(market, strategy, rows, backend, costs).run(rows)


def engine(
    market: AnyMarket, strategy: Strategy, rows: pd.DataFrame, backend: Backend, costs: Costs | None = None
) -> Engine:
    """An engine for these rows. Of rules that take Numba long to compile (a quarter of a minute on one shared account) all
    banks are gathered, whichever slices the rows share: fewer kernels serve every test."""
    long = strategy.book or strategy.market is OptionMarket
    keys = {key for plane in strategy.planes for key in plane.keys} if long else set[str]()
    off = switched_off(strategy, rows)
    return Engine(market, strategy, costs or Costs(), backend, off, searched=frozenset(keys))


def launch(market: AnyMarket, strategy: Strategy, rows: pd.DataFrame, costs: Costs | None = None) -> Launch:
    """All configurations as one launch."""
    store = PlaneStore(market, strategy, costs or Costs())
    off = switched_off(strategy, rows)
    parameters = encode(strategy, rows)
    numbers = {n: v for n, v in parameters.items() if n not in off}
    return Launch(
        Program(strategy, market.n_assets, off), numbers, store.costs.fractions, store.shared, store.read_by(parameters)
    )


def plan(market: AnyMarket, strategy: Strategy, rows: pd.DataFrame) -> Schedule:
    """The schedule that the compiled backends build their source from."""
    return layout(launch(market, strategy, rows))[0]


def rounded_differently(plan: Schedule) -> bool:
    """Whether a rule has functions of a mathematics library, which are an ulp apart between backends."""
    return bool({"exp", "log"} & {n.op for n in plan.traced.graph.nodes})


def agree(ours: Backtest, meaning: Backtest, backend: Backend, rounded: bool = False) -> None:
    """Numba: every block statistic to the bit. CUDA source: every metric to 1e-12 of itself.

    Where functions are `rounded` differently: every block statistic to 1e-12. Per bar, ten such functions of an ulp each
    move a position by 10 * 2**-52 and the equity by as much, in 400 bars by 4000 * 2**-52 < 1e-12 of amounts near 1.
    """
    assert ours.metrics["status"].equals(meaning.metrics["status"])
    if rounded:
        np.testing.assert_allclose(ours.statistics.values, meaning.statistics.values, rtol=1e-12, atol=1e-12)
        return
    if backend.name == "numba":
        assert np.array_equal(ours.statistics.values, meaning.statistics.values, equal_nan=True)
        return
    # Each operation is rounded once, as IEEE 754 says, in the order the rule has, and no compiler may contract two into
    # one; so bits are equal. The promise leaves room for sums of 2192 terms in another order: 2192 * 2**-52 < 1e-12.
    names = list(METRICS)
    np.testing.assert_allclose(ours.metrics[names], meaning.metrics[names], rtol=1e-12, atol=0.0)


def some_values(parameter: Parameter, rng: np.random.Generator, count: int) -> list[Any]:
    """Values all over a parameter's range, its ends and None among them."""
    if parameter.choices:
        return list(rng.choice(np.array(parameter.choices, dtype=object), count))
    assert parameter.low is not None
    assert parameter.high is not None
    ends = [parameter.low, parameter.high]
    inside = rng.uniform(*ends, count)
    drawn = np.where(rng.random(count) < 0.2, rng.choice(ends, count), inside)
    values: list[Any] = list(np.round(drawn).astype(int)) if parameter.integer else list(drawn)
    if parameter.optional:
        values = [None if off else v for v, off in zip(values, rng.random(count) < 0.3, strict=True)]
    return values


@st.composite
def configurations(draw: st.DrawFn, strategy: Strategy, most: int = 150) -> pd.DataFrame:
    """1 to `most` configurations of a strategy. The parameters that planes depend on are searched together or not at
    all, and optional ones are all off or some: each pattern is another generated kernel, and these are its extremes."""
    count = draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    off, gathered = draw(st.booleans()), draw(st.booleans())
    keys = {key for plane in strategy.planes for key in plane.keys}
    columns: dict[str, Any] = {}
    for parameter in strategy.parameters:
        values = some_values(parameter, rng, count)
        if parameter.optional:
            values = [None] * count if off else [parameter.low if values[0] is None else values[0], *values[1:]]
        if parameter.name in keys and not gathered:
            values = [values[0]] * count
        columns[parameter.name] = pd.Series(values, dtype=object if parameter.optional else None)
    return pd.DataFrame(columns)
