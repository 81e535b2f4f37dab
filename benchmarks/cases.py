"""What is measured: the market, and the configurations of each sweep."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from kernels import STRATEGIES, Costs, Market
from kernels.blocks import SUMS, Blocks
from kernels.engine import Engine, switched_off
from kernels.launch import Backend, Launch
from kernels.market import FloatArray
from kernels.option_market import Contract, OptionMarket, gbm
from kernels.strategy import Strategy

PUBLISHED = Path("shared") / "data" / "crypto8_daily.parquet"
COSTS = Costs(fee_bps=4.0, slippage_bps=5.0)
THRESHOLDS = (-0.05, -0.07, -0.10, -0.12, -0.15, -0.20, -0.25, -0.30)
STRENGTHS = tuple(round(0.1 * i, 1) for i in range(1, 11))


def market() -> tuple[Market, str]:
    """The published sweep's market and its name, or a synthetic one of the same shape where the file is not there.

    It is looked for in the folder that HEDGEGRID_DATA names, else in `shared/data` beside this checkout or inside it.
    """
    root = Path(__file__).resolve().parent.parent
    named = os.environ.get("HEDGEGRID_DATA")
    places = [Path(named) / PUBLISHED.name] if named else [root.parent / PUBLISHED, root / PUBLISHED]
    for path in places:
        if path.is_file():
            return Market.from_frame(pd.read_parquet(path), name=path.name, bars_per_year=365), path.name
    return synthetic(2192, 8), "synthetic (8 assets, 2192 days, seed 0)"


def synthetic(bars: int, assets: int, seed: int = 0) -> Market:
    """Seeded daily bars of correlated geometric Brownian motions with 70 % volatility, the trading day in two moves."""
    random = np.random.default_rng(seed)
    common = random.standard_normal((bars, 2, 1))
    moves = 0.7 * np.sqrt(0.5 / 365) * (0.7 * common + 0.7 * random.standard_normal((bars, 2, assets)))
    paths = 100.0 * np.exp(np.cumsum(moves.reshape(2 * bars, assets), axis=0))
    middle, close = paths[0::2], paths[1::2]
    opened = np.concatenate([close[:1], close[:-1]])
    return Market(
        tickers=tuple(f"SYN{i + 1}" for i in range(assets)),
        timestamps=np.datetime64("2020-01-01", "us") + np.arange(bars) * np.timedelta64(86_400_000_000, "us"),
        open=opened,
        high=np.maximum(np.maximum(opened, middle), close),
        low=np.minimum(np.minimum(opened, middle), close),
        close=close,
        volume=random.lognormal(10.0, 0.5, (bars, assets)),
        bars_per_year=365,
    )


def cut(whole: Market, bars: int) -> Market:
    """The first bars of a market."""
    columns = {n: getattr(whole, n) for n in ("open", "high", "low", "close", "volume")}
    first = {n: a[:bars] for n, a in columns.items() if a is not None}
    return replace(whole, timestamps=whole.timestamps[:bars], **first)


def kind_for(strategy: Strategy, whole: Market) -> Market | OptionMarket:
    """The market itself for a rule on prices, else options on one simulated scenario of as many bars and assets.

    Bars of 2.4 hours, the finest that a rebalance may ask for.
    """
    if strategy.market is Market:
        return whole
    return gbm(whole.tickers, scenarios=1, bars=whole.n_bars, step_days=0.1, contract=Contract(tenor_days=7.0), seed=0)


def published() -> pd.DataFrame:
    """The 82 configurations of the published sweep."""
    grid = [
        {"short_mode": "hedge_only", "hedge_threshold": t, "hedge_strength": s} for t in THRESHOLDS for s in STRENGTHS
    ]
    return pd.DataFrame([*grid, {"short_mode": "disabled"}, {"short_mode": "full"}]).fillna(
        {"hedge_threshold": -0.07, "hedge_strength": 0.3}
    )


def hedges(count: int, seed: int = 1) -> pd.DataFrame:
    """Random hedge parameters: every configuration reads the same planes."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {"hedge_threshold": random.uniform(-0.5, -0.01, count), "hedge_strength": random.uniform(0.0, 1.0, count)}
    )


def windows(count: int) -> pd.DataFrame:
    """Random lookbacks and volatility windows too: configurations read different slices of two banks."""
    random = np.random.default_rng(2)
    drawn = {n: random.integers(6, 121, count) for n in ("lookback", "vol_window")}
    return hedges(count).assign(**drawn)


PLANES = 16  # sets of the parameters that planes depend on


def ranges(strategy: Strategy, count: int) -> pd.DataFrame:
    """Random values of every parameter of any strategy, within its range; integer ones below 120, a tenth switched off.

    What planes depend on is drawn for `PLANES` sets of them, of which each row has one: a plane takes longer to make than
    a configuration to run.
    """
    random = np.random.default_rng(3)
    columns: dict[str, object] = {}
    for p in strategy.parameters:
        if p.choices:
            columns[p.name] = random.choice(p.choices, count)
            continue
        assert p.low is not None
        assert p.high is not None
        if p.integer:
            columns[p.name] = random.integers(int(p.low), int(min(p.high, 120)) + 1, count)
            continue
        values = random.uniform(p.low, p.high, count)
        columns[p.name] = np.where(random.random(count) < 0.1, np.nan, values) if p.optional else values
    table = pd.DataFrame(columns)
    keys = sorted({key for plane in strategy.planes for key in plane.keys})
    one_of = random.integers(0, min(PLANES, count), count)
    return table.assign(**{key: table[key].to_numpy()[one_of] for key in keys})


def engine(
    market: Market | OptionMarket, backend: Backend, configurations: pd.DataFrame, strategy: Strategy | None = None
) -> Engine:
    """An engine for these configurations at the published costs."""
    rule = strategy or STRATEGIES["tsmom_hedge"]
    return Engine(market, rule, COSTS, backend, switched_off(rule, configurations))


@dataclass
class _Catch:
    """A backend that keeps its launches instead of running them."""

    name: str = "caught"
    output_bytes: int = 2**62
    lanes: int = 1
    launches: list[Launch] = field(default_factory=list)

    def run(self, launch: Launch, blocks: Blocks) -> FloatArray:
        self.launches.append(launch)
        return np.empty((len(SUMS), len(blocks), 0))


def launch(
    market: Market | OptionMarket, configurations: pd.DataFrame, strategy: Strategy | None = None
) -> tuple[Launch, Blocks]:
    """All configurations in one launch, and the monthly blocks: what a backend's `run` takes."""
    caught = _Catch()
    prepared = engine(market, caught, configurations, strategy)
    for _ in prepared.stream(configurations):
        pass
    (only,) = caught.launches
    return only, prepared.blocks
