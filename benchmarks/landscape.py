"""A market and a rule whose landscape is known: a plateau that earns for a reason, a spike that earned by coincidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kernels import Costs, Market, Strategy
from kernels.backends.numpy import NumpyBackend
from kernels.engine import Engine
from kernels.market import FloatArray
from search.cloud import Cloud
from search.space import Space
from search.targets import Targets

TARGETS = Targets.of({"sharpe": {"at_least": 3.0, "reservation": 0.0}}, metrics=["sharpe"])
COSTS = Costs(fee_bps=1.0, slippage_bps=1.0)
BARS_PER_YEAR = 250.0
BARS = 2000  # eight years of a sample
Rows = Callable[[pd.DataFrame], "pd.Series[bool]"]


@dataclass(frozen=True)
class Landscape:
    """A rule of two searched parameters, and samples of the market it trades.

    Parameters
    ----------
    closes
        `closes(rng, planted)` draws one sample, (T,) prices; with `planted` the coincidence is in it.
    spike, plateau
        Which configurations are the one and the other, by construction.
    """

    name: str
    story: str
    strategy: Strategy
    search: Mapping[str, Any]
    closes: Callable[[np.random.Generator, bool], FloatArray]
    spike: Rows
    plateau: Rows

    @property
    def space(self) -> Space:
        """Every configuration: both parameters have steps, so they can be counted."""
        return Space.of(self.strategy, search=self.search)

    def sample(self, seed: int, *, planted: bool) -> Market:
        """A history of one asset; a bar opens where the last one closed."""
        close = self.closes(np.random.default_rng(seed), planted)[:, None]
        before = np.concatenate([close[:1], close[:-1]])
        return Market(
            ("X",),
            np.datetime64("2015-01-01", "us") + np.arange(len(close)) * np.timedelta64(1, "D"),
            close=close,
            open=before,
            high=np.maximum(close, before),
            low=np.minimum(close, before),
            bars_per_year=BARS_PER_YEAR,
        )

    def measured(self, market: Market, configurations: pd.DataFrame) -> pd.DataFrame:
        """The metrics of configurations on a sample, by the NumPy backend."""
        return Engine(market, self.strategy, COSTS, NumpyBackend()).metrics(configurations)


class Known:
    """Every configuration of a landscape, backtested once on one sample; whatever a search asks for is looked up.

    A configuration's numbers do not depend on those beside it, so they are what its own backtest would give.
    """

    def __init__(self, landscape: Landscape, market: Market) -> None:
        space = landscape.space
        size = space.grid_size()
        self.configurations = space.grid_rows(0, size)
        self._space = space
        self._searched = list(space.searched)
        self._metrics = landscape.measured(market, self.configurations)
        self._index = pd.MultiIndex.from_frame(self.configurations[self._searched])

    def places(self, configurations: pd.DataFrame) -> NDArray[np.intp]:
        """Where they stand among all configurations."""
        places = self._index.get_indexer(pd.MultiIndex.from_frame(configurations[self._searched]))
        assert (places >= 0).all()
        return places

    def metrics(self, configurations: pd.DataFrame) -> pd.DataFrame:
        """The metrics of some of them, row for row."""
        return self._metrics.iloc[self.places(configurations)].reset_index(drop=True)

    def scores(self) -> FloatArray:
        """The score of every configuration, in their order."""
        scores: FloatArray = TARGETS.score(self._metrics)["score"].to_numpy()
        return scores

    def cloud_scores(self, cloud: Cloud) -> FloatArray:
        """What a sampler would be told of a cloud round every configuration, in their order."""
        n = len(self.configurations)
        members = cloud.around(self._space, self.configurations, first=0, seed=0, trials=1)
        scores = TARGETS.score(self.metrics(members))["score"].to_numpy().reshape(n, cloud.size)
        told: FloatArray = cloud.summary(scores)["cloud_score"].to_numpy()
        return told
