"""Generated source, expression by expression: names and text that all compiled backends share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kernels.trace import COMPARISONS, Symbol

INFIX = {
    "add": "({0} + {1})",
    "subtract": "({0} - {1})",
    "multiply": "({0} * {1})",
    "divide": "({0} / {1})",
    "negative": "(-{0})",
    "less": "({0} < {1})",
    "less_equal": "({0} <= {1})",
    "greater": "({0} > {1})",
    "greater_equal": "({0} >= {1})",
    "equal": "({0} == {1})",
    "not_equal": "({0} != {1})",
    "and": "({0} & {1})",
    "or": "({0} | {1})",
    "rarely": "{0}",
}
PYTHON = {
    **INFIX,
    "absolute": "abs({0})",
    "not": "(not {0})",
    "where": "({1} if {0} else {2})",
    "minimum": "({0} if {0} < {1} else {1})",
    "maximum": "({0} if {0} > {1} else {1})",
    "sqrt": "np.sqrt({0})",
    "exp": "np.exp({0})",
    "log": "np.log({0})",
    "floor": "np.floor({0})",
    "wide": "np.float64({0})",
}
C = {
    **INFIX,
    "absolute": "fabs({0})",
    "not": "(!{0})",
    "where": "({0} ? {1} : {2})",
    "minimum": "({0} < {1} ? {0} : {1})",
    "maximum": "({0} > {1} ? {0} : {1})",
    "sqrt": "sqrt({0})",
    "exp": "exp({0})",
    "log": "log({0})",
    "floor": "floor({0})",
    "wide": "((double){0})",
}


def variable(s: Symbol) -> str:
    """The name of a symbol in generated source."""
    short = {"parameter": "p", "cost": "cost", "plane": "bar", "state": "s"}
    return f"{short[s.op]}_{s.name.replace('.', '_')}" if s.op in short else f"v{s.index}"


def expression(s: Symbol, templates: Mapping[str, str], number: Callable[[float, bool], str]) -> str:
    """One operation as text; `number(value, wide)` writes a constant in the precision of its neighbours."""
    wide = any(a.wide for a in s.args) if s.op in COMPARISONS else s.wide
    return templates[s.op].format(*(number(a.name, wide) if a.op == "constant" else variable(a) for a in s.args))
