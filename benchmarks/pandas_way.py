"""The same strategy as a quant writes it for one configuration: pandas for the signals, a Python loop for the account.

This is the good case of that way: whole-column pandas wherever a column formula exists, and for what depends on the
previous bar a loop over plain Python floats per asset (several times faster than row access into a DataFrame).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from kernels.account import Costs
from kernels.market import FloatArray, Market

START_CASH, SMALLEST_ORDER = 10_000.0, 1e-8
RULE: dict[str, Any] = {  # specs of the published sweep
    "lookback": 30,
    "vol_window": 30,
    "vol_target": 0.35,
    "min_volatility": 0.05,
    "short_mode": "hedge_only",
    "hedge_threshold": -0.07,
    "hedge_strength": 0.3,
    "max_leverage": 2.0,
    "stop_loss": 0.10,
    "rebalance_threshold": 0.05,
}
Rule = Mapping[str, Any]
Floats = Sequence[float] | FloatArray


def momentum(close: pd.DataFrame, volume: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Yesterday's volume-weighted momentum sign times volatility target over volatility, (T, A)."""
    returns = cast("pd.DataFrame", np.log(close / close.shift()))
    weight = cast("pd.DataFrame", np.log1p(volume))
    lookback, window = rule["lookback"], rule["vol_window"]
    mean = (returns * weight).rolling(lookback).sum() / weight.rolling(lookback).sum()
    volatility = returns.rolling(window).std() * np.sqrt(365.0)
    size = rule["vol_target"] / volatility.clip(lower=rule["min_volatility"])
    return cast("pd.DataFrame", np.sign(mean) * size).shift().fillna(0.0)


def hedged(signal: pd.DataFrame, drawdown: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Longs as they are, shorts by mode, all capped, (T, A)."""
    if rule["short_mode"] == "hedge_only":
        armed = drawdown < rule["hedge_threshold"]
        signal = signal.where(signal >= 0.0, (rule["hedge_strength"] * signal).where(armed, 0.0))
    elif rule["short_mode"] == "disabled":
        signal = signal.clip(lower=0.0)
    return signal.clip(-rule["max_leverage"], rule["max_leverage"])


def account(weights: Floats, close: Floats, fill: Floats, rule: Rule, costs: Costs) -> list[float]:
    """Value of one asset's account at each close, (T,): stop loss, rebalancing threshold, orders, cash."""
    fee, slippage = costs.fee_bps / 1e4, costs.slippage_bps / 1e4
    buy, sell = (1 + slippage) * (1 + fee), (1 - slippage) * (1 - fee)
    stop, threshold = rule["stop_loss"], rule["rebalance_threshold"]
    cash, units, last, direction, entry = START_CASH, 0.0, 0.0, 0, 0.0
    values = []
    for t, price in enumerate(close):
        weight = weights[t]
        side = 1 if weight > 0 else -1 if weight < 0 else 0
        if side != direction:
            direction, entry = side, price
        elif (direction > 0 and price < entry * (1 - stop)) or (direction < 0 and price > entry * (1 + stop)):
            weight, direction = 0.0, 0
        if abs(weight - last) >= threshold or (last == 0 and weight != 0):
            last = weight
            if t + 1 < len(close):
                equity = cash + units * fill[t]
                order = weight * equity / fill[t] - units
                if equity > 0 and abs(order) >= SMALLEST_ORDER:
                    if order > 0 and order * fill[t] * buy > cash:
                        order = cash / (buy * fill[t])
                        cash = 0.0 if order >= SMALLEST_ORDER else cash
                        units += order if order >= SMALLEST_ORDER else 0.0
                    else:
                        cash -= order * fill[t] * (buy if order > 0 else sell)
                        units += order
        values.append(cash + units * price)
    return values


def summary(returns: pd.DataFrame) -> pd.DataFrame:
    """The published metrics of portfolio returns (T, C): one row per column."""
    returns = returns.iloc[1:]
    growth = (1.0 + returns).cumprod()
    days = (returns.index[-1] - returns.index[0]).days
    cagr = growth.iloc[-1] ** (365.0 / days) - 1.0
    volatility = returns.std() * np.sqrt(365.0)
    fall = -(growth / growth.cummax() - 1.0).min()
    return pd.DataFrame(
        {
            "total_return": growth.iloc[-1] - 1.0,
            "cagr": cagr,
            "volatility": volatility,
            "cagr_to_volatility": cagr / volatility,
            "max_drawdown": fall,
            "calmar": cagr / fall,
        }
    )


def frames(market: Market) -> dict[str, pd.DataFrame]:
    """A market as a quant holds it: one wide DataFrame per column."""
    index = pd.DatetimeIndex(market.timestamps)
    columns = {"open": market.open, "close": market.close, "volume": market.volume}
    return {n: pd.DataFrame(a, index=index, columns=list(market.tickers)) for n, a in columns.items()}


def backtest(
    data: Mapping[str, pd.DataFrame], configuration: Mapping[Any, Any], costs: Costs, *, floats: bool = True
) -> pd.DataFrame:
    """One configuration from prices to metrics (one row); the account loop over Python floats or NumPy scalars."""
    rule: Rule = {**RULE, **configuration}
    close, fill = data["close"], data["open"].shift(-1)
    drawdown = close / close.cummax() - 1.0
    weights = hedged(momentum(close, data["volume"], rule), drawdown, rule)
    values = {}
    for asset in close:
        weight, mark, price = (
            column.tolist() if floats else column.to_numpy() for column in (weights[asset], close[asset], fill[asset])
        )
        values[asset] = account(weight, mark, price, rule, costs)
    table = pd.DataFrame(values, index=close.index)
    returns = table / table.shift(fill_value=START_CASH) - 1.0
    return summary(returns.mean(axis=1).to_frame())
