"""The account of one asset as a trader would write it down, order by order in plain Python: specs, not arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class PlainAccount:
    """Cash and units of one asset; `limited` says whether buying stops where the cash ends."""

    fee: float
    slippage: float
    limited: bool = True
    cash: float = 10_000.0
    units: float = 0.0

    def order(self, weight: float, fill: float) -> None:
        """Trade to `weight` of the equity at price `fill`."""
        equity = self.cash + self.units * fill
        if equity <= 0.0:
            return
        wanted = weight * equity / fill - self.units
        if wanted > 0.0:
            price = fill * (1.0 + self.slippage) * (1.0 + self.fee)
            all_cash = self.limited and wanted * price > self.cash
            bought = self.cash / price if all_cash else wanted
            if bought >= 1e-8:
                self.cash = 0.0 if all_cash else self.cash - bought * price
                self.units += bought
        elif wanted <= -1e-8:
            self.cash += -wanted * fill * (1.0 - self.slippage) * (1.0 - self.fee)
            self.units += wanted


def values(
    account: PlainAccount,
    weights: Sequence[float],
    trades: Sequence[bool],
    fills: Sequence[float],
    closes: Sequence[float],
) -> list[float]:
    """The account's value at each close; the order of bar t fills at `fills[t]`, beyond the last fill none does."""
    out = []
    for t, close in enumerate(closes):
        if t < len(fills) and trades[t]:
            account.order(weights[t], fills[t])
        out.append(account.cash + account.units * close)
    return out
