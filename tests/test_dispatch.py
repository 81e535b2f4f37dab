"""The pool survives whatever happens to its workers: thousands of failure histories in virtual time, and planted mistakes."""

from __future__ import annotations

import types
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
from played import TASKS, PlayedBatch, PlayedStream, PlayedSurvey
from referee import Referee
from simulated_fleet import FASTEST, ROWS, Found, Regime, Rows, SimulatedFleet

from cluster import chunks, dispatch, work
from cluster.dispatch import Limits
from cluster.pool import PoolError

HISTORIES = 10_000
FEWER = 60  # of each regime, for a planted mistake to be noticed in
LOOK = 10.0  # seconds between the pool's looks: virtual ones are free, looks are not
LIMITS = Limits(chunk=300.0, stall=60.0, start=150.0)

POISON = {"kills": 1, "raises": 1, "hangs": 1}
REGIMES = {
    "calm": Regime(spread=100.0),
    "slow to come": Regime(start=20.0, never=0.2, spread=100.0, busy=0.2),
    "crashes": Regime(crashes=0.3, late=0.2, spread=3.0),
    "many crashes": Regime(crashes=2.0, stillborn=0.1, spread=3.0),
    "nodes die": Regime(node_life=6.0, node_back=3.0, workers=5),
    "nodes die for ever": Regime(node_life=20.0, node_back=5.0, node_gone=0.3, nodes=3),
    "poison": Regime(poison=POISON, workers=2),
    "poison on dying nodes": Regime(poison=POISON, node_life=60.0, busy=0.3),
    "poison now and then": Regime(poison={"sometimes": 2, "kills": 1}, crashes=0.2, busy=0.3, spread=3.0),
    "hangs": Regime(hangs=0.1, late=0.7, start=3.0),
    "lost results": Regime(lost=0.2, busy=0.5, spread=100.0),
    "cannot start": Regime(stillborn=0.6, unfit=0.01, never=0.1, crashes=0.1, workers=2, busy=0.1),
    "a broken node": Regime(broken=1, slots=2, start=0.3, poison={"hangs": 1}),
    "a broken strategy": Regime(poison={"raises": 25}),
    "everything": Regime(
        crashes=0.1, node_life=60.0, node_gone=0.02, lost=0.05, hangs=0.01, late=0.5, busy=0.3, stillborn=0.1, never=0.05,
        poison={"kills": 1, "raises": 1, "hangs": 1, "sometimes": 1}, spread=100.0, workers=4,
    ),
}  # fmt: skip


def made_of(module: types.ModuleType, text: str) -> types.ModuleType:
    """That module, made of another text."""
    copy = types.ModuleType(module.__name__)
    exec(compile(text, module.__file__ or "", "exec"), copy.__dict__)
    return copy


def copy_of(pool: str, things: str) -> types.ModuleType:
    """A dispatch module made of those texts (of dispatch.py, of work.py), with the answers that everybody knows.

    It takes lists for tables, and looks less often.
    """
    inner = made_of(work, things)
    inner.__dict__.update(
        PoolError=PoolError,
        pa=SimpleNamespace(Table=list),
        pd=SimpleNamespace(DataFrame=Rows),
        Excess=Found,
        merged=lambda parts: Found(each for part in parts for each in part),
        to_arrow=lambda rows: rows,
        from_arrow=lambda metrics: metrics,
        _joined=lambda parts, _: [each for part in parts for each in part],
        quarantined=lambda _, rows: ["quarantined"] * rows,
    )
    outer = made_of(dispatch, pool)
    outer.__dict__.update(
        LOOK_SECONDS=LOOK, Batch=inner.Batch, Hope=inner.Hope, Stream=inner.Stream, Survey=inner.Survey
    )
    for name in ("Chunk", "Ready", "Done", "Raised", "Lost"):
        setattr(outer, name, getattr(dispatch, name))
    return outer


Played = PlayedBatch | PlayedStream | PlayedSurvey
SOURCES = [Path(module.__file__).read_text() for module in (dispatch, work)]
SIMULATED = copy_of(*SOURCES)


