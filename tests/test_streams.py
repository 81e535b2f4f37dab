"""Studies whose points are known beforehand: trials go out as numbers and come back as parts, whoever computes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from studies import Watch, on_ray, same, small_plan

from benchmarks.virtual_fleet import Costs, VirtualFleet, seconds_to_run
from cluster import pool, ray_session
from cluster.commits import AT_ONCE, Commits
from cluster.plan import Plan
from cluster.pool import LocalPool, Pool, PoolError
from cluster.work import HOPELESS, Hope, Stream
from cluster.worker import Worker
from kernels import STRATEGIES
from kernels.errors import InputError
from search import space as spaces
from search.manifest import Manifest
from search.parts import Parts
from search.periods import is_result, only
from search.points import Part, scored
from search.space import Space


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return small_plan(tmp_path, "tracking.enabled=false", "search.sampler=sobol", "search.trials=300", *RANGES)


RANGES = (
    "strategy.search.hedge_threshold={low: -0.3, high: -0.05}",
    "strategy.search.hedge_strength={low: 0, high: 1}",
)


def rows_of(parts: list[Part]) -> pd.DataFrame:
    """The trials of parts in any order."""
    tables = [pq.read_table(pa.BufferReader(part.file)).to_pandas() for part in sorted(parts)]
    return pd.concat(tables, ignore_index=True)


def streamed(own: Pool, *trials: range, most: int) -> list[Part]:
    own.stream(0, trials, most)
    parts = []
    while own.busy:
        _, part = own.result(Watch())
        assert isinstance(part, Part)
        parts.append(part)
    return parts


def test_parts_are_what_a_batch_would_have_given(plan: Plan) -> None:
    parts = streamed(LocalPool([plan.task]), range(40, 90), range(200, 300), most=32)
    assert [part.rows for part in sorted(parts)] == [32, 18, 32, 32, 32, 4]
    own = LocalPool([plan.task])
    for first, n in ((40, 50), (200, 100)):
        rows = plan.space.sobol(n, plan.config.search.seed, first)
        own.submit(0, rows)
        _, metrics = own.result(Watch())
        assert isinstance(metrics, pd.DataFrame)
        expected = scored(plan.space, plan.targets, rows, metrics)
        expected.insert(0, "trial", np.arange(first, first + n))
        same(rows_of([p for p in parts if first <= p.first < first + n]), expected)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=4), st.integers(1, 40), st.lists(st.integers(1, 60)))
def test_every_trial_is_cut_once(lengths: list[int], most: int, asked: list[int]) -> None:
    ends = np.cumsum(np.array(lengths) + 7)
    trials = [range(int(end) - n, int(end)) for end, n in zip(ends, lengths, strict=True)]
    stream, cut = Stream([], 0, Hope(), trials, most), list[int]()
    for rows in asked + [most] * sum(lengths):
        if stream.left:
            first, end = stream.cut(rows)
            assert 0 < end - first <= min(rows, most)
            cut += range(first, end)
    assert cut == [number for each in trials for number in each]


class Broken(Worker):
    """A worker that raises on the first trials, up to a number."""

    until = 0

    def part(self, task: int, first: int, end: int) -> Part:
        if first < self.until:
            raise ZeroDivisionError("a drawdown of nothing")
        return super().part(task, first, end)


def test_what_fails_is_kept_once_something_was_computed(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "Worker", Broken)
    monkeypatch.setattr(Broken, "until", 5 * (HOPELESS - 1))
    rows = rows_of(streamed(LocalPool([plan.task]), range(100), most=5))
    assert list(rows["trial"]) == list(range(100))
    assert (rows["status"] == "quarantined").equals(rows["trial"] < Broken.until)


@pytest.mark.parametrize("trials", [300, 20])
def test_a_stream_of_which_nothing_can_be_computed_ends_the_run(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, trials: int
) -> None:
    monkeypatch.setattr(pool, "Worker", Broken)
    monkeypatch.setattr(Broken, "until", 300)
    with pytest.raises(PoolError, match=f"nothing could be computed of a batch of {min(trials, 5 * HOPELESS)} conf"):
        streamed(LocalPool([plan.task]), range(trials), most=5)


def test_a_part_that_was_changed_on_its_way_is_noticed(plan: Plan, tmp_path: Path) -> None:
    (part,) = streamed(LocalPool([plan.task]), range(20), most=20)
    data = bytearray(part.file)
    data[len(data) // 2] ^= 1
    kept = Parts(Manifest(tmp_path / "kept"), lambda first, n: pd.DataFrame(), trials=20, batch=20)
    kept.keep(part.first, part.rows, pa.py_buffer(bytes(data)), part.sha256)
    with pytest.raises(InputError, match=r"part-000000000.parquet is damaged \(its SHA-256 is not the one"):
        list(kept.tables())
    kept.keep(part.first, part.rows, part.file, part.sha256)
    same(next(kept.tables()), only(is_result, rows_of([part])))


def test_what_is_withdrawn_is_not_computed(plan: Plan) -> None:
    own = LocalPool([plan.task])
    own.stream(0, [range(300)], 30)
    own.result(Watch())
    own.withdraw()
    assert not own.busy


def test_an_error_of_the_disk_is_heard() -> None:
    kept: list[int] = []

    def keep(part: Part) -> None:
        if part.first == 3:
            raise OSError("no space left")
        kept.append(part.first)

    commits = Commits(keep)
    with pytest.raises(OSError, match="no space left"):
        for first in range(4 + AT_ONCE):
            commits.put(Part(first, 1, pa.py_buffer(b""), ""))
    commits.close()
    assert set(kept) >= {0, 1, 2}


@pytest.mark.parametrize("start", [1, 2, 65_535, 65_536, 3_000_001])
def test_a_sobol_point_made_by_itself_is_scipys(monkeypatch: pytest.MonkeyPatch, start: int) -> None:
    space = Space.of(
        STRATEGIES["tsmom_hedge"],
        search={name: {"low": 0.5, "high": 1.0} for name in ("hedge_strength", "vol_target", "max_leverage")},
    )
    monkeypatch.setattr(spaces, "FAR", start)
    walked = space.sobol(100, 7, start)
    monkeypatch.setattr(spaces, "FAR", 0)
    same(space.sobol(100, 7, start), walked)


# ---- many workers, in virtual time


@pytest.mark.parametrize("speeds", [(1, 10, 100), (1, 1, 1, 50), (3, 7)])
def test_slow_and_fast_workers_finish_within_a_chunk_of_each_other(speeds: tuple[int, ...]) -> None:
    fleet = VirtualFleet([1e-2 / speed for speed in speeds], Costs(chunk=1e-3, latency=2e-3))
    wall = seconds_to_run(fleet, 500_000)
    assert max(fleet.last) - min(fleet.last) < fleet.longest < 5.0
    assert wall < 1.05 * 500_000 / (100 * sum(speeds))


def test_a_busy_driver_does_not_misjudge_its_workers() -> None:
    """By its own clock, which hears of two chunks at once, it did: 60,000 chunks, most of a single row, and not done."""
    fleet = VirtualFleet([65e-6] * 64, Costs(chunk=5e-3, row=0.235e-6, latency=1.4e-3))
    seconds_to_run(fleet, 100_000_000)
    assert fleet.sent < 64 * 100  # 2 s of work each are 3,250


# ---- one market on a node


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A private cluster of 2 cores that believes in 2 devices."""
    ray = pytest.importorskip("ray")
    ray_session.start_ray(ray, None, workers=2, gpus=1, threads=1)
    yield ray
    ray.shutdown()


