"""The command as a process of its own at a terminal of its own, and what it tells in the study's folder meanwhile."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

from cluster.progress import PROGRESS, Progress, read_progress

UNTRACKED = "tracking.enabled=false"
ONE_BATCH = (
    "search.sampler=tpe",
    "search.trials=1",
    "search.configs_per_trial=40000",
    "search.cloud_radius=0.5",
    "market.bars=1500",
    UNTRACKED,
)
PATIENCE = 90.0  # seconds, of a test on a busy machine


class Driver:
    """`hedgegrid run small.yaml` as a process of its own at a terminal of its own."""

    running: ClassVar[list[Driver]] = []

    def __init__(self, *overrides: str, resume: bool = False) -> None:
        words = ["run", "small.yaml", *(word for o in overrides for word in ("--set", o)), *["--resume"] * resume]
        self._terminal, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "cluster", *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "160"},
            start_new_session=True,
            preexec_fn=partial(fcntl.ioctl, theirs, termios.TIOCSCTTY, 0),  # the terminal whose keys are signals
        )
        os.close(theirs)
        self.pid = self._process.pid
        self._shown = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.running.append(self)

    def press(self, keys: bytes) -> None:
        """Press keys; a terminal turns Ctrl-C into a signal to all processes of its foreground group."""
        os.write(self._terminal, keys)

    def end(self) -> int:
        """Wait for its end: the exit code, negative for a signal that killed it."""
        self.running.remove(self)
        code = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        os.close(self._terminal)
        return code

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    @property
    def text(self) -> str:
        """What the terminal has shown, without what moves its cursor."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._shown.decode())

    def _read(self) -> None:
        while True:
            try:
                self._shown += os.read(self._terminal, 65536)
            except OSError:  # the other end is closed
                return


def progress(study: str = "small") -> Progress:
    found = read_progress(Path("runs", study))
    assert found
    return found


def wait_for(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not met():
        ended = [driver for driver in Driver.running if driver.over]
        assert not ended, f"a driver has ended before its time:\n{ended[0].text}"
        assert time.monotonic() < deadline, [driver.text for driver in Driver.running]
        time.sleep(0.02)


def has(trials: int) -> Callable[[], bool]:
    """Whether the study has committed so many trials."""

    def met() -> bool:
        found = read_progress(Path("runs", "small"))
        return found is not None and found.phase == "backtests" and found.trials.done >= trials

    return met


def backtests_begun() -> bool:
    """Whether the small study has workers."""
    return Path("runs/small", PROGRESS).exists() and progress().phase == "backtests"
