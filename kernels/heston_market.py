"""Markets simulated in Heston's model: prices move under the historical measure, options are marked under the pricing one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from kernels.black_scholes import Quote
from kernels.heston import HestonParameters, quote
from kernels.implied_volatility import implied_volatility
from kernels.market import FloatArray
from kernels.ops import norm_cdf
from kernels.option_market import DAYS_PER_YEAR, Contract, OptionMarket, Pricer, write_cycles

STREAMS = ("train", "validation", "holdout")
SUBSTEP_DAYS = 0.5  # at the longest; the bias of a 30-day price is then below 1e-4 of the spot (docs/option_markets.md)
SWITCH = 1.5  # of psi: above it variance has a mass at 0 (Andersen's psi_c)
SMALLEST_VOLATILITY = 1e-3  # shown for an option whose mark has no implied volatility, deep in or out of the money


def generator(seed: int, stream: str = "train", name: str = "") -> np.random.Generator:
    """A counter-based generator: one per seed, stream and name, whose draws share nothing.

    >>> bool(generator(1, "train").random() == generator(1, "holdout").random())
    False
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, STREAMS.index(stream), *name.encode()])))


def simulate(
    random: np.random.Generator,
    *,
    scenarios: int,
    bars: int,
    step_days: float,
    parameters: HestonParameters,
    growth: float,
    spot: float = 100.0,
    substep_days: float = SUBSTEP_DAYS,
) -> tuple[FloatArray, FloatArray]:
    """Prices and variances at every bar, both (S, T); `growth` per year is that of the expected price.

    The quadratic-exponential scheme with its martingale correction, so that the expected price is exact at any step.
    Source: Andersen (2008), Journal of Computational Finance 11 (3), 1-42, sections 3.2.4 and 4.
    """
    p, inside = parameters, int(np.ceil(step_days / substep_days - 1e-9))
    dt = step_days / DAYS_PER_YEAR / inside
    scheme = _Scheme.of(p, dt)
    log_price, variance = np.zeros(scenarios), np.full(scenarios, p.v0)
    prices, variances = np.empty((scenarios, bars)), np.empty((scenarios, bars))
    prices[:, 0], variances[:, 0] = spot, p.v0
    for t in range(1, bars):
        for z, w in random.standard_normal((inside, 2, scenarios)):
            after, drift = scheme.variance(variance, z)
            wide = np.sqrt(scheme.k3 * variance + scheme.k4 * after)
            log_price = log_price + growth * dt + drift + scheme.k2 * after + wide * w
            variance = after
        prices[:, t], variances[:, t] = spot * np.exp(log_price), variance
    return prices, variances


