"""Running option_hedge on simulated one-month options, for the tests of what it means."""

from __future__ import annotations

from typing import Any

import pandas as pd
from running import NUMPY

from kernels import STRATEGIES, Costs
from kernels.backends import choose, why_not
from kernels.engine import Engine, switched_off
from kernels.market import FloatArray
from kernels.option_market import Contract, OptionMarket, gbm

STRATEGY = STRATEGIES["option_hedge"]
KEYS = frozenset({"vol_window"})  # read slice by slice whatever the rows share: one kernel serves every test
FREE = Costs(fee_bps=0.0, slippage_bps=0.0)
CHARGED = Costs(fee_bps=5.0, slippage_bps=0.0)
S0, SIGMA = 100.0, 0.2
FAST = "numpy" if why_not("numba") else "numba"


def market(scenarios: int = 200, bars: int = 31, step_days: float = 1.0, **how: Any) -> OptionMarket:
    """One 30-day cycle at a time; drift = rate unless said otherwise."""
    contract = how.pop("contract", Contract(tenor_days=30.0))
    how = {"seed": 3, "volatility": SIGMA, "rate": 0.03} | how
    how.setdefault("drift", how["rate"])
    return gbm(("X",), scenarios=scenarios, bars=bars, step_days=step_days, contract=contract, spot=S0, **how)


def sums(history: OptionMarket, rows: list[dict[str, Any]], costs: Costs = FREE) -> dict[str, FloatArray]:
    """Every sum of the block statistics over all blocks, (S, C) each."""
    defaults = {p.name: p.default for p in STRATEGY.parameters}
    table = pd.DataFrame([defaults | row for row in rows], dtype=object)
    # nothing is declared off, so that one compiled kernel serves all tests
    values = Engine(history, STRATEGY, costs, choose(FAST).backend, searched=KEYS).run(table).statistics.compose()
    return {name: value.reshape(history.n_scenarios, len(rows)) for name, value in values.items()}


def profit(history: OptionMarket, rows: list[dict[str, Any]], costs: Costs = FREE) -> FloatArray:
    """Sum of the bar returns, (S, C): the profit of a unit of exposure over K_0."""
    return sums(history, rows, costs)["r1"]


def returns(history: OptionMarket, row: dict[str, Any], costs: Costs = FREE, scenario: int = 0) -> FloatArray:
    """(T - 1,) bar returns of one configuration on one path."""
    rows = pd.DataFrame([row], dtype=object)
    engine = Engine(history, STRATEGY, costs, NUMPY, switched_off(STRATEGY, rows))
    found: FloatArray = engine.paths(rows, scenario).returns[:, 0]
    return found


def bars(history: OptionMarket, row: dict[str, Any], costs: Costs = FREE) -> FloatArray:
    """(T - 1, S) bar returns of one configuration on every path."""
    defaults = {p.name: p.default for p in STRATEGY.parameters}
    table = pd.DataFrame([defaults | row], dtype=object)
    return Engine(history, STRATEGY, costs, choose(FAST).backend, searched=KEYS).bars(table).of("r1")
