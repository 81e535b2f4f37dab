"""A market of options: scenarios of an underlier, and the options that a book sells on it, one cycle after another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from kernels.black_scholes import SIGNS, Quote, quote
from kernels.errors import InputError
from kernels.market import FloatArray
from kernels.market_calendar import DateArray

DAYS_PER_YEAR = 365.0


@dataclass(frozen=True, slots=True)
class Contract:
    """What is sold (or, `side` "buy", bought) at the start of every cycle, and the second option that may offset its gamma.

    `moneyness` is strike / forward. The second option is at the money, `second_tenor` times as far from expiry.
    """

    kind: str = "call"
    side: str = "sell"
    tenor_days: float = 30.0
    moneyness: float = 1.0
    second_tenor: float = 2.0

    def __post_init__(self) -> None:
        problems = []
        if self.kind not in SIGNS:
            problems.append(f"contract.kind: choose one of {', '.join(SIGNS)}, got {self.kind!r}")
        if self.side not in ("sell", "buy"):
            problems.append(f"contract.side: choose sell or buy, got {self.side!r}")
        for name, value, low, high in (
            ("tenor_days", self.tenor_days, 1.0, 1000.0),
            ("moneyness", self.moneyness, 0.2, 5.0),
            ("second_tenor", self.second_tenor, 1.0, 20.0),
        ):
            if not low <= value <= high:
                problems.append(f"contract.{name}: {low:g} <= {name} <= {high:g} must hold, got {value!r}")
        if problems:
            raise InputError(problems)


class Pricer(NamedTuple):
    """How options are marked: `quote(kind, t, spot, strike, tau)` at bar t for (S, A) arrays, and the volatility behind it."""

    quote: Callable[[str, int, FloatArray, FloatArray, FloatArray], Quote]
    volatility: FloatArray  # (S, T, A), the implied volatility that deltas are taken at


@dataclass(frozen=True)
class OptionMarket:
    """S scenarios of T bars of A underliers with the planes of a sold option; everything per option on one share.

    A cycle's option is sold at the close of the bar on which the last one expired. `mark` is what the book owes on the
    option it carried into the bar (at expiry: the payoff), `next_mark` on the one it carries out of it; greeks are of the
    latter. A bought option has negative marks and greeks: the book then owes less than nothing.
    """

    tickers: tuple[str, ...]
    timestamps: DateArray  # (T,)
    contract: Contract
    bars_per_year: float
    rate: float  # continuously compounded, per year
    dividend_yield: float
    days: FloatArray  # (T,) days elapsed into the bar
    opens: FloatArray  # (T,) 1 where an option is sold
    live: FloatArray  # (T,) 0 on the last bar, where the book is closed
    spot: FloatArray  # (S, T, A) and so all below
    capital: FloatArray  # the underlier's price when the running cycle began
    mark: FloatArray
    next_mark: FloatArray
    delivered: FloatArray  # shares that exercise takes from the book
    strike: FloatArray  # of the option carried out of the bar, as are all below
    tau: FloatArray  # years left
    delta: FloatArray
    gamma: FloatArray
    vega: FloatArray
    volatility: FloatArray  # implied
    second_mark: FloatArray
    second_next_mark: FloatArray
    second_delta: FloatArray
    second_gamma: FloatArray
    notes: tuple[str, ...] = ()  # what a report must say of how it was made

    @property
    def n_scenarios(self) -> int:
        """S."""
        return int(self.spot.shape[0])

    @property
    def n_bars(self) -> int:
        """T."""
        return int(self.spot.shape[1])

    @property
    def n_assets(self) -> int:
        """A."""
        return int(self.spot.shape[2])

    @property
    def step_days(self) -> float:
        """Days from one bar to the next, usually: the median, so that weekends do not make a day longer."""
        return float(np.median(self.days[1:]))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything in it."""
        sha = hashlib.sha256("\0".join((*self.tickers, repr(self.contract))).encode())
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                sha.update(np.ascontiguousarray(value).tobytes())
            elif isinstance(value, float):
                sha.update(np.float64(value).tobytes())
        return sha.hexdigest()


