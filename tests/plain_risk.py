"""The risk limits written a second time, plainly: a list of fills, pandas for correlations, no caches."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from kernels.risk_settings import Limits

Fill = tuple[str, str, float, str | None]


class PlainRisk:
    """What `RiskLimits` must answer, computed from the beginning each time."""

    def __init__(self, limits: Limits, equity: float) -> None:
        self.limits, self.equity = limits, equity
        self.fills: list[Fill] = []
        self.closes: dict[str, pd.Series[float]] = {}

    def update_prices(self, stamps: pd.DatetimeIndex, closes: dict[str, np.ndarray]) -> None:
        for symbol, values in closes.items():
            before = [self.closes[symbol]] if symbol in self.closes else []
            self.closes[symbol] = pd.concat([*before, pd.Series(values, index=stamps)])

    def correlation(self, one: str, other: str) -> float | None:
        """Of log returns between common timestamps; None where fewer than the least, or nothing moved."""
        if one not in self.closes or other not in self.closes:
            return None
        both = pd.concat([self.closes[one], self.closes[other]], axis=1, join="inner").sort_index()
        returns = np.log(both).diff().dropna().tail(self.limits.correlation_lookback)
        if len(returns) < self.limits.correlation_common or (returns.std() < 1e-12).any():
            return None
        return float(np.corrcoef(returns.to_numpy().T)[0, 1])

    def held(self, **of: str) -> float:
        columns = ("symbol", "side", "notional", "regime")
        rows = [dict(zip(columns, fill, strict=True)) for fill in self.fills]
        return sum(float(row["notional"]) for row in rows if all(row[k] == v for k, v in of.items()))

    def check(self, symbol: str, side: str, notional: float, regime: str | None) -> tuple[bool, float, list[str]]:
        limits = self.limits
        if not limits.enabled:
            return True, 1.0, ["disabled"]
        if not (math.isfinite(notional) and notional > 0):
            return False, 0.0, ["invalid_size"]
        if not (math.isfinite(self.equity) and self.equity > 0):
            return False, 0.0, ["invalid_equity"]
        if not limits.pyramiding and self.held(symbol=symbol, side=side):
            return False, 0.0, ["position_already_exists"]
        p = notional / self.equity
        same = self.held(symbol=symbol, side=side)
        against = self.held(symbol=symbol) - same
        asked = [
            ("symbol", limits.symbol_limit, same - against if limits.exposure == "net" else same + against),
            ("direction", limits.direction_limit, self.held(side=side)),
        ]
        if regime is not None:
            asked.append(("regime", limits.regime_limit, self.held(regime=regime)))
        multiplier, reasons = 1.0, []
        for kind, limit, amount in asked:
            e = amount / self.equity
            if e + p > limit:
                a = max(0.0, limit - e) / p
                if a < 0.1:
                    return False, 0.0, [*reasons, f"{kind}_exposure_limit_exceeded"]
                multiplier = min(multiplier, a)
                reasons.append(f"{kind}_exposure_reduced_{a:.2f}")
        for other, its in dict.fromkeys((name, way) for name, way, _, _ in self.fills):
            if other == symbol or limits.correlation_cut == 0.0:
                continue
            rho = self.correlation(symbol, other)
            if rho is None and limits.on_unknown == "ignore":
                reasons.append(f"correlation_{other}_unknown_ignored")
                continue
            if rho is not None and not (rho > 0 if its == side else rho < 0):
                continue
            c = 1.0 if rho is None else abs(rho)
            if c > limits.correlation_limit:
                a = 1 - min(limits.correlation_cut, (c - limits.correlation_limit) / (1 - limits.correlation_limit))
                said = "unknown" if rho is None else f"{c:.2f}"
                reasons.append(f"correlation_{other}_{said}_reduced_{a:.2f}")
                if a <= 0:
                    return False, 0.0, list(dict.fromkeys(reasons))
                multiplier = min(multiplier, a)
        return True, multiplier, list(dict.fromkeys(reasons))
