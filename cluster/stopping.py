"""The wish to stop a run, as Ctrl-C and SIGTERM bring it: what is under way is finished first, unless asked twice."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

INTERRUPTED = 130  # exit code of a run that was stopped by a signal; a shell has the same for Ctrl-C
CLOSING_SECONDS = 5.0  # for workers to end and records to be closed, once a run is to stop at once
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_OVER = 0  # no signal has this number


class Stop:
    """Whether a run is wished to stop: call it to ask. While its `with` block lasts, signals are heard:

    - the first is a wish, which `say` is called to answer: what is under way is finished and committed;
    - the second raises KeyboardInterrupt, and ends the process `CLOSING_SECONDS` later if that is still closing;
    - a third ends the process now. `leave` is called before a process is ended.

    A run stopped in any of these ways is resumable. A signal that is ignored stays so (`nohup`, a shell's `&`).
    """

    def __init__(self, say: Callable[[], None], leave: Callable[[], None]) -> None:
        self._say, self._leave = say, leave
        self._wished = self._hurried = False
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        """Whether a signal has come."""
        return self._wished

    def __enter__(self) -> Self:
        # Python runs a handler once for several signals that came while other code than Python's was running, and only
        # afterwards; into this pipe each signal is written as it comes.
        self._told, self._tell = os.pipe()
        os.set_blocking(self._tell, False)
        self._told_before = signal.set_wakeup_fd(self._tell, warn_on_full_buffer=False)
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        self._thread = threading.Thread(target=self._attend, name="stop", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._told_before)
        os.write(self._tell, bytes([_OVER]))
        self._thread.join()
        os.close(self._told)
        os.close(self._tell)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """In the main thread, between two of its instructions: it may hold any lock, so nothing is printed here."""
        again, self._wished = self._wished, True
        if again or self._hurried:
            raise KeyboardInterrupt

    def _attend(self) -> None:
        """Answer the signals, on a thread of its own."""
        signals = 0
        while True:
            heard, _, _ = select.select([self._told], [], [], CLOSING_SECONDS if self._hurried else None)
            for number in os.read(self._told, 64) if heard else [signal.SIGINT]:  # time is up, as if asked again
                if number == _OVER:
                    return
                if number not in SIGNALS:  # another one that somebody listens to
                    continue
                signals += 1
                if signals == 1:
                    self._say()
                self._hurried = signals > 1
                if signals > 2:
                    self._leave()
                    os._exit(INTERRUPTED)
