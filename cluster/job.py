"""The main path: a study file in; trials, records, figures and the best configuration out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Protocol

import pandas as pd

from cluster.plan import Plan
from cluster.pool import Pool, Watch, open_pool
from cluster.running import Clock, Outcome, Watching, opened
from search.points import Part


class Display(Watch, Protocol):
    """What shows a run while it goes on."""

    def started(self, plans: Sequence[Plan], pool: Pool, done: Sequence[int]) -> None:
        """The workers stand ready; so many trials of each study were `done` before."""

    def scored(self, plan: Plan, rows: pd.DataFrame) -> None:
        """A batch of that study has been scored and committed."""

    def finishing(self) -> None:
        """Every trial is committed; files and figures are left."""


def run(plans: Sequence[Plan], display: Display, *, resume: bool = False, top: int = 5) -> list[Outcome]:
    """Run the studies of a study file to their end, side by side on one pool.

    Each study: its baselines, then ask -> backtest -> score and commit -> record, batch by batch; then its figures and
    files. The pool has the next batch of every unfinished study, so its workers are busy while any study has work, and
    each study gets what it would get alone. What is committed is never computed again: an interrupted run goes on with
    `resume`.
    """
    clock = Clock()
    with opened(plans, resume=resume) as studies:
        with clock("workers"):
            pool = open_pool([plan.task for plan in plans], plans[0].config.compute)
        with closing(pool):
            watching = Watching(display, studies)
            display.started(plans, pool, [study.done_before for study in studies])
            for number, plan in enumerate(plans):
                pool.submit(number, plan.baselines)
            while pool.busy:
                with clock("backtests"):
                    number, result = pool.result(watching)
                study = studies[number]
                if isinstance(result, Part):
                    display.scored(study.plan, study.keep(result))
                    continue
                if study.baselines is None:
                    study.compare(result)
                else:
                    display.scored(study.plan, study.tell(result))
                if (trials := study.missing()) is not None:
                    pool.stream(number, trials, study.plan.batch)
                elif (batch := study.ask()) is not None:
                    pool.submit(number, batch.configurations)
        display.finishing()
        together = {what: seconds / len(studies) for what, seconds in clock.seconds.items()}
        return [study.finish(top, together) for study in studies]
