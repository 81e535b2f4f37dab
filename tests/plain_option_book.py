"""A hedged option book in plain Python: one path, one configuration, a row per bar, as a desk's spreadsheet has it."""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, exp, log, pi, sqrt
from typing import Any

import numpy as np

from kernels import Costs
from kernels.option_market import OptionMarket


@dataclass
class Ledger:
    """What the book did: (T - 1,) returns, and everything it traded."""

    returns: np.ndarray
    worth: np.ndarray  # (T,) V after each bar
    cost: float = 0.0  # sum, fraction of capital
    turnover: float = 0.0
    orders: int = 0
    naked_profit: float = 0.0
    stock_profit: float = 0.0
    second_profit: float = 0.0
    stock_cost: float = 0.0
    option_cost: float = 0.0
    impact_cost: float = 0.0


def price(kind: str, spot: float, strike: float, tau: float, sigma: float, r: float, q: float) -> tuple[float, ...]:
    """Price, delta, gamma, vega of a European option."""
    phi = {"call": (1,), "put": (-1,), "straddle": (1, -1)}[kind]
    if tau <= 0.0:
        return (
            sum(max(s * (spot - strike), 0.0) for s in phi),
            sum(s * (s * (spot - strike) > 0) for s in phi),
            0.0,
            0.0,
        )
    spread = sigma * sqrt(tau)
    d1 = (log(spot / strike) + (r - q) * tau) / spread + spread / 2
    value = delta = 0.0
    for s in phi:
        n1, n2 = erfc(-s * d1 / sqrt(2)) / 2, erfc(-s * (d1 - spread) / sqrt(2)) / 2
        value += s * (spot * exp(-q * tau) * n1 - strike * exp(-r * tau) * n2)
        delta += s * exp(-q * tau) * n1
    bell = len(phi) * exp(-q * tau) * exp(-d1 * d1 / 2) / sqrt(2 * pi)
    return value, delta, bell / (spot * spread), spot * bell * sqrt(tau)


