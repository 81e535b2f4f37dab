"""What a study file says about parameters, read and checked: fixed values, choices and ranges."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kernels.strategy import Parameter, ParameterValue, Strategy
from search.dimension import Choices, Dimension, Interval, Steps
from search.hint import hint

# a name made of one of these words, where the strategy has no such parameter, means a cost of trading
COST_WORDS = frozenset(
    (
        "adv",
        "capital",
        "cost",
        "costs",
        "fee",
        "fees",
        "commission",
        "slippage",
        "spread",
        "impact",
        "funding",
        "borrow",
        "fill",
    )
)
RANGE_KEYS = ("low", "high", "step", "log")


def defaults(strategy: Strategy) -> dict[str, ParameterValue]:
    """Every parameter at its default, numbers as floats, so that a default and the same value fixed are one."""
    return {p.name: float(p.default) if isinstance(p.default, int) else p.default for p in strategy.parameters}


def fixed_values(
    strategy: Strategy, given: Mapping[str, Any], *, where: str
) -> tuple[dict[str, ParameterValue], list[str]]:
    """Values held still, and the sentences that refuse the wrong ones; `where` is their key."""
    values: dict[str, ParameterValue] = {}
    problems: list[str] = []
    for name, value in given.items():
        parameter = _parameter(strategy, name)
        if parameter is None:
            problems.append(f"{where}.{name}: {_unknown(strategy, name)}")
            continue
        read, problem = _value(parameter, value)
        if problem is not None:
            problems.append(f"{where}.{name}: {problem}")
        else:
            values[name] = read
    return values, problems


def dimension_of(strategy: Strategy, name: str, wanted: Any) -> tuple[Dimension | None, list[str]]:
    """The searched dimension of parameter `name`, or None and the sentences that say why not."""
    where = f"strategy.search.{name}"
    parameter = _parameter(strategy, name)
    if parameter is None:
        if COST_WORDS & set(re.split(r"[^a-z]+", str(name).lower())):
            return None, [
                f"{where}: costs are the environment and cannot be searched: the search would choose the "
                "market it would like; set them under costs and compare a few studies"
            ]
        return None, [f"{where}: {_unknown(strategy, name)}"]
    if isinstance(wanted, Mapping):
        dimension, problems = _range(parameter, wanted)
    elif isinstance(wanted, Sequence) and not isinstance(wanted, str):
        dimension, problems = _choices(parameter, wanted)
    else:
        dimension, problems = (
            None,
            [f"a list of choices or {{low, high}} is needed, got {wanted!r}; one value belongs under strategy.fixed"],
        )
    return dimension, [f"{where}: {problem}" for problem in problems]


def _parameter(strategy: Strategy, name: object) -> Parameter | None:
    return next((p for p in strategy.parameters if p.name == name), None)


def _unknown(strategy: Strategy, name: object) -> str:
    names = [p.name for p in strategy.parameters]
    return f"{strategy.name} has no such parameter; {hint(name, names, 'parameters')}"


def _value(parameter: Parameter, value: Any) -> tuple[ParameterValue, str | None]:
    """The value as tables hold it (float, string or None), or the sentence that refuses it."""
    if value is None or (value == "none" and value not in parameter.choices):
        return None, parameter.problem(None)
    if isinstance(value, float) and not math.isfinite(value):
        return None, f"a finite number is needed, got {value!r}"
    problem = parameter.problem(value)
    if problem is not None:
        return None, problem
    return (value if isinstance(value, str) else float(value)), None


def _choices(parameter: Parameter, wanted: Sequence[Any]) -> tuple[Choices | None, list[str]]:
    if not wanted:
        return None, ["at least one choice is needed, got an empty list"]
    values: list[ParameterValue] = []
    problems: list[str] = []
    for value in wanted:
        read, problem = _value(parameter, value)
        if problem is not None:
            problems.append(problem)
        elif read in values:
            problems.append(f"every choice once, got {value!r} twice; remove one")
        else:
            values.append(read)
    return (None, problems) if problems else (Choices(tuple(values)), [])


def _range(parameter: Parameter, wanted: Mapping[str, Any]) -> tuple[Dimension | None, list[str]]:
    if parameter.choices:
        return None, [f"a range needs a number; list choices of {', '.join(parameter.choices)}"]
    problems = [f"unknown key {key}; {hint(key, RANGE_KEYS, 'keys')}" for key in wanted if key not in RANGE_KEYS]
    log = wanted.get("log")
    if log not in (None, True, False):
        problems.append(f"log is true or false, got {log!r}")
    number: dict[str, float] = {}
    for key in ("low", "high", "step"):
        value = wanted.get(key)
        if value is None and key == "step":
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            problems.append(f"{key} must be a number, got {'nothing' if value is None else repr(value)}")
        elif parameter.integer and float(value) != int(value):
            problems.append(f"{key} must be whole, as {parameter.name} is, got {value!r}")
        else:
            number[key] = float(value)
    if problems:
        return None, problems
    return _checked_range(parameter, number["low"], number["high"], number.get("step"), log=bool(log))


def _checked_range(
    parameter: Parameter, low: float, high: float, step: float | None, *, log: bool
) -> tuple[Dimension | None, list[str]]:
    found = (parameter.problem(low), parameter.problem(high) if high != low else None)
    problems = [problem for problem in found if problem is not None]
    if low >= high:
        problems.append(f"low < high must hold, got low={low:g}, high={high:g}")
    elif step is not None and not 0 < step <= high - low:
        problems.append(f"0 < step <= high - low must hold, got step={step:g}, high - low={high - low:g}")
    if log and low <= 0:
        problems.append(f"a log range needs low > 0, got low={low:g}")
    if log and step is not None:
        problems.append(f"a log range has no steps, got step={step:g}; remove step or log")
    if problems:
        return None, problems
    if log or (step is None and not parameter.integer):
        return Interval(low, high, log=log, integer=parameter.integer), []
    return Steps.between(low, high, step or 1.0, integer=parameter.integer), []
