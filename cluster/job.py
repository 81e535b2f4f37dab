"""The main path: a study file in; trials, records, figures and the best configuration out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Protocol

import pandas as pd

from cluster.plan import Plan
from cluster.pool import Pool, Watch, open_pool
from cluster.progress import Phase
from cluster.reporter import Reporter
from cluster.running import Clock, Outcome, Watching, opened


class Display(Watch, Protocol):
    """What shows a run while it goes on."""

    def started(self, plans: Sequence[Plan], pool: Pool, done: Sequence[int]) -> None:
        """The workers stand ready; so many trials of each study were `done` before."""

    def scored(self, plan: Plan, rows: pd.DataFrame) -> None:
        """A batch of that study has been scored and committed."""

    def left_out(self, plan: Plan, trials: int) -> None:
        """That study has ended early: so many of its trials are not tried."""

    def checking(self) -> None:
        """Every trial is told; reality checks are left. It may be said again."""

    def finishing(self) -> None:
        """Every trial is committed; files and figures are left."""


def go_on() -> bool:
    """No wish to stop."""
    return False


def run(
    plans: Sequence[Plan],
    display: Display,
    *,
    resume: bool = False,
    top: int = 5,
    stop: Callable[[], bool] = go_on,
    again: str = "",
) -> list[Outcome]:
    """Run the studies of a study file to their end, side by side on one pool.

    Each study: its baselines, then ask -> backtest -> score and commit -> record, batch by batch, or all its trials as
    a stream where their points are known beforehand; then its reality check, its figures and files. The pool has the
    next work of every unfinished study, so its workers are busy while any study has some, and each study gets what it
    would get alone.
    What is committed is never computed again: an interrupted run goes on with `resume`. Once `stop` says so, what is
    under way is finished and KeyboardInterrupt is raised. `again` is the command that resumes this run, which
    `hedgegrid status` tells when it has ended too soon.
    """
    clock = Clock()
    with opened(plans, resume=resume) as studies, Reporter(studies, stop, again) as reporter:
        with clock("workers"):
            pool = open_pool([plan.task for plan in plans], plans[0].config.compute)
        with closing(pool):
            watching = Watching(studies, display, reporter)
            display.started(
                [replace(each.plan, trials=each.trials) for each in studies],
                pool,
                [study.done_before for study in studies],
            )
            for number, study in enumerate(studies):
                if not stop():
                    study.begin(pool, number)
            while pool.busy:
                phase: Phase = "reality check" if all(study.searched for study in studies) else "backtests"
                if phase == "reality check":
                    display.checking()
                reporter.entered(phase, pool)
                with clock(phase):
                    number, result = pool.result(watching)
                study = studies[number]
                before = study.trials
                if (rows := study.take(result)) is not None:
                    display.scored(study.plan, rows)
                    reporter.committed()
                if left := before - study.trials:
                    display.left_out(study.plan, left)
                    reporter.left_out(study.plan, left)
                if stop():
                    pool.withdraw()
                elif known := study.go_on():
                    watching.advanced(known)
        for study in studies:
            study.settle()
        if stop():
            raise KeyboardInterrupt
        display.finishing()
        reporter.entered("writing files and figures")
        together = {what: seconds / len(studies) for what, seconds in clock.seconds.items()}
        outcomes = []
        for study in studies:
            outcomes.append(study.finish(top, together))
            reporter.committed()
            if stop() and study is not studies[-1]:
                raise KeyboardInterrupt
        return outcomes
