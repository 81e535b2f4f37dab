"""What a pool's driver and its workers pay per chunk and per configuration, measured on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks import cases
from benchmarks.virtual_fleet import Costs, Silent, VirtualFleet, seconds_to_run
from cluster.commits import Commits
from cluster.dispatch import Chunk, Done, Ready
from cluster.ray_fleet import RayFleet
from cluster.worker import Task, Worker, from_arrow, to_arrow
from kernels import STRATEGIES
from kernels.market import Market
from search.manifest import Manifest
from search.parts import Parts
from search.points import Part, Points
from search.space import Space
from search.targets import Targets

STRATEGY = STRATEGIES["tsmom_hedge"]
SEARCHED = {"hedge_threshold": {"low": -0.5, "high": -0.01}, "hedge_strength": {"low": 0.0, "high": 1.0}}
SIZES = (0, 1_000, 10_000, 100_000)  # configurations in a chunk
SAMPLE = 16_384  # that a worker's own costs are measured on
CROWD = 1_000  # answers that Ray is asked about at once
ROUNDS = 5
PARTS = 16  # committed in a row
NO_DIGEST = "0" * 64  # of bytes that nobody reads


@dataclass(frozen=True)
class Sent:
    """A chunk of so many rows sent and received: seconds from one to the other, and of the driver's time per chunk in
    its own thread and in all."""

    rows: int
    latency: float
    thread: float
    cpu: float


class Echo(Worker):
    """A worker that computes nothing: its parts are as large as real ones."""

    def part(self, task: int, first: int, end: int) -> Part:
        """Bytes that no Parquet reader knows. A chunk of task n is answered with n bytes per row."""
        return Part(first, end - first, pa.py_buffer(np.zeros(task * (end - first), np.uint8)), NO_DIGEST)


def task(market: Market) -> Task:
    """The published market's study of two hedge parameters, as workers are given it."""
    space = Space.of(STRATEGY, search=SEARCHED)
    targets = Targets.of(None, metrics=STRATEGY.metrics)
    points = Points(space.constants, space.dimensions, targets, "sobol", 1)
    return Task(
        market, STRATEGY.name, None, cases.COSTS, "numba", "float64", frozenset(space.none_everywhere), points=points
    )


def best(run: Callable[[], float], rounds: int = ROUNDS) -> float:
    """The least of several measurements."""
    return min(run() for _ in range(rounds))


def worker(made: Task) -> tuple[float, float, int]:
    """CPU seconds of a configuration in the backtest and beside it (point, Arrow, score, Parquet, SHA-256), on one thread, and
    its bytes."""
    points, rule, engine = made.points, made.rule, made.engine(1)
    assert points is not None
    rows = points.configurations(rule, 0, SAMPLE)
    metrics = engine.metrics(rows)
    part = points.part(rule, 0, rows, metrics)

    def backtest() -> float:
        began = time.process_time()
        engine.metrics(rows)
        return time.process_time() - began

    def beside() -> float:
        began = time.process_time()
        from_arrow(to_arrow(points.configurations(rule, 0, SAMPLE)))
        points.part(rule, 0, rows, from_arrow(to_arrow(metrics)))
        return time.process_time() - began

    return best(backtest) / SAMPLE, best(beside) / SAMPLE, part.file.size // SAMPLE


def sending(made: Task, size: int) -> list[Sent]:
    """Chunks of several sizes sent to an idle Ray worker and back, `size` bytes a row."""
    fleet = RayFleet([made] * 2, workers=1, gpus=0, threads=1, address=None, worker=Echo)
    try:
        number = fleet.start()
        while not any(isinstance(answer, Ready) for answer in fleet.wait(60.0)):
            pass
        return [_sent(fleet, number, rows, size) for rows in SIZES]
    finally:
        fleet.close()


def _sent(fleet: RayFleet, number: int, rows: int, size: int) -> Sent:
    chunks = 200 if rows < 10_000 else 20
    latency, thread, cpu = np.inf, np.inf, np.inf
    for _ in range(ROUNDS):
        clocks = time.perf_counter(), time.thread_time(), time.process_time()
        for i in range(chunks):
            fleet.send(number, Chunk(size, i * rows, (i + 1) * rows), None)
            while not (answers := fleet.wait(60.0)):  # an idle worker first gives a sign of life
                pass
            assert isinstance(answers[0], Done), answers
        took = time.perf_counter(), time.thread_time(), time.process_time()
        latency, thread, cpu = (
            min(least, (after - before) / chunks)
            for least, before, after in zip((latency, thread, cpu), clocks, took, strict=True)
        )
    return Sent(rows, latency, thread, cpu)


def asking() -> float:
    """The driver's seconds per answer still out when Ray is asked for one."""
    import ray

    @ray.remote(num_cpus=0)
    def later() -> None:
        time.sleep(3600.0)

    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        out: list[Any] = [ray.put(None), *(later.options(num_cpus=9).remote() for _ in range(CROWD))]

        def once() -> float:
            began = time.thread_time()
            ray.wait(out, num_returns=1, timeout=1.0)
            return time.thread_time() - began

        return best(once, 20) / CROWD
    finally:
        ray.shutdown()


def dispatching() -> float:
    """CPU seconds of the pool's own loop per chunk: 64 workers of a fleet that costs nothing."""
    fleet = VirtualFleet([1e-4] * 64, Costs())
    chunks = 0

    class Counting(Silent):
        def advanced(self, configurations: int) -> None:
            nonlocal chunks
            chunks += 1

    began = time.process_time()
    seconds_to_run(fleet, 20_000_000, Counting())
    return (time.process_time() - began) / chunks


def keeping(size: int) -> tuple[float, float]:
    """Seconds of the disk to commit a part as the driver does, several at once: per part, and per configuration of
    `size` bytes."""
    with TemporaryDirectory(dir=".") as folder:
        parts = Parts(Manifest(Path(folder)), lambda first, n: _none(), trials=10**9, batch=1)

        def each(rows: int) -> float:
            part = Part(0, rows, pa.py_buffer(np.random.default_rng(0).bytes(size * rows)), NO_DIGEST)
            commits = Commits(lambda part: parts.keep(*part[:4]))
            began = time.perf_counter()
            for first in range(PARTS):
                commits.put(part._replace(first=first))
            commits.settle()
            seconds = time.perf_counter() - began
            commits.close()
            return seconds / PARTS

        small, large = (best(partial(each, rows)) for rows in (SIZES[1], SIZES[-1]))
    row = max(0.0, (large - small) / (SIZES[-1] - SIZES[1]))
    return max(0.0, small - row * SIZES[1]), row


def _none() -> Any:
    raise AssertionError("nothing is asked for")


def costs(sent: Sequence[Sent], asked: float, dispatched: float, kept: tuple[float, float], size: int) -> Costs:
    """What the simulation charges the driver."""
    empty, large = sent[0], sent[-1]
    return Costs(
        chunk=empty.thread + dispatched,
        row=max(0.0, large.thread - empty.thread) / large.rows,
        part=kept[0],
        part_row=kept[1],
        asked=asked,
        latency=empty.latency,
        size=size,
    )
