"""Files that are written whole or not at all, and are on the disk when that is said."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from io import BufferedRandom
from pathlib import Path
from typing import BinaryIO


def replace_file(
    path: Path, fill: Callable[[BinaryIO], object], before: Callable[[BufferedRandom], object] = lambda file: None
) -> None:
    """Write a file beside `path`, which it then replaces; `before` is called when it is on the disk and has no name yet.

    OSError, in a sentence that names the file and the next step, where it cannot be written: nothing is left then.
    """
    partial = path.with_name(path.name + ".partial")
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("w+b") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
                file.seek(0)
                before(file)
            partial.replace(path)
            sync_folder(path.parent)
        except OSError:
            partial.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """A full disk, which names no file, as the same error in a sentence that names `path` and the next step."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(error.errno, "the disk is full; make room on it", str(path)) from error
        raise


def replace_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    replace_file(path, lambda file: file.write(text.encode()))


def sync_folder(folder: Path) -> None:
    """A new name is on the disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
