"""What a processor could do at best with a schedule: its instructions over the rate of them, its bytes over the bandwidth."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.schedule import Schedule
from kernels.trace import COMPARISONS, Symbol

DIVISION = 10  # float64 instructions of a division or root on a GPU: an estimate and four or five Newton steps
REGISTERS = 65_536  # of one multiprocessor, compute capability 7.0 and later
MOST_THREADS, MOST_BLOCKS = 2048, 32  # resident on one multiprocessor (1536 threads on some consumer cards)


@dataclass(frozen=True)
class Peaks:
    """Measured rates of a device."""

    fp64_per_second: float  # instructions: a multiplication or an addition each count one
    bytes_per_second: float
    multiprocessors: int


def weight(s: Symbol) -> int:
    """Float64 instructions of one operation: selects, logic and sign changes go through other units."""
    if s.op in ("divide", "sqrt"):
        return DIVISION
    if s.op in ("exp", "log"):
        return 2 * DIVISION
    return int(
        s.op in COMPARISONS or s.op in ("add", "subtract", "multiply", "minimum", "maximum", "sum", "max", "floor")
    )


def fp64_instructions(plan: Schedule) -> float:
    """Per configuration and bar, all assets."""
    assets = plan.traced.program.n_assets
    total = sum(weight(n) for n in (*plan.bar_scalars, *plan.final))
    for stage in plan.stages:
        total += sum(weight(n) for n in stage.scalars)
        total += assets * sum(weight(n) for n in (*stage.vectors, *stage.shared, *stage.reductions))
    return float(total)


def resident_threads(registers: int, threads: int) -> int:
    """Threads that one multiprocessor holds at once; registers are handed out eight per thread at a time."""
    per_thread = -(-max(registers, 1) // 8) * 8
    blocks = min(REGISTERS // (per_thread * threads), MOST_THREADS // threads, MOST_BLOCKS)
    return blocks * threads


def bound(arithmetic: float, memory: float) -> str:
    """The slower of two least times, in a word."""
    return "arithmetic" if arithmetic >= memory else "memory"
