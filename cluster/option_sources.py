"""Where option markets come from: simulations, histories, listed contracts; one market per ticker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from cluster.heston_calibration import Calibration, calibrate
from cluster.option_config import (
    BootstrapMarket,
    ChainConfig,
    GbmMarket,
    HestonMarket,
    OptionMarketConfig,
    OptionModelMarket,
)
from cluster.option_history import bootstrap_market, model_market
from cluster.option_quotes import quoted_market
from cluster.tables import read_table
from kernels.errors import InputError
from kernels.heston import HestonParameters
from kernels.heston_market import STREAMS, heston
from kernels.option_market import Contract, OptionMarket, gbm

LONGEST_STEP = 1.0  # days; a bar of a simulated market is no longer, whatever is searched


@dataclass(frozen=True)
class OptionMarkets(Mapping[str, OptionMarket]):
    """A market per ticker, with what a report has to say of each: how marks were found, how well a model fits."""

    markets: Mapping[str, OptionMarket]
    notes: Mapping[str, tuple[str, ...]]
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)

    def __getitem__(self, ticker: str) -> OptionMarket:
        return self.markets[ticker]

    def __iter__(self) -> Iterator[str]:
        return iter(self.markets)

    def __len__(self) -> int:
        return len(self.markets)


def load_options(market: OptionMarketConfig, step_days: float | None = None) -> OptionMarkets:
    """The option markets that a study names, by ticker; InputError with what is wrong about every ticker.

    `step_days` is the smallest time between rebalances that the study asks for: the bar of a simulated market whose own
    `step_days` is not given, at most a day.
    """
    contract = Contract(**market.contract.model_dump())
    step = min(LONGEST_STEP if step_days is None else step_days, LONGEST_STEP)
    markets: dict[str, OptionMarket] = {}
    notes: dict[str, tuple[str, ...]] = {}
    calibrations: dict[str, Calibration] = {}
    problems: list[str] = []
    repeated = sorted({ticker for ticker in market.tickers if market.tickers.count(ticker) > 1})
    if repeated:
        problems.append(f"market.tickers: must be unique, got {', '.join(repeated)} more than once")
    for ticker in dict.fromkeys(market.tickers):
        try:
            if isinstance(market, GbmMarket):
                markets[ticker], notes[ticker] = _gbm(market, ticker, contract, market.step_days or step), ()
            elif isinstance(market, HestonMarket):
                found = None if market.chain is None else _calibrated(market.chain, ticker, market.rate)
                markets[ticker] = _heston(market, ticker, contract, market.step_days or step, found)
                notes[ticker] = (_premium(market, ticker),)
                if found is not None:
                    calibrations[ticker] = found
                    notes[ticker] = (found.sentence, *notes[ticker])
            elif isinstance(market, OptionModelMarket):
                markets[ticker], notes[ticker] = model_market(market, ticker, contract)
            elif isinstance(market, BootstrapMarket):
                markets[ticker], notes[ticker] = bootstrap_market(market, ticker, contract)
            else:
                markets[ticker], notes[ticker] = quoted_market(read_table(market.path), market, ticker, contract)
        except InputError as error:
            refused = [_at_its_key(problem) for problem in error.problems]
            problems.extend(problem for problem in refused if problem not in problems)
    if problems:
        raise InputError(problems)
    told = {ticker: replace(found, notes=notes[ticker]) for ticker, found in markets.items()}
    return OptionMarkets(told, notes, calibrations)


def _at_its_key(problem: str) -> str:
    """A model's own refusal under the key of the study file.

    >>> _at_its_key("heston.v0: 1e-06 <= v0 <= 25 must hold, got 30.0")
    'market.parameters.v0: 1e-06 <= v0 <= 25 must hold, got 30.0'
    """
    if problem.startswith("heston."):
        return problem.replace("heston.", "market.parameters.", 1)
    return f"market.{problem}" if problem.startswith("variance_risk_premium:") else problem


def _gbm(market: GbmMarket, ticker: str, contract: Contract, step_days: float) -> OptionMarket:
    words = [market.seed, STREAMS.index(market.stream), *ticker.encode()]
    return gbm(
        (ticker,),
        scenarios=market.scenarios,
        bars=market.length(step_days),
        step_days=step_days,
        contract=contract,
        seed=int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]),
        spot=market.spot,
        volatility=market.volatility,
        implied_volatility=market.implied_volatility,
        drift=market.drift,
        rate=market.rate,
        dividend_yield=market.dividend_yield,
    )


def _heston(
    market: HestonMarket, ticker: str, contract: Contract, step_days: float, found: Calibration | None
) -> OptionMarket:
    given = market.parameters
    parameters = HestonParameters(**given.model_dump()) if given is not None else None
    spot = 100.0
    if found is not None:
        parameters, spot = found.parameters, found.spot
    assert parameters is not None  # the study file gives parameters or a chain
    return heston(
        ticker,
        parameters=parameters,
        scenarios=market.scenarios,
        bars=market.length(step_days),
        step_days=step_days,
        contract=contract,
        seed=market.seed,
        stream=market.stream,
        drift=market.rate if market.drift is None else market.drift,
        variance_risk_premium=market.variance_risk_premium,
        spot=spot if market.spot is None else market.spot,
        rate=market.rate,
        dividend_yield=market.dividend_yield,
    )


def _premium(market: HestonMarket, ticker: str) -> str:
    drift = market.rate if market.drift is None else market.drift
    if market.variance_risk_premium == 0.0 and drift == market.rate:
        return f"{ticker}: simulated without a premium for variance or price: the expected P&L of a hedged book is its costs"
    return (
        f"{ticker}: the price grows by {drift:.2%} a year (rate {market.rate:.2%}), the variance risk premium is "
        f"{market.variance_risk_premium:g}: both are the study file's word, not the chain's"
    )


def _calibrated(chain: ChainConfig, ticker: str, rate: float) -> Calibration:
    path = Path(chain.path).expanduser()
    changed = path.stat().st_mtime_ns if path.is_file() else 0
    return _once(chain, ticker, rate, changed)


@lru_cache(maxsize=64)
def _once(chain: ChainConfig, ticker: str, rate: float, changed: int) -> Calibration:
    """One calibration for train, validation and hold-out."""
    del changed  # part of the key: a file that is written again is calibrated again
    return calibrate(read_table(chain.path), chain, ticker, rate)
