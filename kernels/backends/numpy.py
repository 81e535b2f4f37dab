"""The NumPy backend: the meaning of a bar step. All configurations at once, a Python loop over bars."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np

from kernels.blocks import Blocks
from kernels.launch import Launch
from kernels.market import FloatArray
from kernels.program import Carried
from kernels.state import leaves, rebuild

CACHE_LANES = 1024  # configurations at once: (8, 1024) float64 arrays stay in a core's second-level cache


class NumpyBackend:
    """Runs the bar step as it stands."""

    name = "numpy"
    output_bytes = 64 * 2**20
    lanes = 1

    def run(self, launch: Launch, blocks: Blocks) -> FloatArray:
        """Block statistics (F, B, S * C)."""
        S, C = launch.n_scenarios, launch.n_configurations
        sums = launch.program.sums
        out = np.empty((len(sums), len(blocks), S, C))
        for scenario, first in itertools.product(range(S), range(0, C, CACHE_LANES)):
            lanes = slice(first, first + CACHE_LANES)
            b = -1
            for t, carried in walk(launch.lanes(lanes), blocks, scenario):
                if t + 1 == blocks.edges[b + 1]:
                    if b >= 0:
                        for i, value in enumerate(leaves(carried.sums).values()):
                            out[i, b, scenario, lanes] = value
                    b += 1
        return out.reshape(len(sums), len(blocks), S * C)


def walk(launch: Launch, blocks: Blocks, scenario: int = 0) -> Iterator[tuple[int, Carried]]:
    """The carried state after each bar t of one scenario; `sums` start afresh at each block edge."""
    program, C, A = launch.program, launch.n_configurations, launch.program.n_assets
    carried = rebuild(program.start, lambda _, leaf: np.full((A, C) if leaf.per_asset else (C,), leaf.start))
    fresh = carried.sums
    p = program.namespace({n: launch.parameters[n] for n in program.parameters})
    costs = program.costs(launch.costs)
    edges = set(blocks.edges.tolist())
    with np.errstate(all="ignore"):  # infinities stand for 'switched off' and 'missing'; where() picks the other branch
        for t in range(launch.n_bars):
            if t in edges:
                carried = carried._replace(sums=fresh)
            now = {n: a[scenario, t] for n, a in launch.shared.items()}
            bar = SimpleNamespace(**{n: a[:, None] if a.ndim == 1 else a for n, a in now.items()})
            for name, (bank, index) in launch.banks.items():
                slices = bank[scenario, t]
                setattr(bar, name, slices[:, index] if slices.shape[1] > 1 else slices)
            carried = program.step(bar, carried, p, costs)
            yield t, carried
