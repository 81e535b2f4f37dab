"""The record of a study that learns from clouds: its trials as Optuna keeps them, its configurations in Parquet."""

from __future__ import annotations

from collections.abc import Iterator

import optuna
import pandas as pd

from search.cloud import Cloud
from search.manifest import Manifest
from search.parts import found, part_name, part_names, read_part, write_part
from search.periods import is_over_time, is_result, only
from search.space import Space
from search.trials import Trials

CLOUDS = "clouds"


class CloudTrials:
    """Clouds asked and told in batches, a part file per batch.

    Order: part -> each trial's tell, which is its commit. A part of trials that were never told is written again when
    they are; rows of a part count only as far as trials are told. Trials that were told and whose part is lost are
    asked once more, and not told again.
    """

    def __init__(
        self, manifest: Manifest, trials: Trials, space: Space, cloud: Cloud, *, count: int, batch: int, seed: int
    ) -> None:
        self._manifest = manifest
        self._trials = trials
        self._space = space
        self._cloud = cloud
        self._count = count
        self._batch = batch
        self._seed = seed
        self._rows = found(manifest, CLOUDS)

    @property
    def study(self) -> optuna.Study:
        """The study as Optuna keeps it."""
        return self._trials.study

    @property
    def done(self) -> int:
        """Trials evaluated, of which every configuration is there."""
        return self._trials.done - sum(end - start for start, end in self._lost())

    def ask(self) -> tuple[int, pd.DataFrame] | None:
        """The clouds of the first batch without results: number of the first trial, and their configurations."""
        lost = next(self._lost(), None)
        if lost is not None:
            first, points = lost[0], self._trials.points(*lost)
        else:
            asked = self._trials.ask()
            if asked is None:
                return None
            first, points = asked
        return first, self._cloud.around(self._space, points, first=first, seed=self._seed, trials=self._count)

    def ahead(self) -> None:
        """Propose the points of the next batch, where no result has a say in them."""
        self._trials.ahead()

    def tell(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Commit the results of one batch of clouds; returns one row per trial: its point's, with `cloud.SUMMARY`."""
        self._keep(rows)
        size = self._cloud.size
        scores = rows["score"].to_numpy().reshape(-1, size)
        points = only(
            is_result, rows.iloc[::size].drop(columns="member").reset_index(drop=True)
        )  # the part has the rest
        trials = pd.concat([points, self._cloud.summary(scores)], axis="columns")
        members = self._cloud.carriers(scores, trials["cloud_score"].to_numpy())
        carriers = rows.iloc[members + size * trials.index.to_numpy()]
        new = (trials["trial"] >= self._trials.done).to_numpy()
        self._trials.commit(trials[new], trials["cloud_score"][new], carriers[new])
        return trials

    def tables(self) -> Iterator[pd.DataFrame]:
        """One row per trial, as `tell` returns them, in trial order."""
        return self._trials.tables()

    def configurations(self) -> Iterator[pd.DataFrame]:
        """Every configuration of every trial told, part by part, with `trial` and `member` (0: the point itself)."""
        for start in range(0, self._trials.done, self._batch):
            rows = read_part(self._manifest, part_name(CLOUDS, start), is_result)
            yield rows[rows["trial"] < self._trials.done]

    def over_time(self) -> Iterator[pd.DataFrame]:
        """What is kept of every configuration of every trial told over time, part by part."""
        for start in range(0, self._trials.done, self._batch):
            rows = read_part(self._manifest, part_name(CLOUDS, start), is_over_time)
            yield rows[rows["trial"] < self._trials.done]

    def kept(self) -> Iterator[pd.DataFrame]:
        """Every configuration of the parts that are there, whether or not its trial was told."""
        for start in sorted(self._rows):
            yield read_part(self._manifest, part_name(CLOUDS, start))

    def _keep(self, rows: pd.DataFrame) -> None:
        """Write the batch's part; of a batch told in two halves, the first half stays in it."""
        first = int(rows["trial"].iloc[0])
        start = first // self._batch * self._batch
        name = part_name(CLOUDS, start)
        if first > start:
            before = read_part(self._manifest, name)
            rows = pd.concat([before[before["trial"] < first], rows], ignore_index=True)
        write_part(self._manifest, name, rows)
        self._rows[start] = len(rows)

    def _lost(self) -> Iterator[tuple[int, int]]:
        """First trial and end of every batch of which trials were told and configurations are missing."""
        for start in range(0, self._trials.done, self._batch):
            end = min(start + self._batch, self._trials.done)
            if self._rows.get(start, 0) < (end - start) * self._cloud.size:
                yield start, end


def forget(manifest: Manifest) -> None:
    """Remove the parts of a study of which nothing was told."""
    for name in part_names(manifest, CLOUDS):
        (manifest.folder / name).unlink()
