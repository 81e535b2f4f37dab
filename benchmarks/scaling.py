"""How cost grows with configurations and bars, and what planes that depend on searched parameters add."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np

from benchmarks import cases
from benchmarks.table import Table, rate, times
from benchmarks.timing import best_seconds
from kernels.backends.numba import NumbaBackend
from kernels.launch import Launch
from kernels.market import Market

COUNTS = (1_024, 4_096, 16_384, 65_536)
PARTS = {"a quarter": 4, "half": 2, "all": 1}


def cost(market: Market) -> Table:
    """CPU seconds of `Engine.metrics` against configurations and bars, and each against proportion."""
    bars = {name: market.n_bars // part for name, part in PARTS.items()}
    sizes = [*product(COUNTS, ["all"]), *product([COUNTS[1]], ["a quarter", "half"])]
    runs = {}
    for count, part in sizes:
        sweep = cases.hedges(count)
        engine = cases.engine(cases.cut(market, bars[part]), NumbaBackend(threads=1), sweep)
        runs[count, part] = partial(engine.metrics, sweep)
    seconds = best_seconds(runs, seconds=3.0)
    work = {(count, part): count * bars[part] for count, part in sizes}
    unit = seconds[COUNTS[1], "all"] / work[COUNTS[1], "all"]
    return Table(
        "Cost against configurations and bars",
        ("configurations", "bars", "CPU s", "M bar-steps / CPU s", "of proportional cost"),
        tuple(
            (
                f"{c:,}",
                f"{bars[p]:,}",
                f"{s:.3g}",
                rate(work[c, p] * market.n_assets / s),
                f"{s / work[c, p] / unit:.2f}",
            )
            for (c, p), s in seconds.items()
        ),
        "Numba, 1 thread, Engine.metrics; proportional to the row of 4,096 configurations and all bars.",
    )


def banks(market: Market) -> Table:
    """A search over lookback and volatility window beside one over hedge parameters, by the order of configurations."""
    count = 16_384
    hedges, windows = cases.hedges(count), cases.windows(count)
    near = windows.assign(lookback=windows.lookback // 12 * 12 + 6, vol_window=windows.vol_window // 12 * 12 + 6)
    launches = {"hedge parameters": cases.launch(market, hedges)}
    for name, sweep in (("10 x 10 windows", near), ("115 x 115 windows", windows)):
        ordered, blocks = cases.launch(market, sweep)
        launches[f"{name}, sorted by them"] = ordered, blocks
        launches[f"{name}, in random order"] = shuffled(ordered), blocks
    backend = NumbaBackend(threads=1)
    seconds = best_seconds({name: partial(backend.run, *pair) for name, pair in launches.items()}, seconds=3.0)
    steps = count * market.n_assets * market.n_bars
    fastest = seconds["hedge parameters"]
    rows = [(name, rate(steps / s), times(s / fastest)) for name, s in seconds.items()]
    engines = {
        f"{name}, Engine.metrics": partial(cases.engine(market, backend, sweep).metrics, sweep)
        for name, sweep in (("hedge parameters", hedges), ("10 x 10 windows", near), ("115 x 115 windows", windows))
    }
    rows += [(name, rate(steps / s), times(s / fastest)) for name, s in best_seconds(engines, seconds=3.0).items()]
    return Table(
        f"What planes that depend on searched parameters cost, {count:,} configurations",
        ("searched", "M bar-steps / CPU s", "cost of hedge parameters"),
        tuple(rows),
        "Numba, 1 thread. The first rows are the kernel alone; Engine.metrics sorts, and computes each slice once.",
    )


def shuffled(launch: Launch) -> Launch:
    """The same configurations in random order."""
    order = np.random.default_rng(4).permutation(launch.n_configurations)
    return replace(
        launch,
        parameters={n: v[order] for n, v in launch.parameters.items()},
        banks={n: (bank, index[order]) for n, (bank, index) in launch.banks.items()},
    )
