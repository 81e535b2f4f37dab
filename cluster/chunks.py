"""How many configurations make a chunk: so many that slow and fast workers finish together."""

from __future__ import annotations

FIRST_ROWS = 256  # until a worker's speed is known
MOST_ROWS = 262_144  # tens of megabytes of metrics
MOST_SECONDS = 2.0  # of one chunk: what a lost worker costs, and how often progress is told
LEAST_SECONDS = 0.1  # a chunk costs 1 to 3 ms to send: below this, more than some percent
DRIVER_SECONDS = 0.002  # of the driver per chunk, twice what it was measured: so often can it serve any of its workers


class Speeds:
    """Rows per second of each worker on each task, measured chunk by chunk."""

    def __init__(self) -> None:
        self._of: dict[int, dict[int, float]] = {}  # by worker, then task; 0 after a first chunk, which also compiles
        self._sum: dict[int, float] = {}  # by task, of the workers that are known
        self._known: dict[int, int] = {}

    def measured(self, worker: int, task: int, rows: int, seconds: float) -> None:
        """A worker has computed so many rows of a task."""
        speeds = self._of.setdefault(worker, {})
        if task not in speeds:
            speeds[task] = 0.0
            return
        before = speeds[task]
        now = rows / max(seconds, 1e-6)
        speeds[task] = (before + now) / 2 if before else now
        self._sum[task] = self._sum.get(task, 0.0) + speeds[task] - before
        self._known[task] = self._known.get(task, 0) + (not before)

    def forget(self, worker: int) -> None:
        """A worker is gone."""
        for task, speed in self._of.pop(worker, {}).items():
            if speed:
                self._sum[task] -= speed
                self._known[task] -= 1

    def rows(self, worker: int, task: int, left: int, workers: int) -> int:
        """How many of the `left` rows of a task's batch to send to a worker, where so many `workers` share them.

        Half of its share of what is left, by its speed, so that chunks shrink towards the end of a batch and all
        finish together (guided self-scheduling, Polychronopoulos and Kuck 1987); within the limits above.

        >>> speeds = Speeds()
        >>> speeds.rows(1, 0, left=10_000, workers=2)
        256
        >>> for worker, rows in ((1, 100), (1, 10_000), (2, 100), (2, 2_500)):
        ...     speeds.measured(worker, 0, rows, seconds=1.0)
        >>> [speeds.rows(worker, 0, left=20_000, workers=2) for worker in (1, 2)]
        [8000, 2000]
        >>> [speeds.rows(worker, 0, left=500, workers=2) for worker in (1, 2)]
        [500, 250]
        """
        speed = self._of.get(worker, {}).get(task, 0.0)
        if not speed:  # by another's speed a device a hundred times slower would hold everyone up
            return min(left, FIRST_ROWS)
        mean = self._sum[task] / self._known[task]
        share = left * speed / (mean * workers) / (1 if workers == 1 else 2)
        least = max(LEAST_SECONDS, workers * DRIVER_SECONDS)
        most = min(speed * max(MOST_SECONDS, least), MOST_ROWS)
        return min(left, max(1, round(min(max(share, speed * least), most))))
