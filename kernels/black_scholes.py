"""Black-Scholes prices and greeks of European options, on whole arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kernels.market import FloatArray
from kernels.ops import norm_cdf

SIGNS = {"call": (1.0,), "put": (-1.0,), "straddle": (1.0, -1.0)}  # the legs: +1 a call, -1 a put
KINDS = tuple(SIGNS)
SURE = 40.0  # standard deviations beyond which the normal distribution is 0 or 1 in float64


class Quote(NamedTuple):
    """Price and greeks of one option, all of the inputs' common shape: vega per unit of volatility."""

    price: FloatArray
    delta: FloatArray
    gamma: FloatArray
    vega: FloatArray


def quote(
    kind: str,
    spot: FloatArray,
    strike: FloatArray,
    tau: FloatArray,
    volatility: FloatArray,
    rate: float,
    dividend_yield: float = 0.0,
) -> Quote:
    r"""Price, delta, gamma and vega; at `tau` 0 the payoff, its slope, and no gamma or vega.

    c = S e^(-q tau) N(d1) - K e^(-r tau) N(d2),  d1 = (ln(S/K) + (r - q + sigma^2/2) tau) / (sigma sqrt(tau))

    Source: Black, Scholes (1973), Journal of Political Economy 81, 637-654; Merton (1973) for the yield.

    >>> price = quote("call", np.array(100.0), np.array(100.0), np.array(1.0), np.array(0.2), 0.05).price
    >>> float(price.round(6))
    10.450584
    """
    tau = np.maximum(tau, 0.0)
    spread = volatility * np.sqrt(tau)
    alive = spread > 0.0
    safe = np.where(alive, spread, 1.0)
    forward = spot * np.exp((rate - dividend_yield) * tau)
    d1 = np.where(alive, np.log(forward / strike) / safe + 0.5 * safe, np.where(forward > strike, SURE, -SURE))
    d2 = d1 - np.where(alive, safe, 0.0)
    carry, discount = np.exp(-dividend_yield * tau), np.exp(-rate * tau)
    price, delta = np.zeros(np.shape(d1)), np.zeros(np.shape(d1))
    for sign in SIGNS[kind]:
        price = price + sign * (spot * carry * norm_cdf(sign * d1) - strike * discount * norm_cdf(sign * d2))
        delta = delta + sign * carry * norm_cdf(sign * d1)
    density = np.where(alive, np.exp(-0.5 * np.where(alive, d1, 0.0) ** 2) / np.sqrt(2.0 * np.pi), 0.0)
    legs = len(SIGNS[kind])
    gamma = legs * carry * density / (spot * safe)
    vega = legs * spot * carry * density * np.sqrt(tau)
    return Quote(price, delta, gamma, vega)
