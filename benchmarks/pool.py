"""A pool of workers: what a chunk and a configuration cost its driver, 1 to 4 real workers, 1 to 1,000 simulated ones."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from benchmarks import cases, pool_costs
from benchmarks.pool_costs import Sent
from benchmarks.table import Table
from benchmarks.virtual_fleet import Costs, Silent, VirtualFleet, seconds_to_run
from cluster.dispatch import WorkerPool
from cluster.ray_fleet import RayFleet
from cluster.worker import Task
from kernels.market import Market
from search.points import Part

WORKERS = (1, 2, 4)
WARM = 2_048  # configurations per worker, so that each has compiled and its speed is known
REAL = 131_072  # configurations that real workers compute
CROWDS = (1, 8, 64, 256, 512, 1_000)  # simulated workers
CONFIGURATIONS = 10**8
LINK = 10e9 / 8  # bytes per second of the driver's network, assumed
GPU_RATE = 1e5  # configurations per second of a GPU, assumed
SLOW = 10.0  # times slower, every second worker of a mixed pool


def measured(_: Market) -> Table:
    """What is paid per chunk and per configuration."""
    paid = _paid()
    rows = [
        (
            f"chunk of {sent.rows:,} configurations, sent and received",
            _micro(sent.thread),
            _micro(sent.cpu),
            _micro(sent.latency),
        )
        for sent in paid.sent
    ]
    rows += [
        ("a chunk in the pool's own loop", _micro(paid.dispatched), _micro(paid.dispatched), ""),
        ("each chunk still out, whenever Ray is asked", _micro(paid.asked), "", ""),
        ("a part committed, several at once", "", "", _micro(paid.kept[0])),
        (f"and each configuration of it ({paid.size} bytes)", "", "", _micro(paid.kept[1])),
        ("a configuration backtested, one thread of a worker", "", _micro(paid.backtest), ""),
        ("made, scored and written, there too", "", _micro(paid.beside), ""),
    ]
    return Table(
        "What a pool's driver and its workers pay, microseconds",
        ("", "driver's thread", "CPU of all threads", "from start to end"),
        tuple(rows),
        f"Real Ray on this machine, load {os.getloadavg()[0]:.1f} before; the least of {pool_costs.ROUNDS} rounds.",
    )


def real(market: Market) -> Table:
    """One to four workers of one thread each on this machine."""
    task = pool_costs.task(market)
    rows, first = [], 0.0
    for workers in WORKERS:
        wall, backtests, cpu = _run(task, workers)
        rate = REAL / wall
        first = first or rate
        rows.append(
            (
                f"{workers}",
                f"{wall:.1f}",
                f"{rate:,.0f}",
                f"{rate / first:.2f}x",
                f"{1 - backtests / wall / workers:.1%}",
                f"{cpu / wall:.1%}",
            )
        )
    return Table(
        f"{REAL:,} configurations on Ray workers of this machine, one thread each",
        (
            "workers",
            "wall, s",
            "configurations/s",
            "speed-up",
            "workers' time outside backtests",
            "driver's CPU of wall",
        ),
        tuple(rows),
        f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f} after; workers stand ready and have "
        "compiled when the clock starts.",
    )


def simulated(_: Market) -> Table:
    """The same pool over workers in virtual time, its driver's costs as measured."""
    paid = _paid()
    costs = replace(pool_costs.costs(paid.sent, paid.asked, paid.dispatched, paid.kept, paid.size), link=LINK)
    core = paid.backtest + paid.beside
    gpu = 1.0 / GPU_RATE + paid.beside
    return simulation(
        {
            f"a core of this machine ({1 / core:,.0f}/s)": (core, core),
            f"GPU-class ({1 / gpu:,.0f}/s, assumed)": (gpu, gpu),
            f"half GPU-class, half {SLOW:g}x slower": (gpu, SLOW * gpu),
        },
        costs,
        CROWDS,
        CONFIGURATIONS,
    )


def simulation(
    kinds: dict[str, tuple[float, float]], costs: Costs, crowds: Sequence[int], configurations: int
) -> Table:
    """The table of all sizes of pools of workers with these seconds per configuration, taken in turns."""
    rows = []
    for kind, seconds in kinds.items():
        for workers in crowds:
            each = [seconds[i % len(seconds)] for i in range(workers)]
            fleet = VirtualFleet(each, costs)
            wall = seconds_to_run(fleet, configurations)
            efficiency = min(
                1.0, configurations / sum(1.0 / one for one in each) / wall
            )  # chunks take 5 % more or less
            shares = {"driver": fleet.driver / wall, "link": fleet.link / wall, "disk": fleet.disk / wall}
            rows.append(
                (
                    kind,
                    f"{workers:,}",
                    f"{wall:,.1f}",
                    f"{efficiency:.1%}",
                    *(f"{share:.0%}" for share in shares.values()),
                    _bound(efficiency, shares),
                )
            )
    return Table(
        f"{configurations:,} configurations on simulated workers",
        ("workers are", "workers", "wall, s", "efficiency", "driver busy", "link busy", "disk busy", "bounded by"),
        tuple(rows),
        "The real WorkerPool in virtual time: efficiency is against workers that never wait. The driver's thread "
        f"pays {_micro(costs.chunk)} us per chunk, {costs.row * 1e9:,.0f} ns per configuration and {costs.asked * 1e6:.2f} us "
        f"per chunk out whenever it asks; its disk {_micro(costs.part)} us per part and {costs.part_row * 1e9:,.0f} ns per "
        f"configuration of {costs.size:,.0f} bytes; its link carries {costs.link * 8e-9:g} Gb/s (assumed).",
    )


def _bound(efficiency: float, shares: dict[str, float]) -> str:
    most = max(shares, key=lambda name: shares[name])
    if efficiency > 0.98:
        return "workers"
    return most if shares[most] > 0.8 else "first and last chunks"


@dataclass(frozen=True)
class Paid:
    """Everything that is measured; seconds."""

    sent: list[Sent]
    asked: float
    dispatched: float
    kept: tuple[float, float]
    backtest: float
    beside: float
    size: int


@cache
def _paid() -> Paid:
    """Once for all tables."""
    task = pool_costs.task(cases.market()[0])
    backtest, beside, size = pool_costs.worker(task)
    return Paid(
        pool_costs.sending(task, size),
        pool_costs.asking(),
        pool_costs.dispatching(),
        pool_costs.keeping(size),
        backtest,
        beside,
        size,
    )


def _run(task: Task, workers: int) -> tuple[float, float, float]:
    """Wall seconds of `REAL` configurations, the workers' seconds of backtests, and the driver's CPU seconds."""
    fleet = RayFleet([task], workers=workers, gpus=0, threads=1, address=None)
    pool = WorkerPool([task], fleet, workers)
    try:
        while pool.ready < workers:  # each compiles, or reads what was compiled
            _stream(pool, WARM * workers)
        _stream(pool, WARM * workers)
        began, used = time.perf_counter(), time.process_time()
        backtests = _stream(pool, REAL)
        return time.perf_counter() - began, backtests, time.process_time() - used
    finally:
        pool.close()


def _stream(pool: WorkerPool, configurations: int) -> float:
    """Run so many; the workers' seconds of backtests."""
    pool.stream(0, [range(configurations)], configurations)
    seconds = 0.0
    while pool.busy:
        _, part = pool.result(Silent())
        assert isinstance(part, Part)
        seconds += part.seconds
    return seconds


def _micro(seconds: float) -> str:
    value = seconds * 1e6
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
