"""Batches on a real Ray cluster that is harmed meanwhile, each compared with the same batch computed in this process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from studies import Watch

from cluster import chunks, ray_fleet
from cluster.dispatch import Limits, WorkerPool
from cluster.pool import LocalPool, PoolError
from cluster.ray_fleet import RayFleet
from cluster.worker import Task, Worker

CHUNK = 32  # rows
LIMITS = Limits(chunk=5.0, stall=90.0, start=90.0)
WORKERS = 3
EXITS, RAISES, HANGS = -0.51, -0.41, -0.31  # hedge thresholds that no study here has
POISON = (EXITS, RAISES, HANGS)


class Cursed(Worker):
    """A worker that takes its time, so that harm finds it at work, and falls over poison."""

    def run(self, task: int, chunk: pa.Table) -> pa.Table:
        time.sleep(0.1)
        thresholds = chunk["hedge_threshold"].to_pylist()
        if EXITS in thresholds:
            os._exit(1)
        if RAISES in thresholds:
            raise ZeroDivisionError("a drawdown of nothing")
        if HANGS in thresholds:
            time.sleep(3600)
        return super().run(task, chunk)


class Harmful(Watch):
    """A display that does harm whenever so many more chunks are done."""

    def __init__(self, harm: Callable[[], None], every: int, times: int) -> None:
        super().__init__()
        self._harm, self._every, self._times, self._chunks = harm, every, times, 0

    def advanced(self, configurations: int) -> None:
        super().advanced(configurations)
        self._chunks += 1
        if self._times and self._chunks % self._every == 0:
            self._times -= 1
            self._harm()


@dataclass
class Round:
    """What became of one batch. `innocent`: rows quarantined in chunks without poison."""

    rows: int
    lost: int = 0
    retried: int = 0
    quarantined: int = 0
    missing: int = 0
    doubled: int = 0
    wrong: int = 0
    innocent: int = 0
    seconds: float = 0.0
    error: str = ""
    told: tuple[str, ...] = ()

    @property
    def bad(self) -> bool:
        return bool(self.missing or self.doubled or self.wrong or self.innocent or self.error)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Rounds:
    """Batches of one task on a pool of its own each."""

    def __init__(self, ray: Any, task: Task, rows: pd.DataFrame) -> None:
        self._ray, self._task, self._rows = ray, task, rows
        chunks.FIRST_ROWS = chunks.MOST_ROWS = CHUNK
        ray_fleet.Worker = Cursed  # type: ignore[misc]
        local = LocalPool([task])
        local.submit(0, rows)
        self._right = local.result(Watch())[1]

    def play(self, harm: Callable[[], None], *, every: int, times: int, poison: tuple[float, ...] = ()) -> Round:
        """One batch, some rows of it poison, harmed `times` times."""
        rows = self._rows.copy()
        for number, kind in enumerate(poison):
            rows.loc[(2 * number + 3) * CHUNK + 5, "hedge_threshold"] = kind
        fleet = RayFleet([self._task], workers=WORKERS, gpus=0, threads=1, address=None)
        pool, watch, began = WorkerPool([self._task], fleet, WORKERS, LIMITS), Harmful(harm, every, times), time.time()
        played = Round(len(rows))
        try:
            pool.submit(0, rows)
            self._judge(played, pool.result(watch)[1], watch, rows)
        except PoolError as error:
            played.error = str(error)
        finally:
            pool.close()
        played.lost = sum(event.kind == "workers_lost" for event in watch.events)
        played.retried = sum(event.kind == "chunks_retried" for event in watch.events)
        played.quarantined = sum(event.kind == "chunks_quarantined" for event in watch.events)
        played.seconds, played.told = round(time.time() - began, 1), tuple(event.text for event in watch.events)
        return played

    def _judge(self, played: Round, metrics: pd.DataFrame, watch: Watch, rows: pd.DataFrame) -> None:
        played.missing = max(0, len(rows) - min(len(metrics), watch.configurations))
        played.doubled = max(0, max(len(metrics), watch.configurations) - len(rows))
        if played.missing or played.doubled:
            return
        guilty = np.zeros(len(rows), dtype=bool)
        for event in watch.events:
            if event.kind == "chunks_quarantined":
                assert event.configurations is not None
                if event.configurations["hedge_threshold"].isin(POISON).any():
                    guilty[event.configurations.index] = True
                else:
                    played.innocent += len(event.configurations)
        quarantined = (metrics["status"] == "quarantined").to_numpy()
        poisoned = rows["hedge_threshold"].isin(POISON).to_numpy()
        same = _same_rows(metrics, self._right)
        played.wrong = int((~np.where(guilty, quarantined, same) | (poisoned & ~quarantined)).sum())


def _same_rows(one: pd.DataFrame, other: pd.DataFrame) -> np.ndarray:
    """Which rows of two tables are equal to the last bit (NaN is NaN)."""
    assert list(one.columns) == list(other.columns)
    return ((one == other) | (one.isna() & other.isna())).all(axis=1).to_numpy()
