"""The order of work in a compiled bar: which operations run once, per bar, per asset, per configuration.

A reduction over assets needs every asset, so it ends a *stage*. A bar is a row of stages, each a short loop over lanes
for the per-configuration values its assets need, then a loop over assets; after the last stage comes one loop over lanes
for everything else. Work that is the same for all configurations is done outside the lanes, work that is the same for
all bars before the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from kernels.program import Traced
from kernels.trace import LEAVES, REDUCTIONS, Graph, Symbol, apply


@dataclass(frozen=True)
class Stage:
    """One loop over assets, and the loop over lanes that precedes it."""

    scalars: tuple[Symbol, ...]  # per configuration, needed by the assets of this stage
    shared: tuple[Symbol, ...]  # per asset, the same for all configurations
    vectors: tuple[Symbol, ...]  # per asset and configuration
    reductions: tuple[Symbol, ...]  # summed or maximised over the assets of this stage
    crossing: tuple[Symbol, ...]  # vectors that a later stage reads
    commits: tuple[tuple[str, Symbol], ...]  # state whose new value is written at the end of each asset


@dataclass(frozen=True, eq=False)
class Schedule:
    """A traced program laid out for a compiled backend. Every tuple is in an order in which arguments come first."""

    traced: Traced
    parameters: tuple[str, ...]
    costs: tuple[str, ...]
    shared_planes: tuple[Symbol, ...]
    gathered_planes: tuple[Symbol, ...]
    state: tuple[str, ...]
    scalar_state: tuple[Symbol, ...]  # the state per configuration that a bar reads
    uniform: tuple[Symbol, ...]  # once
    setup: tuple[Symbol, ...]  # once per configuration
    kept_setup: tuple[Symbol, ...]  # of these (and of the parameters), what the bars read
    bar_scalars: tuple[Symbol, ...]  # once per bar
    stages: tuple[Stage, ...]
    kept: tuple[Symbol, ...]  # per-configuration values that outlive the loop that computes them
    final: tuple[Symbol, ...]
    commits: tuple[tuple[str, Symbol], ...]
    rare: tuple[Symbol, ...]  # conditions of a bar; where none of them holds, these stand for `final` and `commits`:
    quiet: tuple[Symbol, ...]
    quiet_commits: tuple[tuple[str, Symbol], ...]

    @property
    def operations(self) -> int:
        """Operations per bar and configuration, counting a per-asset one once."""
        return sum(len(s.scalars) + len(s.vectors) + len(s.reductions) for s in self.stages) + len(self.final)


def is_setup(s: Symbol) -> bool:
    """Known once per configuration."""
    return s.per_lane and not s.per_bar


def _is_work(s: Symbol) -> bool:
    return s.op not in LEAVES


def schedule(traced: Traced) -> Schedule:
    """Lay out a traced program. With a single asset there are no stages: everything is per configuration."""
    traced = _wanted(traced)
    if traced.program.n_assets == 1:
        traced = _of_one_asset(traced)
    rare, without = _without_rare(traced) if traced.program.n_assets == 1 else ((), {})
    busy = _reachable(o for k, o in traced.outputs.items() if not _same(traced, k, o))
    calm = _reachable(o for k, o in without.items() if not _same(traced, k, o))
    live = busy | calm | {n.index for n in rare}
    nodes = [n for n in traced.graph.nodes if n.index in live]
    in_lanes = [n for n in nodes if n.per_lane and n.per_bar and n.index in busy]
    level = _levels(nodes)
    vectors = [n for n in in_lanes if n.per_asset and _is_work(n)]
    scalars = [n for n in in_lanes if not n.per_asset and _is_work(n) and n.op not in REDUCTIONS]
    reductions = [n for n in nodes if n.op in REDUCTIONS]
    changed = {k: o for k, o in traced.outputs.items() if not _same(traced, k, o)}
    vector_commits = {k: o for k, o in changed.items() if traced.start[k].per_asset}
    # State per asset that becomes a number made of reductions needs a stage after them, though it may hold nothing else.
    ends = [*vectors, *vector_commits.values()]
    last = max([level[n.index] for n in ends] + [level[n.index] - 1 for n in reductions], default=0)
    count = last + 1 if ends or reductions else 0

    # A state is overwritten in the last stage that reads its old value; a bare copy of another state waits for the end.
    reads: dict[str, int] = {}
    for n in (*vectors, *reductions):
        stage = level[n.index] - (n.op in REDUCTIONS)
        for a in n.args:
            if a.op == "state":
                reads[a.name] = max(reads.get(a.name, 0), stage)
    for o in vector_commits.values():
        if o.op == "state":
            reads[o.name] = last
    commit_at = {
        k: last if not (o.per_lane and o.per_asset and _is_work(o)) else max(level[o.index], reads.get(k, 0))
        for k, o in vector_commits.items()
    }

    due = _due(scalars, vectors, vector_commits, commit_at, level, count)
    kept = {n.index for n in reductions}
    for n in vectors:
        kept |= {a.index for a in n.args if a.index in due}
    for n in scalars:
        kept |= {a.index for a in n.args if a.index in due and due[a.index] != due[n.index]}
    kept |= {o.index for o in vector_commits.values() if o.index in due}
    kept |= {o.index for k, o in changed.items() if k not in vector_commits and due.get(o.index, count) != count}

    stages = []
    for i in range(count):
        here = [n for n in vectors if level[n.index] == i]
        ends = [n for n in reductions if level[n.index] - 1 == i]
        commits = [(k, o) for k, o in vector_commits.items() if commit_at[k] == i]
        needed = {a.index for n in (*here, *ends) for a in n.args} | {o.index for _, o in commits}
        crossing = [
            n
            for n in here
            if any(
                level[m.index] - (m.op in REDUCTIONS) > i
                for m in (*vectors, *reductions)
                if any(a is n for a in m.args)
            )
            or any(o is n and commit_at[k] > i for k, o in vector_commits.items())
        ]
        shared = _reachable(n for n in nodes if n.index in needed and n.per_asset and not n.per_lane)
        stages.append(
            Stage(
                tuple(n for n in scalars if due[n.index] == i),
                tuple(n for n in nodes if n.index in shared and n.per_asset and not n.per_lane and _is_work(n)),
                tuple(here),
                tuple(ends),
                tuple(crossing),
                tuple(commits),
            )
        )

    in_bars = [n for n in nodes if n.per_bar]
    read_names = {a.name for n in nodes for a in n.args if a.op == "state"}
    read_names |= {o.name for o in changed.values() if o.op == "state"}
    read_in_bars = {a.index for n in in_bars for a in n.args} | {
        o.index for o in (*changed.values(), *without.values())
    }
    return Schedule(
        traced,
        parameters=tuple(n.name for n in nodes if n.op == "parameter"),
        costs=tuple(n.name for n in nodes if n.op == "cost"),
        shared_planes=tuple(n for n in nodes if n.op == "plane" and not n.per_lane),
        gathered_planes=tuple(n for n in nodes if n.op == "plane" and n.per_lane),
        state=tuple(k for k in traced.start if k in changed or k in read_names or k.startswith("sums.")),
        scalar_state=tuple(n for n in nodes if n.op == "state" and not n.per_asset and n.name in read_names),
        uniform=tuple(n for n in nodes if not n.per_lane and not n.per_bar and _is_work(n)),
        setup=tuple(n for n in nodes if is_setup(n) and _is_work(n)),
        kept_setup=tuple(n for n in nodes if is_setup(n) and n.index in read_in_bars),
        bar_scalars=tuple(n for n in nodes if n.per_bar and not n.per_lane and not n.per_asset and _is_work(n)),
        stages=tuple(stages),
        kept=tuple(n for n in nodes if n.index in kept),
        final=tuple(n for n in scalars if due[n.index] == count),
        commits=tuple((k, o) for k, o in changed.items() if k not in vector_commits),
        rare=rare,
        quiet=tuple(n for n in nodes if n.index in calm and n.per_lane and n.per_bar and _is_work(n)),
        quiet_commits=tuple((k, o) for k, o in without.items() if not _same(traced, k, o)),
    )


def _same(traced: Traced, name: str, output: Symbol) -> bool:
    """Whether a bar leaves this state as it was. A sum that began at 0 is never minus zero, so adding 0 changes no bit."""
    if output.op == "state":
        return bool(output.name == name)
    zero = output.op == "add" and output.args[1].op == "constant" and output.args[1].name == 0.0
    return zero and name.startswith("sums.") and traced.start[name].start == 0.0 and _same(traced, name, output.args[0])


def _wanted(traced: Traced) -> Traced:
    """The same without state that no sum comes to depend on, in this bar or a later one."""
    wanted = {name for name in traced.start if name.startswith("sums.")}
    while True:
        read = _reachable(traced.outputs[name] for name in wanted)
        more = {n.name for n in traced.graph.nodes if n.op == "state" and n.index in read} - wanted
        if not more:
            break
        wanted |= more
    return replace(
        traced,
        outputs={name: symbol for name, symbol in traced.outputs.items() if name in wanted},
        start={name: leaf for name, leaf in traced.start.items() if name in wanted},
    )


def _of_one_asset(traced: Traced) -> Traced:
    """The same bar without an axis of assets: the sum over one asset, and the largest, is its value.

    The lanes then pass through a bar in one loop, and what is the same for all configurations is done once per bar.
    """
    graph = Graph()
    now: dict[int, Symbol] = {}
    fixed = {k for k, o in traced.outputs.items() if o.op == "state" and o.name == k and not k.startswith("sums.")}
    for n in traced.graph.nodes:
        args = tuple(now[a.index] for a in n.args)
        if n.op in REDUCTIONS:
            now[n.index] = args[0]
        elif args:
            now[n.index] = apply(n.op, *args)
        elif n.op == "state" and n.name in fixed:  # never changed: what it starts as
            now[n.index] = graph.constant(traced.start[n.name].start)
        else:
            traits = {"per_lane": n.per_lane, "per_bar": n.per_bar, "wide": n.wide}
            now[n.index] = graph.node(n.op, (), n.name, **traits)
    return replace(
        traced,
        graph=graph,
        outputs={name: now[symbol.index] for name, symbol in traced.outputs.items() if name not in fixed},
        start={name: replace(leaf, per_asset=False) for name, leaf in traced.start.items() if name not in fixed},
    )


def _without_rare(traced: Traced) -> tuple[tuple[Symbol, ...], dict[str, Symbol]]:
    """The rare conditions of a bar, and the outputs where none of them holds; nothing where there are none.

    New nodes are added to the graph: what does not depend on the conditions is shared with the other outputs.
    """
    now: dict[int, Symbol | bool] = {}
    rare = [n.args[0] for n in traced.graph.nodes if n.op == "rarely" and not n.per_lane]
    for n in list(traced.graph.nodes):
        args = [now[a.index] for a in n.args]
        truths = [a for a in args if isinstance(a, bool)]
        rest = [a for a in args if not isinstance(a, bool)]
        if n.op == "rarely" and not n.per_lane:
            now[n.index] = False
        elif not truths:
            now[n.index] = n if all(a is b for a, b in zip(args, n.args, strict=True)) else apply(n.op, *args)
        elif n.op == "where" and isinstance(args[0], bool):
            now[n.index] = args[1] if args[0] else args[2]
        elif n.op == "not":
            now[n.index] = not truths[0]
        elif n.op in ("and", "or"):
            decided = (n.op == "or") in truths
            now[n.index] = n.op == "or" if decided else rest[0] if rest else n.op == "and"
        elif n.op == "rarely":
            now[n.index] = truths[0]
        else:
            return (), {}  # a condition used as a value: run every bar whole
    found = {name: now[symbol.index] for name, symbol in traced.outputs.items()}
    outputs = {name: symbol for name, symbol in found.items() if isinstance(symbol, Symbol)}
    return (tuple(dict.fromkeys(rare)), outputs) if rare and len(outputs) == len(found) else ((), {})


def _reachable(outputs: Iterable[Symbol]) -> set[int]:
    seen: set[int] = set()
    waiting = list(outputs)
    while waiting:
        n = waiting.pop()
        if n.index not in seen:
            seen.add(n.index)
            waiting.extend(n.args)
    return seen


def _levels(nodes: list[Symbol]) -> dict[int, int]:
    """The stage in which each node can first be computed; a reduction is known one stage after its argument."""
    level: dict[int, int] = {}
    for n in nodes:
        level[n.index] = max((level[a.index] for a in n.args), default=0) + (n.op in REDUCTIONS)
    return level


def _due(
    scalars: list[Symbol],
    vectors: list[Symbol],
    vector_commits: dict[str, Symbol],
    commit_at: dict[str, int],
    level: dict[int, int],
    count: int,
) -> dict[int, int]:
    """The stage before whose assets each per-configuration value must be there; `count` for those only wanted at the end."""
    due = {n.index: count for n in scalars}
    for n in vectors:
        for a in n.args:
            if a.index in due:
                due[a.index] = min(due[a.index], level[n.index])
    for k, o in vector_commits.items():
        if o.index in due:
            due[o.index] = min(due[o.index], commit_at[k])
    for n in reversed(scalars):
        for a in n.args:
            if a.index in due:
                due[a.index] = min(due[a.index], due[n.index])
    return due
