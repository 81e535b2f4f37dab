"""The figures of a study whose rule hedges a portfolio: correlation over time, regimes over price, when the hedge was on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cluster.plan import Plan
from cluster.winner import engine_for
from kernels.correlation import EWMA, ROLLING, correlation, correlation_regime, mean_correlation
from kernels.engine import Engine
from kernels.indicators import equal_weight_returns
from kernels.market import FloatArray, Market
from kernels.regime import REGIMES, RegimeRule, market_regime
from kernels.second_market import cross_correlation
from kernels.state import leaves
from kernels.strategy import Strategy
from tracking.panels import Figure
from tracking.portfolio_figures import correlation_over_time, hedge_over_drawdown, regimes_over_price

FIELDS = ("armed", "exposure")  # of the rule's state: 1 while the hedge is on, and what it looks at
WINDOW, MEMORY = 60, 250  # bars, where the strategy has no parameter for them
UNHEDGED: dict[str, str | float] = {
    "hedge": "off",
    "hedge_strength": 0.0,
    "strength": 0.0,
}  # the first of these that it has switches the hedge off
OF_REGIME = {  # fields of the regime's rule, by the parameter that has them
    "regime_window": "window",
    "regime_memory": "memory",
    "regime_high": "high",
    "regime_low": "low",
    "trend_strength": "trend_strength",
    "confirm_bars": "confirm_bars",
    "min_bars": "min_bars",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the figures need of a configuration: windows in bars, the decay that its rule reads, and where its hedge arms."""

    window: int
    decay: float
    regime: RegimeRule
    trigger: float | None

    @classmethod
    def of(cls, configuration: Mapping[str, Any]) -> Asked:
        """Looked for by name; what the strategy has no parameter for, or is off, is as by default."""
        set_ = {name: value for name, value in configuration.items() if not _is_off(value)}
        words = {str(set_.get(name)) for name in ("ewma", "correlation_kind")}
        numbers = {field: float(set_[name]) for name, field in OF_REGIME.items() if name in set_}
        whole = {"window", "memory", "confirm_bars", "min_bars"}
        rule: dict[str, Any] = {field: int(n) if field in whole else n for field, n in numbers.items()}
        trigger = set_.get("hedge_exposure")
        return cls(
            int(set_.get("correlation_window", WINDOW)),
            EWMA if words & {"on", "ewma"} else ROLLING,
            RegimeRule(**rule),
            None if trigger is None else float(trigger),
        )


@dataclass(frozen=True, slots=True)
class Book:
    """One configuration bar by bar, (T',) each: the first bar has no return."""

    drawdown: FloatArray  # equity / running peak - 1, not positive
    armed: NDArray[np.bool_]
    exposure: FloatArray


def hedges_a_portfolio(strategy: Strategy) -> bool:
    """Whether a strategy's state says when its hedge is on and what it looks at."""
    return set(FIELDS) <= {name.rpartition(".")[2] for name in leaves(strategy.state())}


def draw(plan: Plan, compared: pd.DataFrame) -> Iterator[Figure]:
    """The figures of a finished study; `compared` has the best trial first, index: labels."""
    assert isinstance(plan.market, Market)
    names = [p.name for p in plan.strategy.parameters]
    winner = compared.iloc[:1][names].reset_index(drop=True)
    asked = Asked.of({str(name): value for name, value in winner.iloc[0].items()})
    yield of_correlation(plan.market, asked)
    if asked.regime.warm_up < plan.market.n_bars:
        yield of_regimes(plan.market, asked)
    yield of_hedge(plan, winner, str(compared.index[0]), asked)


