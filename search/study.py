"""A study: what has been tried, how good it was, and what to try next, in batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray

from kernels.errors import InputError
from search import cloud_trials, record, samplers
from search.cloud import SUMMARY, Cloud
from search.cloud_trials import CLOUDS, CloudTrials
from search.duplicates import Known, Repeats, distinct, known
from search.front import Front, front_of
from search.frozen import frozen_study
from search.journal import begin
from search.lock import hold
from search.manifest import Manifest
from search.objectives import Objectives
from search.parts import CONFIGS, Parts, evaluated, part_names
from search.patience import check_patience, has_ended
from search.periods import is_result, only
from search.points import Part, scored
from search.space import Space
from search.targets import Targets
from search.trials import JOURNAL, Trials, told
from search.warm_start import Earlier, WarmStart, check_learns, frozen, kept_spec, read_kept
from search.whole import writing

FEWEST_FOR_IMPORTANCE = 30  # its best tenth must be a few trials


@dataclass(frozen=True)
class Batch:
    """Configurations evaluated together: trials from `first` on, one row each, or one cloud of rows each.

    `configurations` are to be backtested: of `every` row those that the study does not know yet, each once, as `repeats`
    has it (None: all).
    """

    number: int
    first: int
    configurations: pd.DataFrame
    every: pd.DataFrame
    repeats: Repeats | None = None


class Ledger(Protocol):
    """Where results are committed; what it says is done survives anything."""

    @property
    def done(self) -> int: ...  # noqa: D102

    def ask(self) -> tuple[int, pd.DataFrame] | None: ...  # noqa: D102

    def tell(self, rows: pd.DataFrame) -> pd.DataFrame: ...  # noqa: D102

    def tables(self) -> Iterator[pd.DataFrame]: ...  # noqa: D102

    def configurations(self) -> Iterator[pd.DataFrame]: ...  # noqa: D102

    def over_time(self) -> Iterator[pd.DataFrame]: ...  # noqa: D102


class Study:
    """One search. `ask` a batch, evaluate it, `tell` its metrics, until `ask` gives None.

    The same space, targets, sampler, seed and (for samplers that learn) batch and cloud give the same trials,
    whether the study runs through or is interrupted anywhere and resumed.
    """

    def __init__(
        self,
        name: str,
        space: Space,
        targets: Targets,
        *,
        manifest: Manifest,
        ledger: Ledger,
        trials: int,
        batch: int,
        seed: int,
        sampler: str,
        cloud: Cloud | None = None,
        patience: int | None = None,
        warm_start: WarmStart | None = None,
        objectives: Objectives | None = None,
    ) -> None:
        self.name = name
        self.space = space
        self.targets = targets
        self.sampler = sampler
        self.manifest = manifest
        self.warm_start = warm_start
        self._wanted = trials
        self._ledger = ledger
        self._batch = batch
        self._seed = seed
        self._cloud = cloud
        self._patience = patience
        self._objectives = objectives
        self._by = "cloud_score" if cloud else "score"
        self._known: Known | None = (
            None  # until a sampler that learns is asked; others try what is distinct, or a sample
        )
        tables = self.tables() if patience else ()
        self._distinct = 0, 0  # trials done, and different configurations among theirs
        self._scores = np.array([score for table in tables for score in table[self._by]], dtype=np.float64)

    @classmethod
    def open(
        cls,
        folder: Path,
        name: str,
        space: Space,
        targets: Targets,
        *,
        sampler: str,
        trials: int | None,
        batch: int,
        seed: int,
        cloud: Cloud | None = None,
        patience: int | None = None,
        earlier: Earlier | None = None,
        options: Mapping[str, Any] | None = None,
        objectives: Objectives | None = None,
        resume: bool = False,
    ) -> Study:
        """The study kept in `folder` (made where missing): a new one, or with `resume` the one that is there.

        A resumed study may be given more trials (but where its clouds shrink over them), another `patience` (batches
        without a better score after which it ends), and another batch where its sampler does not learn. What it was shown
        of an `earlier` study when it began is what it goes on with. `options` are those of a sampler of the user's own; with
        `objectives` the study looks for their front, and its best trials are ordered by them.
        InputError where the settings are wrong, the folder holds a study and `resume` is not set, or it
        holds another study.
        """
        count = samplers.check(
            sampler,
            space,
            trials=trials,
            batch=batch,
            seed=seed,
            cloud=cloud,
            options=options,
            pareto=objectives is not None,
        )
        _check_names(space, targets, cloud)
        check_patience(patience, sampler)
        if earlier:
            check_learns(earlier.study, sampler)
        learns = sampler not in samplers.POINTS
        described: dict[str, Any] = {
            "name": name,
            **samplers.spec(sampler, options),
            "seed": seed,
            "batch": batch if learns else None,
            "space": space.spec,
            "targets": targets.spec,
            "trials": count,
        }
        if cloud:
            described["cloud"] = cloud.spec(count)
        if objectives:
            described["objectives"] = objectives.spec
        journal = folder / JOURNAL
        try:
            folder.mkdir(parents=True, exist_ok=True)
            hold(folder)
            manifest = Manifest(folder)
            done = evaluated(manifest) + told(manifest, journal)
            if resume:
                manifest.check(part_names(manifest, CONFIGS) + part_names(manifest, CLOUDS))
            fresh = (
                earlier.found if earlier and not done else None
            )  # what is kept of it stands from the first result on
            if earlier:
                described["warm_start"] = {**(fresh.spec if fresh else kept_spec(folder)), "study": earlier.study}
            record.claim(folder, described, done=done, resume=resume)
            if done == 0:
                begin(manifest, journal)  # what was asked and never told is asked anew
                cloud_trials.forget(manifest)
            if fresh:
                fresh.keep(manifest)
            warm = read_kept(manifest, described["warm_start"]) if earlier else None
        except OSError as error:
            raise InputError(f"{folder}: the study cannot be kept there ({error}); name another folder") from error
        ledger: Ledger
        with writing(folder):
            if learns:
                ledger = Trials(
                    *(manifest, name, space, targets),
                    learner=samplers.learner(sampler, options),
                    trials=count,
                    batch=batch,
                    seed=seed,
                    earlier=frozen(warm.rows, space, targets) if warm else (),
                    objectives=objectives,
                )
                if cloud:
                    ledger = CloudTrials(manifest, ledger, space, cloud, count=count, batch=batch, seed=seed)
            else:
                points = samplers.POINTS[sampler]
                ledger = Parts(manifest, lambda first, n: points(space, first, n, seed), trials=count, batch=batch)
        return cls(
            *(name, space, targets),
            manifest=manifest,
            ledger=ledger,
            trials=count,
            batch=batch,
            seed=seed,
            sampler=sampler,
            cloud=cloud,
            patience=patience,
            warm_start=warm,
            objectives=objectives,
        )

    @property
    def done(self) -> int:
        """Trials evaluated."""
        return self._ledger.done

    @property
    def trials(self) -> int:
        """How many it has in the end: as many as it was given, or as were told where it ended early."""
        ended = has_ended(self._scores, self._batch, self._patience)
        return min(len(self._scores), self._wanted) if ended else self._wanted

    @property
    def distinct(self) -> int:
        """Different configurations evaluated: one pass over all of them, whenever there are more."""
        if self.sampler == "grid":
            return self.done
        if self._distinct[0] != self.done:
            self._distinct = self.done, distinct(self.space, self.configurations())
        return self._distinct[1]

    def ask(self) -> Batch | None:
        """The next batch without results (the same one until it is told), None when the study is done."""
        asked = self._ledger.ask() if self.done < self.trials else None
        if asked is None:
            return None
        first, every = asked
        if self._known is None and isinstance(self._ledger, (Trials, CloudTrials)):
            self._known = known(self.space, self._ledger.kept())
        if self._known is None:
            return Batch(first // self._batch, first, every, every)
        repeats = self._known.split(every)
        return Batch(first // self._batch, first, every.iloc[repeats.new].reset_index(drop=True), every, repeats)

    def ahead(self) -> None:
        """Propose the batch after the one that is being computed, where no result has a say in it."""
        if isinstance(self._ledger, (Trials, CloudTrials)):
            self._ledger.ahead()

    def tell(self, batch: Batch, metrics: pd.DataFrame) -> pd.DataFrame:
        """Score the metrics of a batch (one row for each of its `configurations`, in their order) and commit them.

        Returns one row per trial: trial, parameters, metrics (`Space.measured`), score, targets_met, status, margins of
        its point; where trials are clouds, `search.cloud.SUMMARY` as well.
        """
        if len(metrics) != len(batch.configurations):
            raise ValueError(f"{len(batch.configurations)} rows of metrics are needed, got {len(metrics)}")
        if self._known is not None and batch.repeats is not None:
            self._known.add(batch.configurations, metrics)
            metrics = self._known.complete(batch.repeats, metrics)
        rows = scored(self.space, self.targets, batch.every, metrics)
        size = self._cloud.size if self._cloud else 1
        rows.insert(0, "trial", batch.first + np.arange(len(rows)) // size)
        if self._cloud:
            rows.insert(1, "member", np.arange(len(rows)) % size)
        told = self._ledger.tell(rows)
        if self._patience is not None:
            new = (told["trial"] >= len(self._scores)).to_numpy()  # a part that was lost is not told twice
            self._scores = np.append(self._scores, told.loc[new, self._by])
        return only(is_result, told)

    def missing(self) -> list[range] | None:
        """The trials without a result, where their points are known beforehand; None where they are learnt."""
        return self._ledger.missing() if isinstance(self._ledger, Parts) else None

    def keep(self, part: Part) -> None:
        """Commit trials that were made and scored elsewhere (`search.points`), whatever was committed before."""
        assert isinstance(self._ledger, Parts)
        self._ledger.keep(part.first, part.rows, part.file, part.sha256)

    def results(self) -> pd.DataFrame:
        """One row per trial in trial order, columns as `tell` returns them."""
        tables = list(self.tables())
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def tables(self) -> Iterator[pd.DataFrame]:
        """The results in pieces that fit in memory, in trial order."""
        return self._ledger.tables()

    def configurations(self) -> Iterator[pd.DataFrame]:
        """Every configuration evaluated, in pieces, in trial order: of clouds also the others than the point, with
        their `member`; else the same as `tables`."""
        return self._ledger.configurations()

    def over_time(self) -> Iterator[pd.DataFrame]:
        """Of every configuration evaluated, as `configurations` has them: trial, status, and what is kept of it over time
        (`search.periods.Periods.columns`) where anything is."""
        return self._ledger.over_time()

    def best(self, n: int) -> pd.DataFrame:
        """The n best trials, best first: of several objectives as `Objectives.best_first` orders them, so that the
        reference-point pick is the first; else those of highest score."""
        return self._first(n, self._objectives.best_first) if self._objectives else self.highest(n)

    def highest(self, n: int) -> pd.DataFrame:
        """The n trials of highest score (of clouds `cloud_score`), best first, the earlier first among equals."""
        return self._first(n, lambda rows: np.argsort(-rows[self._by].to_numpy(), kind="stable"))

    def _first(self, n: int, order: Callable[[pd.DataFrame], NDArray[np.intp]]) -> pd.DataFrame:
        """The first n trials in an order that keeps earlier ones before equal ones."""
        best = pd.DataFrame()
        for table in self.tables():
            best = pd.concat([best, table], ignore_index=True) if len(best) else table
            best = best.iloc[order(best)[:n]]
        return best.reset_index(drop=True)

    def front(self) -> Front | None:
        """The front of several objectives; None where the study has one, the score."""
        return front_of(self._objectives, self.tables()) if self._objectives else None

    def importance(self) -> dict[str, float]:
        """The share of each searched parameter in what tells the best tenth of the trials from all of them (PED-ANOVA),
        largest first; empty where too few trials, or too equal ones, can tell.

        Source: Watanabe, Bansal, Hutter (2023), "PED-ANOVA: efficiently quantifying hyperparameter importance".
        """
        if len(self.space.searched) < 2 or self.done < FEWEST_FOR_IMPORTANCE:
            return {}
        seen = self._frozen() if self._objectives else self.optuna_study  # what moved the score, of whatever study
        found = optuna.importance.get_param_importances(seen)
        return {name: share for name, share in found.items() if math.isfinite(share)}

    @property
    def optuna_study(self) -> optuna.Study:
        """The study as Optuna sees it: for its importances and plots.

        A study that learns is Optuna's own; of another, results (a sample where there are many) are entered
        in one that lives in memory.
        """
        if isinstance(self._ledger, (Trials, CloudTrials)):
            return self._ledger.study
        return self._frozen()

    def _frozen(self) -> optuna.Study:
        return frozen_study(self.name, self.space, self.targets, self.tables(), done=self.done, seed=self._seed)


def _check_names(space: Space, targets: Targets, cloud: Cloud | None) -> None:
    """Refuse parameters that are named as a column of results."""
    margins = [f"margin_{metric}" for metric in targets.metrics]
    own = ("trial", *(("member", *SUMMARY) if cloud else ()), "score", "targets_met", "status", *margins)
    clash = [p.name for p in space.strategy.parameters if p.name in own]
    if clash:
        raise InputError(
            f"strategy {space.strategy.name}: parameter '{name}' has the name of a column of results; rename it"
            for name in clash
        )
