"""The record of a study that learns: an Optuna study in a journal file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState

from kernels.errors import InputError
from search.journal import Marks, cut, damage, mend, unmarked
from search.learner import Learner, SeededByTrial
from search.manifest import Manifest
from search.objectives import Objectives
from search.periods import is_over_time, is_result, only
from search.quiet import quiet
from search.space import Space
from search.suggestion import suggest
from search.targets import Targets
from search.whole import writing

JOURNAL = "optuna.journal"
RESULT = "result"


class Trials:
    """Trials asked and told in batches.

    A trial's results are stored in one attribute and then told: the tell is the commit. A trial that was
    asked and never told is evaluated again. The journal holds about 180 trials a second, an SQLite file 19
    (a trial is some twenty small writes).
    """

    def __init__(
        self,
        manifest: Manifest,
        name: str,
        space: Space,
        targets: Targets,
        *,
        learner: Learner,
        trials: int,
        batch: int,
        seed: int,
        earlier: Sequence[optuna.trial.FrozenTrial] = (),
        objectives: Objectives | None = None,
    ) -> None:
        self._blind = learner.blind - len(earlier)
        self._space = space
        self._targets = targets
        self._objectives = objectives
        self._trials = trials
        self._batch = batch
        self._distributions = space.distributions()
        self._journal = journal = manifest.folder / JOURNAL
        mend(journal)
        self._storage = JournalStorage(JournalFileBackend(str(journal)))
        self._marks = Marks(manifest, journal)
        self._marks.mark(_count(self._storage))  # before a line is added: what is there may have been cut
        proposer = SeededByTrial(learner, self._distributions, seed=seed, batch=batch, earlier=earlier)
        with quiet():
            there = [kept.study_name for kept in self._storage.get_all_studies()]
            if name in there:  # a line less than to create it again
                self.study = optuna.load_study(study_name=name, storage=self._storage, sampler=proposer)
            else:
                self.study = optuna.create_study(
                    study_name=name,
                    storage=self._storage,
                    sampler=proposer,
                    directions=objectives.directions if objectives else [StudyDirection.MAXIMIZE],
                )
        self._id = self._storage.get_study_id_from_name(name)
        self._asked = self._storage.get_n_trials(self._id)
        self._told = self._storage.get_n_trials(self._id, TrialState.COMPLETE)

    @property
    def done(self) -> int:
        """Trials evaluated."""
        return self._told

    def ask(self) -> tuple[int, pd.DataFrame] | None:
        """The rest of the first batch without results: number of the first trial, and the configurations."""
        first = self._told
        if first >= self._trials:
            return None
        end = min(self._trials, (first // self._batch + 1) * self._batch)
        return first, self.points(first, end)

    def ahead(self) -> None:
        """Propose the batch after the one asked for, where no result has a say in it, while that one is computed."""
        first = (self._told // self._batch + 1) * self._batch
        if first < min(self._blind, self._trials):
            self.points(first, min(first + self._batch, self._trials))

    def points(self, first: int, end: int) -> pd.DataFrame:
        """What trials `first` .. `end - 1` try: proposed now, or read where they have been."""
        with writing(self._journal):
            return self._space.table([self._propose(number) for number in range(first, end)])

    def tell(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Commit the results of one batch, trial by trial, in order, and return them."""
        if self._objectives:
            return self.commit(rows, self._objectives.told(rows), self._objectives.carriers(rows))
        return self.commit(rows, rows["score"], rows)

    def commit(
        self, rows: pd.DataFrame, told: Iterable[float | Sequence[float]], carriers: pd.DataFrame
    ) -> pd.DataFrame:
        """Commit one row per trial, each as what is `told` of it, and with the margins of its row of `carriers` as
        constraints."""
        results = rows.drop(columns=["trial", *(p.name for p in self._space.strategy.parameters)])
        each = zip(rows["trial"], results.to_dict("records"), told, carriers.to_dict("records"), strict=True)
        with writing(self._journal):
            for number, result, values, carrier in each:
                self._tell(int(number), result, values, self._targets.constraints(carrier))
            self._marks.mark(self._told)
        return rows

    def tables(self) -> Iterator[pd.DataFrame]:
        """The results in one table, in trial order."""
        for table in self._told_rows():
            yield only(is_result, table)

    def over_time(self) -> Iterator[pd.DataFrame]:
        """What is kept of every trial over time, in one table, in trial order."""
        for table in self._told_rows():
            yield only(is_over_time, table)

    def _told_rows(self) -> Iterator[pd.DataFrame]:
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if complete:
            results = pd.DataFrame([trial.user_attrs[RESULT] for trial in complete])
            configurations = self._space.table([self._space.row(trial.params) for trial in complete])
            configurations.insert(0, "trial", [trial.number for trial in complete])
            yield pd.concat([configurations, results], axis="columns")

    def configurations(self) -> Iterator[pd.DataFrame]:
        """The same: every trial is one configuration."""
        return self.tables()

    def kept(self) -> Iterator[pd.DataFrame]:
        """Every trial told, with what is kept of it over time: none of it can be lost."""
        return self._told_rows()

    def _tell(
        self, number: int, result: dict[Any, Any], values: float | Sequence[float], constraints: Mapping[str, float]
    ) -> None:
        """Commit one trial."""
        trial = self._trial(number)
        trial.set_user_attr(RESULT, result)
        known = trial.constraints
        for metric, violation in constraints.items():
            if metric not in known:  # a tell that was cut short has set some, to the same values
                trial.set_constraint(metric, violation)
        self.study.tell(trial, values)
        self._told += 1

    def _propose(self, number: int) -> Mapping[str, Any]:
        """The configuration of trial `number`, asked now, or asked before the study was interrupted."""
        if number < self._asked:
            trial = self._trial(number)
        else:
            trial = self.study.ask()
            self._asked += 1
        params = {name: suggest(trial, name, d) for name, d in self._distributions.items()}
        return self._space.row(params)

    def _trial(self, number: int) -> optuna.Trial:
        return optuna.Trial(self.study, self._storage.get_trial_id_from_study_id_trial_number(self._id, number))


def told(manifest: Manifest, journal: Path) -> int:
    """Trials told, of whatever study the journal holds; it is only read. InputError where it is damaged."""
    if not journal.exists():
        return 0
    if wrong := damage(manifest, journal):
        raise InputError(wrong)
    count = read_told(manifest, journal)
    if count and not manifest.versions(journal.name):
        raise InputError(unmarked(journal))
    return count


def read_told(manifest: Manifest, journal: Path) -> int:
    """Trials told; InputError where the journal cannot be read to its end."""
    try:
        return _count(JournalStorage(JournalFileBackend(str(journal))))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(cut(manifest, journal, error)) from error


def _count(storage: JournalStorage) -> int:
    """Trials told."""
    return sum(storage.get_n_trials(study._study_id, TrialState.COMPLETE) for study in storage.get_all_studies())
