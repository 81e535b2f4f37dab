"""What an exported configuration tells a trader to hold now, and its positions over time as a table."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from cluster.config import SyntheticMarket
from cluster.option_config import PathsSection
from cluster.plan import Plan
from cluster.validation import HOLDOUT
from cluster.winner import engine_for
from kernels.account import CASH_PER_ASSET
from kernels.market_calendar import when
from kernels.option_book import OPTION_BOOK
from kernels.option_market import OptionMarket
from kernels.positions import HedgeNow, hedges, positions

FILLS = {"next_open": "the open of the next bar", "next_close": "the close of the next bar", "close": "that close"}
DIGITS = 6  # of a share of capital: a dollar in a million


def standing(plan: Plan, configuration: pd.DataFrame) -> tuple[dict[str, Any], pd.DataFrame | None]:
    """What to hold after the last bar of the study's data, and a row per bar of what was held; None where the market is
    many simulated paths, or the strategy keeps an account of its own."""
    if isinstance(plan.config.market, PathsSection):
        return {
            "none": "the market is simulated: there is no last bar to trade after; the rule is what to follow"
        }, None
    if plan.strategy.account is CASH_PER_ASSET:
        return _weights(plan, configuration)
    if plan.strategy.account is OPTION_BOOK and isinstance(plan.market, OptionMarket):
        return _hedges(plan, configuration)
    return {"none": f"{plan.strategy.name} keeps an account of its own; the rule is what to follow"}, None


def _weights(plan: Plan, configuration: pd.DataFrame) -> tuple[dict[str, Any], pd.DataFrame]:
    """Target weights of capital per asset after the last bar there is, and the weights of every bar; of a hold-out that is
    closed what it earns is left out of the table."""
    found = positions(replace(engine_for(plan, configuration), market=plan.whole), configuration)
    tickers = plan.market.tickers
    assets = {}
    for ticker, price, held, target, trade in zip(
        tickers, found.prices, found.now, found.target, found.trade, strict=True
    ):
        change = target - held if trade else 0.0
        assets[ticker] = {
            "price": float(price),
            "held": _share(held),
            "target": _share(target if trade else held),
            "action": "hold" if not trade else f"{'buy' if change > 0.0 else 'sell'} {abs(change):.2%} of capital",
        }
    now = {
        "after": when(found.timestamps[-1]),
        "orders_fill_at": FILLS[plan.costs.fill],
        "weights_are": f"of the whole capital, of which each of {len(tickers)} assets has an equal part; negative: short",
        **({"data_is": "simulated"} if isinstance(plan.config.market, SyntheticMarket) else {}),
        "target_weights": {ticker: asset["target"] for ticker, asset in assets.items()},
        "assets": assets,
    }
    table = pd.DataFrame(found.weights, columns=list(tickers))
    table.insert(0, "growth", found.growth)
    table.insert(0, "timestamp", found.timestamps)
    closed = plan.holdout is not None and not (plan.folder / HOLDOUT).exists()
    return now, table[table["timestamp"] <= plan.market.timestamps[-1]] if closed else table


def _hedges(plan: Plan, configuration: pd.DataFrame) -> tuple[dict[str, Any], pd.DataFrame]:
    """Shares and second options per option owed, and those of every bar."""
    market = plan.market
    assert isinstance(market, OptionMarket)
    found = hedges(engine_for(plan, configuration), configuration)
    table = pd.DataFrame({"timestamp": found.timestamps, "growth": found.growth})
    for a, ticker in enumerate(market.tickers):
        table[f"{ticker} shares"] = found.shares[:, a]
        table[f"{ticker} second"] = found.second[:, a]
    after = {"after": when(found.timestamps[-1])}
    if found.now is None:
        return {**after, "none": "no cycle open: the last option is settled with the data"}, table
    return {**after, "books": {each.ticker: _book(market, each) for each in found.now}}, table


def _book(market: OptionMarket, now: HedgeNow) -> dict[str, Any]:
    contract = market.contract
    verb = "sells" if contract.side == "sell" else "buys"
    cycle = "open"
    if now.opens:
        cycle = f"no cycle open: the last option expired, the rule {verb} the next one now"
    change = now.shares - now.held[0]
    shown = asdict(now)
    del shown["ticker"], shown["opens"], shown["held"]
    return {
        "cycle": cycle,
        "option": f"{contract.side} {contract.kind}",
        **shown,
        "action": "hold"
        if change == 0.0
        else f"{'buy' if change > 0.0 else 'sell'} {abs(change):.4f} shares an option",
        "units": "options: per dollar of capital; shares and second options: per option",
    }


def _share(weight: np.floating[Any] | float) -> float:
    return round(float(weight), DIGITS) + 0.0  # never minus zero
