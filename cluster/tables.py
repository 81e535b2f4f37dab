"""Tables in files: Parquet and CSV, refused in one sentence where they are no such thing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from cluster.study_text import missing_file
from kernels.errors import InputError
from kernels.market_table import ALIASES

PARQUET_MAGIC = b"PAR1"
# these stay text whatever they look like: a ticker 005930 is no number, and zones are told apart later
TEXT_COLUMNS = {"timestamp", "symbol", *ALIASES["timestamp"], *ALIASES["symbol"]}


def read_table(path: str) -> pd.DataFrame:
    """A table by its file's name: .csv, or else Parquet."""
    if path.lower().endswith(".csv"):
        return read_csv(Path(path), if_parquet="name it .parquet")
    return read_parquet(Path(path), if_csv="name it .csv")


def read_parquet(path: Path, *, if_csv: str = "set market.source: csv") -> pd.DataFrame:
    """A Parquet file as a table; `if_csv` is the next step where it is another kind of table."""
    content = _content(path)
    if content[:4] != PARQUET_MAGIC:
        raise InputError(f"{path}: is not Parquet (it starts with {content[:4]!r}, not PAR1); for a CSV {if_csv}")
    if content[-4:] != PARQUET_MAGIC:
        raise InputError(f"{path}: the Parquet file is cut off ({len(content)} bytes, no footer); copy it again")
    try:
        table = pa_parquet.read_table(pa.BufferReader(content), page_checksum_verification=True)
        frame: pd.DataFrame = table.to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: the Parquet file is damaged, {_first_line(error)}; copy it again") from None
    return frame


def read_csv(path: Path, *, if_parquet: str = "set market.source: parquet") -> pd.DataFrame:
    """A CSV file with a header, comma-separated, UTF-8; every row has as many fields as the header."""
    content = _content(path)
    if content[:4] == PARQUET_MAGIC:
        raise InputError(f"{path}: is Parquet, not CSV; {if_parquet}")
    # pandas' own reader fills short rows and shifts long ones in silence; Arrow's refuses both, with the row
    in_order = pa_csv.ReadOptions(use_threads=False)
    try:
        header = pa_csv.open_csv(pa.BufferReader(content), read_options=in_order).schema.names
        text = {name: pa.string() for name in header if name.lower() in TEXT_COLUMNS}
        convert = pa_csv.ConvertOptions(column_types=text)
        frame: pd.DataFrame = pa_csv.read_csv(
            pa.BufferReader(content), read_options=in_order, convert_options=convert
        ).to_pandas()
    except pa.ArrowException as error:
        reason = _first_line(error).removeprefix("CSV parse error: ")
        raise InputError(f"{path}: the CSV cannot be read, {reason}; correct this row of the file") from None
    return frame


def _content(path: Path) -> bytes:
    """The bytes of a file that has some; relative to the working directory, ~ is home."""
    path = path.expanduser()
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(missing_file(path)) from None
    except IsADirectoryError:
        inside = sorted(entry.name for entry in path.iterdir() if entry.suffix in (".parquet", ".csv"))
        hint = f"it holds {', '.join(inside[:5])}" if inside else "it holds no .parquet or .csv file"
        raise InputError(f"{path}: is a folder, and one file is needed; {hint}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read, {error.strerror}") from None
    if not content:
        raise InputError(f"{path}: is empty (0 bytes); at least two bars are needed")
    return content


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
