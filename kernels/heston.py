r"""Heston's model: option prices and greeks by one integral, on whole arrays of paths.

    dS/S = (r - q) dt + sqrt(v) dW,   dv = kappa (theta - v) dt + xi sqrt(v) dZ,   dW dZ = rho dt

Source: Heston (1993), Review of Financial Studies 6, 327-343.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kernels import black_scholes
from kernels.black_scholes import SIGNS, Quote
from kernels.errors import InputError
from kernels.market import FloatArray

IntArray = NDArray[np.intp]
ComplexArray = NDArray[np.complexfloating]
GONE = 20.0  # the integral ends where the characteristic function is exp(-20) = 2e-9; what is left is below 1e-11 of the spot
FAR = 30.0  # standard deviations from the money beyond which an option has no time value worth an integral
ROWS = 256  # paths at a time: their (ROWS, nodes) arrays then stay in the processor's cache


@dataclass(frozen=True, slots=True)
class HestonParameters:
    """v0, theta: variance per year now and in the long run; kappa: speed per year; xi: volatility of variance."""

    v0: float
    kappa: float
    theta: float
    xi: float
    rho: float

    def __post_init__(self) -> None:
        bounds = {"v0": (1e-6, 25.0), "kappa": (1e-4, 100.0), "theta": (1e-6, 25.0), "xi": (1e-3, 20.0)}
        problems = [
            f"heston.{name}: {bounds[name][0]:g} <= {name} <= {bounds[name][1]:g} must hold, got {value!r}"
            for name, value in asdict(self).items()
            if name in bounds and not bounds[name][0] <= value <= bounds[name][1]
        ]
        if not -0.999 <= self.rho <= 0.999:
            problems.append(f"heston.rho: -0.999 <= rho <= 0.999 must hold, got {self.rho!r}")
        if problems:
            raise InputError(problems)

    @property
    def feller(self) -> float:
        """2 kappa theta / xi^2: from 1 on the variance never reaches 0."""
        return 2.0 * self.kappa * self.theta / self.xi**2

    def mean_variance(self, variance: FloatArray, tau: float) -> FloatArray:
        """Expected variance per year over the next `tau` years, shape of `variance`."""
        decay = self.kappa * tau
        return np.asarray(self.theta + (variance - self.theta) * (-np.expm1(-decay) / decay))

    def historical(self, variance_risk_premium: float) -> HestonParameters:
        """The same variance under the historical measure: kappa' = kappa - premium, theta' = kappa theta / kappa'.

        The premium is Heston's lambda, per year: the drift of v is lower under the historical measure by -lambda v, so a
        negative one makes implied variance stand above realised variance. 0 changes nothing.
        """
        kappa = self.kappa - variance_risk_premium
        if kappa <= 0.0:
            raise InputError(
                f"variance_risk_premium: must be below kappa ({self.kappa:g}) so that variance still reverts, "
                f"got {variance_risk_premium:g}"
            )
        return HestonParameters(self.v0, kappa, self.kappa * self.theta / kappa, self.xi, self.rho)


def quote(
    kind: str,
    spot: FloatArray,
    strike: FloatArray,
    tau: float,
    variance: FloatArray,
    parameters: HestonParameters,
    rate: float,
    dividend_yield: float = 0.0,
) -> Quote:
    r"""Price, delta, gamma and vega of options that all have `tau` years left; vega per unit of sqrt(variance).

    Call = Black-Scholes + sqrt(F K) e^(-r tau) / pi \int_0^inf Re[e^(iux) (psi_B - psi)(u)] / (u^2 + 1/4) du

    with x = ln(F/K), psi(u) = E exp(i (u - i/2) ln(S_T/F)) in Heston's model and psi_B the same at Black-Scholes with the
    expected variance: the difference vanishes at u = +-i/2, so no pole stands near the integral and Gauss-Legendre nodes
    converge fast. Puts have the same correction. Source: Lewis (2001), A simple option formula for general jump-diffusion;
    the control variate as in Andersen, Piterbarg (2010), Interest Rate Modeling, vol. 1, 8.A.
    """
    spot, strike, variance = np.broadcast_arrays(spot, strike, variance)
    if tau <= 0.0:
        return black_scholes.quote(kind, spot, strike, np.zeros(()), np.zeros(()), rate, dividend_yield)
    mean = parameters.mean_variance(variance, tau)
    base = black_scholes.quote(kind, spot, strike, np.asarray(tau), np.sqrt(mean), rate, dividend_yield)
    x = (np.log(spot / strike) + (rate - dividend_yield) * tau).ravel()
    terms = np.zeros((4, x.size))
    v, total = variance.ravel(), mean.ravel() * tau
    for rows in _alike(x, total):
        terms[:, rows] = _integrals(x[rows], v[rows], total[rows], tau, parameters)
    e, slope, curve, by_variance = terms.reshape(4, *spot.shape)
    scale = (
        len(SIGNS[kind]) * np.sqrt(spot * strike * np.exp((rate - dividend_yield) * tau)) * np.exp(-rate * tau) / np.pi
    )
    return Quote(
        base.price + scale * e,
        base.delta + scale / spot * (0.5 * e + slope),
        base.gamma + scale / spot**2 * curve,
        2.0 * np.sqrt(variance) * scale * by_variance,
    )


def _alike(x: FloatArray, total: FloatArray) -> Iterator[IntArray]:
    """Rows that share their nodes: total variance within a factor of 4, near the money or far from it, ROWS at a time."""
    deviations = np.abs(x) / np.sqrt(total)
    key = 2.0 * np.floor(0.5 * np.log2(total)) + (deviations > 4.0)
    key[deviations > FAR] = np.inf
    order = np.argsort(key, kind="stable")
    edges = np.flatnonzero(np.append(True, key[order][1:] != key[order][:-1]))
    for start, end in zip(edges, np.append(edges[1:], x.size), strict=True):
        if np.isfinite(key[order[start]]):
            for first in range(start, end, ROWS):
                yield order[first : min(first + ROWS, end)]


def _integrals(x: FloatArray, v: FloatArray, total: FloatArray, tau: float, p: HestonParameters) -> FloatArray:
    """(4, N): the integral, its derivative in x, second derivative less a quarter of it, and derivative in variance."""
    width = 1.0 / np.sqrt(total.min())  # of the characteristic function, in u
    end = _end(float(v.min()), width, tau, p)
    # Gauss-Legendre needs more than half a node per radian of exp(iux); 24 more for the rest of the integrand
    nodes, weights = _gauss(24 + int(0.6 * end * max(2.5, width * float(np.abs(x).max()))))
    u, weights = width * end * nodes, width * end * weights
    square = u * u + 0.25
    c, d = _exponents(u, tau, p)
    wave = x[:, None] * u  # (N, nodes)
    gauss = np.exp(-0.5 * total[:, None] * square)
    size, angle = np.exp(c.real + v[:, None] * d.real), wave + c.imag + v[:, None] * d.imag
    real, imaginary = size * np.cos(angle), size * np.sin(angle)
    cosine = gauss * np.cos(wave) - real
    sine = gauss * np.sin(wave) - imaginary
    # not a matrix product: its order of summation would change with the BLAS, and the market's digest with it
    by_square = weights / square
    return np.stack(
        [
            np.einsum("ij,j->i", cosine, by_square),
            -np.einsum("ij,j->i", sine, by_square * u),
            -np.einsum("ij,j->i", cosine, weights),
            np.einsum("ij,j->i", imaginary, by_square * d.imag) - np.einsum("ij,j->i", real, by_square * d.real),
        ]
    )


def _end(v: float, width: float, tau: float, p: HestonParameters) -> float:
    """Where the characteristic function is gone, in units of `width`."""
    grid = np.geomspace(4.0, 4000.0, 100)
    c, d = _exponents(width * grid, tau, p)
    both = np.maximum(c.real + v * d.real, -0.5 * grid**2)
    return float(grid[np.argmax(both < -GONE)]) if (both < -GONE).any() else float(grid[-1])


def _exponents(u: FloatArray, tau: float, p: HestonParameters) -> tuple[ComplexArray, ComplexArray]:
    """psi(u) = exp(C + D v), in the form that stays on one branch (Albrecher et al. 2007, The little Heston trap)."""
    beta = p.kappa - 1j * p.rho * p.xi * (u - 0.5j)
    root = np.sqrt(beta * beta + p.xi**2 * (u * u + 0.25))
    g = (beta - root) / (beta + root)
    decay = np.exp(-root * tau)
    d = (beta - root) / p.xi**2 * (1.0 - decay) / (1.0 - g * decay)
    c = p.kappa * p.theta / p.xi**2 * ((beta - root) * tau - 2.0 * np.log((1.0 - g * decay) / (1.0 - g)))
    return c, d


def _gauss(least: int) -> tuple[FloatArray, FloatArray]:
    """At least that many nodes and weights on [0, 1], of one size out of a few."""
    return _legendre(min(32 * (1 + least // 32), 1024))


@lru_cache(maxsize=64)
def _legendre(n: int) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of an even number on [0, 1], by Newton's steps: the usual eigenvalues take seconds at n = 1000."""
    x = np.cos(np.pi * (np.arange(1, n // 2 + 1) - 0.25) / (n + 0.5))  # (n / 2,) the upper half
    for _ in range(5):  # from 1e-3 by squaring to below 2**-53
        before, now = np.ones_like(x), x
        for k in range(2, n + 1):
            before, now = now, ((2 * k - 1) * x * now - (k - 1) * before) / k
        slope = n * (x * now - before) / (x * x - 1.0)
        x = x - now / slope
    weights = 1.0 / ((1.0 - x * x) * slope * slope)
    return 0.5 * (1.0 + np.concatenate([-x, x[::-1]])), np.concatenate([weights, weights[::-1]])
