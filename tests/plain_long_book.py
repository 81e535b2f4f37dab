"""A long book that is rebalanced, in plain Python, order by order: what portfolio_hedge is with all protection off."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from kernels import Costs, Market


def plain_returns(
    market: Market, weights: Sequence[float], every: int, drift: float, min_trade: float, costs: Costs
) -> list[float]:
    """Each bar's return but the first's, of one account that holds `weights`, filled at the next open or the close.

    Rebalanced on the first bar, when `every` bars have passed since, or when a weight is more than `drift` off. Weights
    that are off by less than `min_trade` are left. Sales first; what is bought shares what cash there is.
    """
    A = range(market.n_assets)
    buy = (1 + costs.slippage_bps / 1e4) * (1 + costs.fee_bps / 1e4)
    sell = (1 - costs.slippage_bps / 1e4) * (1 - costs.fee_bps / 1e4)
    cash, units, waited, values = 10_000.0, [0.0 for _ in A], every, []
    for t in range(market.n_bars):
        close = market.close[t]
        equity = cash + sum(units[a] * close[a] for a in A)
        off = [abs(weights[a] - units[a] * close[a] / equity) for a in A]
        waited += 1
        if waited >= every or max(off) > drift:
            waited = 0
            last = t + 1 == market.n_bars
            fill = close if costs.fill == "close" else None if last or market.open is None else market.open[t + 1]
            if fill is not None:
                equity = cash + sum(units[a] * fill[a] for a in A)
                wanted = [weights[a] * equity / fill[a] - units[a] if off[a] >= min_trade else 0.0 for a in A]
                for a in A:
                    if wanted[a] < 0:
                        units[a] += wanted[a]
                        cash -= wanted[a] * fill[a] * sell
                needed = sum(wanted[a] * fill[a] * buy for a in A if wanted[a] > 0)
                part = min(1.0, max(cash, 0.0) / needed) if needed else 1.0
                for a in A:
                    if wanted[a] > 0:
                        units[a] += part * wanted[a]
                        cash -= part * wanted[a] * fill[a] * buy
        values.append(cash + sum(units[a] * close[a] for a in A))
    return [now / before - 1.0 for before, now in pairwise(values)]