def write_cycles(
    tickers: tuple[str, ...],
    timestamps: DateArray,
    spot: FloatArray,
    contract: Contract,
    pricer: Pricer,
    *,
    rate: float,
    dividend_yield: float,
    bars_per_year: float,
) -> OptionMarket:
    """The market of a book that sells one option after another on the paths `spot` (S, T, A).

    An option expires on the last bar within its tenor. One that outlives the history is bought back on the last bar.

    InputError where prices, volatilities or times cannot be traded on, and where the tenor is shorter than a bar or longer
    than the history.
    """
    _check_paths(tickers, timestamps, spot, pricer.volatility)
    S, T, A = spot.shape
    stamps = timestamps.astype("datetime64[us]")
    since = (stamps - stamps[0]) / np.timedelta64(1, "D")  # (T,) days
    days = np.diff(since, prepend=since[:1])
    starts = _cycle_starts(since, contract.tenor_days)
    sign = 1.0 if contract.side == "sell" else -1.0
    shape = (S, T, A)
    planes: dict[str, Any] = {name: np.zeros(shape) for name in PER_PATH[2:]}
    opens, live = np.zeros(T), np.ones(T)
    live[-1] = 0.0
    # the running cycle: none before the first bar
    strike = second_strike = capital = np.zeros((S, A))
    expiry = second_expiry = 0.0
    for t in range(T):
        x = spot[:, t]
        if t > 0:
            left = np.full((S, A), max(expiry - since[t], 0.0) / DAYS_PER_YEAR)
            held = pricer.quote(contract.kind, t, x, strike, left)
            second = pricer.quote(
                "call", t, x, second_strike, np.full((S, A), (second_expiry - since[t]) / DAYS_PER_YEAR)
            )
            planes["mark"][:, t], planes["second_mark"][:, t] = sign * held.price, second.price
            planes["capital"][:, t] = capital
            if t in starts or t == T - 1:
                legs = SIGNS[contract.kind]
                exercised = np.where(x > strike, float(1.0 in legs), np.where(x < strike, -float(-1.0 in legs), 0.0))
                planes["delivered"][:, t] = sign * exercised * (left == 0.0)
        if t in starts:
            opens[t] = 1.0
            expiry = starts[t]
            forward = x * np.exp((rate - dividend_yield) * (expiry - since[t]) / DAYS_PER_YEAR)
            strike, capital = contract.moneyness * forward, x
            second_length = contract.second_tenor * contract.tenor_days
            second_strike = x * np.exp((rate - dividend_yield) * second_length / DAYS_PER_YEAR)
            second_expiry = since[t] + second_length
            if t == 0:
                planes["capital"][:, t] = capital
        if live[t]:
            left = np.full((S, A), (expiry - since[t]) / DAYS_PER_YEAR)
            sold = pricer.quote(contract.kind, t, x, strike, left)
            other = pricer.quote(
                "call", t, x, second_strike, np.full((S, A), (second_expiry - since[t]) / DAYS_PER_YEAR)
            )
            planes["next_mark"][:, t] = sign * sold.price
            planes["delta"][:, t], planes["gamma"][:, t] = sign * sold.delta, sign * sold.gamma
            planes["vega"][:, t], planes["tau"][:, t] = sign * sold.vega, left
            planes["strike"][:, t] = strike
            planes["second_next_mark"][:, t] = other.price
            planes["second_delta"][:, t], planes["second_gamma"][:, t] = other.delta, other.gamma
    return OptionMarket(
        tickers,
        timestamps,
        contract,
        bars_per_year,
        rate,
        dividend_yield,
        days,
        opens,
        live,
        spot=spot,
        volatility=pricer.volatility,
        **planes,
    )


PER_PATH = (  # the (S, T, A) fields
    "spot",
    "volatility",
    "capital",
    "mark",
    "next_mark",
    "delivered",
    "strike",
    "tau",
    "delta",
    "gamma",
    "vega",
    "second_mark",
    "second_next_mark",
    "second_delta",
    "second_gamma",
)


