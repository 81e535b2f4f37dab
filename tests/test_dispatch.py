"""The pool survives whatever happens to its workers: thousands of failure histories in virtual time, and planted mistakes."""

from __future__ import annotations

import types
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from referee import Referee
from simulated_fleet import ROWS, Regime, Rows, SimulatedFleet, value

from cluster import chunks, dispatch
from cluster.dispatch import Limits
from cluster.pool import PoolError

HISTORIES = 10_000
LOOK = 10.0  # seconds between the pool's looks: virtual ones are free, looks are not
LIMITS = Limits(chunk=300.0, stall=60.0, start=150.0)
TASKS = [SimpleNamespace(market=SimpleNamespace(tickers=[ticker])) for ticker in ("NEAR", "FAR")]

POISON = {"kills": 1, "raises": 1, "hangs": 1}
REGIMES = {
    "calm": Regime(spread=100.0),
    "slow to come": Regime(start=20.0, never=0.2, spread=100.0, busy=0.2),
    "crashes": Regime(crashes=0.5, late=0.2),
    "many crashes": Regime(crashes=3.0, stillborn=0.1),
    "nodes die": Regime(node_life=6.0, node_back=3.0, workers=5),
    "nodes die for ever": Regime(node_life=20.0, node_back=5.0, node_gone=0.3, nodes=3),
    "poison": Regime(poison=POISON, workers=2),
    "poison on dying nodes": Regime(poison=POISON, node_life=15.0, busy=0.3),
    "poison now and then": Regime(poison={"sometimes": 2, "kills": 1}, crashes=0.3, busy=0.3),
    "hangs": Regime(hangs=0.1, late=0.7, start=3.0),
    "lost results": Regime(lost=0.2, busy=0.5, spread=100.0),
    "cannot start": Regime(stillborn=0.7, unfit=0.02, never=0.1, workers=2),
    "everything": Regime(
        crashes=0.3, node_life=20.0, node_gone=0.1, lost=0.05, hangs=0.02, late=0.5, busy=0.3, stillborn=0.1, never=0.05,
        poison={"kills": 1, "raises": 1, "hangs": 1, "sometimes": 1}, spread=100.0, workers=4,
    ),
}  # fmt: skip


def simulated(module: types.ModuleType) -> types.ModuleType:
    """A dispatch module that takes lists for tables, and looks less often."""
    module.__dict__.update(
        LOOK_SECONDS=LOOK,
        to_arrow=lambda rows: rows,
        from_arrow=lambda metrics: metrics,
        joined=lambda parts, _: [each for part in parts for each in part],
        quarantined=lambda _, rows: ["quarantined"] * rows,
    )
    return module


def copy_of_dispatch(text: str) -> types.ModuleType:
    """The dispatch module made of that text, with the answers that everybody knows."""
    module = types.ModuleType(dispatch.__name__)
    exec(compile(text, dispatch.__file__, "exec"), module.__dict__)
    for name in ("Chunk", "Ready", "Done", "Raised", "Lost"):
        setattr(module, name, getattr(dispatch, name))
    return simulated(module)


SIMULATED = copy_of_dispatch(Path(dispatch.__file__).read_text())


def history(module: types.ModuleType, regime: Regime, seed: int) -> tuple[bool, list[set[str]]]:
    """Run a few batches of one or two tasks: whether all were computed, and what was wrong with each quarantined chunk."""
    random = Random(seed)
    batches = dict.fromkeys(range(random.randint(1, 2)), random.randint(1, 2))
    size = random.choice((0, 1, 20, 60, 100, 100))
    kinds = [kind for kind, count in regime.poison.items() for _ in range(count)]
    poisoned = dict(zip(random.sample(range(size), min(size, len(kinds))), kinds, strict=False))
    referee = Referee(regime.workers, LIMITS, LOOK)
    fleet = SimulatedFleet(regime, random, poisoned, referee)
    pool = module.WorkerPool(TASKS[: len(batches)], fleet, regime.workers, LIMITS)
    rows: dict[int, Rows] = {}
    submitted = 0
    quarantined: list[set[str]] = []

    def submit(task: int) -> None:
        nonlocal submitted
        batches[task] -= 1
        first = ROWS * (2 * task + batches[task])  # no two batches have a row in common
        rows[task] = Rows(random.sample(range(first, first + size), size))
        submitted += size
        referee.submitted(task, size, fleet.now())
        pool.submit(task, rows[task])

    try:
        for task in list(batches):
            submit(task)
        while pool.busy:
            task, metrics = pool.result(referee)
            wanted: list[Any] = [value(row) for row in rows[task]]
            for chunk in referee.condemned(task):
                wanted[chunk.first : chunk.end] = ["quarantined"] * (chunk.end - chunk.first)
                quarantined.append(
                    {poisoned[row % ROWS] for row in rows[task][chunk.first : chunk.end] if row % ROWS in poisoned}
                )
            assert metrics == wanted, "rows are missing, doubled, mixed up, or wrongly quarantined"
            if batches[task]:
                submit(task)
    except PoolError as error:
        referee.gave_up(str(error), fleet.now())
        return False, quarantined
    assert referee.configurations == submitted, "configurations were counted twice, or not at all"
    assert referee.told_quarantined == len(quarantined), "a quarantined chunk was not told, or told twice"
    return True, quarantined


@pytest.mark.parametrize("name", REGIMES)
def test_nothing_is_lost(name: str) -> None:
    done = 0
    for seed in range(HISTORIES // len(REGIMES)):
        try:
            done += history(SIMULATED, REGIMES[name], seed)[0]
        except Exception as error:
            raise AssertionError(f"history {seed} of {name!r}: {error}") from error
    print(name, done)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "FIRST_ROWS", 6)
