"""What a folder of results holds, by SHA-256, so that a file that is read is the file that was written.

A page checksum guards the pages of one Parquet file; the manifest guards every bit of every file.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import BinaryIO

from kernels.errors import InputError
from search.whole import replace_file, sync_folder

MANIFEST = "manifest.jsonl"


@dataclass(frozen=True, slots=True)
class Version:
    """A file as it was written: its size, its SHA-256, and of a table its rows."""

    size: int
    sha256: str
    rows: int


class Manifest:
    """The files of `folder` that are written through it: one line per version in `manifest.jsonl`, newest last.

    Order: the new version beside the old one -> its line -> the rename, each on the disk before the next. So what has
    its name has a line, and a kill leaves at most a line too many, or half of one, which is passed over. A file counts
    as whole if it is any of its versions: after a kill before the rename it is the one before the last.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / MANIFEST
        self._versions: dict[str, list[Version]] = {}
        self._one_at_a_time = threading.Lock()  # parts are written by several threads
        if self._path.exists():
            for line in self._path.read_bytes().split(b"\n"):
                self._enter(line)

    def write(self, name: str, fill: Callable[[BinaryIO], object], *, rows: int = 0, sha256: str | None = None) -> None:
        """Write a file whole or not at all; it is on the disk when this returns. OSError where it cannot be.

        `sha256` is what it should be, where that is known: half of the time of a large file goes into it.
        """

        def line(file: BufferedRandom) -> None:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            self.add(name, Version(size, sha256 or hashlib.file_digest(file, "sha256").hexdigest(), rows))

        replace_file(self.folder / name, fill, line)

    def text(self, name: str, content: str) -> None:
        """Write a text file, whole or not at all."""
        self.write(name, lambda file: file.write(content.encode()))

    def add(self, name: str, version: Version) -> None:
        """Take a file, as this version says it is, for whole: a line on the disk."""
        line = json.dumps(
            {"file": name, "bytes": version.size, "sha256": version.sha256, "rows": version.rows}
        ).encode()
        with self._one_at_a_time:
            new = not self._path.exists()
            with self._path.open("a+b") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    line = line if file.read(1) == b"\n" else b"\n" + line  # a kill left half a line
                file.write(line + b"\n")
                file.flush()
                os.fsync(file.fileno())
            if new:
                sync_folder(self.folder)
            self._enter(line.strip())

    def names(self) -> list[str]:
        """The files that have a line."""
        return sorted(self._versions)

    def rows(self, name: str) -> int:
        """Rows of a table, by its size; InputError where no version of it was so large."""
        path = self.folder / name
        size = path.stat().st_size
        fitting = [v for v in self.versions(name) if v.size == size]
        if not fitting:
            raise InputError(damaged(path, self._wrong(name, size, lambda: "")))
        if len({v.rows for v in fitting}) > 1:  # two versions happen to be of one size
            fitting = [v for v in fitting if v.sha256 == _digest(path)] or fitting
        return fitting[-1].rows

    def read(self, name: str) -> bytes:
        """What a file holds; InputError, with what is wrong and the next step, where it is not what was written."""
        data = (self.folder / name).read_bytes()
        if wrong := self._wrong(name, len(data), lambda: hashlib.sha256(data).hexdigest()):
            raise InputError(damaged(self.folder / name, wrong))
        return data

    def problem(self, name: str) -> str | None:
        """What is wrong with a file, in words; None where it is as it was written."""
        path = self.folder / name
        return self._wrong(name, path.stat().st_size, lambda: _digest(path)) if path.exists() else "it is missing"

    def check(self, names: Iterable[str]) -> None:
        """InputError with every one of these files that is not as it was written."""
        found = [(name, self.problem(name)) for name in names]
        if problems := [damaged(self.folder / name, wrong) for name, wrong in found if wrong]:
            raise InputError(problems)

    def versions(self, name: str) -> list[Version]:
        """Every version of a file, newest last."""
        return self._versions.get(name, [])

    def _wrong(self, name: str, size: int, digest: Callable[[], str]) -> str | None:
        versions = self.versions(name)
        if not versions:
            return f"it has no line in {MANIFEST}, where `hedgegrid repair` enters what is whole by its own checksums"
        if all(v.size != size for v in versions):
            return f"it has {size:,} bytes and was written with {versions[-1].size:,}"
        if digest() not in {v.sha256 for v in versions if v.size == size}:
            return f"its SHA-256 is not the one in {MANIFEST}"
        return None

    def _enter(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            version = Version(int(entry["bytes"]), str(entry["sha256"]), int(entry["rows"]))
            self._versions.setdefault(str(entry["file"]), []).append(version)
        except (ValueError, TypeError, KeyError):
            return  # half a line, or a damaged one: its file is then said to have none


def damaged(path: Path, wrong: object) -> str:
    """The sentence that names a part which cannot be used."""
    return f"{path} is damaged ({wrong}); remove it and resume the study (--resume), which computes it again"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
