"""The Numba backend: the traced bar step as lanes of configurations that LLVM vectorises.

What made the difference, each measured: temporaries are scalars local to the innermost lane loop; one array holds all
state of a kind (with one array per variable LLVM no longer proves that nothing aliases); the loop over assets stays a
loop; many sums of one value times a plane each (w' C w by 64 factors) stand in short lane loops of their own. Threads share
the work by blocks of lanes; the kernel itself holds no lock (`nogil`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite.binding
import numba
import numba.core.config
import numpy as np
from numpy.typing import NDArray

from kernels.blocks import Blocks
from kernels.emit import PYTHON, expression, variable
from kernels.launch import Launch, layout
from kernels.market import FloatArray
from kernels.schedule import Schedule, Stage
from kernels.trace import Symbol

LANES = 64
MANY = 24  # sums of one value times so many planes get lane loops of their own, TOGETHER a loop
TOGETHER = 8
OUT = 5  # the position of the block statistics among the kernel's arguments after the range of items
CACHE = Path(os.environ.get("HEDGEGRID_CACHE", Path.home() / ".cache" / "hedgegrid"))


def _use_whole_vectors() -> None:
    """LLVM halves the vectors of AVX-512 processors by default; whole ones ran this kernel 1.3x faster."""
    config: Any = numba.core.config
    features = llvmlite.binding.get_host_cpu_features().flatten()
    if not config.CPU_FEATURES and "+avx512f" in features:
        config.CPU_FEATURES = f"{features},-prefer-256-bit"


_use_whole_vectors()


class _Source:
    """Generated Python of one schedule."""

    def __init__(self, plan: Schedule, n_assets: int, mixed: bool) -> None:
        self.plan, self.A, self.mixed = plan, n_assets, mixed
        self.lines: list[str] = []
        start = plan.traced.start
        self.rows: dict[Any, tuple[str, int]] = {  # the array and row that holds each value that outlives a loop body
            **{("state", n): ("V", i) for i, n in enumerate(n for n in plan.state if start[n].per_asset)},
            **{
                ("state", n): ("S", i)
                for i, n in enumerate(n for n in plan.state if not start[n].per_asset and not start[n].wide)
            },
            **{("state", n): ("W", i) for i, n in enumerate(n for n in plan.state if start[n].wide)},
            **{n.index: ("P", i) for i, n in enumerate(plan.kept_setup)},
            **{n.index: ("R", i) for i, n in enumerate(plan.kept)},
            **{n.index: ("X", i) for i, n in enumerate(x for stage in plan.stages for x in stage.crossing)},
            **{("plane", n.name): ("Y", i) for i, n in enumerate(plan.gathered_planes)},
        }
        self.split = {n: v for stage in plan.stages for n, v in _weighted(stage).items()}
        self.rows |= {
            v.index: ("Z", i) for i, v in enumerate(dict.fromkeys(self.split.values())) if v.index not in self.rows
        }

    def row(self, s: Symbol) -> str | None:
        """Where a symbol is stored, or None for one that lives in a local variable."""
        key = (s.op, s.name) if s.op in ("state", "plane") else s.index
        if key not in self.rows:
            return None
        array, i = self.rows[key]
        return f"{array}[{i}, a, l]" if array in "VX" else f"{array}[{i}, l]"

    def number(self, value: float, wide: bool) -> str:
        text = {"inf": "np.inf", "-inf": "-np.inf", "nan": "np.nan"}.get(repr(value), repr(value))
        return f"np.float32({text})" if self.mixed and not wide else text

    def expression(self, s: Symbol) -> str:
        return expression(s, PYTHON, self.number)

    def add(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def body(self, depth: int, work: tuple[Symbol, ...], extra: tuple[Symbol, ...]) -> None:
        """Loads of everything that `work` and `extra` read from arrays, then `work` in order."""
        inside = {n.index for n in work}
        loads: dict[str, str] = {}
        for s in (*(a for n in work for a in n.args), *extra):
            place = self.row(s)
            if place is not None and s.index not in inside:
                loads[variable(s)] = place if not s.boolean else f"{place} != 0.0"
        for name, place in loads.items():
            self.add(depth, f"{name} = {place}")
        for n in work:
            self.add(depth, f"{variable(n)} = {self.expression(n)}")

    def value(self, s: Symbol) -> str:
        """A symbol as a number to store."""
        if s.op == "constant":
            return self.number(s.name, wide=True)
        return f"1.0 if {variable(s)} else 0.0" if s.boolean else variable(s)

    def store(self, depth: int, work: tuple[Symbol, ...], array: str) -> None:
        for n in work:
            if self.rows.get(n.index, " ")[0] == array:
                self.add(depth, f"{self.row(n)} = {self.value(n)}")

    def commit(self, depth: int, commits: tuple[tuple[str, Symbol], ...]) -> None:
        for name, symbol in commits:
            array, i = self.rows["state", name]
            self.add(
                depth,
                f"{array}[{i}, a, l] = {self.value(symbol)}"
                if array == "V"
                else f"{array}[{i}, l] = {self.value(symbol)}",
            )

    def stage(self, stage: Stage) -> None:
        if stage.scalars:
            self.add(4, f"for l in range({LANES}):")
            self.body(5, stage.scalars, ())
            self.store(5, stage.scalars, "R")
        for n in stage.reductions:
            self.add(4, f"R[{self.rows[n.index][1]}, :] = {'-0.0' if n.op == 'sum' else '-np.inf'}")
        self.add(4, f"for a in range({self.A}):")
        work = (*stage.vectors, *stage.shared, *stage.reductions)
        reads = {a.index for n in work for a in n.args} | {o.index for _, o in stage.commits}
        for n in self.plan.shared_planes:
            if n.per_asset and n.index in reads:
                self.add(5, f"{variable(n)} = plane_{n.name}[s, t, a]")
        for n in stage.shared:
            self.add(5, f"{variable(n)} = {self.expression(n)}")
        for n in self.plan.gathered_planes:
            if n.index in reads:
                self.gather(5, n, "s, t, a")
        self.add(5, f"for l in range({LANES}):")
        split = tuple(n for n in stage.reductions if n in self.split)
        later = {n.args[0].index for n in split}
        whole = tuple(n for n in stage.reductions if n not in self.split)
        ends = tuple(n.args[0] for n in whole)
        vectors = tuple(n for n in stage.vectors if n.index not in later)
        self.body(6, vectors, (*ends, *(o for _, o in stage.commits)))
        self.reduce(whole)
        self.store(6, vectors, "X")
        self.store(6, vectors, "Z")
        self.commit(6, stage.commits)
        for first in range(0, len(split), TOGETHER):
            some = split[first : first + TOGETHER]
            self.add(5, f"for l in range({LANES}):")
            self.body(6, tuple(n.args[0] for n in some), ())
            self.reduce(some)

    def reduce(self, reductions: tuple[Symbol, ...]) -> None:
        for n in reductions:
            place, term = self.row(n), variable(n.args[0])
            self.add(
                6,
                f"{place} += {term}" if n.op == "sum" else f"{place} = {place} if {place} > {term} else {term}",
            )

    def gather(self, depth: int, plane: Symbol, place: str) -> None:
        row = self.rows["plane", plane.name][1]
        self.add(depth, f"for l in range({LANES}):")
        self.add(depth + 1, f"Y[{row}, l] = bank_{plane.name}[{place}, J[{row}, l]]")

    def build(self) -> str:
        plan, start = self.plan, self.plan.traced.start
        count = {array: 1 + max((i for a, i in self.rows.values() if a == array), default=0) for array in "VSWPRXYZ"}
        planes = [f"plane_{n.name}" for n in plan.shared_planes]
        banks = [f"bank_{n.name}" for n in plan.gathered_planes]
        real = "np.float32" if self.mixed else "np.float64"
        add = self.add
        add(
            0,
            f'"""Generated from the strategy {plan.traced.program.strategy.name}: {plan.operations} operations per bar."""',
        )
        add(0, "import numpy as np")
        add(0, "")
        arrays = "".join(f", {n}" for n in planes + banks)
        add(0, f"def kernel(first, last, n_scenarios, edges, parameters, costs, slices, out{arrays}):")
        for i, cost in enumerate(plan.costs):
            add(1, f"cost_{cost} = costs[{i}]")
        for n in plan.uniform:
            add(1, f"{variable(n)} = {self.expression(n)}")
        add(1, "C = parameters.shape[1]")
        for array, shape in (
            ("V", f"{self.A}, {LANES}"),
            ("S", f"{LANES}"),
            ("P", f"{LANES}"),
            ("R", f"{LANES}"),
            ("X", f"{self.A}, {LANES}"),
            ("Y", f"{LANES}"),
            ("Z", f"{LANES}"),
        ):
            add(1, f"{array} = np.empty(({count[array]}, {shape}), {real})")
        add(1, f"W = np.empty(({count['W']}, {LANES}))")
        add(1, f"J = np.zeros(({count['Y']}, {LANES}), np.uint64)  # unsigned: no test for a negative index")
        add(1, "for item in range(first, last):")
        add(2, "block = item // n_scenarios")
        add(2, "s = item % n_scenarios")
        add(2, f"for l in range({LANES}):")
        add(3, f"c = min(block * {LANES} + l, C - 1)")
        for i, name in enumerate(plan.parameters):
            add(3, f"p_{name} = {real}(parameters[{i}, c])")
        for i, _ in enumerate(banks):
            add(3, f"J[{i}, l] = slices[{i}, c]")
        for n in plan.setup:
            add(3, f"{variable(n)} = {self.expression(n)}")
        for n in plan.kept_setup:
            add(3, f"{self.row(n)} = {self.value(n)}")
        for name, leaf in ((n, start[n]) for n in plan.state):
            if not name.startswith("sums."):
                array, i = self.rows["state", name]
                add(
                    2,
                    f"{array}[{i}, {':' if array != 'V' else ':, :'}] = {self.number(leaf.start, wide=True)}",
                )
        add(2, "for b in range(len(edges) - 1):")
        for name, leaf in ((n, start[n]) for n in plan.state):
            if name.startswith("sums."):
                add(3, f"W[{self.rows['state', name][1]}, :] = {self.number(leaf.start, wide=True)}")
        add(3, "for t in range(edges[b], edges[b + 1]):")
        for n in plan.shared_planes:
            if not n.per_asset:
                add(4, f"{variable(n)} = plane_{n.name}[s, t]")
        for n in plan.bar_scalars:
            add(4, f"{variable(n)} = {self.expression(n)}")
        if not plan.stages:
            for n in plan.gathered_planes:
                self.gather(4, n, "s, t")
        for stage in plan.stages:
            self.stage(stage)
        depth = 4
        if plan.rare:
            add(4, f"if {' or '.join(variable(n) for n in plan.rare)}:")
            depth = 5
        add(depth, f"for l in range({LANES}):")
        self.body(depth + 1, plan.final, tuple(o for _, o in plan.commits))
        self.commit(depth + 1, plan.commits)
        if plan.rare:
            add(4, "else:  # what depends on these left out")
            add(5, f"for l in range({LANES}):")
            self.body(6, plan.quiet, tuple(o for _, o in plan.quiet_commits))
            self.commit(6, plan.quiet_commits)
        add(3, "if b > 0:")
        add(4, f"for l in range(min({LANES}, C - block * {LANES})):")
        for i, name in enumerate(plan.traced.program.sums):
            add(5, f"out[{i}, b - 1, s, block * {LANES} + l] = W[{self.rows['state', 'sums.' + name][1]}, l]")
        return "\n".join(self.lines) + "\n"


def _weighted(stage: Stage) -> dict[Symbol, Symbol]:
    """The sums over assets of a plane times a value that MANY of them share, with that value; no other reads the product."""
    readers = Counter(a.index for n in (*stage.vectors, *stage.reductions) for a in n.args)
    kept = {n.index for n in stage.crossing} | {o.index for _, o in stage.commits}
    made = {n.index for n in stage.vectors}
    found = {}
    for n in stage.reductions:
        term = n.args[0]
        if n.op == "sum" and term.op == "multiply" and term.index in made - kept and readers[term.index] == 1:
            values = [a for a in term.args if a.op != "plane"]
            if len(values) == 1 and values[0].index in made and not values[0].wide:
                found[n] = values[0]
    shared = Counter(v.index for v in found.values())
    return {n: v for n, v in found.items() if shared[v.index] >= MANY}


@cache
def source(plan: Schedule, *, mixed: bool = False) -> str:
    """The Numba source of a schedule."""
    return _Source(plan, plan.traced.program.n_assets, mixed).build()


@cache
def _load(text: str) -> Callable[..., None]:
    """Compile generated source, kept in a file named by its content so that Numba caches the machine code beside it."""
    name = f"hedgegrid_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    folder = CACHE / "numba"
    path = folder / f"{name}.py"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".tmp", delete=False) as file:
                file.write(text)
            Path(file.name).replace(path)  # another process may be writing the same file
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # the cached machine code names its module
        spec.loader.exec_module(module)
        cached = True
    except OSError:  # a home that cannot be written: compile in every process
        module, cached = ModuleType(name), False
        exec(compile(text, name, "exec"), module.__dict__)
    compiled: Callable[..., None] = numba.njit(nogil=True, cache=cached, error_model="numpy")(module.kernel)
    return compiled


@dataclass
class NumbaBackend:
    """Generated lanes, compiled by Numba, shared by `threads` threads (all cores by default)."""

    precision: str = "float64"
    threads: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    name: str = field(default="numba", init=False)
    output_bytes: int = field(default=64 * 2**20, init=False)
    lanes: int = field(default=LANES, init=False)
    _pool: ThreadPoolExecutor | None = field(default=None, init=False, repr=False)

    def run(self, launch: Launch, blocks: Blocks) -> FloatArray:
        """Block statistics (F, B, S * C)."""
        plan, shared, gathered = layout(launch)
        kernel = _load(source(plan, mixed=self.precision == "mixed"))
        real = np.float32 if self.precision == "mixed" else np.float64
        C = launch.n_configurations
        arguments: list[Any] = [
            launch.n_scenarios,
            np.concatenate([[0], blocks.edges]),  # what lies before the first block is run and not kept
            np.stack([launch.parameters[n] for n in plan.parameters]) if plan.parameters else np.empty((0, C)),
            np.array([launch.costs[n] for n in plan.costs]),
            np.stack([gathered[n.name][1] for n in plan.gathered_planes])
            if plan.gathered_planes
            else np.zeros((0, C), np.int64),
            np.empty((len(launch.program.sums), len(blocks), launch.n_scenarios, C)),
            *(_read_only(shared[n.name], real) for n in plan.shared_planes),
            *(_read_only(gathered[n.name][0], real) for n in plan.gathered_planes),
        ]
        items = -(-C // LANES) * launch.n_scenarios
        parts = min(items, 4 * self.threads) if self.threads > 1 else 1
        bounds = [items * i // parts for i in range(parts + 1)]
        jobs = [(a, b, *arguments) for a, b in pairwise(bounds)]
        if parts == 1:
            kernel(*jobs[0])
        else:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.threads, "hedgegrid-numba")
            kernel(0, 0, *arguments)  # compile once, before the threads ask for it together
            list(self._pool.map(lambda job: kernel(*job), jobs))
        out: FloatArray = arguments[OUT]
        return out.reshape(*out.shape[:2], -1)


def _read_only(plane: FloatArray, real: type[np.floating[Any]]) -> NDArray[Any]:
    """A plane as the kernel reads it, not copied where it fits: Numba would compile once more for planes of a shared
    memory, which are read only."""
    view = np.ascontiguousarray(plane, dtype=real).view()
    view.flags.writeable = False
    return view
