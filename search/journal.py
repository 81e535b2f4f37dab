"""The journal of a study that learns, kept whole: what a kill left half-written is cut, what was damaged is noticed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from search.manifest import MANIFEST, Manifest, Version

BEGINNING = Version(0, hashlib.sha256().hexdigest(), 0)


class Marks:
    """Marks in the manifest how far the journal has been written, and the SHA-256 of all of it up to there."""

    def __init__(self, manifest: Manifest, journal: Path) -> None:
        self._manifest = manifest
        self._journal = journal
        self._hash = hashlib.sha256()
        self._size = 0

    def mark(self, told: int) -> None:
        """What is there now, with so many trials told, is what was written."""
        with self._journal.open("rb") as file:
            file.seek(self._size)
            new = file.read()
        self._hash.update(new)
        self._size += len(new)
        mark = Version(self._size, self._hash.hexdigest(), told)
        if self._manifest.versions(self._journal.name)[-1:] != [mark]:  # to open a study adds nothing to it
            self._manifest.add(self._journal.name, mark)


def begin(manifest: Manifest, journal: Path) -> None:
    """Remove a journal; the marks of it are void from now on, also where the next one is longer."""
    if journal.exists():
        manifest.add(journal.name, BEGINNING)
        journal.unlink()


def mend(journal: Path) -> None:
    """Undo what a kill in mid-write leaves: half a line, which would hide all later ones, and a lock."""
    journal.with_name(journal.name + ".lock").unlink(missing_ok=True)
    if not journal.exists():
        return
    whole = journal.read_bytes().rfind(b"\n") + 1
    if whole < journal.stat().st_size:
        with journal.open("r+b") as file:
            file.truncate(whole)


def damage(manifest: Manifest, journal: Path) -> str | None:
    """What is wrong with a journal, and the next step; None where all up to its last mark is as it was written.

    A shorter journal is a whole one of an earlier time: what was told after it is evaluated again. It grows differently
    (Optuna writes down when), so a mark makes those of before that lie further on void.
    """
    data = journal.read_bytes()
    whole, digest = BEGINNING, hashlib.sha256()
    for mark in _standing(manifest.versions(journal.name)):
        if mark.size > len(data):
            break
        digest.update(data[whole.size : mark.size])
        if digest.hexdigest() != mark.sha256:
            where = f"between bytes {whole.size:,} and {mark.size:,}: its SHA-256 is not the one in {MANIFEST}"
            return _sentence(journal, where, whole)
        whole = mark
    return None


def cut(manifest: Manifest, journal: Path, error: Exception) -> str:
    """The sentence about a journal that cannot be read after its last mark."""
    size = journal.stat().st_size
    marks = [BEGINNING, *(m for m in _standing(manifest.versions(journal.name)) if m.size <= size)]
    return _sentence(journal, f"after byte {marks[-1].size:,}: {error}", marks[-1])


def unmarked(journal: Path) -> str:
    """The sentence about a journal of which nothing tells whether it is whole."""
    return (
        f"{journal} has no line in {MANIFEST}; `hedgegrid repair` enters it if it can be read, or remove it and run the "
        "study from its start"
    )


def _sentence(journal: Path, wrong: str, whole: Version) -> str:
    return (
        f"{journal} is damaged ({wrong}); cut it with `truncate -s {whole.size} {journal}` and resume the study (--resume), "
        f"which keeps its first {whole.rows} trials and evaluates the others again"
    )


def _standing(versions: list[Version]) -> list[Version]:
    """The marks that have not been made void, in the order of their places."""
    standing: list[Version] = []
    for version in versions:
        standing = [v for v in standing if v.size < version.size]
        standing.append(version)
    return standing
