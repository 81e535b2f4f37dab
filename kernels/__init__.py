"""Backtest kernels: arrays in, arrays out, on NumPy, Numba and CUDA."""

from kernels.account import Costs
from kernels.engine import Backtest, Paths, backtest, paths
from kernels.errors import BackendError, InputError
from kernels.loading import load_strategy
from kernels.market import Market
from kernels.metric import METRICS
from kernels.strategies import option_hedge, portfolio_hedge, tsmom_hedge
from kernels.strategy import Parameter, Plane, Strategy

STRATEGIES: dict[str, Strategy] = {
    s.name: s for s in (tsmom_hedge.STRATEGY, option_hedge.STRATEGY, portfolio_hedge.STRATEGY)
}

__all__ = [
    "METRICS",
    "STRATEGIES",
    "BackendError",
    "Backtest",
    "Costs",
    "InputError",
    "Market",
    "Parameter",
    "Paths",
    "Plane",
    "Strategy",
    "backtest",
    "load_strategy",
    "paths",
]
