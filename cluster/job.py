"""The main path: a study file in; trials, records, figures and the best configuration out."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from cluster import output
from cluster.plan import Plan
from cluster.pool import Pool, open_pool
from cluster.records import baseline_records, open_recorder, trial_records
from search.study import Study
from tracking.recorder import Recorder


class Display(Protocol):
    """What shows a run while it goes on."""

    def started(self, plan: Plan, pool: Pool, done: int) -> None:
        """The workers stand ready; `done` trials were there already."""

    def advanced(self, configurations: int) -> None:
        """So many more configurations have been backtested."""

    def scored(self, rows: pd.DataFrame) -> None:
        """A batch has been scored and committed."""

    def finishing(self) -> None:
        """Every trial is committed; files and figures are left."""


@dataclass(frozen=True)
class Outcome:
    """A finished study: where it lies, its best trials, the baselines beside them, and how long it took."""

    plan: Plan
    folder: Path
    best: pd.DataFrame
    baselines: pd.DataFrame
    importance: dict[str, float]
    trials: int
    evaluated: int  # of these, in this run
    seconds: dict[str, float]
    study_url: str | None
    trials_url: str | None


def run(plan: Plan, display: Display, *, resume: bool = False, top: int = 5) -> Outcome:
    """Run a study to its end.

    ask -> backtest -> score and commit -> record, batch by batch; then the figures and files of the whole study. What is
    committed is never computed again: an interrupted run goes on with `resume`.
    """
    clock = Clock()
    study = Study.open(
        plan.folder,
        plan.config.name,
        plan.space,
        plan.targets,
        sampler=plan.config.search.sampler,
        trials=plan.config.search.trials,
        batch=plan.batch,
        seed=plan.config.search.seed,
        cloud=plan.config.search.cloud,
        resume=resume,
    )
    identity = output.identify(plan, study)
    done_before = study.done
    with clock("records"):
        recording = open_recorder(plan, identity) if plan.config.tracking.enabled else nullcontext()
    with recording as recorder:
        with clock("workers"):
            pool = open_pool(plan.task, plan.config.compute)
        try:
            display.started(plan, pool, done_before)
            with clock("backtests"):
                measured = pool.backtest(plan.baselines, display.advanced)
            baselines = output.scored_baselines(plan, measured)
            _record(recorder, clock, baseline_records(plan, identity, baselines))
            if recorder and done_before and study.trials <= plan.config.tracking.max_runs:  # what a crash left out
                _record(recorder, clock, trial_records(plan, identity, study.results()))
            while batch := study.ask():
                started = time.time()
                with clock("backtests"):
                    metrics = pool.backtest(batch.configurations, display.advanced)
                with clock("search"):
                    rows = study.tell(batch, metrics)
                display.scored(rows)
                if study.trials <= plan.config.tracking.max_runs:
                    _record(recorder, clock, trial_records(plan, identity, rows, started))
        finally:
            pool.close()
        if recorder and study.trials > plan.config.tracking.max_runs:
            _record(recorder, clock, trial_records(plan, identity, study.best(plan.config.tracking.max_runs)))
        display.finishing()
        with clock("files and figures"):
            best = study.best(top)
            files = output.write(plan, identity, study, best, baselines)
            importance = study.importance()
        if recorder:
            with clock("records"):
                output.publish(recorder, plan, identity, files, best, baselines, importance, study.trials)
    return Outcome(
        plan,
        plan.folder,
        best,
        baselines,
        importance,
        study.trials,
        study.trials - done_before,
        clock.seconds,
        recorder.study_url() if recorder else None,
        recorder.trials_url() if recorder else None,
    )


def _record(recorder: Recorder | None, clock: Clock, records: Iterable[object]) -> None:
    if recorder:
        with clock("records"):
            recorder.record(records)  # type: ignore[arg-type]


class Clock:
    """Wall seconds by what they went into."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._what = ""
        self._since = 0.0

    def __call__(self, what: str) -> Clock:
        """Time what follows as `what`."""
        self._what = what
        return self

    def __enter__(self) -> None:
        """Start."""
        self._since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        """Stop, and add."""
        spent = time.perf_counter() - self._since
        self.seconds[self._what] = self.seconds.get(self._what, 0.0) + spent
