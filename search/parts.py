"""The record of a study whose points are known beforehand: one Parquet file per batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from kernels.errors import InputError
from search.manifest import Manifest, damaged
from search.periods import is_over_time, is_result

CONFIGS = "configs"
PARTS = "part-*.parquet"


class Parts:
    """Batches of evaluated configurations as `configs/part-<first trial>.parquet`.

    The files are the truth: what has none is evaluated (again). `points(first, n)` gives the configurations
    of trials `first` .. `first + n - 1`.
    """

    def __init__(
        self, manifest: Manifest, points: Callable[[int, int], pd.DataFrame], *, trials: int, batch: int
    ) -> None:
        self._manifest = manifest
        self._points = points
        self._trials = trials
        self._batch = batch
        self._rows = found(manifest, CONFIGS)

    @property
    def done(self) -> int:
        """Trials evaluated."""
        return sum(list(self._rows.values()))  # a copy: parts are kept by other threads

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
        write_part(self._manifest, part_name(CONFIGS, first), rows)
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

    def keep(self, first: int, rows: int, file: pa.Buffer, sha256: str) -> None:
        """Commit the results of trials `first` .. `first + rows - 1`, written by `encoded` and digested elsewhere."""
        store_part(self._manifest, part_name(CONFIGS, first), file, rows=rows, sha256=sha256)
        self._rows[first] = rows

    def tables(self) -> Iterator[pd.DataFrame]:
        """The results, batch by batch, in trial order."""
        for first in sorted(self._rows):
            yield read_part(self._manifest, part_name(CONFIGS, first), is_result)

    def over_time(self) -> Iterator[pd.DataFrame]:
        """What is kept of every configuration over time, batch by batch, in trial order."""
        for first in sorted(self._rows):
            yield read_part(self._manifest, part_name(CONFIGS, first), is_over_time)

    def configurations(self) -> Iterator[pd.DataFrame]:
        """The same: every trial is one configuration."""
        return self.tables()


def evaluated(manifest: Manifest) -> int:
    """Trials evaluated, of whatever study the folder holds."""
    return sum(found(manifest, CONFIGS).values())


def part_name(folder: str, first: int) -> str:
    """The part that begins with trial `first`."""
    return f"{folder}/part-{first:09d}.parquet"


def part_names(manifest: Manifest, folder: str) -> list[str]:
    """The parts there are, in trial order."""
    return sorted(f"{folder}/{path.name}" for path in (manifest.folder / folder).glob(PARTS))


def write_part(manifest: Manifest, name: str, rows: pd.DataFrame) -> None:
    """Write a part whole or not at all; it is on the disk when this returns."""
    store_part(manifest, name, encoded(rows), rows=len(rows))


def encoded(rows: pd.DataFrame) -> pa.Buffer:
    """The bytes of a part."""
    table = pa.Table.from_pandas(rows, preserve_index=False)
    # dictionaries of numbers that are seldom twice the same take longer to try than all the rest; such numbers, their
    # bytes put side by side, take a sixth less room
    numbers = {name: rows[name].to_numpy() for name in table.column_names if rows[name].dtype == np.float64}
    seldom = [name for name, column in numbers.items() if (column != column[:1]).any()]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        # without the manifest, too, a flipped bit is noticed: in an unchecked page it reads as another number
        write_page_checksum=True,
        use_dictionary=[name for name in table.column_names if name not in seldom],
        column_encoding=dict.fromkeys(seldom, "BYTE_STREAM_SPLIT"),
        compression="lz4",
    )
    return sink.getvalue()


def store_part(manifest: Manifest, name: str, file: pa.Buffer, *, rows: int, sha256: str | None = None) -> None:
    """Write a part whole or not at all; it is on the disk when this returns."""
    manifest.write(name, lambda opened: opened.write(file), rows=rows, sha256=sha256)


def read_part(manifest: Manifest, name: str, wanted: Callable[[str], bool] | None = None) -> pd.DataFrame:
    """The rows of a part, all columns or those `wanted`; InputError where it is damaged."""
    data = manifest.read(name)
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        columns = None if wanted is None else [name for name in file.schema_arrow.names if wanted(name)]
        rows: pd.DataFrame = file.read(columns).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise InputError(damaged(manifest.folder / name, error)) from error
    return rows


def found(manifest: Manifest, folder: str) -> dict[int, int]:
    """{first trial: rows} of the parts there are; InputError with each that is not of the size it was written with."""
    rows: dict[int, int] = {}
    problems: list[str] = []
    for name in part_names(manifest, folder):
        try:
            rows[int(name[-17:-8])] = manifest.rows(name)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return rows
