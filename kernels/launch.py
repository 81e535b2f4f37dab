"""One launch: everything a backend needs to run a slice of configurations, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from numpy.typing import NDArray

import numpy as np

from kernels.blocks import Blocks
from kernels.market import FloatArray
from kernels.program import Program


@dataclass(frozen=True)
class Launch:
    """C configurations on T bars.

    `parameters` holds (C,) per name, `costs` a number per name, `shared` planes (T,) or (T, A), and `banks` a pair of
    (T, A, K) slices and the (C,) slice each configuration reads.
    """

    program: Program
    parameters: dict[str, FloatArray]
    costs: dict[str, float]
    shared: dict[str, FloatArray]
    banks: dict[str, tuple[FloatArray, NDArray[np.int64]]]

    @property
    def n_configurations(self) -> int:
        """C."""
        return len(next(iter(self.parameters.values())))

    @property
    def n_bars(self) -> int:
        """T."""
        return len(self.shared["close"])

    def lanes(self, part: slice) -> Launch:
        """The launch of some of its configurations."""
        return replace(
            self,
            parameters={n: v[part] for n, v in self.parameters.items()},
            banks={n: (bank, index[part]) for n, (bank, index) in self.banks.items()},
        )


class Backend(Protocol):
    """What runs a launch: `kernels.backends.numpy` is the meaning of the others."""

    name: str
    output_bytes: int  # of block statistics that one launch may return

    def run(self, launch: Launch, blocks: Blocks) -> FloatArray:
        """Block statistics (len(SUMS), B, C)."""
        ...
