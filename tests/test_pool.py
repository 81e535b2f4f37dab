"""Pools: the same study on any number of workers, with some of them killed on the way, on any cluster."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from studies import LEARNING, Watch, on_ray, run_one, same, small_plan

from cluster import chunks, dispatch, output, pool, ray_fleet, ray_session, running
from cluster.dispatch import Limits, WorkerPool
from cluster.plan import Plan
from cluster.pool import LocalPool, Pool, PoolError, open_pool
from cluster.pool import Watch as PoolWatch
from cluster.ray_fleet import RayFleet
from cluster.worker import Worker
from kernels.errors import InputError

CHUNK = 64  # rows, so that a few hundred configurations are many chunks


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A private cluster of 4 cores that the pools of this module share: Ray takes seconds to start."""
    ray = pytest.importorskip("ray")
    ray_session.start_ray(ray, None, workers=4, gpus=0, threads=1)
    yield ray
    ray.shutdown()


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return small_plan(tmp_path, "tracking.enabled=false")


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "FIRST_ROWS", CHUNK)
    monkeypatch.setattr(chunks, "MOST_ROWS", CHUNK)


def backtest(shared: Pool, rows: pd.DataFrame, watch: PoolWatch | None = None) -> pd.DataFrame:
    """One batch of a pool's first task."""
    shared.submit(0, rows)
    assert shared.busy
    task, metrics = shared.result(watch or Watch())
    assert (task, shared.busy) == (0, False)
    return metrics


def actors(shared: Pool) -> list[Any]:
    """The pool's workers as Ray knows them."""
    assert isinstance(shared, WorkerPool)
    assert isinstance(shared._fleet, RayFleet)
    return list(shared._fleet._actors.values())


def pids(ray: Any, shared: Pool) -> list[int]:
    """The processes of a pool's workers, as soon as all stand ready."""
    found: list[int] = ray.get([actor.__ray_call__.remote(lambda _: os.getpid()) for actor in actors(shared)])
    return found


# ---- the same numbers anywhere


def test_numbers_do_not_depend_on_the_workers(ray: Any, small_chunks: None, tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "compute.backend=auto", "market.bars=120", "tracking.enabled=false")
    rows = plan.space.grid_rows(0, 12).sample(500, replace=True, random_state=1, ignore_index=True)
    rows["lookback"] = rows.index % 7 + 10  # lanes of one kernel that read different slices of a bank
    alone = backtest(LocalPool([plan.task]), rows)
    for workers in (1, 2, 4):
        shared = on_ray(plan.task, workers=workers)
        pids(ray, shared)  # all of them stand ready, so that each gets its part
        same(backtest(shared, rows), alone)
        shared.close()


@pytest.mark.parametrize("overrides", [("search.sampler=sobol", "search.trials=300", "search.batch=150"), LEARNING])
def test_a_study_is_the_same_on_one_worker_or_four(
    ray: Any, small_chunks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...]
) -> None:
    monkeypatch.setattr(output, "draw", lambda *_: ())
    tables = []
    for compute in ("{backend: numpy}", *(f"{{backend: numpy, pool: ray, workers: {n}}}" for n in (1, 2, 4))):
        folder = tmp_path / str(len(tables))
        folder.mkdir()
        outcome = run_one(
            small_plan(folder, "market.bars=120", "tracking.enabled=false", f"compute={compute}", *overrides)
        )
        tables.append(pd.read_parquet(outcome.folder / "configs.parquet"))
    for table in tables[1:]:
        same(table, tables[0])


def test_every_configuration_is_counted_once(ray: Any, small_chunks: None, plan: Plan) -> None:
    rows = plan.space.grid_rows(0, 12).sample(300, replace=True, random_state=1, ignore_index=True)
    watch = Watch()
    shared = on_ray(plan.task, workers=2)
    backtest(shared, rows, watch)
    shared.close()
    assert watch.configurations == len(rows)