def test_workers_of_a_node_share_its_market(ray: Any, plan: Plan) -> None:
    """Their prices are views of the node's object store: read only, not their own, and the same memory."""
    shared = on_ray(plan.task, workers=2)
    parts = streamed(shared, range(300), most=50)

    def prices(worker: Worker) -> tuple[bool, bool, bool]:
        close = worker._tasks[0].market.close  # type: ignore[union-attr]
        planes = worker._engines.get(0)
        copied = planes is not None and any(
            plane.flags.owndata and plane.shape == close.shape and (plane == close).all()
            for plane in planes._store.shared.values()
        )
        return close.flags.owndata, close.flags.writeable, copied

    ray.cloudpickle.register_pickle_by_value(__import__(__name__))
    found = ray.get([actor.__ray_call__.remote(prices) for actor in shared._fleet._actors.values()])  # type: ignore[attr-defined]
    shared.close()
    assert found == [(False, False, False)] * 2
    same(rows_of(parts), rows_of(streamed(LocalPool([plan.task]), range(300), most=300)))


def test_every_device_gets_a_worker_that_sees_no_other(ray: Any, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_gpus", lambda: 2)
    monkeypatch.setattr(pool, "cores", lambda: 2)
    shared = pool.open_pool([replace(plan.task, backend="cuda")], plan.config.compute)
    actors = shared._fleet._actors.values()  # type: ignore[attr-defined]
    seen = ray.get([actor.__ray_call__.remote(lambda _: os.environ["CUDA_VISIBLE_DEVICES"]) for actor in actors])
    shared.close()
    assert sorted(seen) == ["0", "1"]
