"""One launch: everything a backend needs to run a slice of configurations, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kernels.blocks import Blocks
from kernels.market import FloatArray
from kernels.program import Program, trace
from kernels.schedule import Schedule, schedule


@dataclass(frozen=True)
class Launch:
    """C configurations on S scenarios of T bars.

    `parameters` holds (C,) per name, `costs` a number per name, `shared` planes (S, T) or (S, T, A), and `banks` a pair
    of (S, T, A, K) slices and the (C,) slice each configuration reads. Banks that are `gathered` are read as if there were
    several slices even where there is one.
    """

    program: Program
    parameters: dict[str, FloatArray]
    costs: dict[str, float]
    shared: dict[str, FloatArray]
    banks: dict[str, tuple[FloatArray, NDArray[np.int64]]]
    gathered: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        paid = [name for name in self.program.free if self.costs[name] != 0.0]
        if paid:
            raise ValueError(f"costs {paid} were declared free for this program, but the launch charges them")

    @property
    def n_configurations(self) -> int:
        """C."""
        return len(next(iter(self.parameters.values())))

    @property
    def n_bars(self) -> int:
        """T."""
        return int(next(iter(self.shared.values())).shape[1])

    @property
    def n_scenarios(self) -> int:
        """S."""
        return len(next(iter(self.shared.values())))

    def lanes(self, part: slice) -> Launch:
        """The launch of some of its configurations."""
        return replace(
            self,
            parameters={n: v[part] for n, v in self.parameters.items()},
            banks={n: (bank, index[part]) for n, (bank, index) in self.banks.items()},
        )


def layout(
    launch: Launch,
) -> tuple[Schedule, dict[str, FloatArray], dict[str, tuple[FloatArray, NDArray[np.int64]]]]:
    """The schedule for a launch, its shared planes, and the banks of which its configurations read different slices.

    A bank with a single slice is a shared plane, unless the launch says otherwise. Planes of a single asset come without
    their last axis, as its schedule reads them.
    """
    gathered = {n: pair for n, pair in launch.banks.items() if pair[0].shape[3] > 1 or n in launch.gathered}
    shared = {
        **launch.shared,
        **{n: bank[..., 0] for n, (bank, _) in launch.banks.items() if n not in gathered},
    }
    plan = _plan(launch.program, tuple((n, a.ndim == 3) for n, a in shared.items()), tuple(gathered))
    if launch.program.n_assets == 1:  # a schedule for one asset reads its planes as (S, T), banks as (S, T, K)
        shared = {n: a[..., 0] if a.ndim == 3 else a for n, a in shared.items()}
        gathered = {n: (bank[:, :, 0], index) for n, (bank, index) in gathered.items()}
    return plan, shared, gathered


@cache
def _plan(program: Program, planes: tuple[tuple[str, bool], ...], gathered: tuple[str, ...]) -> Schedule:
    return schedule(trace(program, {**dict(planes), **dict.fromkeys(gathered, True)}, gathered))


class Backend(Protocol):
    """What runs a launch: `kernels.backends.numpy` is the meaning of the others."""

    @property
    def name(self) -> str:
        """`numpy`, `numba` or `cuda`."""
        ...

    @property
    def output_bytes(self) -> int:
        """Bytes of block statistics that one launch may return."""
        ...

    @property
    def lanes(self) -> int:
        """Configurations it runs side by side: a launch of a whole multiple of them wastes none."""
        ...

    def run(self, launch: Launch, blocks: Blocks) -> FloatArray:
        """Block statistics (F, B, S * C), F the program's `sums`: all configurations of one scenario after another."""
        ...
