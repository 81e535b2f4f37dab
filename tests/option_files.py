"""Files of options as a user brings them: last trades, closes with implied volatilities, and a chain of bids and asks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from kernels.black_scholes import quote
from kernels.heston import HestonParameters
from kernels.heston import quote as heston_quote
from kernels.option_market import DAYS_PER_YEAR

DATES = pd.bdate_range("2024-01-01", periods=60)
EXPIRIES = DATES[[21, 42, 59]]
STRIKES = (90.0, 95.0, 100.0, 105.0, 110.0, 115.0)
RATE, VOLATILITY = 0.03, 0.25


def closes() -> np.ndarray[Any, np.dtype[np.float64]]:
    steps = np.random.default_rng(3).standard_normal(len(DATES) - 1) * 0.01
    return 100.0 * np.exp(np.concatenate([[0.0], np.cumsum(steps)]))


def quotes() -> pd.DataFrame:
    """Every contract of three expiries on every day it lives, at Black-Scholes, as a file of last trades."""
    rows = []
    for date, spot in zip(DATES, closes(), strict=True):
        for expiry in EXPIRIES[date <= EXPIRIES]:
            tau = np.array((expiry - date).days / DAYS_PER_YEAR)
            for strike in STRIKES:
                for right, kind in (("C", "call"), ("P", "put")):
                    price = quote(kind, np.array(spot), np.array(strike), tau, np.array(VOLATILITY), RATE).price
                    rows.append((date, "ABC", expiry, strike, right, float(price), 5, spot))
    names = ["quote_date", "underlying", "expiry", "strike", "right", "last_price", "volume", "underlying_close"]
    return pd.DataFrame(rows, columns=names)


def implied_history() -> pd.DataFrame:
    """A close and an implied volatility a day."""
    steps = np.random.default_rng(4).standard_normal(len(DATES))
    implied = 0.25 * np.exp(0.02 * steps)
    return pd.DataFrame({"timestamp": DATES.tz_localize("UTC"), "symbol": "ABC", "close": closes(), "iv": implied})


TRUE = HestonParameters(v0=0.06, kappa=4.0, theta=0.09, xi=0.9, rho=-0.6)


def chain() -> pd.DataFrame:
    """Bids and asks a cent round the prices of one Heston model."""
    rows = []
    date, spot = pd.Timestamp("2024-03-01"), 250.0
    for days in (21, 35, 56, 91, 182):
        strikes = np.arange(180.0, 330.0, 5.0)
        for right, kind in (("C", "call"), ("P", "put")):
            price = heston_quote(
                kind, np.full(30, spot), strikes, days / DAYS_PER_YEAR, np.full(30, TRUE.v0), TRUE, RATE, 0.01
            )
            rows += [
                (date, "ABC", date + pd.Timedelta(days=days), k, right, max(p - 0.01, 0.0), p + 0.01, spot)
                for k, p in zip(strikes, price.price, strict=True)
            ]
    names = ["quote_date", "underlying", "expiry", "strike", "right", "bid", "ask", "underlying_close"]
    return pd.DataFrame(rows, columns=names)
