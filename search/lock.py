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


def held(folder: Path) -> bool | None:
    """Whether some process has `folder` now; None where that cannot be told. Nothing is kept or made."""
    path = folder.resolve() / "lock"
    if path in _HELD:
        return True  # not tried: to close a file gives up all locks that this process has on it
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return False
    except OSError:  # another user's
        return None
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # for the instant until the file is closed
        except (BlockingIOError, PermissionError):  # a system says it one way or the other
            return True
        except OSError:
            return None
    return False


def release(folder: Path) -> None:
    """Give `folder` up again, for a study that does not begin after all."""
    if (descriptor := _HELD.pop(folder.resolve() / "lock", None)) is not None:
        os.close(descriptor)
