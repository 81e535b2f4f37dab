"""A rule climbed feature by feature: the configurations that are its stairs, and what they do on a stretch of bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cluster.plan import Plan
from kernels import Strategy
from kernels.blocks import Blocks
from kernels.market import FloatArray
from kernels.metric import OF_RETURNS
from search.paired import paired

BASELINE = "baseline"
AGAINST = ("feature", "way", "metric", "low", "high", "better")
REPLICATES = 1000  # resampled histories of a stretch that the search has not seen
ALWAYS = ("cagr", "max_drawdown", "sharpe", "volatility", "total_return", "cost_paid")
"""What is measured of every stair, beside the metrics with a target."""


@dataclass(frozen=True)
class Stretch:
    """Stairs on some bars. `metrics` has a row per stair (index: `labels`), columns: `measured`.

    `against` says how sure a difference is, where the bars were not seen by the search: a row for each feature, `way`
    (`added` to the stair before, `removed` from the whole) and judged metric, with `low`, `high`, `better` of
    `search.paired.paired`; None of bars that were.
    """

    first_day: str
    last_day: str
    bars: int
    metrics: pd.DataFrame
    against: pd.DataFrame | None = None

    def value(self, label: str, metric: str) -> float:
        """A metric of one stair."""
        return float(self.metrics[metric].to_numpy()[list(self.metrics.index).index(label)])

    def whole(self, metric: str) -> float:
        """A metric of the whole rule: the last stair, in the middle, since as many features are added as are removed."""
        return float(self.metrics[metric].to_numpy()[len(self.metrics) // 2])

    def change(self, feature: str, metric: str) -> float:
        """The metric of the whole rule less that without the feature."""
        return self.whole(metric) - self.value(without(feature), metric)

    def is_dead(self, feature: str) -> bool:
        """Whether the feature makes no difference to any metric, to the bit."""
        return all(self.change(feature, metric) == 0.0 for metric in self.metrics.columns)

    def better(self, feature: str, way: str, metric: str) -> float:
        """In what share of resampled histories a metric is better with the feature; NaN where not judged."""
        return self._found(feature, way, metric, "better")

    def interval(self, feature: str, way: str, metric: str) -> tuple[float, float]:
        """Where 90 % of the differences with and without the feature lie."""
        return self._found(feature, way, metric, "low"), self._found(feature, way, metric, "high")

    def _found(self, feature: str, way: str, metric: str, column: str) -> float:
        if self.against is None:
            return math.nan
        table = self.against
        row = table[(table["feature"] == feature) & (table["way"] == way) & (table["metric"] == metric)]
        return float(row[column].iloc[0]) if len(row) else math.nan


def switched(strategy: Strategy, configuration: pd.DataFrame) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The features that a configuration (one row) has on, and those that it leaves off, in the strategy's order."""
    on = {f.parameter: configuration[f.parameter].iloc[0] != off_of(strategy, f.parameter) for f in strategy.features}
    return tuple(name for name, is_on in on.items() if is_on), tuple(name for name, is_on in on.items() if not is_on)


def off_of(strategy: Strategy, feature: str) -> str:
    """The choice that switches a feature off."""
    return strategy.parameter(feature).choices[0]


def stairs(strategy: Strategy, configuration: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """The stairs of one configuration (one row), index: labels. Baseline, then one more of the `features` on each, as it
    has them; then the whole without each. Every other feature of the strategy is off."""
    every = [feature.parameter for feature in strategy.features]
    kept: dict[str, Sequence[str]] = {BASELINE: ()}
    kept |= {added(name): features[: k + 1] for k, name in enumerate(features)}
    kept |= {without(name): [each for each in features if each != name] for name in features}
    table = configuration[[p.name for p in strategy.parameters]].iloc[[0] * len(kept)].set_axis(list(kept))
    for name in every:
        own, off = configuration[name].iloc[0], off_of(strategy, name)
        table[name] = [own if name in on else off for on in kept.values()]
    return table


def added(feature: str) -> str:
    """The label of the stair that a feature adds."""
    return f"+ {feature}"


def without(feature: str) -> str:
    """The label of the whole rule less one feature."""
    return f"without {feature}"


def measured(plan: Plan) -> list[str]:
    """The metrics of every stair: those with a target, then `ALWAYS`."""
    claimed = [feature.claims for feature in plan.strategy.features]
    return list(dict.fromkeys([*plan.targets.metrics, *claimed, *ALWAYS]))


def wanted(plan: Plan) -> dict[str, int]:
    """The metrics with a target that returns decide, with the direction that is better: features are judged by them."""
    return {t.metric: t.direction for t in plan.targets.targets if t.metric in OF_RETURNS}


def judged(plan: Plan) -> dict[str, int]:
    """The same, and what features claim: the metrics whose differences are looked at."""
    claimed = {f.claims: plan.strategy.metrics[f.claims].good for f in plan.strategy.features}
    return claimed | wanted(plan)


def unseen(plan: Plan, features: Sequence[str], metrics: pd.DataFrame, returns: FloatArray, blocks: Blocks) -> Stretch:
    """A stretch that the search has not seen: `metrics` of its stairs, and their `returns` (n, stairs) in `blocks`."""
    k = len(features)
    pairs = [(n + 1, n) for n in range(k)] + [(k, k + 1 + n) for n in range(k)]
    found = paired(
        *(returns, pairs, judged(plan), blocks, plan.market.bars_per_year),
        replicates=REPLICATES,
        seed=plan.config.search.seed,
    )
    ways = [(feature, way) for way in ("added", "removed") for feature in features]
    tables = [t.reset_index().assign(feature=f, way=way) for t, (f, way) in zip(found, ways, strict=True)]
    against = pd.concat(tables, ignore_index=True)[[*AGAINST]] if tables else pd.DataFrame(columns=[*AGAINST])
    return Stretch(*days(blocks), metrics[measured(plan)], against)


def days(blocks: Blocks) -> tuple[str, str, int]:
    """First and last day of some bars, and how many they are."""
    stamps = blocks.timestamps.astype("datetime64[D]")
    return str(stamps[blocks.edges[0]]), str(stamps[blocks.edges[-1] - 1]), int(blocks.bars.sum())


def plain(stretch: Stretch) -> dict[str, Any]:
    """A stretch as JSON has it: numbers that are not finite are words."""
    assert stretch.against is not None
    return {
        "first_day": stretch.first_day,
        "last_day": stretch.last_day,
        "bars": stretch.bars,
        "metrics": {label: _plain(row) for label, row in stretch.metrics.to_dict("index").items()},
        "against": [_plain(row) for row in stretch.against.to_dict("records")],
    }


def of_plain(content: Mapping[str, Any]) -> Stretch:
    """The same read again, to the last bit."""
    against = pd.DataFrame(content["against"], columns=[*AGAINST])
    numbers = dict.fromkeys(AGAINST[3:], float)
    metrics = pd.DataFrame.from_dict(content["metrics"], orient="index").astype(float)
    return Stretch(content["first_day"], content["last_day"], content["bars"], metrics, against.astype(numbers))


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        str(name): value if isinstance(value, str) or math.isfinite(value) else str(float(value))
        for name, value in row.items()
    }
