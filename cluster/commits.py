"""Parts on their way to the disk: several at once, since each waits for it, while the pool goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from search.points import Part

AT_ONCE = 4  # also how many parts the driver holds: tens of megabytes each at most


class Commits:
    """`keep` is called with every part, by one of a few threads; an error of it is raised by what is called next."""

    def __init__(self, keep: Callable[[Part], None]) -> None:
        self._keep = keep
        self._threads = ThreadPoolExecutor(AT_ONCE, "hedgegrid-parts")
        self._under_way: deque[Future[None]] = deque()

    def put(self, part: Part) -> None:
        """Have a part kept; returns at once unless the disk is behind."""
        while len(self._under_way) >= AT_ONCE or (self._under_way and self._under_way[0].done()):
            self._under_way.popleft().result()
        self._under_way.append(self._threads.submit(self._keep, part))

    def settle(self) -> None:
        """Wait until every part is kept."""
        while self._under_way:
            self._under_way.popleft().result()

    def close(self) -> None:
        """End the threads, when what they have is kept or refused."""
        self._threads.shutdown()
