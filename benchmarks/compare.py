"""Backends on the same launch, and whole sweeps beside the ways they replace: pandas and vectorbt."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from benchmarks import cases, native, pandas_way, vectorbt_way
from benchmarks.lanes import LanesBackend
from benchmarks.table import Table, rate, times
from benchmarks.timing import best_seconds
from kernels import METRICS
from kernels.backends.numba import NumbaBackend
from kernels.backends.numpy import CACHE_LANES, NumpyBackend
from kernels.blocks import Blocks
from kernels.launch import Backend
from kernels.market import Market

NUMPY = "NumPy over configurations"
BATCHES = (1024, 16_384)
AGREEMENT = 1e-9  # of two float64 programs that add the same 2192 returns in different orders: 2192 * 2**-52 < 1e-12


def rivals(configurations: int) -> dict[str, Backend]:
    """One thread each. NumPy, the meaning, comes first; it takes 1024 configurations at a time, so more say nothing new."""
    found: dict[str, Backend] = {} if configurations > CACHE_LANES else {NUMPY: NumpyBackend()}
    found["Numba, 1 thread"] = NumbaBackend(threads=1)
    if native.COMPILER is not None:
        found["C++ lanes, 256-bit vectors"] = LanesBackend(width=4)
        found["C++ lanes, 512-bit vectors"] = LanesBackend(width=8)
    return found


def sweeps() -> dict[str, pd.DataFrame]:
    """The published sweep and random ones."""
    return {"published sweep, 82": cases.published(), **{f"hedges, {c:,}": cases.hedges(c) for c in BATCHES}}


def kernels(market: Market) -> Table:
    """One launch per backend, checked bit for bit against each other, then timed."""
    measured: dict[str, dict[str, float]] = {}
    for name, sweep in sweeps().items():
        launch, blocks = cases.launch(market, sweep)
        runs = {label: partial(backend.run, launch, blocks) for label, backend in rivals(len(sweep)).items()}
        meaning, *others = (run() for run in runs.values())
        if any((other != meaning).any() for other in others):
            raise AssertionError(f"{name}: block statistics of {', '.join(runs)} are not the same")
        steps = len(sweep) * market.n_assets * market.n_bars
        measured[name] = {label: steps / s for label, s in best_seconds(runs).items()}
    return _rates(
        "One launch: the kernel alone",
        measured,
        "All block statistics are equal bit for bit. C++: g++ -O3 -march=native -ffp-contract=off on the same schedule.",
    )


def whole(market: Market) -> Table:
    """`Engine.metrics`: launches, block statistics, metrics, one DataFrame."""
    measured: dict[str, dict[str, float]] = {}
    for name, sweep in sweeps().items():
        engines = {label: cases.engine(market, backend, sweep) for label, backend in rivals(len(sweep)).items()}
        seconds = best_seconds({label: partial(engine.metrics, sweep) for label, engine in engines.items()})
        measured[name] = {label: len(sweep) * market.n_assets * market.n_bars / s for label, s in seconds.items()}
    blocks = len(Blocks.monthly(market))
    return _rates(f"Whole sweeps: Engine.metrics, {len(METRICS)} metrics of {blocks} monthly blocks", measured)


def _rates(title: str, measured: dict[str, dict[str, float]], note: str = "") -> Table:
    rows = []
    numpy = 0.0
    for name, rates in measured.items():
        numpy = rates.get(NUMPY, numpy)
        compiled = max((r for label, r in rates.items() if label.startswith("C++")), default=float("nan"))
        rows += [(name, label, rate(r), times(r / numpy), f"{r / compiled:.0%}") for label, r in rates.items()]
    columns = ("sweep", "backend", "M bar-steps / CPU s", "of NumPy", "of the better C++")
    return Table(title, columns, tuple(rows), f"{note} NumPy's rate at 16,384 is that at 1,024.".strip())


def ways(market: Market) -> Table:
    """CPU time per configuration from prices to metrics, beside pandas and vectorbt."""
    sweep, large = cases.published(), cases.hedges(16_384)
    ours = cases.engine(market, NumbaBackend(threads=1), sweep).metrics(sweep)
    data = pandas_way.frames(market)
    pick = 12  # hedge_only at -0.07, 0.3
    one = sweep.iloc[pick].to_dict()
    agree("pandas", pandas_way.backtest(data, one, cases.COSTS), ours.iloc[[pick]])

    def engine(configurations: pd.DataFrame) -> pd.DataFrame:
        return cases.engine(market, NumbaBackend(threads=1), configurations).metrics(configurations)

    runs: dict[tuple[str, int], Callable[[], object]] = {
        ("HedgeGrid, 16,384 configurations", len(large)): lambda: engine(large),
        ("HedgeGrid, the published 82", len(sweep)): lambda: engine(sweep),
        ("pandas, loop over Python floats", 1): lambda: pandas_way.backtest(data, one, cases.COSTS),
        ("pandas, loop over NumPy scalars", 1): lambda: pandas_way.backtest(data, one, cases.COSTS, floats=False),
    }
    vectorbt = vectorbt_way.load()
    note = "vectorbt is not installed: pip install 'hedgegrid[bench]'." if vectorbt is None else ""
    if vectorbt is not None:
        agree("vectorbt", vectorbt_way.backtest(vectorbt, data, sweep, cases.COSTS), ours)
        single = sweep.iloc[[pick]]
        runs["vectorbt, the published 82 as columns", len(sweep)] = lambda: vectorbt_way.backtest(
            vectorbt, data, sweep, cases.COSTS
        )
        runs["vectorbt, one call per configuration", 1] = lambda: vectorbt_way.backtest(
            vectorbt, data, single, cases.COSTS
        )
    each = {label: s / count for (label, count), s in best_seconds(runs, seconds=3.0).items()}
    fastest, small = list(each.values())[:2]
    steps = market.n_assets * market.n_bars
    return Table(
        "From prices to metrics, beside what it replaces",
        ("way", "CPU ms / configuration", "M bar-steps / CPU s", "HedgeGrid at 16,384", "HedgeGrid at 82"),
        tuple(
            (label, f"{s * 1e3:.3g}", rate(steps / s), times(s / fastest), times(s / small))
            for label, s in each.items()
        ),
        f"Same strategy, orders and fills: every metric of the others agrees with HedgeGrid's to 1e-9. HedgeGrid gives "
        f"{len(METRICS)} metrics and monthly blocks, the others 6 metrics. Without compile and import times. {note}".strip(),
    )


def agree(label: str, theirs: pd.DataFrame, ours: pd.DataFrame) -> None:
    """Raise unless every metric they have equals ours to `AGREEMENT`, relative."""
    far = np.abs(theirs.to_numpy() / ours[theirs.columns].to_numpy() - 1.0).max()
    if not far < AGREEMENT:
        raise AssertionError(f"{label}: metrics differ from HedgeGrid's by {far:.3g}, relative; {AGREEMENT} is allowed")
