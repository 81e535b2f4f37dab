"""CPU time on a shared machine: rivals run in turn, round after round, and each keeps its best round."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def best_seconds(
    rivals: Mapping[Key, Callable[[], object]],
    *,
    seconds: float = 4.0,
    at_most: int = 25,
    at_least: int = 2,
    clock: Callable[[], float] = time.process_time,
) -> dict[Key, float]:
    """Least seconds of each rival: of CPU in all threads of this process, unless another clock is given.

    One untimed round compiles and fills caches. Then rounds A B C A B C ..., so that a slow moment of the machine meets
    everyone, until each rival has had about `seconds` on average, within `at_least` and `at_most` rounds.
    """
    for run in rivals.values():
        run()
    best = dict.fromkeys(rivals, float("inf"))
    spent, rounds = 0.0, 0
    while rounds < at_least or (rounds < at_most and spent < seconds * len(rivals)):
        for key, run in rivals.items():
            start = clock()
            run()
            took = clock() - start
            best[key], spent = min(best[key], took), spent + took
        rounds += 1
    return best
