"""Planes: the arrays that a bar step reads, computed once per market and once per distinct parameter value."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import singledispatch

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kernels.account import Costs
from kernels.black_scholes import SIGNS
from kernels.errors import InputError
from kernels.limit_planes import limit_planes
from kernels.market import FloatArray, Market
from kernels.option_market import DAYS_PER_YEAR, PER_PATH, OptionMarket
from kernels.risk_settings import Limits
from kernels.strategy import Parameter, Plane, Strategy

PRICE_PLANES = {  # what `market_planes` gives, and whether it has a value per asset
    "open": True,
    "high": True,
    "low": True,
    "close": True,
    "previous_close": True,
    "fill": True,
    "fillable": False,
}
PER_BAR = ("opens", "live", "first", "days", "growth", "calls", "puts")
GAINS = {
    "spot_gain": ("spot", "spot"),
    "mark_gain": ("mark", "next_mark"),
    "second_gain": ("second_mark", "second_next_mark"),
}
OPTION_PLANES = {
    **dict.fromkeys(PER_BAR, False),
    **dict.fromkeys((*PER_PATH, "dividend", "daily_volatility", *GAINS), True),
}


def planes_of(strategy: Strategy) -> dict[str, bool]:
    """The planes of the kind of market that a strategy trades, and whether each has a value per asset."""
    return OPTION_PLANES if strategy.market is OptionMarket else PRICE_PLANES


@singledispatch
def market_planes(market: Market | OptionMarket, costs: Costs) -> dict[str, FloatArray]:
    """Planes every rule on prices may read: open, high, low, close, previous_close, fill (1, T, A), fillable (1, T).

    A market of closes only has its close as open, high and low. `fill` is the price at which an order of the bar is filled;
    `fillable` is 0 on a bar whose fill lies beyond the data, and its order is ignored.
    """
    assert isinstance(market, Market)
    if costs.fill == "next_open" and market.open is None:
        raise InputError(
            "costs.fill: next_open needs opening prices and this market has closes only; "
            "use next_close (fills at the close of the next bar)"
        )
    close = market.close
    planes = {
        "close": close,
        "previous_close": np.concatenate([close[:1], close[:-1]]),
        "high": close if market.high is None else market.high,
        "low": close if market.low is None else market.low,
    }
    planes["open"] = close if market.open is None else market.open
    fillable = np.ones(market.n_bars)
    if costs.fill == "close":
        planes["fill"] = close
    else:
        source = close if costs.fill == "next_close" else planes["open"]
        planes["fill"] = np.concatenate([source[1:], close[-1:]])
        fillable[-1] = 0.0
    return {name: plane[None] for name, plane in {**planes, "fillable": fillable}.items()}


@market_planes.register(OptionMarket)
def option_planes(market: OptionMarket, costs: Costs) -> dict[str, FloatArray]:
    """Planes of a book of options: what the market holds, and what a bar adds to cash and shares.

    (S, T, A) except those of `PER_BAR`, which are (S, T).
    """
    S, T = market.n_scenarios, market.n_bars
    years = market.days / DAYS_PER_YEAR
    side = 1.0 if market.contract.side == "sell" else -1.0
    legs = SIGNS[market.contract.kind]
    first = np.zeros(T)
    first[1] = 1.0  # the first bar with a return
    common = {
        "opens": market.opens,
        "live": market.live,
        "first": first,
        "days": market.days,
        "growth": np.exp(market.rate * years),
        "calls": np.full(T, side * (1.0 in legs)),
        "puts": np.full(T, side * (-1.0 in legs)),
    }
    earlier = np.concatenate([market.spot[:, :1], market.spot[:, :-1]], axis=1)
    gains = {name: np.zeros_like(market.spot) for name in GAINS}
    for name, (now, before) in GAINS.items():
        gains[name][:, 1:] = getattr(market, now)[:, 1:] - getattr(market, before)[:, :-1]
    return {
        **{name: np.tile(plane, (S, 1)) for name, plane in common.items()},
        **{name: getattr(market, name) for name in PER_PATH},
        "dividend": market.dividend_yield * earlier * years[None, :, None],
        "daily_volatility": market.volatility * np.sqrt(1.0 / (market.bars_per_year * market.step_days)),
        **gains,  # of what is held into a bar, over that bar
    }


@dataclass
class PlaneStore:
    """All planes of one market, strategy, cost model and risk limits; slices of banks are kept once computed."""

    market: Market | OptionMarket
    strategy: Strategy
    costs: Costs
    limits: Limits | None = None
    shared: dict[str, FloatArray] = field(init=False)
    _slices: dict[tuple[str, tuple[float, ...]], FloatArray] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.strategy.check_market(self.market)
        self.shared = market_planes(self.market, self.costs)
        for plane in (*self.strategy.planes, *limit_planes(self.limits, self.market.n_assets)):
            if not plane.keys:
                array = self._checked(plane, plane.compute(self.market), ())
                self.shared |= dict(zip(self._names(plane), array if plane.stacked else [array], strict=True))

    @property
    def banks(self) -> tuple[Plane, ...]:
        """The planes that depend on parameters."""
        return tuple(plane for plane in self.strategy.planes if plane.keys)

    @property
    def per_asset(self) -> dict[str, bool]:
        """For every plane, whether it has a value per asset."""
        return {
            **{n: a.ndim == 3 for n, a in self.shared.items()},
            **{name: True for plane in self.banks for name in self._names(plane)},
        }

    def read_by(self, parameters: dict[str, FloatArray]) -> dict[str, tuple[FloatArray, NDArray[np.int64]]]:
        """For each plane that depends on parameters the bank (S, T, A, K) of their distinct values, and each
        configuration's slice (C,).

        Slices lie innermost: configurations of a lane block or a warp read the same few cache lines of a bar.
        """
        found = {}
        for plane in self.banks:
            slices, index = self._bank(plane, parameters)
            stacked = list(zip(*slices, strict=True)) if plane.stacked else [slices]
            for name, each in zip(self._names(plane), stacked, strict=True):
                found[name] = np.stack(each, axis=-1), index
        return found

    def _names(self, plane: Plane) -> tuple[str, ...]:
        return plane.names(self.market.n_assets)

    def _bank(self, plane: Plane, parameters: dict[str, FloatArray]) -> tuple[list[FloatArray], NDArray[np.int64]]:
        """The plane's slice of each distinct key, and which one each configuration reads."""
        table = np.stack([parameters[k] for k in plane.keys], axis=1)
        distinct, index = np.unique(table, axis=0, return_inverse=True)
        missing = [row for row in map(tuple, distinct) if (plane.name, row) not in self._slices]
        if missing:
            computed = plane.compute(self.market, *(np.array(column) for column in zip(*missing, strict=True)))
            for row, array in zip(missing, computed, strict=True):
                self._slices[plane.name, row] = self._checked(plane, array, row)
        slices = [self._slices[plane.name, row] for row in map(tuple, distinct)]
        return slices, index.reshape(-1).astype(np.int64)

    def forget(self, keep_bytes: int) -> None:
        """Drop the slices computed first until at most `keep_bytes` of them remain."""
        size = sum(a.nbytes for a in self._slices.values())
        while size > keep_bytes:
            size -= self._slices.pop(next(iter(self._slices))).nbytes

    def _checked(self, plane: Plane, array: FloatArray, key: tuple[float, ...]) -> FloatArray:
        array = np.ascontiguousarray(array, dtype=np.float64)
        at = ", ".join(f"{k}={v:g}" for k, v in zip(plane.keys, key, strict=True))
        where = f"plane '{plane.name}'{f' at {at}' if at else ''}"
        shape: tuple[int, ...] = (self.market.n_bars, self.market.n_assets)
        if not isinstance(self.market, Market):
            shape = (self.market.n_scenarios, *shape)
        wanted = {shape} if plane.keys else {shape, shape[:-1]}
        if plane.stacked:
            shape = (self.market.n_assets, *shape)
            wanted = {shape}
        if array.shape not in wanted:
            raise TypeError(f"{where}: shape {shape} is needed, compute() gave {array.shape}")
        if np.isnan(array).any():
            raise ValueError(f"{where} holds NaN: give missing values a number that means 'no position' in the rule")
        if not isinstance(self.market, Market):
            return array
        return array[:, None] if plane.stacked else array[None]


