"""The wish to stop a run, as Ctrl-C and SIGTERM bring it: what is under way is finished first, unless asked twice."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

INTERRUPTED = 130  # exit code of a run that was stopped by a signal; a shell has the same for Ctrl-C
CLOSING_SECONDS = 5.0  # for workers to end and records to be closed, once a run is to stop at once


class Stop:
    """Whether a run is wished to stop: call it to ask. While its `with` block lasts, signals are heard:

    - the first is a wish, which `say` is called to answer: what is under way is finished and committed;
    - the second raises KeyboardInterrupt, and ends the process `CLOSING_SECONDS` later if that is still closing;
    - a third ends the process now. `leave` is called before a process is ended.

    A run stopped in any of these ways is resumable. A signal that is ignored stays so (`nohup`, a shell's `&`).
    """

    def __init__(self, say: Callable[[], None], leave: Callable[[], None]) -> None:
        self._say, self._leave = say, leave
        self._signals = 0
        self._wished, self._hurried, self._over = threading.Event(), threading.Event(), threading.Event()
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        """Whether a signal has come."""
        return self._wished.is_set()

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._heard)
        threading.Thread(target=self._attend, name="stop", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._over.set()
        self._wished.set()
        self._hurried.set()

    def _heard(self, number: int, frame: FrameType | None) -> None:
        """A signal, between two instructions of the main thread: it may hold any lock, so nothing is printed here."""
        self._signals += 1
        if self._signals == 1:
            self._wished.set()
        elif self._signals == 2:
            self._hurried.set()
            raise KeyboardInterrupt
        else:
            self._end()

    def _attend(self) -> None:
        """Answer the signals, on a thread of its own."""
        self._wished.wait()
        if self._over.is_set():
            return
        self._say()
        self._hurried.wait()
        if not self._over.wait(CLOSING_SECONDS):
            self._end()

    def _end(self) -> None:
        self._leave()
        os._exit(INTERRUPTED)
