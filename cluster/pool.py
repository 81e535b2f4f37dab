"""Pools: who computes a batch of configurations together. The same rows give the same numbers on any of them."""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from cluster.config import ComputeConfig
from cluster.worker import Task, Worker, from_arrow, to_arrow
from kernels.errors import InputError

CHUNK = 16_384  # configurations at most in one chunk: seconds of one core, milliseconds of a GPU
SMALLEST_CHUNK = 256  # below, a chunk costs more to send than to compute
IN_FLIGHT = 2  # chunks sent to one worker: one runs while the next one travels
ATTEMPTS = 3  # how often a chunk may lose its worker before the study stops
START_SECONDS = 300.0  # for all workers to stand ready: Ray waits for ever for cores that no node has
ANSWER_SECONDS = 2.0  # for a cluster's address to answer

Progress = Callable[[int], None]  # called with the number of configurations just finished


class PoolError(RuntimeError):
    """The workers cannot finish a chunk; the study can be resumed once the cause is gone."""


class Pool(Protocol):
    """What computes. `workers` processes, each running `backend`."""

    @property
    def workers(self) -> int:
        """How many processes compute."""
        ...

    def backtest(self, configurations: pd.DataFrame, progress: Progress) -> pd.DataFrame:
        """Metrics of every configuration, in its order."""
        ...

    def close(self) -> None:
        """End the workers."""
        ...


