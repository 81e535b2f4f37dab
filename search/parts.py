"""The record of a study whose points are known beforehand: one Parquet file per batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from kernels.errors import InputError


class Parts:
    """Batches of evaluated configurations as `part-<first trial>.parquet`.

    The files are the truth: what has none is evaluated (again). `points(first, n)` gives the configurations
    of trials `first` .. `first + n - 1`.
    """

    def __init__(self, folder: Path, points: Callable[[int, int], pd.DataFrame], *, trials: int, batch: int) -> None:
        self._folder = folder
        self._points = points
        self._trials = trials
        self._batch = batch
        folder.mkdir(parents=True, exist_ok=True)
        self._rows = _found(folder)

    @property
    def done(self) -> int:
        """Trials evaluated."""
        return sum(self._rows.values())

    def ask(self) -> tuple[int, pd.DataFrame] | None:
        """The first trials without a result: number of the first, and their configurations."""
        first = 0
        while first in self._rows:
            first += self._rows[first]
        end = min([self._trials, *(start for start in self._rows if start > first)])
        n = min(self._batch, end - first)
        return None if n <= 0 else (first, self._points(first, n))

    def tell(self, rows: pd.DataFrame) -> None:
        """Commit the results of one batch."""
        first = int(rows["trial"].iloc[0])
        path = self._path(first)
        part = path.with_suffix(".partial")
        # a flipped bit in an unchecked page reads as another number without a word
        pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), part, write_page_checksum=True)
        part.replace(path)
        self._rows[first] = len(rows)

    def tables(self) -> Iterator[pd.DataFrame]:
        """The results, batch by batch, in trial order."""
        for first in sorted(self._rows):
            path = self._path(first)
            try:
                yield pq.read_table(path, page_checksum_verification=True).to_pandas()
            except (OSError, pa.ArrowException) as error:
                raise _damaged(path, error) from error

    def _path(self, first: int) -> Path:
        return self._folder / f"part-{first:09d}.parquet"


def evaluated(folder: Path) -> int:
    """Trials evaluated, of whatever study the folder holds."""
    return sum(_found(folder).values())


def _found(folder: Path) -> dict[int, int]:
    """{first trial: rows} of the parts there are."""
    return {int(path.stem.removeprefix("part-")): _rows(path) for path in folder.glob("part-*.parquet")}


def _rows(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} is damaged ({error}); remove it and resume the study, which evaluates it again")
