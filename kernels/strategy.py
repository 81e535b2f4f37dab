"""What a strategy is: parameters, planes, a state, and one bar step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kernels.account import CASH_PER_ASSET, Accounting, Costs
from kernels.errors import InputError
from kernels.market import FloatArray, Market
from kernels.metric import METRICS, Metric
from kernels.option_market import OptionMarket

ParameterValue = float | int | str | None


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number or choice of a hedge rule that may be fixed, searched, or left at its default.

    `low` and `high` bound what a study may ask for. A parameter with `choices` takes one of these strings.
    An `optional` parameter may be None, which switches its part of the rule off; where other configurations of a launch
    set it, None is the number `off`.
    """

    name: str
    default: ParameterValue
    low: float | None = None
    high: float | None = None
    unit: str = ""
    doc: str = ""
    integer: bool = False
    choices: tuple[str, ...] = ()
    optional: bool = False
    off: float = math.inf

    def problem(self, value: object) -> str | None:
        """The sentence that refuses `value`, or None where it is allowed.

        >>> Parameter("lookback", 30, 6, 365, unit="bars", integer=True).problem(3)
        "parameter 'lookback': 6 <= lookback <= 365 bars must hold, got 3"
        """
        where = f"parameter '{self.name}'"
        unit = f" {self.unit}" if self.unit else ""
        if value is None:
            return None if self.optional else f"{where}: a value is needed, got none (it cannot be switched off)"
        if self.choices:
            if value in self.choices:
                return None
            return f"{where}: choose one of {', '.join(self.choices)}, got {value!r}"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"{where}: a number is needed, got {value!r}"
        if self.integer and float(value) != int(value):
            return f"{where}: a whole number of{unit or ' units'} is needed, got {value!r}"
        assert self.low is not None
        assert self.high is not None
        if not self.low <= value <= self.high:  # NaN fails here too
            return f"{where}: {self.low:g} <= {self.name} <= {self.high:g}{unit} must hold, got {value!r}"
        return None


class Plane(NamedTuple):
    """A precomputed array that the bar step reads as `bar.<name>`.

    `compute(market)` gives (T, A) or (T,). With `keys`, the names of the parameters it depends on,
    `compute(market, *values)` takes one (K,) array per key and gives a bank (K, T, A): one slice per distinct value. On an
    `OptionMarket` every shape has the scenarios in front: (S, T, A), (S, T), (K, S, T, A).

    A `stacked` plane is one plane per asset, (A, ..., T, A) in the place of (..., T, A): `bar.<name>` is a tuple of A values.
    """

    name: str
    compute: Callable[..., Any]
    keys: tuple[str, ...] = ()
    stacked: bool = False

    def names(self, n_assets: int) -> tuple[str, ...]:
        """What its planes are called in a kernel.

        >>> Plane("atr", len).names(2), Plane("factors", len, stacked=True).names(2)
        (('atr',), ('factors_0', 'factors_1'))
        """
        return tuple(f"{self.name}_{k}" for k in range(n_assets)) if self.stacked else (self.name,)


class Feature(NamedTuple):
    """A protective part of a rule: a choice parameter whose first choice switches it off.

    `claims` is the metric of the returns that it is meant to better (one of `kernels.metric.OF_RETURNS`).
    """

    parameter: str
    claims: str = "max_drawdown"


Asked = Mapping[str, Sequence[float] | FloatArray]  # numbers that configurations will have, by parameter


def on_any_market(market: Any, asked: Asked, costs: Costs) -> list[str]:
    """No market of its kind is unfit for the strategy."""
    return []


def plainly(parameters: Mapping[str, Any]) -> str:
    """A configuration in words: every number beside its name.

    >>> plainly({"lookback": 30, "stop_loss": None})
    'lookback 30, stop_loss off'
    """
    return ", ".join(
        f"{name} {'off' if value is None else f'{value:g}' if isinstance(value, (int, float)) else value}"
        for name, value in parameters.items()
    )


@dataclass(frozen=True)
class Strategy:
    """A hedge rule.

    Parameters
    ----------
    name, summary, source
        What it is called, what it does in one sentence, where its formula is published.
    parameters
        Every number of the rule.
    planes
        What is precomputed from the market.
    state
        A NamedTuple class (nested ones allowed) whose defaults `per_asset(x)` or `scalar(x)` are what it starts as.
    step
        `step(bar, state, p) -> Order and state`, in the array language of `kernels.ops`.
    account
        How orders become returns: a cash account per asset, unless the strategy trades something else.
    warm_up
        `warm_up(parameters) -> bars` before the first order can exist.
    market
        The kind of market it trades.
    unfit
        `unfit(market, asked, costs) -> sentences` that refuse numbers which this market cannot give a meaning to, or
        these costs.
    say
        `say(parameters) -> words` that tell a trader what to do; parameters that are off are None.
    book
        Whether its planes read `market.book` (which may be None): a study of any other strategy has no `book:`.
    features
        What may be switched off by itself, in the order in which it is added: a study says what each bought and cost.
    limited
        Whether its rule asks `bar.limited` before it orders (`kernels.limit_stage`), so that risk limits can be switched on.
    """

    name: str
    summary: str
    source: str
    parameters: tuple[Parameter, ...]
    planes: tuple[Plane, ...]
    state: Any
    step: Callable[..., Any]
    warm_up: Callable[[Mapping[str, Any]], int]
    account: Accounting = CASH_PER_ASSET
    notes: tuple[str, ...] = ()
    market: type[Market] | type[OptionMarket] = Market
    unfit: Callable[[Any, Asked, Costs], list[str]] = on_any_market
    say: Callable[[Mapping[str, Any]], str] = plainly
    book: bool = False
    features: tuple[Feature, ...] = ()
    limited: bool = False

    @property
    def metrics(self) -> dict[str, Metric]:
        """What a backtest of it measures: the metrics of every strategy, then those of its account."""
        return METRICS | {metric.name: metric for metric in self.account.metrics}

    def parameter(self, name: str) -> Parameter:
        """The parameter of that name; KeyError otherwise."""
        return next(p for p in self.parameters if p.name == name)

    def check_market(
        self, market: Market | OptionMarket, asked: Asked | None = None, costs: Costs | None = None
    ) -> None:
        """Refuse (InputError) a market of another kind, or one that some of the numbers `asked` for have no meaning on,
        or at `costs` (None: whatever they are)."""
        if not isinstance(market, self.market):
            raise InputError(
                f"strategy '{self.name}': it trades {_an(self.market)}, this is {_an(type(market))}; "
                "take a market of its kind, or a strategy for this one"
            )
        if problems := self.unfit(market, asked or {}, costs or Costs(0.0, 0.0)):
            raise InputError(problems)


def _an(kind: type) -> str:
    return f"an {kind.__name__}" if kind.__name__[0] in "AEIOU" else f"a {kind.__name__}"
