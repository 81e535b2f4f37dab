"""A bar step run once on symbols: the graph of operations that the compiled backends are generated from.

`trace` hands the step a bar, a state and parameters made of `Symbol`s. Each operation on symbols adds a node to a
`Graph` (equal operations are one node), so the result is the whole step as a few dozen operations in order.
A Python `if` cannot be recorded; it raises and names `where`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn

_INSTEAD = "in a bar step write kernels.ops.{} (it runs on arrays and on symbols)"


@dataclass
class Graph:
    """The nodes of one traced step, in an order in which every node comes after its arguments."""

    nodes: list[Symbol] = field(default_factory=list)
    known: dict[tuple[Any, ...], Symbol] = field(default_factory=dict)

    def node(self, op: str, args: tuple[Symbol, ...], name: Any = None, **traits: bool) -> Symbol:
        """The one node for this operation on these arguments."""
        key = (op, *(a.index for a in args), repr(name))
        if key not in self.known:
            symbol = Symbol(self, len(self.nodes), op, args, name, **traits)
            self.nodes.append(symbol)
            self.known[key] = symbol
        return self.known[key]

    def constant(self, value: float) -> Symbol:
        """A number written in the rule."""
        return self.node("constant", (), float(value))

    def leaf(self, op: str, name: str, **traits: bool) -> Symbol:
        """A `parameter`, `cost`, `plane` or `state` that the kernel is given."""
        return self.node(op, (), name, **traits)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Symbol:
    """One value of the step, not yet computed.

    Traits: `per_asset` (A values, else one); `per_lane` (differs between configurations); `per_bar` (differs between
    bars); `boolean`; `wide` (float64 whatever the state's precision).
    """

    graph: Graph
    index: int
    op: str
    args: tuple[Symbol, ...]
    name: Any = None
    per_asset: bool = False
    per_lane: bool = False
    per_bar: bool = False
    boolean: bool = False
    wide: bool = False

    def __repr__(self) -> str:  # one level only: written out, a graph is as large as all its paths
        inside = ", ".join(f"#{a.index}" for a in self.args) if self.args else repr(self.name)
        return f"<symbol #{self.index}: {self.op}({inside})>"

    def __add__(self, other: Any) -> Symbol:
        return apply("add", self, other)

    def __radd__(self, other: Any) -> Symbol:
        return apply("add", other, self)

    def __sub__(self, other: Any) -> Symbol:
        return apply("subtract", self, other)

    def __rsub__(self, other: Any) -> Symbol:
        return apply("subtract", other, self)

    def __mul__(self, other: Any) -> Symbol:
        return apply("multiply", self, other)

    def __rmul__(self, other: Any) -> Symbol:
        return apply("multiply", other, self)

    def __truediv__(self, other: Any) -> Symbol:
        return apply("divide", self, other)

    def __rtruediv__(self, other: Any) -> Symbol:
        return apply("divide", other, self)

    def __neg__(self) -> Symbol:
        return apply("negative", self)

    def __abs__(self) -> Symbol:
        return apply("absolute", self)

    def __lt__(self, other: Any) -> Symbol:
        return apply("less", self, other)

    def __le__(self, other: Any) -> Symbol:
        return apply("less_equal", self, other)

    def __gt__(self, other: Any) -> Symbol:
        return apply("greater", self, other)

    def __ge__(self, other: Any) -> Symbol:
        return apply("greater_equal", self, other)

    def __eq__(self, other: object) -> Symbol:  # type: ignore[override]
        return apply("equal", self, other)

    def __ne__(self, other: object) -> Symbol:  # type: ignore[override]
        return apply("not_equal", self, other)

    def __and__(self, other: Any) -> Symbol:
        return apply("and", self, other)

    def __or__(self, other: Any) -> Symbol:
        return apply("or", self, other)

    def __invert__(self) -> Symbol:
        return apply("not", self)

    def __pow__(self, exponent: object) -> Symbol:
        if exponent == 2:
            return apply("multiply", self, self)
        raise TypeError(f"a symbol to the power {exponent!r}: write the product out, or exp(n * log(x))")

    __hash__ = object.__hash__

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a bar step cannot branch in Python (if, and, or, not, min, max, a < b < c) on a value that differs between "
            "configurations: use where(condition, a, b), minimum, maximum, & | ~ from kernels.ops"
        )

    def __float__(self) -> NoReturn:
        raise TypeError(
            f"a symbol has no value yet, so math.* and float() cannot take it: {_INSTEAD.format('sqrt, exp, log, ...')}"
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *values: Any, **_: Any) -> Symbol:
        if method == "__call__" and ufunc.__name__ in _OPERATORS:  # a NumPy number on the left: np.sqrt(2.0) * x
            return apply(ufunc.__name__, *values)
        raise TypeError(f"np.{ufunc.__name__} cannot take a symbol: {_INSTEAD.format(ufunc.__name__)}")

    def __array_function__(self, function: Any, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"np.{function.__name__} cannot take a symbol: {_INSTEAD.format(function.__name__)}")


_ARITHMETIC = frozenset({"add", "subtract", "multiply", "divide"})
COMPARISONS = frozenset({"less", "less_equal", "greater", "greater_equal", "equal", "not_equal"})
_LOGIC = frozenset({"and", "or", "not", "rarely"})
_OPERATORS = _ARITHMETIC | COMPARISONS
LEAVES = frozenset({"constant", "parameter", "cost", "plane", "state"})
REDUCTIONS = frozenset({"sum", "max"})


def _lift(graph: Graph, value: Any) -> Symbol:
    if isinstance(value, Symbol):
        return value
    if isinstance(value, (bool, int, float)) or (hasattr(value, "ndim") and value.ndim == 0):
        return graph.constant(value)
    raise TypeError(
        f"a bar step mixes symbols with {type(value).__name__}: read arrays as planes (bar.<name>), not from outside the step"
    )


def apply(op: str, *values: Any) -> Symbol:
    """Record `op` on `values`, at least one of which is a symbol."""
    graph = next(v.graph for v in values if isinstance(v, Symbol))
    args = tuple(_lift(graph, v) for v in values)
    numbers = args[1:] if op == "where" else args
    if op in _LOGIC and not all(a.boolean for a in args):
        raise TypeError(f"'{op}' joins conditions; compare first, e.g. (x > 0) & (y > 0)")
    if op == "where" and not args[0].boolean:
        raise TypeError("where(condition, a, b): the condition must be a comparison, e.g. where(x > 0, a, b)")
    boolean = op in COMPARISONS or op in _LOGIC or (op == "where" and all(a.boolean for a in numbers))
    if not boolean and any(a.boolean for a in numbers):
        raise TypeError(
            f"'{op}' takes numbers, got a condition: write where(condition, 1.0, 0.0) or as_number(condition)"
        )
    if op == "multiply":  # by 1 is the number itself, to the bit
        for one, other in (args, args[::-1]):
            if one.op == "constant" and one.name == 1.0:
                return other
    return graph.node(
        op,
        args,
        per_asset=any(a.per_asset for a in args),
        per_lane=any(a.per_lane for a in args),
        per_bar=any(a.per_bar for a in args),
        boolean=boolean,
        wide=op == "wide" or (not boolean and any(a.wide for a in numbers)),
    )


def reduce_assets(op: str, value: Symbol) -> Symbol:
    """Record a reduction over assets: it ends a stage, since its result needs every asset."""
    if not value.per_asset:
        raise TypeError(f"{op}_assets takes a value per asset; this one is the same for all assets")
    if value.boolean:
        raise TypeError(f"{op}_assets takes numbers: write {op}_assets(as_number(condition))")
    # A reduction is kept per lane even of a shared plane: one rule, and the planes of a bar are few.
    return value.graph.node(op, (value,), per_lane=True, per_bar=True, wide=value.wide)