def book(market: OptionMarket, p: dict[str, Any], costs: Costs, scenario: int = 0) -> Ledger:
    """The ledger of one configuration on one scenario of one underlier."""
    S, sigma, r, q = market.spot[scenario, :, 0], market.volatility[scenario, :, 0], market.rate, market.dividend_yield
    day = (market.timestamps - market.timestamps[0]) / np.timedelta64(1, "D")
    T, deal, side = len(S), market.contract, 1.0 if market.contract.side == "sell" else -1.0
    c, half = (costs.fee_bps + costs.slippage_bps) / 1e4, costs.option_spread
    cash = shares = second = last = waited = strike = strike2 = expiry = expiry2 = size = size_before = capital = 0.0
    owed = price2 = 0.0
    ledger = Ledger(np.zeros(T - 1), np.zeros(T))
    for t in range(T):
        cost, impact, dt = 0.0, 0.0, (day[t] - day[t - 1]) if t else 0.0
        waited += dt
        if t:
            cash = cash * exp(r * dt / 365) + shares * q * S[t - 1] * dt / 365

        # what is owed, what it is worth, and whether it ends here
        rolls, closes = t == 0 or (day[t] >= expiry - 1e-9 and t < T - 1), t == T - 1
        capital_before, size_before = capital, size
        if t:  # what was held over the bar, at the prices on its two ends
            per_capital, left = size / capital, max(expiry - day[t], 0.0) / 365 * (day[t] < expiry - 1e-9)
            now = side * price(deal.kind, S[t], strike, left, sigma[t], r, q)[0]
            now2 = price("call", S[t], strike2, (expiry2 - day[t]) / 365, sigma[t], r, q)[0]
            ledger.naked_profit -= (now - owed) * per_capital
            ledger.stock_profit += shares * (S[t] - S[t - 1]) * per_capital
            ledger.second_profit += second * (now2 - price2) * per_capital
        if t and (rolls or closes):
            left = max(expiry - day[t], 0.0) / 365 if day[t] < expiry - 1e-9 else 0.0
            owed, delivered, *_ = price(deal.kind, S[t], strike, left, sigma[t], r, q)
            second_price = price("call", S[t], strike2, (expiry2 - day[t]) / 365, sigma[t], r, q)[0]
            if left == 0.0 and delivered:  # exercise: the strike against the share
                cash += -side * owed + side * delivered * S[t]
                shares -= side * delivered
            else:
                cash -= side * owed
                cost += half * owed
            cash += second * second_price
            cost += half * abs(second) * second_price
            second = 0.0

        # what is owed from here
        if rolls:
            expiry = day[np.flatnonzero(day <= day[t] + deal.tenor_days + 1e-9)[-1]]
            if expiry == day[-1]:  # bars go on beyond the history
                expiry += (day[-1] - day[-2]) * np.floor(
                    (day[t] + deal.tenor_days - expiry) / (day[-1] - day[-2]) + 1e-9
                )
            strike = deal.moneyness * S[t] * exp((r - q) * (expiry - day[t]) / 365)
            expiry2 = day[t] + deal.second_tenor * deal.tenor_days
            strike2, capital = S[t] * exp((r - q) * (expiry2 - day[t]) / 365), S[t]
            scale = 1.0 if p["vol_target"] is None else min(p["vol_target"] / realised(market, S, sigma, t, p), 3.0)
            size = p["exposure"] * scale
        tau = (expiry - day[t]) / 365
        owed, delta, gamma, vega = (side * x for x in price(deal.kind, S[t], strike, tau, sigma[t], r, q))
        price2, delta2, gamma2, _ = price("call", S[t], strike2, (expiry2 - day[t]) / 365, sigma[t], r, q)
        if rolls:
            cash += owed
            cost += half * abs(owed)

        # the hedge
        if p["delta_vol_weight"]:
            mixed = sigma[t] + p["delta_vol_weight"] * (realised(market, S, sigma, t, p) - sigma[t])
            delta = side * price(deal.kind, S[t], strike, tau, mixed, r, q)[1]
        if p["skew_delta"] and tau > 0:
            delta += p["skew_delta"] * vega / (S[t] * sqrt(tau))
        want2 = (p["gamma_hedge_ratio"] or 0.0) * gamma / gamma2 if gamma2 > 0 else 0.0
        want = p["hedge_ratio"] * delta - want2 * delta2
        width = p["band"]
        if p["risk_aversion"] is not None:
            width = (1.5 * c * exp(-r * tau) * S[t] * gamma**2 / p["risk_aversion"]) ** (1 / 3)
        due = waited >= p["rebalance_days"] - 1e-6
        if closes:
            want = want2 = 0.0
        if rolls or closes or (due and abs(want - shares) > width):
            if p["trade_to"] == "edge" and not rolls and not closes:
                want += width if want < shares else -width
            dollars = abs(want - shares) * S[t]
            traded = dollars * size * costs.capital / capital
            daily = sigma[t] / sqrt(365)
            factor = {"none": 0.0, "linear": traded, "square_root": daily * sqrt(traded / costs.adv)}[costs.impact]
            impact = dollars * costs.impact_coefficient * factor
            cost += c * dollars + impact + half * abs(want2 - second) * price2
            ledger.stock_cost += c * dollars * (size_before or size) / (capital_before or capital)
            ledger.impact_cost += impact * (size_before or size) / (capital_before or capital)
            cash -= (want - shares) * S[t] + (want2 - second) * price2
            ledger.turnover += dollars * (size_before or size) / (capital_before or capital)
            ledger.orders += abs(want - shares) >= 1e-8  # what is less is rounding
            shares, second = want, want2
        if rolls:
            waited = 0.0
        elif due:
            waited -= p["rebalance_days"] * np.floor((waited + 1e-6) / p["rebalance_days"])
        cash -= cost
        value = cash + shares * S[t] + (0.0 if closes else second * price2 - owed)
        ledger.worth[t] = value
        ledger.cost += cost * (size_before or size) / (capital_before or capital)
        if t:
            ledger.returns[t - 1] = size_before * (value - last) / capital_before
            last = value
    ledger.option_cost = ledger.cost - ledger.stock_cost - ledger.impact_cost
    return ledger


def realised(market: OptionMarket, S: np.ndarray, sigma: np.ndarray, t: int, p: dict[str, Any]) -> float:
    """Volatility of the last `vol_window` log returns up to bar t; the implied one until they are there."""
    n = p["vol_window"]
    if t < n:
        return float(sigma[t])
    return float(np.log(S[t - n + 1 : t + 1] / S[t - n : t]).std(ddof=1) * sqrt(market.bars_per_year))
