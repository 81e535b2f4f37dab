"""The whole bar: a strategy's rule, then the account, then the block statistics, as one bar-step function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

from kernels.account import Costs, Outcome
from kernels.blocks import BarReturn, BlockSums, Kept, accumulate, add_return
from kernels.limit_planes import limit_planes
from kernels.limit_stage import LimitStage, NoStage, Opened, unlimited
from kernels.risk_settings import Limits
from kernels.state import Leaf, leaves, rebuild
from kernels.strategy import Plane, Strategy
from kernels.trace import Graph, Symbol


class Carried(NamedTuple):
    """Everything carried from bar to bar. `sums` starts afresh at each block edge; the rest never does."""

    rule: Any
    account: Any
    sums: Any
    limits: Any = NoStage()


class _Parameters(SimpleNamespace):
    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"p.{name}: no such parameter; this strategy has {', '.join(sorted(vars(self)))}")


@dataclass(frozen=True)
class Program:
    """One strategy's whole bar for a market of A assets.

    `off` names the optional parameters that are None in every configuration of a launch: the rule sees None and leaves
    that part out, which changes no result and saves its operations. `free` names costs that are None in the same way.
    `kept` of each block are all its sums, or its returns: then nothing else is added up, nor worked out for it. `limits`
    are the risk limits that the rule asks, numbers of the kernel; without them asking costs nothing.
    """

    strategy: Strategy
    n_assets: int
    off: frozenset[str] = frozenset()
    free: frozenset[str] = frozenset()
    kept: Kept = "sums"
    limits: Limits | None = None

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters that reach the step as numbers."""
        return tuple(p.name for p in self.strategy.parameters if p.name not in self.off)

    @property
    def planes(self) -> tuple[Plane, ...]:
        """What is precomputed for it beside the planes of every market."""
        return (*self.strategy.planes, *limit_planes(self.limits, self.n_assets))

    @property
    def start(self) -> Carried:
        """The state before the first bar: a `Leaf` in every place."""
        account = self.strategy.account
        sums = BlockSums(parts=account.parts()) if self.kept == "sums" else BarReturn()
        return Carried(self.strategy.state(), account.start(), sums, NoStage() if self.limits is None else Opened())

    @property
    def sums(self) -> tuple[str, ...]:
        """What is kept of each block, in the order in which a backend returns it."""
        return tuple(leaves(self.start.sums))

    def step(self, bar: Any, carried: Carried, p: Any, costs: Any) -> Carried:
        """One bar, on arrays or on symbols."""
        bar.account, bar.costs = carried.account, costs
        for plane in self.planes:
            if plane.stacked:
                setattr(bar, plane.name, tuple(getattr(bar, name) for name in plane.names(self.n_assets)))
        stage = None if self.limits is None else LimitStage(self.limits, self.n_assets, bar, carried.limits)
        bar.limited = stage or unlimited
        order, rule = self.strategy.step(bar, carried.rule, p)
        if stage is not None and stage.asked != 1:
            raise TypeError(f"{self.strategy.name}.step asks bar.limited once a bar, got {stage.asked} times")
        outcome, account = self.strategy.account.execute(order, carried.account, bar, costs, self.n_assets)
        add: Callable[[Any, Outcome], Any] = accumulate if self.kept == "sums" else add_return
        limits = carried.limits if stage is None else stage.opened
        return Carried(rule, account, add(carried.sums, outcome), limits)

    def costs(self, values: Mapping[str, Any]) -> SimpleNamespace:
        """Costs as `costs.<name>`, those that are free as None."""
        return SimpleNamespace(**{**values, **dict.fromkeys(self.free)})

    def namespace(self, values: dict[str, Any]) -> SimpleNamespace:
        """Parameters as `p.<name>`, those switched off as None."""
        return _Parameters(**{**dict.fromkeys(self.off), **values})


@dataclass(frozen=True)
class Traced:
    """A program's graph: the node that each leaf of the carried state becomes, by dotted name."""

    program: Program
    graph: Graph
    outputs: dict[str, Symbol]
    start: dict[str, Leaf]


class _Bar:
    """Planes as symbols, made when the step asks for them, so that a kernel is given only what it reads."""

    def __init__(self, graph: Graph, per_asset: dict[str, bool], gathered: frozenset[str]) -> None:
        self._graph, self._per_asset, self._gathered = graph, per_asset, gathered

    def __getattr__(self, name: str) -> Symbol:
        if name not in self._per_asset:
            raise AttributeError(f"bar.{name}: no such plane; this strategy reads {', '.join(sorted(self._per_asset))}")
        traits = {"per_asset": self._per_asset[name], "per_lane": name in self._gathered, "per_bar": True}
        return self._graph.leaf("plane", name, **traits)


def trace(program: Program, planes: dict[str, bool], gathered: Iterable[str] = ()) -> Traced:
    """Run the program once on symbols.

    `planes` says for each plane whether it has a value per asset; `gathered` names the banks of which configurations
    of one launch read different slices.
    """
    graph = Graph()
    start = leaves(program.start)
    carried = rebuild(
        program.start,
        lambda name, leaf: graph.leaf(
            "state", name, per_asset=leaf.per_asset, per_lane=True, per_bar=True, wide=leaf.wide
        ),
    )
    p = program.namespace({n: graph.leaf("parameter", n, per_lane=True) for n in program.parameters})
    costs = program.costs({n: graph.leaf("cost", n) for n in Costs().fractions if n not in program.free})
    after = leaves(program.step(_Bar(graph, planes, frozenset(gathered)), carried, p, costs))
    if set(after) != set(start):
        raise TypeError(
            f"{program.strategy.name}.step must return the state it was given: fields {sorted(set(after) ^ set(start))} differ"
        )
    outputs = {n: v if isinstance(v, Symbol) else graph.constant(v) for n, v in after.items()}
    for name, symbol in outputs.items():
        if symbol.per_asset and not start[name].per_asset:
            raise TypeError(f"state '{name}' is one number per configuration, but the step gives it one per asset")
        if symbol.boolean:
            raise TypeError(
                f"state '{name}' is a number, but the step gives it a condition: write as_number(condition)"
            )
    return Traced(program, graph, outputs, start)
