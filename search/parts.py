"""The record of a study whose points are known beforehand: one Parquet file per batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
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
        self._rows = found(folder)

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

    def tell(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Commit the results of one batch, and return them."""
        first = int(rows["trial"].iloc[0])
        write_part(part_path(self._folder, first), rows)
        self._rows[first] = len(rows)
        return rows

    def missing(self) -> list[range]:
        """The trials without a result."""
        gaps, end = [], 0
        for first in [*sorted(self._rows), self._trials]:
            if first > end:
                gaps.append(range(end, first))
            end = first + self._rows.get(first, 0)
        return gaps

    def keep(self, first: int, rows: int, file: pa.Buffer) -> None:
        """Commit the results of trials `first` .. `first + rows - 1`, written elsewhere by `encoded`."""
        store_part(part_path(self._folder, first), file)
        self._rows[first] = rows

    def tables(self) -> Iterator[pd.DataFrame]:
        """The results, batch by batch, in trial order."""
        for first in sorted(self._rows):
            yield read_part(part_path(self._folder, first))

    def configurations(self) -> Iterator[pd.DataFrame]:
        """The same: every trial is one configuration."""
        return self.tables()


def evaluated(folder: Path) -> int:
    """Trials evaluated, of whatever study the folder holds."""
    return sum(found(folder).values())


def part_path(folder: Path, first: int) -> Path:
    """The part that begins with trial `first`."""
    return folder / f"part-{first:09d}.parquet"


def write_part(path: Path, rows: pd.DataFrame) -> None:
    """Write a part whole or not at all; it is on the disk when this returns."""
    store_part(path, encoded(rows))


def encoded(rows: pd.DataFrame) -> pa.Buffer:
    """The bytes of a part."""
    table = pa.Table.from_pandas(rows, preserve_index=False)
    # dictionaries of numbers that are seldom twice the same take longer to try than all the rest
    repeated = [
        name
        for name in table.column_names
        if rows[name].dtype != np.float64 or (rows[name] == rows[name].iloc[0]).all()
    ]
    sink = pa.BufferOutputStream()
    # a flipped bit in an unchecked page reads as another number without a word
    pq.write_table(table, sink, write_page_checksum=True, use_dictionary=repeated)
    return sink.getvalue()


def store_part(path: Path, file: pa.Buffer) -> None:
    """Write a part whole or not at all; it is on the disk when this returns."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as opened:
        opened.write(file)
        opened.flush()
        os.fsync(opened.fileno())
    partial.replace(path)


def read_part(path: Path) -> pd.DataFrame:
    """The rows of a part; InputError where it is damaged."""
    try:
        rows: pd.DataFrame = pq.read_table(path, page_checksum_verification=True).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error
    return rows


def found(folder: Path) -> dict[int, int]:
    """{first trial: rows} of the parts there are."""
    return {int(path.stem.removeprefix("part-")): _rows(path) for path in folder.glob("part-*.parquet")}


def _rows(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} is damaged ({error}); remove it and resume the study, which evaluates it again")