def chunks(rows: int, workers: int) -> Iterator[slice]:
    """Cut `rows` configurations into chunks: some for every worker, none too small to be worth sending.

    >>> [c.stop - c.start for c in chunks(1000, 1)], [c.stop - c.start for c in chunks(40_000, 2)]
    ([1000], [5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000])
    """
    each = max(SMALLEST_CHUNK, min(CHUNK, -(-rows // (4 * workers)))) if workers > 1 else CHUNK
    for start in range(0, rows, each):
        yield slice(start, min(rows, start + each))


class LocalPool:
    """This process, with all its cores."""

    workers = 1

    def __init__(self, task: Task, threads: int | None = None) -> None:
        self._worker = Worker(task, threads)

    def backtest(self, configurations: pd.DataFrame, progress: Progress) -> pd.DataFrame:
        """Metrics of every configuration, in its order."""
        done = []
        for part in chunks(len(configurations), self.workers):
            done.append(from_arrow(self._worker.run(to_arrow(configurations.iloc[part]))))
            progress(len(done[-1]))
        return pd.concat(done, ignore_index=True)

    def close(self) -> None:
        """Nothing to end."""


class RayPool:
    """Ray actors, each owning one GPU or a share of the cores. They keep no state, so any of them may be replaced.

    Ray itself never retries: this loop does, since a chunk is pure and running it twice is harmless.
    """

    def __init__(self, task: Task, *, workers: int, gpus: int, threads: int, address: str | None) -> None:
        ray: Any = importlib.import_module("ray")  # only now: a study in this process never needs it
        self.workers = workers
        self._ray = ray
        self._started_here = not ray.is_initialized()
        if self._started_here:
            _start_ray(ray, address, workers, gpus, threads)
        self._task = ray.put(task)
        options: dict[str, Any] = {"num_gpus": gpus, "num_cpus": threads, "max_restarts": 0, "max_task_retries": 0}
        actor: Any = ray.remote(Worker)
        self._make: Callable[[], Any] = lambda: actor.options(**options).remote(self._task, threads)
        self._actors = [self._make() for _ in range(workers)]
        try:
            self._await_workers(f"{gpus} GPU and {threads} cores" if gpus else f"{threads} cores")
        except BaseException:
            self.close()
            raise

    def _await_workers(self, share: str) -> None:
        """Until every worker has its kernel; PoolError where one cannot start."""
        ray = self._ray
        starting = [actor.__ray_ready__.remote() for actor in self._actors]
        ready, missing = ray.wait(starting, num_returns=len(starting), timeout=START_SECONDS)
        if missing:
            there = ", ".join(f"{ray.cluster_resources().get(kind, 0):g} {kind}" for kind in ("CPU", "GPU"))
            raise PoolError(
                f"{len(missing)} of {self.workers} workers did not start in {START_SECONDS:.0f} s: each needs {share}, "
                f"the cluster has {there}; ask for fewer (compute.workers)"
            )
        try:
            ray.get(ready)
        except ray.exceptions.RayError as error:
            raise PoolError(f"a worker could not start: {_reason(error)}") from error

    def backtest(self, configurations: pd.DataFrame, progress: Progress) -> pd.DataFrame:
        """Metrics of every configuration, in its order."""
        ray = self._ray
        parts = dict(enumerate(chunks(len(configurations), self.workers)))
        waiting = list(reversed(parts))
        results: dict[int, pd.DataFrame] = {}
        flying: dict[Any, tuple[int, int]] = {}  # what Ray will answer with: (chunk, worker)
        lost = dict.fromkeys(parts, 0)
        while len(results) < len(parts):
            for worker in sorted(range(self.workers), key=lambda w: sum(w == at for _, at in flying.values())):
                while waiting and sum(worker == at for _, at in flying.values()) < IN_FLIGHT:
                    chunk = waiting.pop()
                    table = to_arrow(configurations.iloc[parts[chunk]])
                    flying[self._actors[worker].run.remote(table)] = (chunk, worker)
            ready, _ = ray.wait(list(flying), num_returns=1)
            chunk, worker = flying.pop(ready[0])
            try:
                results[chunk] = from_arrow(ray.get(ready[0]))
                progress(len(results[chunk]))
            except ray.exceptions.RayTaskError as error:  # first: it is also an instance of what the chunk raised
                raise PoolError(f"chunk {chunk} of {len(parts)} raised {_reason(error)}") from error
            except ray.exceptions.RayError as error:  # the worker, its node or its result is gone
                waiting += [c for c, at in flying.values() if at == worker] + [chunk]
                flying = {reference: pair for reference, pair in flying.items() if pair[1] != worker}
                lost[chunk] += 1
                if lost[chunk] >= ATTEMPTS:
                    raise PoolError(
                        f"chunk {chunk} of {len(parts)} lost its worker {ATTEMPTS} times: {_reason(error)}"
                    ) from error
                self._end(self._actors[worker])
                self._actors[worker] = self._make()
        return pd.concat([results[chunk] for chunk in parts], ignore_index=True)

    def close(self) -> None:
        """End the workers, and the cluster where it was started for them."""
        for actor in self._actors:
            self._end(actor)
        if self._started_here:
            self._ray.shutdown()

    def _end(self, actor: Any) -> None:
        with contextlib.suppress(Exception):  # a worker that is gone already
            self._ray.kill(actor)


def open_pool(task: Task, compute: ComputeConfig) -> Pool:
    """The pool a study asks for; `auto` is Ray where an address or several workers are named, else this process.

    InputError where a cluster does not answer at `compute.address`.
    """
    kind = compute.pool
    if kind == "auto":
        kind = "ray" if compute.address or (compute.workers or 1) > 1 else "local"
    if kind == "local":
        return LocalPool(task)
    workers = compute.workers or (_gpus() if task.backend == "cuda" else 1)
    threads = max(1, cores() // workers)
    return RayPool(task, workers=workers, gpus=int(task.backend == "cuda"), threads=threads, address=compute.address)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> int:
    import cupy

    return int(cupy.cuda.runtime.getDeviceCount())


def check_address(address: str) -> None:
    """Refuse a cluster's address where nothing answers; Ray itself would try for two minutes and end the process.

    >>> check_address("auto")
    Traceback (most recent call last):
    ...
    kernels.errors.InputError: compute.address: HOST:PORT of a Ray cluster's head is needed, such as 10.0.0.5:6379, got 'auto'
    """
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(
            f"compute.address: HOST:PORT of a Ray cluster's head is needed, such as 10.0.0.5:6379, got {address!r}"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise InputError(
            f"compute.address: nothing answers at {address} ({error.strerror or error}); start the cluster "
            "(ray start --head), correct the address, or leave it out to compute on this machine"
        ) from error


def _start_ray(ray: Any, address: str | None, workers: int, gpus: int, threads: int) -> None:
    """A private cluster on loopback, or the one at `address` with this code sent along."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # workers without a GPU keep their environment
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    if address is None:
        ray.init(
            address="local",  # without it Ray joins whatever cluster it finds on this machine
            num_cpus=max(cores(), workers * threads),
            num_gpus=workers * gpus,
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            **quiet,
        )
        return
    check_address(address)
    root = Path(__file__).resolve().parent.parent
    packages = [str(root / name) for name in ("cluster", "kernels", "search", "tracking")]
    try:
        ray.init(address=address, runtime_env={"py_modules": packages, "excludes": ["__pycache__"]}, **quiet)
    except (OSError, RuntimeError, ValueError, SystemExit) as error:  # Ray's C++ core asks Python to exit
        raise InputError(f"compute.address: no Ray cluster can be joined at {address} ({_reason(error)})") from error


def _reason(error: BaseException) -> str:
    """What went wrong, without Ray's report of where."""
    raised = getattr(error, "cause", None)  # what the worker's own code raised, where it did
    if not isinstance(raised, BaseException):
        raised = error
    lines = [line.strip() for line in str(raised).splitlines() if line.strip()]
    return f"{type(raised).__name__}: {lines[-1]}" if lines else type(raised).__name__
