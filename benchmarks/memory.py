"""Peak memory of a sweep in chunks, each size in a process of its own: `python -m benchmarks.memory COUNT`."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks import cases
from benchmarks.table import Table, rate
from kernels.backends.numba import NumbaBackend
from kernels.market import Market

COUNTS = (10_000, 100_000, 1_000_000)
CHUNK = 10_000  # configurations given to Engine.metrics at a time, as a worker does


def main() -> None:
    """Run COUNT configurations, keep the best of each chunk, print peak bytes and CPU seconds as JSON."""
    count = int(sys.argv[1])
    market, _ = cases.market()
    chunk = cases.hedges(CHUNK)
    engine = cases.engine(market, NumbaBackend(threads=1), chunk)
    engine.metrics(chunk.head(64))  # compiled, or read from the cache
    start, best = time.process_time(), -np.inf
    for first in range(0, count, CHUNK):
        best = max(best, float(engine.metrics(cases.hedges(CHUNK, seed=first)).sharpe.max()))
    seconds = time.process_time() - start
    print(json.dumps({"peak_bytes": peak_bytes(), "seconds": seconds, "best": best}))


def peak_bytes() -> int:
    """The most memory this process has held. Linux counts a parent's memory in `ru_maxrss`, so its own mark comes first."""
    status = Path("/proc/self/status")
    if status.is_file():
        return next(int(row.split()[1]) * 1024 for row in status.read_text().splitlines() if row.startswith("VmHWM"))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peaks(market: Market) -> Table:
    """Peak resident memory at each size."""
    rows = []
    for count in COUNTS:
        command = [sys.executable, "-m", "benchmarks.memory", str(count)]
        root = Path(__file__).resolve().parent.parent
        answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=root).stdout)
        steps = count * market.n_bars * market.n_assets
        rows.append((f"{count:,}", f"{answer['peak_bytes'] / 2**20:.0f}", rate(steps / answer["seconds"])))
    return Table(
        f"Peak memory of a fresh process, Engine.metrics on chunks of {CHUNK:,} configurations",
        ("configurations", "peak MiB", "M bar-steps / CPU s"),
        tuple(rows),
        "Numba, 1 thread. The best Sharpe ratio of each chunk is kept, the rest dropped.",
    )


if __name__ == "__main__":
    main()