def encode(strategy: Strategy, configurations: pd.DataFrame) -> dict[str, FloatArray]:
    """Configurations as (C,) float64 per parameter: choices by position, None as infinity (a stop never reached).

    A missing column takes the parameter's default. Every value outside its range is refused, all at once.
    """
    known = {p.name for p in strategy.parameters}
    problems = [
        f"configurations: unknown parameter {c!r}; {strategy.name} has {', '.join(sorted(known))}"
        for c in configurations.columns
        if c not in known
    ]
    if len(configurations) == 0:
        problems.append("configurations: at least one row is needed, got none")
    encoded: dict[str, FloatArray] = {}
    for parameter in strategy.parameters:
        column = configurations.get(parameter.name)
        if column is None:
            column = pd.Series([parameter.default] * len(configurations), dtype=object)
        encoded[parameter.name], wrong = (
            _choices(parameter, column) if parameter.choices else _numbers(parameter, column)
        )
        if len(wrong):
            value = column.iloc[wrong[0]]
            sentence = parameter.problem(None if pd.isna(value) else value)
            more = f" (and {len(wrong) - 1} more rows)" if len(wrong) > 1 else ""
            problems.append(f"configurations, row {wrong[0]}: {sentence}{more}")
    if problems:
        raise InputError(problems)
    return encoded


def _numbers(parameter: Parameter, column: pd.Series) -> tuple[FloatArray, NDArray[np.int64]]:
    """The column with None as the parameter's `off`, and the rows that the parameter refuses."""
    assert parameter.low is not None
    assert parameter.high is not None
    numbers = pd.to_numeric(column.mask(column.isna(), np.nan), errors="coerce").to_numpy(dtype=np.float64)
    missing = column.isna().to_numpy()
    with np.errstate(invalid="ignore"):
        allowed = (parameter.low <= numbers) & (numbers <= parameter.high)
        if parameter.integer:
            allowed &= numbers == np.floor(numbers)
    if parameter.optional:
        allowed |= missing
    return np.where(missing, parameter.off, numbers), np.flatnonzero(~allowed)


def _choices(parameter: Parameter, column: pd.Series) -> tuple[FloatArray, NDArray[np.int64]]:
    """The position of each value among the choices, and the rows that hold none of them."""
    codes = pd.Index(parameter.choices, dtype=object).get_indexer(pd.Index(column, dtype=object)).astype(np.float64)
    return codes, np.flatnonzero(codes < 0)
