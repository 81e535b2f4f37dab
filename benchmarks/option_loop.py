"""The loop of `option_hedge` written by hand in C++ (`option_loop.cpp`), which the Numba backend is held against."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import native
from kernels.blocks import Blocks
from kernels.launch import Launch
from kernels.market import FloatArray

SOURCE = Path(__file__).with_name("option_loop.cpp")
NOT_WRITTEN = ("risk_aversion", "delta_vol_weight", "skew_delta", "vol_target")  # parts of the rule the loop leaves out


@dataclass
class LoopBackend:
    """A `kernels.launch.Backend` for `option_hedge` on one underlier, without the parts `NOT_WRITTEN`; float64 only.

    `fused` lets the compiler round a product and a sum once, which is faster and not what NumPy does.
    """

    threads: int = 1
    fused: bool = False
    lanes: int = 8  # configurations of a vector
    name: str = field(default="C++ by hand", init=False)
    output_bytes: int = field(default=64 * 2**20, init=False)

    def run(self, launch: Launch, blocks: Blocks) -> FloatArray:
        """Block statistics (F, B, S * C)."""
        extra = sorted(set(NOT_WRITTEN) - launch.program.off)
        if launch.program.strategy.name != "option_hedge" or launch.program.n_assets != 1 or extra:
            raise ValueError(f"the loop is option_hedge's on one underlier without {', '.join(NOT_WRITTEN)}")
        kept = launch.program.sums
        library = native.load(source(kept, self.lanes), *(() if self.fused else (native.EXACT,)))
        S, T, C = launch.n_scenarios, launch.n_bars, launch.n_configurations
        planes = [np.ascontiguousarray(launch.shared[n]) for n in names(library, "plane")]
        edges = np.concatenate([[0], blocks.edges]).astype(np.int64)
        parameters = np.stack([launch.parameters.get(n, np.zeros(C)) for n in names(library, "parameter")])
        costs = np.array([launch.costs[n] for n in names(library, "cost")])
        out = np.empty((len(kept), len(blocks), S, C))
        pointers = (ctypes.c_void_p * len(planes))(*(a.ctypes.data for a in planes))
        arrays = [pointers, *(ctypes.c_void_p(a.ctypes.data) for a in (parameters, costs, out))]
        common: list[Any] = [*map(ctypes.c_long, (S, T, C, len(blocks))), ctypes.c_void_p(edges.ctypes.data), *arrays]
        parts = min(S, 4 * self.threads) if self.threads > 1 else 1
        bounds = [S * i // parts for i in range(parts + 1)]
        with ThreadPoolExecutor(self.threads) as pool:
            list(
                pool.map(lambda ab: library.run(ctypes.c_long(ab[0]), ctypes.c_long(ab[1]), *common), pairwise(bounds))
            )
        return out.reshape(len(kept), len(blocks), S * C)


def source(kept: tuple[str, ...], lanes: int) -> str:
    """The loop's text for vectors of `lanes` configurations, and for the sums that a kernel keeps (`parts.x` is parts_x)."""
    wanted = " ".join(f"X({name.replace('.', '_')})" for name in kept)
    return f"constexpr int W = {lanes};\n#define KEPT(X) {wanted}\n{SOURCE.read_text()}"


def names(library: ctypes.CDLL, what: str) -> list[str]:
    """One of the lists that the library reads its arguments in."""
    return ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(library, f"{what}_names"))).decode().split()