def _cycle_starts(since: FloatArray, tenor_days: float) -> dict[int, float]:
    """The bars on which an option is sold, and the day on which each one expires: the last bar within its tenor.

    Beyond the history bars are taken to go on in its last step, so that a longer history changes no option sold before.
    """
    if tenor_days > since[-1] + 1e-9:
        raise InputError(
            f"contract.tenor_days: an option of {tenor_days:g} days outlives the whole history of {since[-1]:g} days; "
            "take a shorter tenor or a longer history"
        )
    starts: dict[int, float] = {}
    t = 0
    while t < len(since) - 1:
        end = int(np.searchsorted(since, since[t] + tenor_days + 1e-9, side="right")) - 1
        if end <= t:
            raise InputError(
                f"contract.tenor_days: an option of {tenor_days:g} days expires before the next bar "
                f"({since[t + 1] - since[t]:g} days on); take a longer tenor or finer bars"
            )
        expiry = float(since[end])
        if end == len(since) - 1:
            step = float(since[end] - since[end - 1])
            expiry += step * np.floor((since[t] + tenor_days + 1e-9 - expiry) / step)
        starts[t] = expiry
        t = end
    return starts


def _check_paths(tickers: tuple[str, ...], timestamps: DateArray, spot: FloatArray, volatility: FloatArray) -> None:
    """Refuse paths that no option can be sold on, every mistake at once."""
    T, A = len(timestamps), len(tickers)
    shapes = [
        f"option market: {name} has shape {array.shape}; {T} timestamps and {A} tickers make (scenarios, {T}, {A})"
        for name, array in (("spot", spot), ("volatility", volatility))
        if array.ndim != 3 or array.shape[1:] != (T, A) or len(array) != len(spot) or len(spot) == 0
    ]
    problems = shapes or [
        f"option market, scenario {s}, bar {t}, {tickers[a]}: {name} must be a number above 0, got {array[s, t, a]:g}"
        for name, array in (("spot", spot), ("volatility", volatility))
        for s, t, a in np.argwhere(~(np.isfinite(array) & (array > 0.0)))[:1]
    ]
    if T < 2:
        problems.append(f"option market: at least 2 bars are needed for a return, got {T}")
    elif not (np.diff(timestamps) > np.timedelta64(0, "us")).all():
        problems.append("option market: timestamps must strictly increase; sort the bars and keep one of each time")
    if problems:
        raise InputError(problems)


def gbm(
    tickers: tuple[str, ...],
    *,
    scenarios: int,
    bars: int,
    step_days: float,
    contract: Contract,
    seed: int,
    spot: float = 100.0,
    volatility: float = 0.2,
    implied_volatility: float | None = None,
    drift: float = 0.0,
    rate: float = 0.0,
    dividend_yield: float = 0.0,
    start: str = "2020-01-01",
) -> OptionMarket:
    """Geometric Brownian motion, marked by Black-Scholes at a constant implied volatility (by default the true one).

    `drift` is the growth of the price per year, dividends included. The same seed gives the same paths.
    """
    S, T, A = scenarios, bars, len(tickers)
    years = step_days / DAYS_PER_YEAR
    noise = np.random.Generator(np.random.Philox(seed)).standard_normal((S, T - 1, A))
    steps = (drift - dividend_yield - 0.5 * volatility**2) * years + volatility * np.sqrt(years) * noise
    paths = spot * np.exp(np.concatenate([np.zeros((S, 1, A)), np.cumsum(steps, axis=1)], axis=1))
    microseconds = np.round(np.arange(T) * step_days * 86_400e6).astype(np.int64)
    stamps = np.datetime64(start, "us") + microseconds.astype("timedelta64[us]")
    implied = np.full((S, T, A), volatility if implied_volatility is None else implied_volatility)
    pricer = black_scholes_pricer(implied, rate, dividend_yield)
    return write_cycles(
        tickers,
        stamps,
        paths,
        contract,
        pricer,
        rate=rate,
        dividend_yield=dividend_yield,
        bars_per_year=DAYS_PER_YEAR / step_days,
    )


def black_scholes_pricer(implied: FloatArray, rate: float, dividend_yield: float) -> Pricer:
    """Marks by Black-Scholes at the implied volatility (S, T, A) of each bar."""
    return Pricer(
        lambda kind, t, spot, strike, tau: quote(kind, spot, strike, tau, implied[:, t], rate, dividend_yield), implied
    )
