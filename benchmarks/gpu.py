"""Everything that wants a GPU, in one run: `python -m benchmarks.gpu`. Proof first, then speed, then what bounds it.

Where no device answers it says so and writes nothing. The market is the published sweep's where its file is found (the
folder in HEDGEGRID_DATA, or shared/data), else a synthetic one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from benchmarks import cases, table
from benchmarks.roofline import Peaks, bound, fp64_instructions, resident_threads
from benchmarks.scaling import shuffled
from benchmarks.table import Table, rate, times
from kernels import METRICS, STRATEGIES
from kernels.backends import cuda
from kernels.backends.numpy import NumpyBackend
from kernels.blocks import SUMS, Blocks
from kernels.launch import Backend, Launch, layout
from kernels.market import Market

COUNTS = (10_000, 100_000, 1_000_000)
PRECISIONS = ("float64", "mixed")
THREADS = (64, 128, 256)
ASSETS = (8, 20, 64)
BOUND = "__launch_bounds__({})"  # of the generated source: the most threads a block may be launched with
PARITY = 512  # configurations of each strategy, every parameter drawn from its range


@dataclass(frozen=True)
class Timed:
    """A kernel compiled for some threads per block, and its own time on the device: best of a few launches."""

    registers: int
    local_bytes: int  # per thread: what did not fit registers
    seconds: float


Prepared = Callable[[int], Timed]  # given threads per block; its arguments stay on the device as long as it lives


class Device(Protocol):
    """What this script needs of a GPU; a test gives it the processor's."""

    @property
    def name(self) -> str: ...

    def backend(self, precision: str) -> Backend: ...

    def prepare(self, launch: Launch, blocks: Blocks, precision: str) -> Prepared: ...

    def peaks(self) -> Peaks: ...


