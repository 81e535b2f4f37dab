"""The traced bar step as C++ lanes, built by g++: the compiler's own speed, which the Numba backend is held against.

The source is laid out as the Numba backend's is (one array per kind of state, temporaries local to the lane loop, the
loop over assets kept), so that the two differ by their compilers alone. Lanes are g++'s vector types: as a plain loop
under `#pragma GCC ivdep` g++ 12 leaves the step scalar ("control flow in loop": it threads the selects into jumps before
it vectorises), which costs a factor of three. float64 only.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import native
from kernels.blocks import Blocks
from kernels.emit import INFIX, expression, variable
from kernels.launch import Launch, layout
from kernels.market import FloatArray
from kernels.schedule import Schedule, Stage
from kernels.trace import COMPARISONS, Symbol

PROLOGUE = """
#include <cmath>
#include <type_traits>
typedef double vec __attribute__((vector_size(8 * W)));
typedef long mask __attribute__((vector_size(8 * W)));
inline vec all(double x) { return x - vec{}; }
inline vec all(vec x) { return x; }
inline mask all(long x) { return x | mask{}; }
inline mask all(mask x) { return x; }
inline long truth(bool x) { return -(long)x; }
inline mask truth(mask x) { return x; }
inline long inverse(long x) { return ~x; }
inline mask inverse(mask x) { return ~x; }
template <class X, class Y> auto where(mask m, X x, Y y) { return m ? all(x) : all(y); }
template <class X, class Y> auto where(long m, X x, Y y) {
    if constexpr (std::is_same_v<X, Y>) return m ? x : y; else return m ? all(x) : all(y);
}
inline vec absolute(vec x) { return (vec)((mask)x & 0x7fffffffffffffffL); }
inline double absolute(double x) { return std::fabs(x); }
template <double (*f)(double)> vec each(vec x) { for (int i = 0; i < W; ++i) x[i] = f(x[i]); return x; }
template <double (*f)(double)> double each(double x) { return f(x); }
inline double root(double x) { return std::sqrt(x); }
inline double power(double x) { return std::exp(x); }
inline double logarithm(double x) { return std::log(x); }
inline double whole(double x) { return std::floor(x); }
inline long least(long a, long b) { return a < b ? a : b; }
"""
VECTOR_C = {
    **{op: f"truth{text}" if op in COMPARISONS else text for op, text in INFIX.items()},
    "not": "inverse({0})",
    "rarely": "{0}",
    "absolute": "absolute({0})",
    "where": "where({0}, {1}, {2})",
    "minimum": "where(truth({0} < {1}), {0}, {1})",
    "maximum": "where(truth({0} > {1}), {0}, {1})",
    "sqrt": "each<root>({0})",
    "exp": "each<power>({0})",
    "log": "each<logarithm>({0})",
    "floor": "each<whole>({0})",
    "wide": "{0}",
}

EACH_VECTOR = "for (int l = 0; l < L; ++l) {"
EACH_ELEMENT = "for (int k = 0; k < W; ++k) {"


def _number(value: float, _wide: bool) -> str:
    return {"inf": "INFINITY", "-inf": "-INFINITY"}.get(repr(value), repr(value))


def _type(s: Symbol) -> str:
    if s.per_lane:
        return "mask" if s.boolean else "vec"
    return "long" if s.boolean else "double"


class _Source:
    """Generated C++ of one schedule."""

    def __init__(self, plan: Schedule, lanes: int, width: int) -> None:
        self.plan, self.lanes, self.width, self.lines = plan, lanes, width, list[str]()
        self.A = plan.traced.program.n_assets
        start = plan.traced.start
        kinds: dict[str, list[Any]] = {  # array: what its rows hold
            "V": [("state", n) for n in plan.state if start[n].per_asset],
            "S": [("state", n) for n in plan.state if not start[n].per_asset],
            "P": [n.index for n in plan.kept_setup],
            "R": [n.index for n in plan.kept],
            "X": [n.index for stage in plan.stages for n in stage.crossing],
            "Y": [("plane", n.name) for n in plan.gathered_planes],
        }
        self.count = {array: len(rows) for array, rows in kinds.items()}
        self.places = {
            key: f"{array}[{i}]{'[a]' if array in 'VX' else ''}[l]"
            for array, rows in kinds.items()
            for i, key in enumerate(rows)
        }

    def place(self, s: Symbol) -> str | None:
        """The array element that holds a symbol, or None for one that lives in a local variable."""
        return self.places.get((s.op, s.name) if s.op in ("state", "plane") else s.index)

    def value(self, s: Symbol) -> str:
        if s.op == "constant":
            return f"all({_number(s.name, True)})"
        return f"all(where({variable(s)}, 1.0, 0.0))" if s.boolean else f"all({variable(s)})"

    def let(self, work: tuple[Symbol, ...]) -> None:
        self.lines += [f"const {_type(n)} {variable(n)} = {expression(n, VECTOR_C, _number)};" for n in work]

    def body(self, work: tuple[Symbol, ...], extra: tuple[Symbol, ...]) -> None:
        """Load what `work` and `extra` read from arrays, then do `work`."""
        inside = {n.index for n in work}
        reads = {s.index: s for s in (*(a for n in work for a in n.args), *extra) if s.index not in inside}
        for s in reads.values():
            if place := self.place(s):
                self.lines.append(f"const {_type(s)} {variable(s)} = {place}{' != 0.0' if s.boolean else ''};")
        self.let(work)

    def store(self, work: tuple[Symbol, ...]) -> None:
        self.lines += [f"{place} = {self.value(n)};" for n in work if (place := self.place(n))]

    def commit(self, commits: tuple[tuple[str, Symbol], ...]) -> None:
        self.lines += [f"{self.places['state', name]} = {self.value(s)};" for name, s in commits]

    def stage(self, stage: Stage) -> None:
        if stage.scalars:
            self.lines.append(EACH_VECTOR)
            self.body(stage.scalars, ())
            self.store(stage.scalars)
            self.lines.append("}")
        for n in stage.reductions:
            start = "all(-0.0)" if n.op == "sum" else "all(-INFINITY)"
            self.lines.append(f"{EACH_VECTOR} {self.place(n)} = {start}; }}")
        self.lines.append(f"for (int a = 0; a < {self.A}; ++a) {{")
        work = (*stage.vectors, *stage.shared, *stage.reductions)
        reads = {a.index for n in work for a in n.args} | {s.index for _, s in stage.commits}
        for n in self.plan.shared_planes:
            if n.per_asset and n.index in reads:
                self.lines.append(f"const double {variable(n)} = plane_{n.name}[t * {self.A} + a];")
        self.let(stage.shared)
        for i, n in enumerate(self.plan.gathered_planes):
            if n.index in reads:
                element = f"bank_{n.name}[(t * {self.A} + a) * width_{n.name} + J[{i}][l][k]]"
                self.lines.append(f"{EACH_VECTOR} {EACH_ELEMENT} {self.place(n)}[k] = {element}; }}}}")
        self.lines.append(EACH_VECTOR)
        self.body(stage.vectors, (*(n.args[0] for n in stage.reductions), *(s for _, s in stage.commits)))
        for n in stage.reductions:
            place, term = self.place(n), variable(n.args[0])
            self.lines.append(
                f"{place} {f'+= {term}' if n.op == 'sum' else f'= where(mask({place} > {term}), {place}, {term})'};"
            )
        self.store(stage.crossing)
        self.commit(stage.commits)
        self.lines.append("}}")

    def build(self) -> str:
        plan, start, add = self.plan, self.plan.traced.start, self.lines.append
        planes = "".join(f", const double* __restrict plane_{n.name}" for n in plan.shared_planes)
        banks = "".join(
            f", const double* __restrict bank_{n.name}, const long width_{n.name}" for n in plan.gathered_planes
        )
        add(
            f"constexpr int L = {self.lanes // self.width}, W = {self.width};  // vectors of a block, lanes of a vector"
        )
        add(PROLOGUE)
        add('extern "C" void kernel(long C, long n_blocks, const long* edges, const double* parameters,')
        add(f"const double* costs, const long* slices, double* __restrict out{planes}{banks}) {{")
        for i, name in enumerate(plan.costs):
            add(f"const double cost_{name} = costs[{i}];")
        self.let(plan.uniform)
        for array, count in self.count.items():
            add(f"vec {array}[{max(count, 1)}]{f'[{self.A}]' if array in 'VX' else ''}[L];")
        add(f"mask J[{max(self.count['Y'], 1)}][L];")
        add(f"for (long first = 0; first < C; first += {self.lanes}) {{")
        add(EACH_VECTOR)
        for i, name in enumerate(plan.parameters):
            add(f"vec p_{name}; {EACH_ELEMENT} p_{name}[k] = parameters[{i} * C + least(first + l * W + k, C - 1)]; }}")
        for i, _ in enumerate(plan.gathered_planes):
            add(f"{EACH_ELEMENT} J[{i}][l][k] = slices[{i} * C + least(first + l * W + k, C - 1)]; }}")
        self.let(plan.setup)
        self.store(plan.kept_setup)
        add("}")
        fresh = [n for n in plan.state if n.startswith("sums.")]
        for name in plan.state:
            if name not in fresh:
                loop = f"for (int a = 0; a < {self.A}; ++a) " if start[name].per_asset else ""
                add(f"{loop}{EACH_VECTOR} {self.places['state', name]} = all({start[name].start!r}); }}")
        add("for (long b = 0; b < n_blocks; ++b) {")
        add(EACH_VECTOR)
        self.lines += [f"{self.places['state', n]} = all({_number(start[n].start, True)});" for n in fresh]
        add("}")
        add("for (long t = edges[b]; t < edges[b + 1]; ++t) {")
        for n in plan.shared_planes:
            if not n.per_asset:
                add(f"const double {variable(n)} = plane_{n.name}[t];")
        self.let(plan.bar_scalars)
        for stage in plan.stages:
            self.stage(stage)
        add(EACH_VECTOR)
        self.body(plan.final, tuple(s for _, s in plan.commits))
        self.commit(plan.commits)
        add("}}")
        add(f"if (b > 0) for (long k = 0; k < least({self.lanes}, C - first); ++k) {{")
        for i, name in enumerate(plan.traced.program.sums):
            place = self.places["state", f"sums.{name}"].replace("[l]", "[k / W][k % W]")
            add(f"out[({i} * (n_blocks - 1) + b - 1) * C + first + k] = {place};")
        add("}}}}")
        return "\n".join(self.lines) + "\n"


def source(plan: Schedule, lanes: int, width: int) -> str:
    """The C++ source of a schedule."""
    return _Source(plan, lanes, width).build()


@dataclass
class LanesBackend:
    """A `kernels.launch.Backend` for one scenario, on one thread: blocks of `lanes` configurations in vectors of `width`."""

    lanes: int = 64
    width: int = 8
    name: str = field(default="C++ lanes", init=False)
    output_bytes: int = field(default=64 * 2**20, init=False)

    def run(self, launch: Launch, blocks: Blocks) -> FloatArray:
        """Block statistics (F, B, C)."""
        if launch.n_scenarios != 1:
            raise ValueError(f"C++ lanes are written for one scenario, got {launch.n_scenarios}")
        plan, shared, gathered = layout(launch)
        number = launch.n_configurations
        out = np.empty((len(launch.program.sums), len(blocks), number))
        arguments: list[Any] = [
            number,
            len(blocks) + 1,
            np.concatenate([[0], blocks.edges]).astype(np.int64),
            np.array([launch.parameters[n] for n in plan.parameters]).reshape(-1, number),
            np.array([launch.costs[n] for n in plan.costs]),
            np.array([gathered[n.name][1] for n in plan.gathered_planes], dtype=np.int64).reshape(-1, number),
            out,
            *(np.ascontiguousarray(shared[n.name]) for n in plan.shared_planes),
        ]
        for n in plan.gathered_planes:
            bank = gathered[n.name][0]
            arguments += [np.ascontiguousarray(bank), bank.shape[3]]
        pointers = [
            ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else ctypes.c_long(a) for a in arguments
        ]
        native.load(source(plan, self.lanes, self.width), native.EXACT).kernel(*pointers)
        return out