def of_correlation(market: Market, asked: Asked) -> Figure:
    """Rolling and EWMA mean correlation, the one that the rule reads first, and the matrix at a few bars."""
    window = min(asked.window, market.n_bars - 1)
    kinds = {
        ROLLING: f"rolling, {window} bars",
        EWMA: f"EWMA with decay {EWMA:g}, {window} bars",
    }
    order = sorted(kinds, key=lambda decay: decay != asked.decay)
    means = {kinds[decay]: mean_correlation(market, window, decay) for decay in order}
    judged = next(iter(means.values()))
    known = int(np.isfinite(judged).sum())
    memory = min(MEMORY, known)
    regime = correlation_regime(judged, memory) if memory > 1 else np.ones(len(judged))

    def matrix_at(bar: int) -> FloatArray:
        seen = slice(bar - window, bar + 1)  # its returns alone: every bar of 64 assets would be a gigabyte
        part = Market(market.tickers, market.timestamps[seen], market.close[seen])
        matrix: FloatArray = correlation(part, window, asked.decay)[-1]
        return matrix

    other = beside(market)
    with_other = {} if other is None else mean_with(market, other, window, asked.decay)
    return correlation_over_time(
        market.timestamps, means, regime, market.tickers, matrix_at, memory=memory, beside=with_other
    )


def mean_with(market: Market, other: Market, window: int, decay: float) -> dict[str, FloatArray]:
    """Mean correlation of the assets with a second market, (T,), NaN until known, by the words for it."""
    each = cross_correlation(market, other, other.tickers[0], window, decay)
    known = np.logical_or.accumulate((each != 0.0).any(axis=1))
    return {f"with {other.tickers[0]}, mean over assets": np.where(known, each.mean(axis=1), np.nan)}


def of_regimes(market: Market, asked: Asked) -> Figure:
    """The equal-weight index with the market's regime of each bar."""
    implied = getattr(book_of(market), "implied", None)
    labels = market_regime(market, asked.regime, implied).astype(np.int64)
    index = np.cumprod(1.0 + np.nan_to_num(equal_weight_returns(market))).astype(np.float64)
    return regimes_over_price(market.timestamps, index, labels, REGIMES, unknown=asked.regime.warm_up)


def of_hedge(plan: Plan, winner: pd.DataFrame, label: str, asked: Asked) -> Figure:
    """The winner's drawdown beside that of the same configuration without its hedge, and when the hedge was on."""
    without = unhedged(plan.strategy, winner)
    rows = pd.concat([winner, *([] if without is None else [without])], ignore_index=True)
    own, *others = books(engine_for(plan, rows), rows)
    return hedge_over_drawdown(
        plan.market.timestamps[1:],
        own.drawdown,
        own.armed,
        own.exposure,
        name=label,
        trigger=asked.trigger,
        unhedged=others[0].drawdown if others else None,
    )


def books(engine: Engine, rows: pd.DataFrame) -> list[Book]:
    """Each of the rows bar by bar, by the NumPy walk."""
    T, C = engine.market.n_bars, len(rows)
    growth, armed, exposure = np.ones((T, C)), np.zeros((T, C)), np.zeros((T, C))
    for own, t, _, carried in engine.walk(rows):
        state = {name.rpartition(".")[2]: value for name, value in leaves(carried.rule).items()}
        growth[t, own] = carried.sums.growth
        armed[t, own], exposure[t, own] = (state[field] for field in FIELDS)
    growth[0] = 1.0
    drawdown = (growth / np.maximum.accumulate(growth, axis=0) - 1.0)[1:]
    return [Book(drawdown[:, c], armed[1:, c] != 0.0, exposure[1:, c]) for c in range(C)]


def unhedged(strategy: Strategy, winner: pd.DataFrame) -> pd.DataFrame | None:
    """The winner with its hedge switched off; None where no parameter does that."""
    for name, off in UNHEDGED.items():
        if any(p.name == name and p.problem(off) is None for p in strategy.parameters):
            return winner.assign(**{name: [off]})
    return None


def book_of(market: Market) -> Any:
    """The long book that the market may have."""
    return getattr(market, "book", None)


def beside(market: Market) -> Market | None:
    """The second market of one ticker that its book may have."""
    found = getattr(book_of(market), "beside", None)
    return found if isinstance(found, Market) else None


def _is_off(value: Any) -> bool:
    return value is None or value == "off" or (isinstance(value, float) and math.isnan(value))
