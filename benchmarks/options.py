"""What `option_hedge` costs on many paths: beside a loop written by hand, from paths to medians, and in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import pandas as pd

from benchmarks import native, option_case
from benchmarks.option_loop import LoopBackend
from benchmarks.table import Table, rate, times
from benchmarks.timing import best_seconds
from kernels.backends.numba import NumbaBackend
from kernels.backends.numpy import NumpyBackend
from kernels.launch import Backend
from kernels.market import FloatArray
from kernels.metrics import aggregate, measure
from kernels.option_market import OptionMarket
from kernels.planes import PlaneStore
from kernels.strategy import Plane

NUMPY = "NumPy over configurations"
BY_HAND = "C++ by hand, 1 thread"
SAME = 1e-12  # of a sum's largest value: 61 bars of about 130 operations, each rounded to 2**-53, are 9e-13
SLICE = 256  # configurations, and
SLICE_PATHS = 100  # paths of the launch that every backend is timed on
ROUNDS = 100  # of rivals that take hundredths of a second: a few of them meet an idle moment of a shared machine
TICKERS = 5
WINDOWS = (1, 10, 100)


def rivals() -> dict[str, Backend]:
    """NumPy, the meaning, comes first."""
    found: dict[str, Backend] = {
        NUMPY: NumpyBackend(),
        "Numba, 1 thread": NumbaBackend(threads=1),
        "Numba, 2 threads": NumbaBackend(threads=2),
    }
    if native.COMPILER is not None:
        found |= {BY_HAND: LoopBackend(), "C++ by hand, 2 threads": LoopBackend(threads=2)}
        found |= {"C++ by hand, fused multiply-add": LoopBackend(fused=True)}
    return found


def agree(label: str, theirs: FloatArray, meaning: FloatArray) -> None:
    """Refuse to time what is not the same work: block statistics (F, B, S * C) that differ by more than rounding."""
    scale = np.abs(meaning).max(axis=(1, 2), keepdims=True)
    apart = float((np.abs(theirs - meaning) / np.where(scale > 0.0, scale, 1.0)).max())
    if not apart <= SAME:
        raise AssertionError(f"{label}: block statistics differ from NumPy's by {apart:.1e} of their size")


def _timed(runs: dict[str, Callable[[], object]], clock: Callable[[], float]) -> dict[str, float]:
    """Least seconds of each; NumPy, a hundred times as slow as the others, runs by itself and twice."""
    fast = {label: run for label, run in runs.items() if label != NUMPY}
    return best_seconds({NUMPY: runs[NUMPY]}, at_most=2, clock=clock) | best_seconds(fast, at_most=ROUNDS, clock=clock)


def kernels(made: OptionMarket) -> Table:
    """One launch per backend, the results compared, then timed on both clocks."""
    few = option_case.paths(SLICE_PATHS)
    launch, blocks = option_case.launch(few, option_case.spread(SLICE))
    backends = rivals()
    meaning = backends[NUMPY].run(launch, blocks)
    for label, backend in backends.items():
        agree(label, backend.run(launch, blocks), meaning)
    runs: dict[str, Callable[[], object]] = {n: partial(b.run, launch, blocks) for n, b in backends.items()}
    steps = option_case.path_steps(few, SLICE)
    cpu, wall = (_timed(runs, clock) for clock in (time.process_time, time.perf_counter))
    by_hand = cpu.get(BY_HAND, float("nan"))
    return Table(
        f"One launch, the kernel alone: {SLICE} configurations on {SLICE_PATHS} paths of {few.n_bars} bars",
        ("backend", "M path-steps / CPU s", "M path-steps / s", "of NumPy", "CPU time of the C++ loop's"),
        tuple(
            (label, rate(steps / s), rate(steps / wall[label]), times(cpu[NUMPY] / s), times(s / by_hand))
            for label, s in cpu.items()
        ),
        f"Block statistics agree with NumPy's to {SAME:g} of their size. C++: option_loop.cpp, g++ {' '.join(native.FLAGS)}.",
    )


@dataclass(frozen=True)
class Split:
    """Seconds by the clock from nothing to the metrics of every configuration over its paths."""

    market: float = 0.0  # paths, marks and greeks
    planes: float = 0.0  # of the strategy
    kernel: float = 0.0
    metrics: float = 0.0  # of every path
    medians: float = 0.0  # over paths, and the table

    @property
    def total(self) -> float:
        return float(sum(getattr(self, part.name) for part in fields(self)))

    def __add__(self, other: Split) -> Split:
        return Split(*(getattr(self, part.name) + getattr(other, part.name) for part in fields(self)))


PARTS = tuple(part.name for part in fields(Split))


def split(backend: Backend, configurations: pd.DataFrame, paths: int, seed: int = 0) -> Split:
    """The steps of `Engine.metrics`, one after the other, launch by launch."""
    start = time.perf_counter()
    made = option_case.paths(paths, seed)
    market = time.perf_counter() - start
    start = time.perf_counter()
    engine = option_case.engine(made, backend, configurations)
    planes = time.perf_counter() - start
    kernel = metrics = medians = 0.0
    stream = engine.stream(configurations)
    while True:
        start = time.perf_counter()
        found = next(stream, None)
        kernel += time.perf_counter() - start
        if found is None:
            return Split(market, planes, kernel, metrics, max(medians - metrics, 0.0))
        start = time.perf_counter()
        measure(found[1], made.bars_per_year)
        metrics += time.perf_counter() - start
        start = time.perf_counter()
        aggregate(found[1], made.bars_per_year, paths)  # measures again, which is taken off
        medians += time.perf_counter() - start


def once(run: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds and seconds by the clock of one run."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - cpu, time.perf_counter() - wall


def whole(made: OptionMarket) -> Table:
    """`Engine.metrics` on every backend, and where its time goes."""
    grid = option_case.grid()
    rows = []
    for label, backend in rivals().items():
        slow = isinstance(backend, NumpyBackend)
        configurations, paths = (option_case.spread(SLICE), SLICE_PATHS) if slow else (grid, made.n_scenarios)
        engine = option_case.engine(option_case.paths(paths), backend, configurations)
        engine.metrics(configurations.head(1))  # compiled, or read from the cache
        rounds = [once(partial(engine.metrics, configurations)) for _ in range(2)]
        cpu, wall = min(c for c, _ in rounds), min(w for _, w in rounds)
        spent = split(backend, configurations, paths)
        steps = len(configurations) * paths * made.n_bars
        rows.append(
            (
                label,
                f"{len(configurations):,} x {paths:,}",
                rate(steps / cpu),
                rate(steps / wall),
                *(f"{getattr(spent, part) / spent.total:.0%}" for part in PARTS),
            )
        )
    return Table(
        "Engine.metrics: the kernel, metrics of every path, medians over paths",
        ("backend", "configurations x paths", "M path-steps / CPU s", "M path-steps / s", *PARTS),
        tuple(rows),
        "Shares of the time by the clock, with market and planes made once; the rates are without these two.",
    )


def tickers(made: OptionMarket) -> Table:
    """The whole of a study: five tickers, the grid, a thousand paths, 2 threads."""
    backend, grid = NumbaBackend(threads=2), option_case.grid()
    option_case.engine(made, backend, grid).metrics(grid.head(64))  # compiled, or read from the cache

    def study() -> None:
        for seed in range(TICKERS):
            option_case.engine(option_case.paths(made.n_scenarios, seed), backend, grid).metrics(grid)

    cpu, wall = once(study)
    spent = sum((split(backend, grid, made.n_scenarios, seed) for seed in range(TICKERS)), Split())
    steps = TICKERS * option_case.path_steps(made, len(grid))
    return Table(
        f"{TICKERS} tickers x {len(grid):,} configurations x {made.n_scenarios:,} paths x {made.n_bars} bars, from nothing",
        ("backend", "path-steps", "CPU s", "s", *(f"{part}, s" for part in PARTS)),
        (
            (
                "Numba, 2 threads",
                f"{steps:.3g}",
                f"{cpu:.1f}",
                f"{wall:.1f}",
                *(f"{getattr(spent, part):.2f}" for part in PARTS),
            ),
        ),
        "One ticker after another; the parts, in seconds by the clock, are of a second pass. Half the CPU seconds is what two "
        "idle cores would need if both always had work.",
    )


def planes(made: OptionMarket) -> Table:
    """What marks, greeks and the strategy's planes cost, and that every distinct window is computed once."""
    computed: list[int] = []  # slices, call by call

    def counted(plane: Plane) -> Plane:
        def compute(market: OptionMarket, *keys: FloatArray) -> FloatArray:
            computed.append(len(keys[0]))
            return np.asarray(plane.compute(market, *keys))

        return plane._replace(compute=compute) if plane.keys else plane

    strategy = replace(option_case.STRATEGY, planes=tuple(counted(p) for p in option_case.STRATEGY.planes))
    configurations = len(option_case.grid())
    runs: dict[str, Callable[[], object]] = {
        "paths, marks, greeks": lambda: option_case.paths(made.n_scenarios),
        "planes of the strategy": lambda: PlaneStore(made, strategy, option_case.COSTS),
    }
    found = [(label, "", seconds) for label, seconds in best_seconds(runs, seconds=2).items()]
    for count in WINDOWS:
        asked = {"vol_window": np.resize(np.linspace(5, 120, count).round(), configurations)}
        store = PlaneStore(made, strategy, option_case.COSTS)

        def banks(store: PlaneStore = store, asked: dict[str, FloatArray] = asked) -> None:
            store.read_by(asked)

        for label in ("", ", asked for again"):
            computed.clear()
            cpu, _ = once(banks)
            found.append((f"vol_window, distinct: {count}{label}", str(sum(computed)), cpu))
    steps = made.n_scenarios * made.n_bars
    return Table(
        f"Planes: {made.n_scenarios:,} paths of {made.n_bars} bars, {configurations:,} configurations",
        ("planes", "slices computed", "CPU ms", "CPU ns / (path x bar)"),
        tuple((label, slices, f"{s * 1e3:.0f}", f"{s / steps * 1e9:.0f}") for label, slices, s in found),
        f"The strategy has {sum(bool(p.keys) for p in strategy.planes)} planes per window.",
    )
