"""One searched parameter: the values a study may try for it.

Three kinds: `Choices` (a list), `Steps` (evenly spaced numbers) and `Interval` (a continuous or logarithmic
range). Each maps a number in [0, 1) to a value, which is how random and Sobol points become configurations,
and back, which is how a cloud is laid round a point; and says what Optuna is told about it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from kernels.errors import InputError
from kernels.market import FloatArray
from kernels.strategy import ParameterValue

DIGITS = 12  # decimals that a float64 near 1000 holds exactly enough to be rounded to

IntArray = NDArray[np.int64]
Values = NDArray[Any]
"""float64 (NaN: switched off) for a number, object (strings) for a choice."""


@dataclass(frozen=True, slots=True)
class Choices:
    """A list of values, in the order given. To a learning sampler they have no order."""

    values: tuple[ParameterValue, ...]

    @property
    def count(self) -> int:
        """Number of values."""
        return len(self.values)

    def pick(self, index: IntArray) -> Values:
        """The values at `index` (n,)."""
        if any(isinstance(value, str) for value in self.values):
            return np.array(self.values, dtype=object)[index]
        # numpy turns None into NaN here, which is what "off" is in a table
        return np.array(self.values, dtype=np.float64)[index]

    def from_unit(self, u: FloatArray) -> Values:
        """One value per u in [0, 1), all equally likely."""
        return self.pick(_cell(u, self.count))

    @property
    def ordered(self) -> bool:
        """Whether the next value in the list is a neighbour: numbers that rise or fall throughout."""
        numbers = [value for value in self.values if isinstance(value, float)]
        return len(numbers) == self.count and sorted(numbers) in (numbers, numbers[::-1])

    def to_unit(self, values: Values) -> FloatArray:
        """The middle of each value's share of [0, 1); the inverse of `from_unit`."""
        places = [self.values.index(None if isinstance(v, float) and math.isnan(v) else v) for v in values]
        return (np.array(places, dtype=np.float64) + 0.5) / self.count

    def distribution(self) -> BaseDistribution:
        """The same for Optuna."""
        return CategoricalDistribution(self.values)

    def snap(self, value: Any) -> ParameterValue:
        """The value as this list spells it."""
        return self.values[self.values.index(value)]


@dataclass(frozen=True, slots=True)
class Steps:
    """`low`, `low + step`, ... up to `bound`: `count` numbers, as decimals (0.3, not 0.30000000000000004)."""

    low: float
    step: float
    count: int
    bound: float
    integer: bool = False

    @classmethod
    def between(cls, low: float, high: float, step: float, *, integer: bool = False) -> Steps:
        """Every step from `low` that does not pass `high`.

        >>> Steps.between(0.1, 0.5, 0.1).pick(np.arange(5)).tolist()
        [0.1, 0.2, 0.3, 0.4, 0.5]
        """
        # a billionth of a step: (0.3 - 0.1) / 0.1 is 1.9999999999999998 and must count as two steps
        return cls(low, step, int(np.floor((high - low) / step + 1e-9)) + 1, high, integer)

    def pick(self, index: IntArray) -> Values:
        """The values at `index` (n,)."""
        values = self.low + self.step * index
        digits = max(_decimals(self.low), _decimals(self.step))
        return np.minimum(np.round(values, digits) if digits <= DIGITS else values, self.bound)

    def from_unit(self, u: FloatArray) -> Values:
        """One value per u in [0, 1), all equally likely."""
        return self.pick(_cell(u, self.count))

    @property
    def ordered(self) -> bool:
        """Numbers have neighbours."""
        return True

    def to_unit(self, values: Values) -> FloatArray:
        """The middle of each step's share of [0, 1); the inverse of `from_unit`."""
        middle: FloatArray = (np.rint((values - self.low) / self.step) + 0.5) / self.count
        return middle

    def distribution(self) -> BaseDistribution:
        """The same for Optuna."""
        last = float(Decimal(repr(self.low)) + (self.count - 1) * Decimal(repr(self.step)))
        if self.integer:
            return IntDistribution(int(self.low), int(last), step=int(self.step))
        return FloatDistribution(self.low, last, step=self.step)

    def snap(self, value: Any) -> ParameterValue:
        """The step nearest to `value`."""
        return float(self.pick(np.array([round((value - self.low) / self.step)]))[0])


@dataclass(frozen=True, slots=True)
class Interval:
    """Every number from `low` to `high`, even in value or (`log`) in the logarithm; whole where `integer`."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    @property
    def count(self) -> int | None:
        """Number of values, None where there is no end of them."""
        if self.integer:
            return int(self.high - self.low) + 1
        return 1 if self.low == self.high else None

    def pick(self, index: IntArray) -> Values:
        """The values at `index` (n,); InputError where they cannot be counted."""
        if self.count is None:
            raise InputError(f"the range {self.low:g} to {self.high:g} has no steps to count; give it a step")
        return self.low + index.astype(np.float64)

    def from_unit(self, u: FloatArray) -> Values:
        """One value per u in [0, 1)."""
        low, high = self._edges
        values = low * (high / low) ** u if self.log else low + u * (high - low)
        if self.integer:
            values = np.rint(values)
        return np.clip(values, self.low, self.high)

    @property
    def ordered(self) -> bool:
        """Numbers have neighbours."""
        return True

    def to_unit(self, values: Values) -> FloatArray:
        """Where each value lies in [0, 1]; the inverse of `from_unit` but for rounding."""
        low, high = self._edges
        u: FloatArray = np.log(values / low) / np.log(high / low) if self.log else (values - low) / (high - low)
        return u

    @property
    def _edges(self) -> tuple[float, float]:
        """What [0, 1) is laid on: each whole number owns the half unit on either side of it."""
        edge = 0.5 if self.integer else 0.0
        return self.low - edge, self.high + edge

    def distribution(self) -> BaseDistribution:
        """The same for Optuna."""
        if self.integer:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def snap(self, value: Any) -> ParameterValue:
        """`value` as a float."""
        return float(value)


Dimension = Choices | Steps | Interval


def _cell(u: FloatArray, count: int) -> IntArray:
    """Which of `count` equal cells of [0, 1) each u falls into."""
    return np.minimum((u * count).astype(np.int64), count - 1)


def _decimals(number: float) -> int:
    """Digits after the decimal point in the shortest spelling of `number`."""
    return max(0, -int(Decimal(repr(float(number))).as_tuple().exponent))
