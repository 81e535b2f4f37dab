"""What a study searches: which values of which parameters, and tables of configurations."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from scipy.stats import qmc

from kernels.errors import InputError
from kernels.market import FloatArray
from kernels.strategy import Parameter, ParameterValue, Strategy
from search.dimension import Choices, Dimension, Values
from search.parameters import defaults, dimension_of, fixed_values

IntArray = NDArray[np.unsignedinteger[Any]]
FAR = 1_000_000  # SciPy walks to a point of the Sobol sequence, 7 ns a step; beyond this each point is made by itself


@dataclass(frozen=True)
class Space:
    """The configurations a study may evaluate.

    A table of configurations has one column per parameter of the strategy, in its order: float64 for numbers
    (NaN: switched off), strings for choices. Parameters that are neither fixed nor searched stand at their
    default.

    Parameters
    ----------
    strategy
        Whose parameters these are.
    constants
        Value of every parameter that is not searched.
    dimensions
        The searched parameters in the order of the study file; in a grid the last varies fastest.
    """

    strategy: Strategy
    constants: Mapping[str, ParameterValue]
    dimensions: Mapping[str, Dimension]

    @classmethod
    def of(
        cls,
        strategy: Strategy,
        *,
        fixed: Mapping[str, Any] | None = None,
        search: Mapping[str, Any] | None = None,
    ) -> Space:
        """The space of a study file's `strategy.fixed` and `strategy.search`; InputError with every mistake.

        `search` gives a parameter a list of choices, or `{low, high}` with `step` or `log` where wanted.
        None, or the word none, switches an optional parameter off.
        """
        fixed, search = fixed or {}, search or {}
        values, problems = fixed_values(strategy, fixed, where="strategy.fixed")
        dimensions: dict[str, Dimension] = {}
        for name, wanted in search.items():
            dimension, found = dimension_of(strategy, name, wanted)
            problems += found
            if name in fixed:
                problems.append(f"strategy.search.{name}: is fixed as well; remove it from fixed or from search")
            if dimension is not None:
                dimensions[name] = dimension
        if problems:
            raise InputError(problems)
        constants = {**defaults(strategy), **values}
        return cls(strategy, {name: v for name, v in constants.items() if name not in dimensions}, dimensions)

    @property
    def searched(self) -> tuple[str, ...]:
        """Names of the searched parameters."""
        return tuple(self.dimensions)

    @property
    def size(self) -> int | None:
        """Number of grid points; None where a searched range has no steps."""
        size = 1
        for dimension in self.dimensions.values():
            if dimension.count is None:
                return None
            size *= dimension.count
        return size

    @property
    def none_everywhere(self) -> tuple[str, ...]:
        """Optional parameters that are switched off in every configuration."""
        off = {name for name, value in self.constants.items() if value is None}
        off |= {name for name, d in self.dimensions.items() if d == Choices((None,))}
        return tuple(p.name for p in self.strategy.parameters if p.name in off)

    @property
    def spec(self) -> dict[str, Any]:
        """The space in plain values (JSON): equal for equal spaces."""
        return {
            "strategy": self.strategy.name,
            "constants": dict(sorted(self.constants.items())),
            "order": list(self.dimensions),  # a grid runs through them in this order
            "search": {
                name: {"kind": type(dimension).__name__, **asdict(dimension)}
                for name, dimension in self.dimensions.items()
            },
        }

    def measured(self, metric: str) -> str:
        """The column of a metric in a table that has the parameters too: its name, or `measured_<name>` beside a
        parameter of that name."""
        return f"measured_{metric}" if any(p.name == metric for p in self.strategy.parameters) else metric

    def grid(self) -> pd.DataFrame:
        """Every point; InputError where a searched range has no steps."""
        return self.grid_rows(0, self.grid_size())

    def grid_size(self) -> int:
        """Number of grid points; InputError where a searched range has no steps."""
        endless = [name for name, d in self.dimensions.items() if d.count is None]
        if endless:
            raise InputError(
                f"strategy.search.{name}: a grid needs steps; give the range a step or list its values"
                for name in endless
            )
        size = self.size
        return 0 if size is None else size

    def grid_rows(self, start: int, stop: int) -> pd.DataFrame:
        """Points `start` .. `stop - 1` of the grid; a million points need never exist at once."""
        self.grid_size()  # refuses ranges without steps
        rest = np.arange(start, stop, dtype=np.int64)
        columns: dict[str, Values] = {}
        for name, dimension in reversed(list(self.dimensions.items())):
            count = dimension.count or 1
            columns[name] = dimension.pick(rest % count)
            rest = rest // count
        return self._table(columns, stop - start)

    def random(self, n: int, seed: int, start: int = 0) -> pd.DataFrame:
        """Independent uniform points `start` .. `start + n - 1` of the sequence that `seed` names."""
        d = len(self.dimensions)
        bits = np.random.PCG64(seed)
        bits.advance(start * d)  # one draw per number: row i is the same however the rows are asked for
        return self.from_unit(np.random.Generator(bits).random((n, d)))

    def sobol(self, n: int, seed: int, start: int = 0) -> pd.DataFrame:
        """Points `start` .. `start + n - 1` of the Sobol sequence that `seed` scrambles: very even."""
        d = len(self.dimensions)
        if d == 0:
            return self.from_unit(np.empty((n, 0)))
        sequence = qmc.Sobol(d, scramble=True, rng=seed)
        if start > FAR and hasattr(sequence, "_sv") and hasattr(sequence, "_shift"):
            return self.from_unit(_sobol_from(start, n, sequence._sv, sequence._shift, sequence.bits))
        if start > 0:  # SciPy cannot go forward by nothing
            sequence.fast_forward(start)
        with warnings.catch_warnings():
            # a batch is a piece of one sequence; that its length is no power of two is no fault of the whole
            warnings.filterwarnings("ignore", message="The balance properties", category=UserWarning)
            return self.from_unit(sequence.random(n))

    def from_unit(self, u: FloatArray) -> pd.DataFrame:
        """Configurations at `u` (n, searched parameters), numbers in [0, 1)."""
        columns = {name: d.from_unit(u[:, i]) for i, (name, d) in enumerate(self.dimensions.items())}
        return self._table(columns, len(u))

    def to_unit(self, configurations: pd.DataFrame) -> FloatArray:
        """Where configurations of this space lie in its unit cube, (n, searched parameters); inverse of `from_unit`."""
        columns = [d.to_unit(configurations[name].to_numpy()) for name, d in self.dimensions.items()]
        return np.stack(columns, axis=1)

    def distributions(self) -> dict[str, BaseDistribution]:
        """What Optuna is told about each searched parameter."""
        return {name: dimension.distribution() for name, dimension in self.dimensions.items()}

    def row(self, params: Mapping[str, Any]) -> dict[str, ParameterValue]:
        """The full configuration for the searched values that Optuna proposed."""
        return {
            p.name: self.dimensions[p.name].snap(params[p.name])
            if p.name in self.dimensions
            else self.constants[p.name]
            for p in self.strategy.parameters
        }

    def table(self, rows: Sequence[Mapping[str, ParameterValue]]) -> pd.DataFrame:
        """A table of full configurations."""
        columns = {
            p.name: _column(p, np.array([row[p.name] for row in rows], dtype=object)) for p in self.strategy.parameters
        }
        return pd.DataFrame(columns, index=pd.RangeIndex(len(rows)))

    def baselines(self, compare: Mapping[str, Mapping[str, Any]] | None) -> pd.DataFrame:
        """The configurations of a study file's `compare`, one row per label (the index).

        A label's own values stand above the fixed ones; a searched parameter that it does not name takes the
        strategy's default.
        """
        problems: list[str] = []
        rows: list[dict[str, ParameterValue]] = []
        for label, given in (compare or {}).items():
            where = f"strategy.compare.{label}"
            if not isinstance(given, Mapping):
                problems.append(f"{where}: parameters are needed, as {{name: value}}, got {given!r}")
                continue
            values, found = fixed_values(self.strategy, given, where=where)
            problems += found
            rows.append({**defaults(self.strategy), **self.constants, **values})
        if problems:
            raise InputError(problems)
        return self.table(rows).set_axis(pd.Index(list(compare or {}), dtype="str", name="label"), axis="index")

    def _table(self, columns: Mapping[str, Values], n: int) -> pd.DataFrame:
        """A table of n configurations from the columns of the searched parameters."""
        return pd.DataFrame(
            {
                p.name: _column(p, columns[p.name]) if p.name in columns else _constant(p, self.constants[p.name], n)
                for p in self.strategy.parameters
            },
            index=pd.RangeIndex(n),
        )


def _column(parameter: Parameter, values: Iterable[Any]) -> pd.Series[Any]:
    return pd.Series(values, dtype="str" if parameter.choices else np.float64)


def _constant(parameter: Parameter, value: ParameterValue, n: int) -> pd.Series[Any]:
    return pd.Series(value, index=pd.RangeIndex(n), dtype="str" if parameter.choices else np.float64)


def _sobol_from(start: int, n: int, directions: IntArray, shift: IntArray, bits: int) -> FloatArray:
    """Points `start` .. `start + n - 1` of a Sobol sequence: each the XOR of the directions (d, bits) that the Gray code
    of its number names (Antonov and Saleev 1979), and of the shift (d,)."""
    number = np.arange(start, start + n, dtype=np.uint64)
    code = number ^ (number >> np.uint64(1))
    points = np.repeat(shift[None, :].astype(np.uint64), n, axis=0)  # (n, d)
    for bit in range(int(code.max()).bit_length()):
        named = (code >> np.uint64(bit)) & np.uint64(1)
        points ^= named[:, None] * directions[None, :, bit].astype(np.uint64)
    unit: FloatArray = points.astype(np.float64) * 2.0**-bits
    return unit
