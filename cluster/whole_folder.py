"""A folder of results that is there whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search.whole import sync_folder, writing


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`, which it replaces once all is written; nothing is left of it where that fails.

    OSError, in a sentence with the next step, where the disk is full.
    """
    new, old = (folder.with_name(f"{folder.name}.{word}") for word in ("partial", "replaced"))
    parents = [parent for parent in folder.parents if not parent.exists()]
    try:
        with writing(folder):
            for left in (new, old):  # by a kill
                shutil.rmtree(left, ignore_errors=True)
            new.mkdir(parents=True)
            yield new
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
            sync_folder(folder.parent)
            shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        for parent in parents:
            if parent.exists() and not any(parent.iterdir()):
                parent.rmdir()
        raise
