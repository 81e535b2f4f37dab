"""Peak memory of `option_hedge` on many paths, a process each: `python -m benchmarks.option_memory PATHS CONFIGURATIONS`."""

from __future__ import annotations

import json
import sys
from dataclasses import fields

import numpy as np

from benchmarks import option_case
from benchmarks.memory import peak_bytes
from kernels.backends.numba import NumbaBackend
from kernels.option_market import OptionMarket
from kernels.planes import PlaneStore


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


def size(market: OptionMarket) -> int:
    """Bytes of a market's arrays and of the planes made of it that no parameter moves."""
    held = [getattr(market, f.name) for f in fields(market)]
    made = PlaneStore(market, option_case.STRATEGY, option_case.COSTS).shared.values()
    return sum({id(a): a.nbytes for a in (*held, *made) if isinstance(a, np.ndarray)}.values())


if __name__ == "__main__":
    main()