def test_mlflow_is_told_what_a_study_uses_of_its_cluster(
    ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient  # here: it takes seconds to import

    monkeypatch.setattr(output, "draw", lambda *_: ())
    monkeypatch.setattr(dispatch, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(dispatch, "USE_SECONDS", 0.0)
    monkeypatch.setattr(running, "watched", partial(running.watched, every=0.1, first=0.1))
    plan = small_plan(tmp_path, "market.bars=120", "compute={backend: numpy, pool: ray, workers: 2}")
    run_one(plan)
    client = MlflowClient(tracking_uri=plan.config.tracking.uri)
    experiment = client.get_experiment_by_name("hedgegrid/tsmom_hedge")
    assert experiment is not None
    (run,) = (r for r in client.search_runs([experiment.experiment_id]) if "mlflow.parentRunId" not in r.data.tags)
    used = {name: run.data.metrics[f"system/ray_{name}"] for name in ("workers", "nodes", "cpus", "gpus")}
    assert used.pop("workers") <= 2.0  # that stood ready when it was looked at
    assert used == {"nodes": 1.0, "cpus": 2.0, "gpus": 0.0}


# ---- a cluster of several nodes


def on_two_nodes(folder: Path) -> None:
    """Join a cluster of two nodes with one core each, and say where its workers and their code are."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    chunks.FIRST_ROWS = chunks.MOST_ROWS = CHUNK
    plan = small_plan(
        folder, "tracking.enabled=false", f"compute={{backend: numpy, workers: 2, address: '{cluster.address}'}}"
    )
    joined = open_pool([plan.task], plan.config.compute)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    places = ray.get([actor.__ray_call__.remote(whereabouts) for actor in actors(joined)])
    rows = plan.space.grid_rows(0, 12).sample(300, replace=True, random_state=1, ignore_index=True)
    same(backtest(joined, rows), backtest(LocalPool([plan.task]), rows))
    cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
    same(backtest(joined, rows), backtest(LocalPool([plan.task]), rows))
    joined.close()
    cluster.shutdown()
    print(json.dumps(places))


def whereabouts(_: Worker) -> tuple[str, str]:
    """The node and the checkout that a worker runs on."""
    import ray

    import kernels

    return ray.get_runtime_context().get_node_id(), kernels.__file__


def test_nodes_of_a_cluster_are_sent_the_code_and_may_be_lost(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    script = f"import pathlib, test_pool; test_pool.on_two_nodes(pathlib.Path({str(tmp_path)!r}))"
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    places = json.loads(done.stdout.splitlines()[-1])
    assert len({node for node, _ in places}) == 2
    assert all("runtime_resources" in code for _, code in places)  # sent along, not this checkout


# ---- what may go wrong


class Killer(Watch):
    """A watch that kills a worker at the first news."""

    def __init__(self, victim: int) -> None:
        super().__init__()
        self.victim = victim

    def advanced(self, configurations: int) -> None:
        if not self.configurations:
            os.kill(self.victim, signal.SIGKILL)
        super().advanced(configurations)


def test_a_killed_workers_chunks_are_run_again(ray: Any, small_chunks: None, plan: Plan) -> None:
    rows = plan.space.grid_rows(0, 12).sample(1200, replace=True, random_state=1, ignore_index=True)
    shared = on_ray(plan.task, workers=2)
    watch = Killer(pids(ray, shared)[0])
    survived = backtest(shared, rows, watch)
    shared.close()
    assert watch.configurations == len(rows)
    same(survived, backtest(LocalPool([plan.task]), rows))
    lost = [event.text for event in watch.events if event.kind == "workers_lost"]
    assert lost == [
        "worker 1 lost: its process died (Worker unexpectedly exits with a connection error code 2. End of file)"
    ]


def test_workers_that_die_with_nothing_to_do_blame_no_chunk(ray: Any, plan: Plan) -> None:
    rows = plan.space.grid_rows(0, 12)  # one chunk, which each dead worker would be handed
    shared, watch = on_ray(plan.task, workers=4), Watch()
    idle = pids(ray, shared)
    backtest(shared, rows)
    for worker in idle:
        os.kill(worker, signal.SIGKILL)
    time.sleep(2.0)  # Ray knows that they are gone
    same(backtest(shared, rows, watch), backtest(LocalPool([plan.task]), rows))
    shared.close()
    assert "chunks_quarantined" not in {event.kind for event in watch.events}


class Fragile(Worker):
    """A worker that falls over a marked configuration: it dies at a threshold of -0.5, raises at -0.4, hangs at -0.3."""

    def run(self, task: int, chunk: pa.Table) -> pa.Table:
        thresholds = chunk["hedge_threshold"].to_pylist()
        if -0.5 in thresholds:
            os.kill(os.getpid(), signal.SIGKILL)
        if -0.4 in thresholds:
            raise ZeroDivisionError("a drawdown of nothing")
        if -0.3 in thresholds:
            time.sleep(3600)
        return super().run(task, chunk)


@pytest.mark.parametrize(
    ("threshold", "message"),
    [
        (-0.4, "chunk 64-127 quarantined: raised ZeroDivisionError: a drawdown of nothing"),
        (-0.5, "chunk 64-127 quarantined: its process died"),
        (-0.3, "chunk 64-127 quarantined: chunk 64-127 was not done after 4 s"),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_chunk_that_cannot_be_run_is_quarantined_and_the_others_are_not(
    ray: Any,
    small_chunks: None,
    plan: Plan,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    threshold: float,
    message: str,
) -> None:
    rows = plan.space.grid_rows(0, 12).sample(5 * CHUNK, replace=True, random_state=1, ignore_index=True)
    alone = backtest(LocalPool([plan.task]), rows)
    rows.loc[CHUNK + 1, "hedge_threshold"] = threshold
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not know this module
    monkeypatch.setattr(ray_fleet, "Worker", Fragile)
    shared, watch = on_ray(plan.task, workers=workers, limits=Limits(chunk=4.0)), Watch()
    metrics = backtest(shared, rows, watch)
    shared.close()
    (event,) = (event for event in watch.events if event.kind == "chunks_quarantined")
    assert event.text.startswith(message)
    assert event.configurations is not None
    same(event.configurations, rows.iloc[CHUNK : 2 * CHUNK])
    poisoned = metrics["status"] == "quarantined"
    assert list(metrics.index[poisoned]) == list(range(CHUNK, 2 * CHUNK))
    same(metrics[~poisoned], alone[~poisoned])


def test_in_this_process_too_what_raises_is_quarantined(
    small_chunks: None, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = plan.space.grid_rows(0, 12).sample(3 * CHUNK, replace=True, random_state=1, ignore_index=True)
    alone = backtest(LocalPool([plan.task]), rows)
    rows.loc[CHUNK + 1, "hedge_threshold"] = -0.4
    monkeypatch.setattr(pool, "Worker", Fragile)
    watch = Watch()
    metrics = backtest(LocalPool([plan.task]), rows, watch)
    poisoned = metrics["status"] == "quarantined"
    assert list(metrics.index[poisoned]) == list(range(CHUNK, 2 * CHUNK))
    same(metrics[~poisoned], alone[~poisoned])
    assert [event.text for event in watch.events] == [
        "chunk 64-127 quarantined: raised ZeroDivisionError: a drawdown of nothing"
    ]
    with pytest.raises(PoolError, match="nothing could be computed of a batch of 12 configurations: raised ZeroDiv"):
        backtest(LocalPool([plan.task]), rows.iloc[:12].assign(hedge_threshold=-0.4))


def test_a_batch_of_which_nothing_can_be_computed_ends_the_run(
    ray: Any, small_chunks: None, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = plan.space.grid_rows(0, 12).assign(hedge_threshold=-0.4)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(ray_fleet, "Worker", Fragile)
    shared = on_ray(plan.task, workers=1)
    with pytest.raises(PoolError, match=r"nothing could be computed of a batch of 12 configurations: raised ZeroDiv"):
        backtest(shared, rows)
    shared.close()


class Broken(Worker):
    """A worker on a node where something is missing."""

    def __init__(self, *_: Any) -> None:
        raise ModuleNotFoundError("No module named 'kernels'")


def test_a_worker_that_cannot_start_is_told_with_its_reason(
    ray: Any, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(ray_fleet, "Worker", Broken)
    with pytest.raises(PoolError, match=r"a worker could not start: .*No module named 'kernels'"):
        backtest(on_ray(plan.task, workers=1), plan.baselines)


def test_workers_that_no_node_has_cores_for_are_told(ray: Any, plan: Plan) -> None:
    shared = on_ray(plan.task, workers=1, threads=64, limits=Limits(start=1.0))
    with pytest.raises(
        PoolError, match=r"no chunk finished for 1 s; 1 nodes alive, each worker needs 64 cores, the cluster has 0 GPU"
    ):
        backtest(shared, plan.baselines)
    shared.close()


def test_closed_workers_are_gone(ray: Any, plan: Plan) -> None:
    shared = on_ray(plan.task, workers=1)
    (worker,) = pids(ray, shared)
    shared.close()
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline and Path(f"/proc/{worker}").exists():
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


# ---- addresses


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_address_where_nothing_answers_is_refused_at_once(tmp_path: Path, closed_port: int) -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match=f"nothing answers at 127.0.0.1:{closed_port}") as caught:
        small_plan(tmp_path, f"compute.address=127.0.0.1:{closed_port}")
    assert time.monotonic() - began < 5.0
    assert len(caught.value.problems) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("address", ["auto", "local", "6379", "head", "head:", "ray://head:10001", "head:70000"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(InputError, match="HOST:PORT of a Ray cluster's head is needed"):
        small_plan(tmp_path, f'compute.address="{address}"')


def test_one_worker_needs_no_ray(plan: Plan) -> None:
    assert isinstance(open_pool([plan.task], plan.config.compute), LocalPool)