@dataclass(frozen=True, slots=True)
class _Scheme:
    """The step's constants, under the names of Andersen's paper."""

    decay: float
    theta: float
    s2_v: float
    s2: float
    k0: float
    k1: float
    k2: float
    k3: float
    k4: float

    @classmethod
    def of(cls, p: HestonParameters, dt: float) -> _Scheme:
        decay = float(np.exp(-p.kappa * dt))
        half = 0.5 * dt * (p.kappa * p.rho / p.xi - 0.5)
        across = 0.5 * dt * (1.0 - p.rho**2)
        return cls(
            decay=decay,
            theta=p.theta,
            s2_v=p.xi**2 * decay * (1.0 - decay) / p.kappa,
            s2=p.theta * p.xi**2 * (1.0 - decay) ** 2 / (2.0 * p.kappa),
            k0=-p.rho * p.kappa * p.theta * dt / p.xi,
            k1=half - p.rho / p.xi,
            k2=half + p.rho / p.xi,
            k3=across,
            k4=across,
        )

    def variance(self, v: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The next variance, and what the log price gains beside k2 times it: K0* + k1 v."""
        mean = self.theta + (v - self.theta) * self.decay
        psi = (self.s2_v * v + self.s2) / mean**2
        a_exponent = self.k2 + 0.5 * self.k4
        start = -0.5 * self.k3 * v  # K0* + k1 v less the logarithm of the moment below
        # a shifted square of a normal
        inverse = 2.0 / np.minimum(psi, SWITCH)
        b2 = inverse - 1.0 + np.sqrt(inverse * (inverse - 1.0))
        a = mean / (1.0 + b2)
        square = a * (np.sqrt(b2) + z) ** 2
        room = 1.0 - 2.0 * a_exponent * a
        log_moment = a_exponent * b2 * a / np.where(room > 0.0, room, 1.0) - 0.5 * np.log(
            np.where(room > 0.0, room, 1.0)
        )
        # or a mass at 0 and an exponential tail
        above = np.maximum(psi, SWITCH)
        at_zero = (above - 1.0) / (above + 1.0)
        beta = (1.0 - at_zero) / mean
        uniform = norm_cdf(z)
        gap = np.maximum(1.0 - uniform, 1e-300)
        tail = np.where(uniform > at_zero, np.log((1.0 - at_zero) / gap) / beta, 0.0)
        slack = beta - a_exponent
        log_tail = np.log(at_zero + beta * (1.0 - at_zero) / np.where(slack > 0.0, slack, beta))
        calm = psi <= SWITCH
        exists = np.where(calm, room > 0.0, slack > 0.0)  # else the step is too long for the moment: no correction
        gained = np.where(exists, start - np.where(calm, log_moment, log_tail), self.k0 + self.k1 * v)
        return np.where(calm, square, tail), gained


def heston(
    ticker: str,
    *,
    parameters: HestonParameters,
    scenarios: int,
    bars: int,
    step_days: float,
    contract: Contract,
    seed: int,
    stream: str = "train",
    drift: float = 0.0,
    variance_risk_premium: float = 0.0,
    spot: float = 100.0,
    rate: float = 0.0,
    dividend_yield: float = 0.0,
    substep_days: float = SUBSTEP_DAYS,
    start: str = "2020-01-01",
) -> OptionMarket:
    """S scenarios of one underlier; `parameters` are those of the marks, `drift` the price's growth, dividends included.

    Without a variance risk premium and with drift = rate a hedged book expects to lose its costs and nothing more.
    """
    prices, variances = simulate(
        generator(seed, stream, ticker),
        scenarios=scenarios,
        bars=bars,
        step_days=step_days,
        parameters=parameters.historical(variance_risk_premium),
        growth=drift - dividend_yield,
        spot=spot,
        substep_days=substep_days,
    )
    microseconds = np.round(np.arange(bars) * step_days * 86_400e6).astype(np.int64)
    market = write_cycles(
        (ticker,),
        np.datetime64(start, "us") + microseconds.astype("timedelta64[us]"),
        prices[:, :, None],
        contract,
        heston_pricer(variances[:, :, None], parameters, rate, dividend_yield),
        rate=rate,
        dividend_yield=dividend_yield,
        bars_per_year=DAYS_PER_YEAR / step_days,
    )
    return replace(market, volatility=_implied(market, variances[:, :, None]))


def heston_pricer(variance: FloatArray, parameters: HestonParameters, rate: float, dividend_yield: float) -> Pricer:
    """Marks in Heston's model at the variance (S, T, A) of each bar."""
    return Pricer(
        _each_once(
            lambda kind, t, spot, strike, tau: quote(
                kind, spot, strike, float(tau.flat[0]), variance[:, t], parameters, rate, dividend_yield
            )
        ),
        np.sqrt(np.maximum(variance, SMALLEST_VOLATILITY**2)),
    )


def _each_once(price: Callable[..., Quote]) -> Callable[..., Quote]:
    """`price`, remembered for one bar: an option that is held over it is asked for as it comes in and as it goes out."""
    known: dict[tuple[str, int, float, int], tuple[FloatArray, Quote]] = {}

    def once(kind: str, t: int, spot: FloatArray, strike: FloatArray, tau: FloatArray) -> Quote:
        if any(bar != t for _, bar, _, _ in known):
            known.clear()
        key = (kind, t, float(tau.flat[0]), id(strike))
        if key not in known:
            known[key] = (strike, price(kind, t, spot, strike, tau))  # kept, so that its id stays its own
        return known[key][1]

    return once


def _implied(market: OptionMarket, variance: FloatArray) -> FloatArray:
    """Black-Scholes volatility of the option that is carried out of each bar, (S, T, A)."""
    found = implied_volatility(
        market.contract.kind,
        np.abs(market.next_mark),
        market.spot,
        np.where(market.strike > 0.0, market.strike, market.spot),
        market.tau,
        market.rate,
        market.dividend_yield,
    )
    return np.where(np.isnan(found), np.sqrt(np.maximum(variance, SMALLEST_VOLATILITY**2)), found)
