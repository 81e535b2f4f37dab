"""One driver per study: two that write the same records would spoil both."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from kernels.errors import InputError

_HELD: dict[Path, int] = {}


def hold(folder: Path) -> None:
    """Keep `folder` for this process until it ends; InputError where another process has it."""
    path = folder.resolve() / "lock"
    if path in _HELD:
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise InputError(
            f"{folder} is in use by another run of this study; wait for it to end, or use another name"
        ) from error
    _HELD[path] = descriptor


def release(folder: Path) -> None:
    """Give `folder` up again, for a study that does not begin after all."""
    if (descriptor := _HELD.pop(folder.resolve() / "lock", None)) is not None:
        os.close(descriptor)
