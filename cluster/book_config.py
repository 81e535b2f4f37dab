"""What a study file says of the long book that a portfolio hedge protects (`kernels.long_book`), key by key."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cluster.study_values import Number, Section


class VolatilityConfig(Section):
    """Where an implied volatility such as the VIX stands: a column of one symbol; `scale` makes it a fraction per year."""

    path: str
    symbol: str
    column: str = "close"
    scale: Annotated[Number, Field(gt=0)] = 1.0


class BesideConfig(Section):
    """One ticker of a second market, of which the closes are read."""

    path: str
    ticker: str


class BookConfig(Section):
    """One book of all tickers of the market. Tickers without a weight weigh 0; `hedge_asset` null is the first ticker."""

    weights: dict[str, Number] | None = None
    hedge_asset: str | None = None
    frames: list[str] | None = None
    volatility: VolatilityConfig | None = None
    beside: BesideConfig | None = None