class CudaDevice:
    """The current CUDA device, through CuPy."""

    def __init__(self) -> None:
        import cupy

        self.cupy = cupy
        self.number = cupy.cuda.Device()
        self.name: str = cupy.cuda.runtime.getDeviceProperties(self.number.id)["name"].decode()

    def backend(self, precision: str) -> Backend:
        return cuda.CudaBackend(precision)

    def load(self, text: str, name: str = "kernel") -> Any:
        return self.cupy.RawModule(code=text, options=cuda.OPTIONS).get_function(name)

    def timed(self, run: Callable[[], object], repeats: int = 5) -> float:
        """Least seconds between two events on the device."""
        run()
        best = np.inf
        for _ in range(repeats):
            start, stop = self.cupy.cuda.Event(), self.cupy.cuda.Event()
            start.record()
            run()
            stop.record()
            stop.synchronize()
            best = min(best, self.cupy.cuda.get_elapsed_time(start, stop) / 1e3)
        return float(best)

    def prepare(self, launch: Launch, blocks: Blocks, precision: str) -> Prepared:
        self.cupy.get_default_memory_pool().free_all_blocks()
        text, values = cuda.program(launch, blocks, precision)
        values[cuda.OUT] = self.cupy.empty(values[cuda.OUT].shape)
        arguments = tuple(self.cupy.asarray(v) if isinstance(v, np.ndarray) else v for v in values)

        def measure(threads: int) -> Timed:
            kernel = self.load(text.replace(BOUND.format(cuda.THREADS), BOUND.format(threads)))
            grid = (-(-launch.n_scenarios * launch.n_configurations // threads),)
            seconds = self.timed(lambda: kernel(grid, (threads,), arguments))
            return Timed(int(kernel.num_regs), int(kernel.local_size_bytes), seconds)

        return measure

    def peaks(self) -> Peaks:
        """Measured: float64 instructions of independent chains, and a copy of 1 GiB."""
        processors = int(self.number.attributes["MultiProcessorCount"])
        chains, rounds, threads = 8, 4096, 256
        names = [f"x{i}" for i in range(chains)]
        work = " ".join(f"{x} = {x} * b; {x} = {x} + b;" for x in names)
        kernel = self.load(
            'extern "C" __global__ void peak(double b, double* out) {'
            + " ".join(f"double {x} = threadIdx.x + {i};" for i, x in enumerate(names))
            + f" for (int i = 0; i < {rounds}; ++i) {{ {work} }} if ({' + '.join(names)} == b) *out = b; }}",
            "peak",
        )
        grid, sink = 8 * processors, self.cupy.zeros(1)
        spent = self.timed(lambda: kernel((grid,), (threads,), (np.float64(0.999), sink)))
        source = self.cupy.zeros(2**27)
        target = self.cupy.empty_like(source)
        copied = self.timed(lambda: self.cupy.copyto(target, source))
        return Peaks(2.0 * chains * rounds * grid * threads / spent, 2.0 * source.nbytes / copied, processors)


def parity(device: Device, market: Market) -> Table:
    """Every strategy on the device beside NumPy: block statistics bit for bit, and the largest difference of a metric."""
    rows = []
    for name, strategy in STRATEGIES.items():
        sweep, history = cases.ranges(strategy, PARITY), cases.kind_for(strategy, market)
        launch, blocks = cases.launch(history, sweep, strategy)
        meaning = NumpyBackend().run(launch, blocks)
        wanted = cases.engine(history, NumpyBackend(), sweep, strategy).metrics(sweep)
        for precision in PRECISIONS:
            backend = device.backend(precision)
            equal = np.equal(backend.run(launch, blocks), meaning) | np.isnan(meaning)
            got = cases.engine(history, backend, sweep, strategy).metrics(sweep)
            rows.append((name, precision, f"{equal.mean():.2%}", f"{furthest(got, wanted):.2g}"))
    return Table(
        f"Parity with NumPy, {PARITY} configurations with every parameter random",
        ("strategy", "precision", "block statistics equal to the bit", "largest difference of a metric"),
        tuple(rows),
        "A metric's difference is relative above 1, absolute below. Functions of a mathematics library (exp, log, in the rule "
        "of option_hedge) are an ulp apart between libraries, so bits differ where they are used.",
    )


def furthest(got: pd.DataFrame, wanted: pd.DataFrame) -> float:
    """The largest difference of a metric over configurations valid in both, relative above 1; infinite if status differs."""
    if not (got.status == wanted.status).all():
        return np.inf
    a, b = got[list(METRICS)].to_numpy(), wanted[list(METRICS)].to_numpy()
    both = np.isfinite(a) & np.isfinite(b)
    a, b = a[both], b[both]
    return float(np.max(np.abs(a - b) / np.maximum(1.0, np.abs(b)), initial=0.0))


def throughput(device: Device, market: Market, counts: tuple[int, ...]) -> Table:
    """Kernel alone, and end to end: transfers, metrics and the DataFrame included."""
    rows = []
    blocks = Blocks.monthly(market)
    for precision in PRECISIONS:
        backend = device.backend(precision)
        most = backend.output_bytes // (8 * len(SUMS) * len(blocks))
        for count in counts:
            steps = market.n_assets * market.n_bars
            launched = min(count, most)
            prepared = device.prepare(*cases.launch(market, cases.hedges(launched)), precision)
            alone = prepared(cuda.THREADS).seconds / launched
            del prepared  # its arguments fill the device
            sweep = cases.hedges(count)
            engine = cases.engine(market, backend, sweep)
            engine.metrics(sweep.head(1000))
            start = time.perf_counter()
            engine.metrics(sweep)
            whole = (time.perf_counter() - start) / count
            rows.append(
                (
                    precision,
                    f"{count:,}",
                    rate(steps / alone),
                    rate(steps / whole),
                    f"{1e6 * whole:.3g}",
                    times(whole / alone),
                )
            )
    return Table(
        "Throughput, a search over hedge parameters",
        (
            "precision",
            "configurations",
            "kernel, M bar-steps/s",
            "end to end, M bar-steps/s",
            "us / configuration",
            "ratio",
        ),
        tuple(rows),
        f"{cuda.THREADS} threads per block, {len(blocks)} monthly blocks, wall time; the kernel by events on the device.",
    )


def shapes(device: Device, market: Market, count: int, assets: tuple[int, ...]) -> Table:
    """Registers, occupancy and speed against threads per block, assets, and planes that depend on searched parameters."""
    many = {a: market if a == market.n_assets else cases.synthetic(market.n_bars, a) for a in assets}
    launches = {f"{a} assets": cases.launch(m, cases.hedges(count)) for a, m in many.items()}
    windows, blocks = cases.launch(market, cases.windows(count))
    launches["windows searched, sorted"] = windows, blocks
    launches["windows searched, in random order"] = shuffled(windows), blocks
    rows = []
    for name, (launch, edges) in launches.items():
        steps = count * launch.program.n_assets * launch.n_bars
        for precision in PRECISIONS:
            prepared = device.prepare(launch, edges, precision)
            for threads in THREADS:
                timed = prepared(threads)
                resident = resident_threads(timed.registers, threads)
                speed = rate(steps / timed.seconds)
                rows.append(
                    (
                        name,
                        precision,
                        str(threads),
                        str(timed.registers),
                        str(timed.local_bytes),
                        str(resident),
                        speed,
                    )
                )
    return Table(
        f"Kernel alone at {count:,} configurations",
        ("launch", "precision", "threads", "registers", "local bytes", "resident threads", "M bar-steps/s"),
        tuple(rows),
        "Resident threads: what the registers of one multiprocessor hold.",
    )


def roofline(device: Device, market: Market, count: int) -> Table:
    """The measured kernel beside the least time its float64 instructions and its bytes need."""
    launch, blocks = cases.launch(market, cases.hedges(count))
    plan, _, _ = layout(launch)
    peaks = device.peaks()
    instructions = fp64_instructions(plan) * count * launch.n_bars
    moved = 8.0 * count * (len(SUMS) * len(blocks) + len(plan.parameters))
    seconds = device.prepare(launch, blocks, "float64")(cuda.THREADS).seconds
    arithmetic, memory = instructions / peaks.fp64_per_second, moved / peaks.bytes_per_second
    steps = count * launch.program.n_assets * launch.n_bars
    rows = [
        ("measured", f"{seconds * 1e3:.3g}", rate(steps / seconds), "100%"),
        ("float64 instructions", f"{arithmetic * 1e3:.3g}", rate(steps / arithmetic), f"{arithmetic / seconds:.0%}"),
        ("memory", f"{memory * 1e3:.3g}", rate(steps / memory), f"{memory / seconds:.0%}"),
    ]
    return Table(
        f"What bounds the float64 kernel at {count:,} configurations",
        ("", "ms", "M bar-steps/s", "of measured time"),
        tuple(rows),
        f"{fp64_instructions(plan):.0f} float64 instructions per configuration and bar (a division counted as 10, multiply "
        f"and add apart); measured peaks {peaks.fp64_per_second / 1e12:.3g} T instructions/s and "
        f"{peaks.bytes_per_second / 1e12:.3g} TB/s on {peaks.multiprocessors} multiprocessors. "
        f"Bound by {bound(arithmetic, memory)}.",
    )


def measure(
    device: Device, market: Market, counts: tuple[int, ...] = COUNTS, assets: tuple[int, ...] = ASSETS
) -> list[Table]:
    """All tables; the proof comes first."""
    middle = counts[len(counts) // 2]
    return [
        parity(device, market),
        throughput(device, market, counts),
        shapes(device, market, middle, assets),
        roofline(device, market, middle),
    ]


def main() -> None:
    reason = cuda.why_not()
    if reason is not None:
        print(f"benchmarks.gpu: nothing measured and nothing written, because {reason}.")
        return
    device = CudaDevice()
    market, source = cases.market()
    tables = measure(device, market)
    machine = f"{device.name}; {table.circumstances('cupy-cuda12x', 'cupy-cuda13x', 'numpy', 'pandas')}"
    where = f"{machine}. Market: {source}, {market.n_assets} assets, {market.n_bars} bars."
    for measured in tables:
        print(measured.markdown())
    short = re.sub(r"[^a-z0-9]+", "-", device.name.lower().removeprefix("nvidia ")).strip("-")
    print(f"written: {table.write(f'gpu-{short}', device.name, where, tables)}")


if __name__ == "__main__":
    main()
