"""The CUDA backend: the traced bar step as CUDA C++, one thread per configuration and scenario, state in registers.

Assets are unrolled, so an account's arrays become registers. There is no shared memory, no warp intrinsic and no atomic
in the source: it means the same when a C++ compiler runs it thread after thread, which is how it is proved without a
device. `--fmad=false` keeps multiplications and additions apart, as NumPy has them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from kernels.blocks import Blocks
from kernels.emit import C as C_TEXT
from kernels.emit import expression, variable
from kernels.errors import BackendError
from kernels.launch import Launch, layout
from kernels.market import FloatArray
from kernels.schedule import Schedule, Stage
from kernels.trace import Symbol

THREADS = 128  # per block: at up to 255 registers each, two blocks share a multiprocessor
UNROLL_ASSETS = 16  # beyond, state lives in local memory anyway and unrolling only grows the code
OPTIONS = ("--fmad=false", "--std=c++17")


class _Source:
    """Generated CUDA C++ of one schedule."""

    def __init__(self, plan: Schedule, mixed: bool) -> None:
        self.plan, self.mixed = plan, mixed
        self.A = plan.traced.program.n_assets
        self.lines: list[str] = []

    def number(self, value: float, wide: bool) -> str:
        special = {"inf": "(1e300 * 1e300)", "-inf": "(-1e300 * 1e300)", "nan": "(0.0 * (1e300 * 1e300))"}
        text = special.get(repr(value), repr(value))
        return f"((real){text})" if self.mixed and not wide else text

    def add(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def type(self, s: Symbol) -> str:
        return "bool" if s.boolean else "double" if s.wide else "real"

    def let(self, depth: int, work: tuple[Symbol, ...]) -> None:
        for n in work:
            self.add(depth, f"const {self.type(n)} {variable(n)} = {expression(n, C_TEXT, self.number)};")

    def value(self, s: Symbol) -> str:
        return self.number(s.name, wide=True) if s.op == "constant" else variable(s)

    def stage(self, stage: Stage, crossing: set[int]) -> None:
        plan = self.plan
        self.let(2, stage.scalars)
        for n in stage.reductions:
            self.add(2, f"real {variable(n)} = {'-0.0' if n.op == 'sum' else self.number(-np.inf, wide=False)};")
        for n in stage.crossing:
            self.add(2, f"{self.type(n)} x{n.index}[{self.A}];")
        self.add(2, f"#pragma unroll {self.A if self.A <= UNROLL_ASSETS else 1}")
        self.add(2, f"for (int a = 0; a < {self.A}; ++a) {{")
        work = (*stage.vectors, *stage.shared, *stage.reductions)
        reads = {a.index: a for n in work for a in n.args} | {o.index: o for _, o in stage.commits}
        here = {n.index for n in work}
        for n in plan.shared_planes:
            if n.per_asset and n.index in reads:
                self.add(3, f"const real {variable(n)} = plane_{n.name}[(long long)t * {self.A} + a];")
        for n in plan.gathered_planes:
            if n.index in reads:
                place = f"((long long)t * {self.A} + a) * width_{n.name} + slice_{n.name}"
                self.add(3, f"const real {variable(n)} = bank_{n.name}[{place}];")
        for n in reads.values():
            if n.op == "state" and n.per_asset:
                self.add(3, f"const real {variable(n)} = state_{variable(n)}[a];")
            if n.index in crossing and n.index not in here:
                self.add(3, f"const {self.type(n)} {variable(n)} = x{n.index}[a];")
        self.let(3, stage.shared)
        self.let(3, stage.vectors)
        for n in stage.reductions:
            total, term = variable(n), variable(n.args[0])
            self.add(
                3,
                f"{total} += {term};" if n.op == "sum" else f"{total} = {total} > {term} ? {total} : {term};",
            )
        for n in stage.crossing:
            self.add(3, f"x{n.index}[a] = {variable(n)};")
        for name, symbol in stage.commits:
            self.add(3, f"state_s_{name.replace('.', '_')}[a] = {self.value(symbol)};")
        self.add(2, "}")

    def build(self) -> str:
        plan, start, add = self.plan, self.plan.traced.start, self.add
        add(
            0,
            f"// Generated from the strategy {plan.traced.program.strategy.name}: {plan.operations} operations per bar.",
        )
        add(0, f"typedef {'float' if self.mixed else 'double'} real;")
        arguments = [
            "const int C",
            "const int S",
            "const int T",
            "const int n_blocks",
            "const int* __restrict__ edges",
            "const real* __restrict__ parameters",
            "const double* __restrict__ costs",
            "const int* __restrict__ slices",
            "double* __restrict__ out",
            *(f"const real* __restrict__ plane_{n.name}" for n in plan.shared_planes),
            *(f"const real* __restrict__ bank_{n.name}, const int width_{n.name}" for n in plan.gathered_planes),
        ]
        # the bound tells the compiler that registers may not be saved for more threads
        add(0, f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel(')
        add(1, ",\n    ".join(arguments) + ") {")
        add(1, "const int item = blockIdx.x * blockDim.x + threadIdx.x;")
        add(1, "if (item >= S * C) return;")
        add(1, "const int start = item / C * T;  // of this scenario's bars")
        add(1, "const int c = item % C;")
        for i, name in enumerate(plan.costs):
            add(1, f"const real cost_{name} = costs[{i}];")
        for i, name in enumerate(plan.parameters):
            add(1, f"const real p_{name} = parameters[(long long){i} * C + c];")
        for i, n in enumerate(plan.gathered_planes):
            add(1, f"const int slice_{n.name} = slices[(long long){i} * C + c];")
        self.let(1, plan.uniform)
        self.let(1, plan.setup)
        for name in plan.state:
            leaf = start[name]
            flat, first = name.replace(".", "_"), self.number(leaf.start, wide=True)
            if leaf.per_asset:
                add(1, f"real state_s_{flat}[{self.A}];")
                add(1, f"for (int a = 0; a < {self.A}; ++a) state_s_{flat}[a] = {first};")
            else:
                add(1, f"{'double' if leaf.wide else 'real'} state_s_{flat} = {first};")
        add(1, "for (int b = 0; b < n_blocks; ++b) {")
        for name in plan.state:
            if name.startswith("sums."):
                add(1, f"state_s_{name.replace('.', '_')} = {self.number(start[name].start, wide=True)};")
        add(1, "for (int t = start + edges[b]; t < start + edges[b + 1]; ++t) {")
        for n in plan.shared_planes:
            if not n.per_asset:
                add(2, f"const real {variable(n)} = plane_{n.name}[t];")
        for n in plan.scalar_state:
            add(2, f"const {self.type(n)} {variable(n)} = state_{variable(n)};")
        self.let(2, plan.bar_scalars)
        crossing = {n.index for stage in plan.stages for n in stage.crossing}
        if not plan.stages:
            for n in plan.gathered_planes:
                add(2, f"const real {variable(n)} = bank_{n.name}[(long long)t * width_{n.name} + slice_{n.name}];")
        for stage in plan.stages:
            self.stage(stage, crossing)
        ends = (
            ((plan.final, plan.commits), (plan.quiet, plan.quiet_commits))
            if plan.rare
            else ((plan.final, plan.commits),)
        )
        for number, (work, commits) in enumerate(ends):
            if plan.rare:
                add(2, "} else {" if number else f"if ({' || '.join(variable(n) for n in plan.rare)}) {{")
            self.let(2 + bool(plan.rare), work)
            for name, symbol in commits:
                add(2 + bool(plan.rare), f"state_s_{name.replace('.', '_')} = {self.value(symbol)};")
        if plan.rare:
            add(2, "}")
        add(1, "}")
        add(1, "if (b == 0) continue;  // what lies before the first block is run and not kept")
        for i, name in enumerate(plan.traced.program.sums):
            add(1, f"out[({i}LL * (n_blocks - 1) + b - 1) * S * C + item] = state_s_sums_{name.replace('.', '_')};")
        add(1, "}")
        add(0, "}")
        return "\n".join(self.lines) + "\n"


@cache
def source(plan: Schedule, *, mixed: bool = False) -> str:
    """The CUDA C++ source of a schedule."""
    return _Source(plan, mixed).build()


def why_not() -> str | None:
    """Why CUDA cannot be used here, in a sentence; None where a device answers."""
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed (pip install 'hedgegrid[gpu]')"
    except Exception as error:  # CuPy raises what its wheels' loaders raise
        return f"CuPy does not import ({error})"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"no CUDA device answers ({str(error).partition(':')[0]})"
    return None if count else "no CUDA device is visible"


@cache
def _load(text: str) -> Any:
    import cupy

    try:
        return cupy.RawModule(code=text, options=OPTIONS).get_function("kernel")
    except cupy.cuda.compiler.CompileException as error:
        raise BackendError(f"the generated CUDA source does not compile: {error}") from error


OUT = 8  # the position of the block statistics among the kernel's arguments


def program(launch: Launch, blocks: Blocks, precision: str) -> tuple[str, list[Any]]:
    """The source for a launch and the arguments of its `kernel`: NumPy arrays (to be copied to the device) and numbers."""
    plan, shared, gathered = layout(launch)
    real = np.float32 if precision == "mixed" else np.float64
    C = launch.n_configurations
    arguments: list[Any] = [
        np.int32(C),
        np.int32(launch.n_scenarios),
        np.int32(launch.n_bars),
        np.int32(len(blocks) + 1),
        np.concatenate([[0], blocks.edges]).astype(np.int32),
        np.array([launch.parameters[n] for n in plan.parameters], dtype=real).reshape(-1, C),
        np.array([launch.costs[n] for n in plan.costs]),
        np.array([gathered[n.name][1] for n in plan.gathered_planes], dtype=np.int32).reshape(-1, C),
        np.zeros((len(launch.program.sums), len(blocks), launch.n_scenarios * C)),
        *(np.ascontiguousarray(shared[n.name], dtype=real) for n in plan.shared_planes),
    ]
    for n in plan.gathered_planes:
        bank = gathered[n.name][0]
        arguments += [np.ascontiguousarray(bank, dtype=real), np.int32(bank.shape[-1])]
    return source(plan, mixed=precision == "mixed"), arguments


@dataclass
class CudaBackend:
    """Generated CUDA C++, compiled by CuPy, on the current device."""

    precision: str = "float64"
    name: str = field(default="cuda", init=False)
    lanes: int = field(default=THREADS, init=False)

    @property
    def output_bytes(self) -> int:
        """Half of the free device memory: the other half holds planes, banks, parameters and the compiler's stack."""
        import cupy

        return int(cupy.cuda.runtime.memGetInfo()[0]) // 2

    def run(self, launch: Launch, blocks: Blocks) -> FloatArray:
        """Block statistics (F, B, S * C)."""
        import cupy

        text, values = program(launch, blocks, self.precision)
        kernel = _load(text)
        out = cupy.empty(values[OUT].shape)  # written whole by the kernel: nothing to copy there
        values[OUT] = out
        on_device = tuple(cupy.asarray(v) if isinstance(v, np.ndarray) else v for v in values)
        items = launch.n_scenarios * launch.n_configurations
        kernel((-(-items // THREADS),), (THREADS,), on_device)
        result: FloatArray = cupy.asnumpy(out)
        return result
