"""Peak memory of `option_hedge` on many paths, a process each: `python -m benchmarks.option_memory PATHS CONFIGURATIONS`."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np

from benchmarks import option_case
from benchmarks.memory import peak_bytes
from benchmarks.table import Table
from kernels.backends.numba import NumbaBackend
from kernels.option_market import OptionMarket
from kernels.planes import PlaneStore

SIZES = ((1000, 825), (4000, 825), (1000, 3300))  # paths, configurations


def main() -> None:
    """Run the grid on the paths, print bytes as JSON: before the market is made, the market's with its planes, the peak."""
    paths, count = map(int, sys.argv[1:])
    backend, configurations = NumbaBackend(threads=2), option_case.spread(count)
    option_case.engine(option_case.paths(2), backend, configurations).metrics(configurations.head(64))
    before = peak_bytes()
    market = option_case.paths(paths)
    option_case.engine(market, backend, configurations).metrics(configurations)
    peak = peak_bytes()
    print(json.dumps({"before_bytes": before, "market_bytes": size(market), "peak_bytes": peak}))


def peaks(made: OptionMarket) -> Table:
    """Peak memory of fresh processes at one and four times the paths and the configurations."""
    rows = []
    for paths, configurations in SIZES:
        command = [sys.executable, "-m", "benchmarks.option_memory", str(paths), str(configurations)]
        root = Path(__file__).resolve().parent.parent
        answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=root).stdout)
        sizes = [answer[key] / 2**20 for key in ("before_bytes", "market_bytes", "peak_bytes")]
        rest = sizes[2] - sizes[1] - sizes[0]
        rows.append((f"{paths:,} x {configurations:,}", *(f"{size:.0f}" for size in (*sizes, rest))))
    return Table(
        "Peak memory of a fresh process, Engine.metrics",
        ("paths x configurations", "before, MiB", "market and planes, MiB", "peak, MiB", "beyond both, MiB"),
        tuple(rows),
        "Numba, 2 threads; `before`: the interpreter with everything imported and the kernel loaded.",
    )


def size(market: OptionMarket) -> int:
    """Bytes of a market's arrays and of the planes made of it that no parameter moves."""
    held = [getattr(market, f.name) for f in fields(market)]
    made = PlaneStore(market, option_case.STRATEGY, option_case.COSTS).shared.values()
    return sum({id(a): a.nbytes for a in (*held, *made) if isinstance(a, np.ndarray)}.values())


if __name__ == "__main__":
    main()