def history(module: types.ModuleType, regime: Regime, seed: int) -> tuple[bool, list[set[str]]]:
    """Run one or two tasks, each a few batches, a stream, or one after the other, some with a survey at the end: whether
    all were computed, and what was wrong with each quarantined chunk."""
    random = Random(seed)
    size = random.choice((0, 1, 20, 60, 100, 150))
    kinds = [kind for kind, count in regime.poison.items() for _ in range(count)][:size]
    poisoned = dict(zip(random.sample(range(size), len(kinds)), kinds, strict=True))
    if random.random() < 0.5:  # all in a row
        poisoned = dict(enumerate(kinds))
    waiting: list[list[Played]] = []
    for task in range(random.randint(1, 2)):
        waiting.append([PlayedBatch(task, number, size, random) for number in range(random.randint(0, 2))])
        if not waiting[task] or random.random() < 0.3:
            waiting[task].append(PlayedStream(task, size, random))
        if random.random() < 0.3:
            waiting[task] = [*waiting[task], PlayedSurvey(task, size, random)][random.choice((0, 0, -1)) :]  # or alone
    withdraws = random.randint(0, 5) if random.random() < 0.1 else -1  # after so many results
    referee = Referee(regime.workers, LIMITS, LOOK)
    fleet = SimulatedFleet(regime, random, poisoned, referee)
    pool = module.WorkerPool(TASKS[: len(waiting)], fleet, regime.workers, LIMITS)
    played: list[Played] = []
    quarantined: list[set[str]] = []

    def ended(task: int) -> None:
        """All that a task had in the pool has come."""
        played[task].complete(referee)
        assert not referee.hopeless(task), "a task without hope was not given up"
        for chunk in referee.works[task].condemned:
            there = {row % ROWS for row in played[task].rows(chunk)}
            quarantined.append({kind for row, kind in poisoned.items() if row in there})

    try:
        for task, works in enumerate(waiting):
            played.append(works.pop(0))
            played[task].hand_over(pool, referee, fleet.now())
        results = 0
        while pool.busy:
            if results == withdraws:
                referee.withdrawn()
                pool.withdraw()
                withdraws = -1
                continue  # perhaps nothing was left
            task, result = pool.result(referee)
            results += 1
            played[task].came(result, referee)
            assert pool.under_way == referee.under_way, "more or less is under way"
            if waiting[task] and played[task].over(referee):
                ended(task)
                played[task] = waiting[task].pop(0)
                played[task].hand_over(pool, referee, fleet.now())
    except PoolError as error:
        referee.gave_up(str(error), fleet.now())
        return False, quarantined
    for task in range(len(played)):
        ended(task)
    assert not referee.under_way, "what was under way did not come"
    assert referee.configurations == referee.sent_rows, "configurations were counted twice, or not at all"
    assert referee.told_quarantined == len(quarantined), "a quarantined chunk was not told, or told twice"
    return True, quarantined


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "FIRST_ROWS", 6)


