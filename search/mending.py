"""What of a study's folder has lost its line in the manifest, entered again where it is whole by its own checksums."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq

from search.cloud_trials import CLOUDS
from search.journal import Marks, mend
from search.manifest import Manifest, Version
from search.parts import CONFIGS, part_names
from search.trials import JOURNAL, read_told


def enter_unlisted(manifest: Manifest) -> list[str]:
    """Enter the parts, the tables and the journal without a line that can be read to their end; their names."""
    tables = [*part_names(manifest, CONFIGS), *part_names(manifest, CLOUDS)]
    tables += [path.name for path in manifest.folder.glob("*.parquet")]
    entered = [name for name in tables if not manifest.versions(name) and _enter_table(manifest, name)]
    journal = manifest.folder / JOURNAL
    if journal.exists() and not manifest.versions(JOURNAL):
        mend(journal)
        Marks(manifest, journal).mark(read_told(manifest, journal))
        entered.append(JOURNAL)
    return entered


def _enter_table(manifest: Manifest, name: str) -> bool:
    data = (manifest.folder / name).read_bytes()
    try:
        rows = pq.read_table(pa.BufferReader(data), page_checksum_verification=True).num_rows
    except (OSError, pa.ArrowException):
        return False  # it is named as damaged when the study is opened
    manifest.add(name, Version(len(data), hashlib.sha256(data).hexdigest(), rows))
    return True
