"""The same strategy through vectorbt: signals once, orders for all configurations as columns, `Portfolio.from_orders`.

vectorbt has no rebalancing threshold and its stops work on its own positions, so targets after both are computed first,
for all columns at once. The orders are then the engine's own, and so are cash limit, fees, slippage and fill price.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.pandas_way import RULE, START_CASH, momentum, summary
from kernels.account import Costs
from kernels.market import FloatArray


def load() -> Any:
    """The vectorbt package, or None where it is not installed."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    return importlib.import_module("vectorbt") if importlib.util.find_spec("vectorbt") else None


def targets(weights: FloatArray, close: FloatArray, stop: float, threshold: float) -> FloatArray:
    """Target weights (T, columns) after stop loss and rebalancing threshold; NaN where there is no order."""
    direction, entry, last = (np.zeros(weights.shape[1]) for _ in range(3))
    out = np.full_like(weights, np.nan)
    for t, price in enumerate(close):
        weight = weights[t]
        side = np.sign(weight)
        entered = side != direction
        entry = np.where(entered, price, entry)
        low, high = price < entry * (1 - stop), price > entry * (1 + stop)
        hit = ~entered & (((side > 0) & low) | ((side < 0) & high))
        weight, direction = np.where(hit, 0.0, weight), np.where(hit, 0.0, side)
        trade = (np.abs(weight - last) >= threshold) | ((last == 0.0) & (weight != 0.0))
        last = np.where(trade, weight, last)
        out[t] = np.where(trade, weight, np.nan)
    return out


def backtest(
    vectorbt: Any, data: Mapping[str, pd.DataFrame], configurations: pd.DataFrame, costs: Costs
) -> pd.DataFrame:
    """All configurations of a sweep of hedge parameters, from prices to metrics (one row each)."""
    close, volume = data["close"], data["volume"]
    signal = momentum(close, volume, RULE).to_numpy()[:, None, :]  # (T, 1, A)
    drawdown = (close / close.cummax() - 1.0).to_numpy()[:, None, :]
    mode = configurations["short_mode"].to_numpy()[:, None]
    strength = configurations["hedge_strength"].to_numpy()[:, None]
    armed = (mode == "hedge_only") & (drawdown < configurations["hedge_threshold"].to_numpy()[:, None])
    short = np.where(mode == "full", signal, np.where(armed, strength * signal, 0.0))
    cap = RULE["max_leverage"]
    weights = np.clip(np.where(signal < 0.0, short, signal), -cap, cap)  # (T, C, A)
    bars, count, assets = weights.shape
    wide = np.tile(close.to_numpy(), (1, count))
    size = targets(weights.reshape(bars, -1), wide, RULE["stop_loss"], RULE["rebalance_threshold"])
    size[-1] = np.nan  # no open follows the last bar
    columns = pd.MultiIndex.from_product([range(count), close.columns])
    portfolio = vectorbt.Portfolio.from_orders(
        pd.DataFrame(wide, index=close.index, columns=columns),
        size=size,
        size_type="targetpercent",
        price=np.tile(data["open"].shift(-1).to_numpy(), (1, count)),
        fees=costs.fee_bps / 1e4,
        slippage=costs.slippage_bps / 1e4,
        init_cash=START_CASH,
        freq="1D",
    )
    returns = portfolio.returns().to_numpy().reshape(bars, count, assets).mean(axis=2)
    return summary(pd.DataFrame(returns, index=close.index))
