"""How often this data was looked at: what every study of a runs folder tried on it, whichever were deleted since.

The best of all that was ever tried on a history is what luck must be measured by, not the best of the last study.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from search.whole import sync_folder, writing

if TYPE_CHECKING:  # the ledger is read without Optuna
    from search.space import Space

LOOKS = "looks.jsonl"


@dataclass(frozen=True, slots=True)
class Look:
    """A study that tried so many `configurations` on the data of this digest; `study` says what it searched.

    `when` is the time it was recorded, as text (ISO 8601).
    """

    data: str
    study: str
    name: str
    configurations: int
    when: str


@dataclass(frozen=True, slots=True)
class Opening:
    """The bars from `first` on, which a study had hidden from its search, were looked at; `study_id` is its own for ever."""

    data: str
    study_id: str
    name: str
    first: int
    when: str


@dataclass(frozen=True)
class Looks:
    """Everything tried on one set of data: a look per study, the oldest first."""

    studies: tuple[Look, ...]

    @property
    def configurations(self) -> int:
        """N: how many configurations the best was picked from."""
        return sum(look.configurations for look in self.studies)


Entry = TypeVar("Entry", Look, Opening)


def searched(space: Space, *, sampler: str, seed: int, also: Mapping[str, Any] | None = None) -> str:
    """What a study tries, as a digest: two studies that would try the same configurations are one look.

    Targets do not matter, nor how many trials it has: the same search for longer is the same look with more
    configurations. `also` is what else decides what is measured (JSON values): costs, the cloud, a user's code.
    """
    what = {
        "space": space.spec,
        "sampler": sampler,
        "seed": None if sampler == "grid" else seed,  # a grid is the same grid
        "also": dict(also or {}),
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def record(runs: Path, look: Look) -> None:
    """Enter a look; it is on the disk when this returns. A study that is entered with as many configurations stays so.

    Several processes may enter at once. A line that a kill tore is cut off first. OSError where it cannot be written:
    nothing of it is left then.
    """
    _enter(runs, look, lambda data: any(_covers(known, look) for known in _entries(data, Look)))


def record_opening(runs: Path, opening: Opening) -> None:
    """Enter that hidden bars were opened, as `record` does; once for each study and data."""

    def known(data: bytes) -> bool:
        return any((e.data, e.study_id) == (opening.data, opening.study_id) for e in _entries(data, Opening))

    _enter(runs, opening, known)


def _enter(runs: Path, entry: Look | Opening, known: Callable[[bytes], bool]) -> None:
    """Append an entry that is not `known`."""
    path = runs / LOOKS
    with writing(path):
        runs.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        with path.open("a+b", buffering=0) as file, _alone(file.fileno()) as alone:
            file.seek(0)
            data = file.read()
            whole = data.rfind(b"\n") + 1
            if known(data):
                return
            line = json.dumps(asdict(entry)).encode() + b"\n"
            if whole < len(data):
                if alone:
                    file.truncate(whole)
                else:
                    line, whole = b"\n" + line, len(data)
            try:
                while line := line[file.write(line) :]:  # a disk that is just full takes a part, then says so
                    pass
                os.fsync(file.fileno())
            except OSError:
                if alone:
                    file.truncate(whole)
                raise
        if new:
            sync_folder(runs)


def looks(runs: Path, data: str) -> Looks:
    """What was tried on the data of this digest; each study once, with its largest number of configurations."""
    found: dict[str, Look] = {}
    for look in _entries(_ledger(runs), Look):
        if look.data == data and (look.study not in found or look.configurations > found[look.study].configurations):
            found[look.study] = look
    return Looks(tuple(found.values()))


def openings(runs: Path, data: str) -> tuple[Opening, ...]:
    """When bars of the data of this digest that had been hidden were opened, the oldest first."""
    return tuple(each for each in _entries(_ledger(runs), Opening) if each.data == data)


def _ledger(runs: Path) -> bytes:
    path = runs / LOOKS
    return path.read_bytes() if path.exists() else b""


@contextlib.contextmanager
def _alone(descriptor: int) -> Iterator[bool]:
    """One writer at a time, whatever process or thread; a dead one's lock is gone with it. False on a file system that
    has no locks: what another one is just writing must not be cut then."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        yield False
        return
    try:
        yield True
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _covers(one: Look, other: Look) -> bool:
    """Whether what is known of a study already counts as much."""
    return (one.data, one.study) == (other.data, other.study) and one.configurations >= other.configurations


def _entries(data: bytes, kind: type[Entry]) -> Iterator[Entry]:
    """The whole lines of one kind; half of a line, or a damaged one, is passed over."""
    for line in data.split(b"\n")[:-1]:
        try:
            entry = json.loads(line)
            values: dict[str, Any] = {f.name: (int if f.type == "int" else str)(entry[f.name]) for f in fields(kind)}
        except (ValueError, TypeError, KeyError):
            continue
        yield kind(**values)
