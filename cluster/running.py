"""Studies while they run: what each asks of the pool, what becomes of the answers, and what it leaves."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cluster import surveying
from cluster.commits import Commits
from cluster.conclusion import conclude
from cluster.events import EventLog
from cluster.findings import Findings, scored_baselines
from cluster.identity import identify
from cluster.looking import look
from cluster.plan import Plan, open_study
from cluster.pool import Event, Pool, Watch
from cluster.records import baseline_records, open_recorder, trial_records
from cluster.surveying import Reality, Survey
from cluster.validation import must_not_go_on
from cluster.work import Result, Surveyed
from kernels.errors import InputError
from search.lock import release
from search.periods import is_result
from search.points import Part
from search.study import Batch
from tracking.address import TrackingError
from tracking.machine import watched
from tracking.recorder import Recorder

COUNTED = 1_000_000  # trials of a stopped study of which the different ones are counted


@dataclass(frozen=True)
class Outcome:
    """A finished study: where it lies, what it found, and how long it took.

    Of what the studies of a run waited for together (workers, backtests), `seconds` has an even share: over all
    outcomes they add up to the run's.
    """

    plan: Plan
    study_id: str
    folder: Path
    found: Findings
    trials: int
    evaluated: int  # of these, in this run
    seconds: dict[str, float]
    study_url: str | None
    trials_url: str | None


@contextmanager
def opened(plans: Sequence[Plan], *, resume: bool) -> Iterator[list[Running]]:
    """The studies, each with its run in MLflow, which says how the study ended when this does.

    InputError where any of them may not begin or go on, with what speaks against each; no new folder is left then.
    """
    studies: list[Running] = []
    problems: list[str] = []
    for plan in plans:
        try:
            studies.append(Running(plan, resume=resume))
        except InputError as error:
            problems += error.problems
    with ExitStack() as at_the_end:
        for study in studies:
            at_the_end.callback(study.close)
        try:
            for study in studies if not problems else ():
                study.open_recorder(at_the_end)
        except InputError as error:
            problems += error.problems
        if problems:
            for study in studies:
                study.undo()
            raise InputError(problems)
        with watched([study.measured for study in studies if study.plan.config.tracking.system_metrics]):
            yield studies


class Running:
    """One study while it runs: what it asks of the pool, and what becomes of the answers."""

    def __init__(self, plan: Plan, *, resume: bool) -> None:
        self.plan = plan
        self.baselines: pd.DataFrame | None = None  # until they have been backtested
        self.clock = Clock()
        self._new = not plan.folder.exists()
        must_not_go_on(plan)
        self._study = open_study(plan, resume=resume)
        self.done = self.done_before = self._study.done  # trials
        self.trials = self._study.trials
        self.finished = False
        self._identity = identify(plan, self._study)
        self._events = EventLog(plan.folder)
        self.best: tuple[float, int] | None = None  # score and trial
        if self.done_before:
            self._see(self._study.highest(1))
        self._commits = Commits(self._study.keep)
        self._recorder: Recorder | None = None
        self._asked: tuple[Batch, float] | None = None  # and when, seconds since 1970
        self._pool: Pool | None = None
        self._number = 0  # what the pool calls the study
        self._awaited: int | None = None  # trials of a stream that have not come; None: there is no stream
        self.searched = False  # all its trials are told
        self.reality: Reality | None = None
        self._survey: Survey | None = None  # that the pool has

    def open_recorder(self, at_the_end: ExitStack) -> None:
        """The study's run in MLflow, where it is tracked; it is closed at the end, whatever that is."""
        if self.plan.config.tracking.enabled:
            with self.clock("records"):
                self._recorder = at_the_end.enter_context(open_recorder(self.plan, self._identity))
            at_the_end.callback(self._label_unfinished)  # before the recorder is closed

    def measured(self, values: Mapping[str, float]) -> None:
        """How busy this machine is now, by name, and what the pool uses: among the system metrics of the study's run."""
        if self._recorder:
            self._recorder.measured({**values, **(self._pool.use if self._pool else {})})

    def close(self) -> None:
        """Nothing is written any more when this returns; what was tried is in the ledger, however the run ended."""
        self._commits.close()
        with suppress(OSError, InputError):  # the error that ended the run is the one to be told
            if not self.finished:
                # of very many it takes a while to see which are the same, and whoever stops a run waits for it
                self._enter_look(self._study.distinct if self._study.done <= COUNTED else self._study.done)

    def undo(self) -> None:
        """Leave nothing of a study that was not there before and does not begin."""
        if self._new:
            release(self.plan.folder)
            shutil.rmtree(self.plan.folder)

    def _compare(self, metrics: pd.DataFrame) -> None:
        """Score and record the baselines; record also the trials that a crash left out."""
        self.baselines = scored_baselines(self.plan, metrics)
        if self._recorder:
            with self.clock("records"):
                self._recorder.record(baseline_records(self.plan, self._identity, self.baselines))
                if self.done_before and self._records_all:
                    self._recorder.record(trial_records(self.plan, self._identity, self._study.results()))

    def take(self, result: Result) -> pd.DataFrame | None:
        """Commit and record what the pool made: the committed rows, at least trial and score; None of the baselines, and
        of a survey."""
        if isinstance(result, Surveyed):
            assert self._survey is not None
            if result.whole:
                self.reality = surveying.keep(self._study, self._survey, result)
            return None
        if self.baselines is None:
            assert isinstance(result, pd.DataFrame)
            self._compare(result)
            return None
        rows = self._keep(result) if isinstance(result, Part) else self._tell(result)
        self.done, self.trials = self._study.done, self._study.trials
        self._see(rows)
        return rows

    def begin(self, pool: Pool, number: int) -> None:
        """Hand the pool the study's baselines; `number` is what the pool calls the study."""
        self._pool, self._number = pool, number
        pool.submit(number, self.plan.baselines)

    def go_on(self) -> int:
        """Hand the pool the study's next work, unless all of it is there already; how many configurations of it the study
        knows from earlier trials, so that nobody computes them."""
        if self._awaited is not None:
            if not self._awaited:
                self._look_again()
            return 0
        assert self._pool is not None
        with self.clock("search"):
            trials = self._study.missing()
            batch = None if trials is not None else self._study.ask()
        if trials:
            self._awaited = sum(map(len, trials))
            self._pool.stream(self._number, trials, self.plan.batch)
        elif batch is not None:
            self._asked = batch, time.time()
            self._pool.submit(self._number, batch.configurations)
            with self.clock("search"):
                self._study.ahead()
            return len(batch.every) - len(batch.configurations)
        else:
            self._look_again()
        return 0

    def _look_again(self) -> None:
        """All trials are told: hand the pool the study's survey, unless it has it or an earlier run kept what it found."""
        if self.searched:
            return
        self.searched = True
        assert self._pool is not None
        assert self.baselines is not None
        self._commits.settle()
        with self.clock("reality check"):
            self._survey = surveying.survey_of(self.plan, self._identity, self._study, self.baselines)
            if self._survey is None:
                return
            self.reality = surveying.kept(self._study.manifest, self._survey.settings)
        if self.reality is None:
            self._pool.survey(self._number, self._survey.terms, self._survey.rows)

    def _tell(self, metrics: pd.DataFrame) -> pd.DataFrame:
        """Score and commit the metrics of the batch asked for, and record it."""
        assert self._asked is not None
        batch, when = self._asked
        with self.clock("search"):
            rows = self._study.tell(batch, metrics)
        if self._recorder and self._records_all:
            with self.clock("records"):
                self._recorder.record(trial_records(self.plan, self._identity, rows, when))
        return rows

    def _keep(self, part: Part) -> pd.DataFrame:
        """Commit trials as a worker scored them, and record them."""
        recorded = self._recorder is not None and self._records_all
        assert self._awaited is not None
        self._awaited -= part.rows
        with self.clock("search"):
            self._commits.put(part)
            if recorded:
                self._commits.settle()  # what has no part has no run
        file = pq.ParquetFile(pa.BufferReader(part.file))
        columns = filter(is_result, file.schema_arrow.names) if recorded else ("trial", "score")
        rows: pd.DataFrame = file.read(list(columns)).to_pandas()
        if self._recorder and recorded:
            with self.clock("records"):
                self._recorder.record(trial_records(self.plan, self._identity, rows))
        return rows

    def _see(self, rows: pd.DataFrame) -> None:
        """Keep the best trial in view; among equals the earliest, as the study does."""
        scores = rows["cloud_score" if self.plan.config.search.cloud else "score"].to_numpy(dtype=np.float64)
        top = scores.argmax()
        found = float(scores[top]), int(rows["trial"].iloc[top])
        if self.best is None or (found[0], -found[1]) > (self.best[0], -self.best[1]):  # parts come in any order
            self.best = found

    @property
    def events(self) -> dict[str, int]:
        """How often what was lost, in all runs of the study."""
        return dict(self._events.counts)

    def settle(self) -> None:
        """Wait until all that the pool made is committed."""
        with self.clock("search"):
            self._commits.settle()
        self.done = self._study.done

    def happened(self, event: Event) -> None:
        """Write down what was lost, and what became of it."""
        self._events.keep(event)

    def finish(self, top: int, together: dict[str, float]) -> Outcome:
        """Examine the winner, write, close the records. `together`: its share of what all studies waited for."""
        assert self.baselines is not None
        plan, study, recorder = self.plan, self._study, self._recorder
        self._enter_look(study.distinct)
        if recorder and not self._records_all:
            with self.clock("records"):
                recorder.record(trial_records(plan, self._identity, study.best(plan.config.tracking.max_runs)))
        found = conclude(
            plan,
            self._identity,
            study,
            self.baselines,
            top=top,
            recorder=recorder,
            tags=self._events.tags,
            clock=self.clock,
        )
        self.finished = True
        return Outcome(
            plan,
            self._identity.study_id,
            plan.folder,
            found,
            study.trials,
            study.trials - self.done_before,
            {
                what: together.get(what, 0.0) + self.clock.seconds.get(what, 0.0)
                for what in together | self.clock.seconds
            },
            recorder.study_url() if recorder else None,
            recorder.trials_url() if recorder else None,
        )

    def _enter_look(self, configurations: int) -> None:
        """Say in the ledger how many configurations were tried on this data."""
        if configurations:
            look(self.plan, self._identity.study_id, configurations)

    def _label_unfinished(self) -> None:
        """Say on the study's run in MLflow what was lost, of a run that does not come to `finish`."""
        if self._recorder and not self.finished:
            with suppress(TrackingError):  # the error that ended the run is the one to be told
                self._recorder.label(self._events.tags)

    @property
    def _records_all(self) -> bool:
        """Whether every trial gets a run in MLflow; of a study too large for that the best do, at the end."""
        return self.plan.trials <= self.plan.config.tracking.max_runs  # of a study that ends early, too


class Watching:
    """Tells those who show or write it how the pool gets on, and each study what concerns it."""

    def __init__(self, studies: Sequence[Running], *others: Watch) -> None:
        self._studies, self._others = studies, others

    def advanced(self, configurations: int) -> None:
        """So many more configurations are done."""
        for other in self._others:
            other.advanced(configurations)

    def happened(self, event: Event) -> None:
        """Something was lost, and what became of it."""
        for number, study in enumerate(self._studies):
            if event.task in (None, number):
                study.happened(event)
        for other in self._others:
            other.happened(event)


class Clock:
    """Wall seconds by what they went into."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Time what follows as `what`."""
        since = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - since
