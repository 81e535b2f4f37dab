"""The option markets that a study file may name, key by key; docs/option_markets.md tells what each one means."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cluster.study_values import Moment, Number, Section, Whole

Positive = Annotated[Number, Field(gt=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Volatility = Annotated[Number, Field(gt=0, le=5)]
Tickers = Annotated[list[str], Field(min_length=1)]
Rate = Annotated[Number, Field(gt=-0.5, lt=1)]


class ContractConfig(Section):
    """The option of every cycle, and the second one that may offset its gamma (`kernels.option_market.Contract`)."""

    kind: Literal["call", "put", "straddle"] = "call"
    side: Literal["sell", "buy"] = "sell"
    tenor_days: Annotated[Number, Field(ge=1, le=1000)] = 30.0
    moneyness: Annotated[Number, Field(ge=0.2, le=5)] = 1.0
    second_tenor: Annotated[Number, Field(ge=1, le=20)] = 2.0


class OptionSection(Section):
    """What every option market has: the contract, and rates per year, continuously compounded."""

    contract: ContractConfig = ContractConfig()
    rate: Rate = 0.0
    dividend_yield: Rate = 0.0


class PathsSection(OptionSection):
    """What every simulated market has: how many paths of how many bars, and the seed and stream they are drawn from.

    Length: `bars` or `days`. `step_days` is by default the smallest `rebalance_days` of the study, at most a day.
    """

    scenarios: Annotated[Whole, Field(ge=1, le=10_000_000)] = 1000
    bars: Annotated[Whole, Field(ge=2, le=1_000_000)] | None = None
    days: Positive | None = None
    seed: Annotated[Whole, Field(ge=0)] = 0
    stream: Literal["train", "validation", "holdout"] = "train"

    @model_validator(mode="after")
    def _one_length(self) -> PathsSection:
        if self.bars is not None and self.days is not None:
            raise ValueError(f"give bars or days, got both ({self.bars} bars, {self.days:g} days)")
        return self

    def length(self, step_days: float, default_days: float = 60.0) -> int:
        """Bars of a path, the first one included."""
        if self.bars is not None:
            return self.bars
        return max(2, 1 + round((default_days if self.days is None else self.days) / step_days))


class GbmMarket(PathsSection):
    """Geometric Brownian motion marked by Black-Scholes; `implied_volatility` null is the true one."""

    source: Literal["gbm"]
    tickers: Tickers = Field(default_factory=lambda: ["SIM"])
    step_days: Positive | None = None
    spot: Positive = 100.0
    volatility: Volatility = 0.2
    implied_volatility: Volatility | None = None
    drift: Number = 0.0


class HestonKeys(Section):
    """Parameters of Heston's model under the pricing measure, per year."""

    v0: Number
    kappa: Number
    theta: Number
    xi: Number
    rho: Number


class ChainConfig(Section):
    """A chain of quotes that Heston's model is calibrated to, and what makes it one that cannot be.

    `date` null is its last session. Expiries before `min_days` are left out: the jump of an earnings day is no diffusion.
    """

    path: str
    date: Moment | None = None
    min_days: Annotated[Number, Field(ge=1)] = 20.0
    max_days: Annotated[Number, Field(ge=1)] = 400.0
    min_volume: Annotated[Whole, Field(ge=0)] = 10
    min_quotes: Annotated[Whole, Field(ge=5)] = 30
    max_quotes: Annotated[Whole, Field(ge=5, le=1000)] = 120
    max_rmse: Positive = 3.0


class HestonMarket(PathsSection):
    """Paths of price and variance; parameters given, or calibrated to a chain per ticker."""

    source: Literal["heston"]
    tickers: Tickers = Field(default_factory=lambda: ["SIM"])
    step_days: Positive | None = None
    spot: Positive | None = None
    parameters: HestonKeys | None = None
    chain: ChainConfig | None = None
    drift: Number | None = None
    variance_risk_premium: Number = 0.0

    @model_validator(mode="after")
    def _one_origin(self) -> HestonMarket:
        if (self.parameters is None) == (self.chain is None):
            raise ValueError(
                "give parameters {v0, kappa, theta, xi, rho} or a chain {path} to calibrate to, one of the two"
            )
        return self


class ImpliedConfig(Section):
    """Where implied volatilities stand: a column of the same file, or of another one; `symbol` null is the ticker."""

    column: str
    path: str | None = None
    symbol: str | None = None
    scale: Positive = 1.0
    max_missing: Share = 0.05


class HistorySection(Section):
    """A history of daily closes with implied volatilities."""

    path: str
    tickers: Tickers
    close: str = "close"
    implied: ImpliedConfig
    start: Moment | None = None
    end: Moment | None = None


class OptionModelMarket(HistorySection, OptionSection):
    """One history: closes, and Black-Scholes marks at an implied volatility that moves."""

    source: Literal["option_model"]


class BootstrapMarket(HistorySection, PathsSection):
    """Histories resampled in blocks of `block_bars` on average, returns and changes of implied volatility together."""

    source: Literal["bootstrap"]
    block_bars: Annotated[Number, Field(ge=1)] = 10.0


class OptionQuotesMarket(OptionSection):
    """One history of listed contracts, each held to its expiry and marked at its own price.

    A contract whose tenor is off by more than `tenor_tolerance` of the one asked for, or whose strike by more than
    `strike_tolerance`, is not taken. `max_carried` is the share of marks that may come from a volatility carried forward.
    """

    source: Literal["option_quotes"]
    path: str
    tickers: Tickers
    start: Moment | None = None
    end: Moment | None = None
    tenor_tolerance: Share = 0.5
    strike_tolerance: Share = 0.05
    max_carried: Share = 0.35


OptionMarketConfig = GbmMarket | HestonMarket | OptionModelMarket | BootstrapMarket | OptionQuotesMarket
