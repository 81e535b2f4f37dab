"""Books for the tests of portfolio_hedge: markets made for a claim, and what configurations do on them bar by bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from histories import history
from running import NUMPY

from kernels import STRATEGIES, Costs, Market
from kernels.engine import Engine, switched_off
from kernels.long_book import LongBook
from kernels.market import FloatArray
from kernels.program import Carried
from kernels.state import rebuild

PROTECTED = STRATEGIES["portfolio_hedge"]
FEATURES = ("sizing", "regime", "trailing_exit", "agreement", "hedge")
OFF: dict[str, Any] = dict.fromkeys(FEATURES, "off")
TRIGGERS = ("bars", "drift", "volatility", "correlation", "drawdown")
NEVER: dict[str, Any] = {f"rebalance_{trigger}": None for trigger in TRIGGERS}
SHORT: dict[str, Any] = {  # windows that a market of 110 bars fills
    **dict.fromkeys(("base_window", "regime_window", "correlation_window", "beta_window"), 10),
    **{"kelly_window": 20, "regime_memory": 50, "frame_window": 3},
}
EVERY_BAR: dict[str, Any] = NEVER | {"rebalance_bars": 1, "min_trade": 0.0}
BOOK: dict[str, Any] = OFF | SHORT | EVERY_BAR  # the base book, held at its weights
USED: dict[str, tuple[float, float]] = {  # ranges in which a feature does something on the markets of the tests
    "trend_strength": (2.0, 6.0),
    "initial_stop": (0.01, 0.1),
    "trail_from": (0.03, 0.2),
    "trail_atr": (0.5, 5.0),
    "max_hold_bars": (5, 60),
    "agreement_least": (0.03, 0.4),
    "position_cap": (0.05, 0.5),
    "hedge_exposure": (0.02, 0.3),
    "hedge_strength": (0.3, 1.0),
    "put_tenor": (5, 30),
    "rebalance_bars": (1, 9),
    "rebalance_drift": (0.01, 0.2),
}
FREE = Costs(0.0, 0.0, "close")
BASE = (0.5, 0.4, -0.1)
T = 170
MARKET = replace(history(T, seed=2), book=LongBook(weights=BASE, hedge_asset="X1"))
REAL = Costs(4.0, 5.0, "next_open", option_spread=0.02, cash_rate=0.03)


def engine(market: Market, rows: Sequence[Mapping[str, Any]], costs: Costs = FREE) -> tuple[Engine, pd.DataFrame]:
    defaults = {p.name: p.default for p in PROTECTED.parameters}
    table = pd.DataFrame([defaults | dict(row) for row in rows], dtype=object)
    return Engine(market, PROTECTED, costs, NUMPY, switched_off(PROTECTED, table)), table


def returns(market: Market, rows: Sequence[Mapping[str, Any]], costs: Costs = FREE) -> FloatArray:
    """The return of every bar but the first, (T - 1, C)."""
    made, table = engine(market, rows, costs)
    return made.returns(table)


def walked(market: Market, rows: Sequence[Mapping[str, Any]], costs: Costs = FREE) -> list[Carried]:
    """What is carried out of every bar, configurations in the order given."""
    made, table = engine(market, rows, costs)
    steps = []
    for order, _, _, carried in made.walk(table):
        back = np.argsort(order)
        steps.append(rebuild(carried, lambda _, leaf, back=back: leaf[..., back]))
    return steps


def weights(market: Market, steps: Sequence[Carried]) -> FloatArray:
    """What is held at each close as a fraction of equity, (T, A, C)."""
    units = np.stack([step.account.units for step in steps])
    cash = np.stack([step.account.cash for step in steps])
    worth = units * market.close[:, :, None]
    return np.asarray(worth / (cash + worth.sum(axis=1))[:, None])


def of_closes(close: Any, book: LongBook | None = None, **columns: Any) -> Market:
    """A daily market of closes (T, A), or (T,) of one asset; each bar opens at the close before it."""
    close = np.asarray(close, dtype=np.float64)
    close = close[:, None] if close.ndim == 1 else close
    open_ = np.concatenate([close[:1], close[:-1]])
    given = {name: np.asarray(column, dtype=np.float64).reshape(close.shape) for name, column in columns.items()}
    opens = given.get("open", open_)
    return Market(
        tickers=tuple(f"X{a}" for a in range(close.shape[1])),
        timestamps=np.datetime64("2020-01-01", "us") + np.arange(len(close)) * np.timedelta64(1, "D"),
        close=close,
        open=opens,
        high=given.get("high", np.maximum(opens, close)),
        low=given.get("low", np.minimum(opens, close)),
        book=book,
    )


def moving_together(A: int, rho: float, T: int = 130, period: int = 20, size: float = 0.01) -> FloatArray:
    """Log returns (T - 1, 1 + A) of an index and A assets of beta 1 to it, every pair of which has correlation `rho`.

    Over each `period` bars, wherever they begin: the returns repeat. The index's own are the part that assets share.
    """
    rng = np.random.default_rng(3)
    waves, _ = np.linalg.qr(np.column_stack([np.ones(period), rng.standard_normal((period, A + 1))]))
    shared, own = waves[:, 1:2] * np.sqrt(rho), waves[:, 2:] * np.sqrt(1.0 - rho)
    once = size * np.sqrt(period) * np.concatenate([shared, shared + own], axis=1)
    return np.tile(once, (T // period + 1, 1))[: T - 1]


def from_returns(moves: FloatArray, book: LongBook | None = None) -> Market:
    """The market of closes with these log returns (T - 1, A), from 100 on."""
    start = np.zeros((1, moves.shape[1]))
    return of_closes(100.0 * np.exp(np.cumsum(np.concatenate([start, moves]), axis=0)), book)


def drawn(count: int, seed: int) -> list[dict[str, Any]]:
    """Configurations that use every feature, from within their ranges: on a bound, such as a drift of 0, rounding decides."""
    rng = np.random.default_rng(seed)
    bounds = {p.name: (p.low, p.high) for p in PROTECTED.parameters if not p.choices} | USED
    columns: dict[str, Any] = {p.name: list(rng.choice(p.choices, count)) for p in PROTECTED.parameters if p.choices}
    for p in PROTECTED.parameters:
        if p.choices:
            continue
        values = rng.uniform(*bounds[p.name], count)
        columns[p.name] = list(np.round(values).astype(int)) if p.integer else list(values)
        if p.optional:
            columns[p.name] = [
                None if off else v for v, off in zip(columns[p.name], rng.random(count) < 0.4, strict=True)
            ]
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [row | SHORT for row in rows]


def armed(steps: Sequence[Carried]) -> FloatArray:
    """Whether the hedge is on after each bar, (T, C)."""
    return np.stack([step.rule.armed for step in steps])