@pytest.mark.parametrize("name", REGIMES)
def test_every_row_is_computed_once_and_in_order_or_the_end_says_why(name: str) -> None:
    regime, done = REGIMES[name], 0
    only_poison_kills = not (regime.crashes or regime.hangs or "sometimes" in regime.poison)
    for seed in range(-(-HISTORIES // len(REGIMES))):
        try:
            computed, quarantined = history(SIMULATED, regime, seed)
            assert not only_poison_kills or all(quarantined), "a chunk without poison was quarantined"
        except Exception as error:
            raise AssertionError(f"history {seed} of {name!r}: {error}") from error
        done += computed
    assert done > HISTORIES / len(REGIMES) / 3  # a pool that always gives up would keep every other rule


def test_a_driver_that_is_busy_elsewhere_takes_no_worker_for_faster_than_it_is() -> None:
    referee = Referee(2, LIMITS, LOOK)
    fleet = SimulatedFleet(Regime(workers=2, spread=1.0, busy=0.5), Random(1), {}, referee)
    pool = SIMULATED.WorkerPool(TASKS[:1], fleet, 2, LIMITS)
    referee.submitted(0, [range(20_000)], fleet.now())
    pool.submit(0, Rows(range(20_000)))
    pool.result(referee)
    assert referee.longest <= FASTEST * chunks.MOST_SECONDS


# ---- planted mistakes

MISTAKES = {
    "nobody is charged": ("self._charges[chunk] += not blameless and chunk in self._alone", "pass"),
    "company is charged": ("not blameless and chunk in self._alone", "not blameless"),
    "dead nodes are charged": ("+= not blameless and chunk in self._alone", "+= chunk in self._alone"),
    "dead nodes make suspects": ("if not blameless or self._attempts", "if True or self._attempts"),
    "nobody is a suspect": ("self._alone.add(chunk)", "pass"),
    "a charge is kept for the next batch": ("for charged in (self._charges, self._attempts):", "for charged in ():"),
    "a suspect stays one": ("self._alone.discard(chunk)", "pass"),
    "attempts do not count": ("self._attempts[chunk] += 1", "pass"),
    "a second loss alone is one too many": ("ALONE = 3", "ALONE = 2"),
    "the first of two chunks is forgotten": ("in reversed(worker.chunks)", "in list(worker.chunks)[1:]"),
    "the second of two chunks is forgotten": ("in reversed(worker.chunks)", "in list(worker.chunks)[:1]"),
    "a result is kept twice": ("self._missing -= len(metrics)", "self._missing -= 2 * len(metrics)"),
    "a suspect gets company": ("or (load and worker.chunks[0] in self._alone)", ""),
    "workers keep two chunks while a suspect waits": ("if load and self._suspects:", "if False:"),
    "no deadline": ("waited > self._limits.chunk", "False"),
    "a deadline for both chunks at once": (
        "worker.since = self._heard = self._fleet.now()",
        "self._heard = self._fleet.now()",
    ),
    "a lost worker is not replaced": ("if hopeless:", "if True:"),
    "a place that is hopeless stays empty": ("if now - self._left_alone > self._limits.start:", "if False:"),
    "one hopeless place ends the pool": ("hopeless and not self._ready", "hopeless"),
    "a stuck start is waited for": ("waited > self._limits.start and self._ready", "False"),
    "answers of a worker given up are heard": ("if answer.worker not in self._crew:", "if False:"),
    "nothing is quarantined": ("self._charges[chunk] >= ALONE or self._attempts[chunk] >= ATTEMPTS", "False"),
    "neighbours are quarantined": (
        ">= ALONE or self._attempts[chunk] >= ATTEMPTS",
        ">= ALONE or len(worker.chunks) > 1",
    ),
    "what raises runs again": (
        "self._quarantine(chunk, error, watch)\n                self._freed(",
        "self._again.append(chunk)\n                self._freed(",
    ),
    "a quarantine is not told": ('watch.happened(Event("chunks_quarantined"', 'print(Event("chunks_quarantined"'),
    "no stall limit": ("if not self._ready and now - self._heard > limit:", "if False:"),
    "a hung worker ends the pool": ("self._heard = self._fleet.now()  # another", "pass  # another"),
    "results are joined as they came": ("for first in sorted(self._done)", "for first in self._done"),
    "a lost chunk is cut anew": (
        "chunk = self._again.popleft() if self._again else",
        "chunk = (self._again.popleft() and None) if self._again else",
    ),
    "a lost chunk loses its last row": (
        "(self._suspects if chunk in self._alone else self._again).appendleft(chunk)",
        "(self._suspects if chunk in self._alone else self._again).appendleft(chunk._replace(end=chunk.end - 1))",
    ),
    "a third chunk is sent": ("IN_FLIGHT = 2", "IN_FLIGHT = 3"),
    "only one chunk is sent": ("IN_FLIGHT = 2", "IN_FLIGHT = 1"),
    "a computed chunk gives no hope": ("self._computed.add(task)", "pass"),
    "quarantines need not be in a row": ("self._failed[task] = 0", "pass"),
    "hope is lost early": ("HOPELESS = 10", "HOPELESS = 9"),
    "hope is lost late": ("HOPELESS = 10", "HOPELESS = 11"),
    "nothing of a task is enough": ("(over and self._failed[task] > 0 and task not in self._computed)", "False"),
    "what could not be computed of a stream is kept back": (
        "(bool(self._failed) and not self._numbers.missing)",
        "False",
    ),
    "what could not be computed of a stream comes again": ("self._failed.clear()", "pass"),
    "what could not be computed of a stream is forgotten": ("self._failed.append(part)", "pass"),
    "a part is larger than it may be": ("min(rows, self._most)", "rows"),
    "the rest of a range is forgotten": ("self._open.appendleft(rest)", "self.left -= len(rest)"),
    "what is withdrawn is computed": ("                work.withdraw()", "                pass"),
    "what is withdrawn is waited for": ("self.missing -= self.left", "pass"),
    "what is in chunks is withdrawn": ("self.missing -= self.left", "self.missing = 0"),
    "what is in no chunk is under way": ("return self.missing - self.left", "return self.missing"),
    "a stream is done before its last part is taken": (
        "self._numbers.missing or self._parts or self._failed",
        "self._numbers.missing",
    ),
    "a survey keeps its last chunk only": ("else [self._excess, answer]", "else [answer]"),
    "what a survey leaves out is not told": ("self._left_out += end - first", "pass"),
    "a survey without hope goes on": ("self._left_out += self._numbers.withdraw()", "pass"),
    "what a survey gives up is not told": ("self._left_out += self._numbers.withdraw()", "self._numbers.withdraw()"),
    "a survey that was withdrawn passes for whole": ("self._whole = False", "pass"),
    "what was looked at once more counts as done": ("if self._work[chunk.task].counts:", "if True:"),
    "other tasks wait": (
        "for task, work in self._work.items():\n            if work.left",
        "for task, work in list(self._work.items())[:1]:\n            if work.left",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_noticed(mistake: str) -> None:
    right, wrong = MISTAKES[mistake]
    assert sum(source.count(right) for source in SOURCES) == 1, f"{right!r} must stand once: change the mistake with it"
    mistaken = copy_of(*(source.replace(right, wrong) for source in SOURCES))
    for seed in range(FEWER):
        for regime in REGIMES.values():
            try:
                history(mistaken, regime, seed)
            except Exception:
                return
    raise AssertionError(f"{FEWER * len(REGIMES)} histories pass although {mistake}")
