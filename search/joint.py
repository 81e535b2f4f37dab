"""How likely a configuration is to meet every target at once, on histories that might have been.

Of one history: its bars are drawn again in blocks (the stationary bootstrap, whose mean length suits its returns), and
each replicate is measured as the history was, on the same calendar: bar 17 of a replicate stands on the date of bar 17.
Of many simulated paths: each path is measured.

The replicates are of the history the configuration was chosen on, so the probability is that of more of the same; it
says nothing about how much of this was luck.

Source: Politis and Romano (1994), "The Stationary Bootstrap".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kernels.blocks import JOINED, Blocks, BlockStatistics, sums_of
from kernels.market import FloatArray
from kernels.metrics import metrics
from search.bootstrap import block_length, draws
from search.targets import Targets

QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Joint:
    """Of `histories`: the share that meets every target, the share that meets each, and what they measured.

    `each` has a row per target (index: its metric): `probability`, and `low`, `middle`, `high`, the quantiles 5, 50 and
    95 % of the metric. `block_bars` is the mean length of the blocks drawn, None of simulated paths.
    """

    probability: float
    each: pd.DataFrame
    histories: int
    block_bars: float | None


def joint(bars: BlockStatistics, targets: Targets, bars_per_year: float, *, replicates: int, seed: int) -> Joint:
    """Of one configuration bar by bar (`kernels.engine.Engine.bars`), on one history or S paths.

    A replicate on which the configuration is ruined, or a metric with a target is not finite, meets no target and counts
    among the worst. On many paths there is nothing to draw, and `replicates` and `seed` decide nothing.
    """
    if bars.values.shape[2] > 1:  # noqa: PD011 - an array
        return _judged(metrics(monthly(bars), bars_per_year), targets, None)
    length = block_length(bars.of("r1")[:, 0])
    parts = [
        metrics(monthly(bars, drawn), bars_per_year) for drawn in draws(len(bars.blocks), length, replicates, seed)
    ]
    return _judged(pd.concat(parts, ignore_index=True), targets, length)


def ahead(
    bars: BlockStatistics,
    baseline: BlockStatistics,
    targets: Targets,
    bars_per_year: float,
    *,
    replicates: int,
    seed: int,
) -> dict[str, float]:
    """In what share of replicates one configuration is better than another on each metric with a target, both bar by bar on
    one history; where they are equal it counts half.

    Both are drawn alike, in blocks that suit the returns of the first, so what they have in common is in neither's favour.
    """
    length = block_length(bars.of("r1")[:, 0])
    won = dict.fromkeys(targets.metrics, 0.0)
    for drawn in draws(len(bars.blocks), length, replicates, seed):
        one, other = (metrics(monthly(each, drawn), bars_per_year) for each in (bars, baseline))
        for target in targets.targets:
            lead = target.direction * (one[target.metric] - other[target.metric]).to_numpy(dtype=np.float64)
            won[target.metric] += float((lead > 0.0).sum() + 0.5 * (lead == 0.0).sum())
    return {metric: count / replicates for metric, count in won.items()}


def monthly(bars: BlockStatistics, drawn: NDArray[np.int64] | None = None) -> BlockStatistics:
    """Statistics of bars (F, T', S) composed to calendar months (F, B, S); given `drawn` (R, T'), which bar of the one
    history stands at each position of R replicates, those of the replicates (F, B, R).

    The same operations in the same order as `kernels.blocks.accumulate`, over time at once.
    """
    if (bars.blocks.bars != 1).any():
        raise ValueError("statistics of single bars are needed, as Engine.bars gives them; these are of longer blocks")
    starts = _month_starts(bars.blocks)
    edges = [*starts, len(bars.blocks)]
    names = sums_of(bars.account)
    columns = bars.values.shape[2] if drawn is None else len(drawn)  # noqa: PD011 - an array
    out = np.empty((len(names), len(starts), columns))
    order = None if drawn is None else np.ascontiguousarray(drawn.T)  # (T', R)

    def column(name: str) -> FloatArray:
        one = bars.of(name)
        return one if order is None else np.ascontiguousarray(one[:, 0])[order]

    rows = dict(zip(names, out, strict=True))
    for name in rows.keys() - set(JOINED):
        added = column(name)
        for month, (first, end) in enumerate(pairwise(edges)):
            rows[name][month] = np.add.accumulate(added[first:end])[-1]  # bar by bar: a sum would pair a lone column
    growth = column("growth")
    for month, (first, end) in enumerate(pairwise(edges)):
        grown = np.cumprod(growth[first:end], axis=0)
        peak = np.maximum.accumulate(grown, axis=0)
        rows["growth"][month], rows["peak"][month], rows["trough"][month] = grown[-1], peak[-1], grown.min(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            rows["drawdown"][month] = (1.0 - grown / peak).max(axis=0)
    months = Blocks(bars.blocks.edges[edges], bars.blocks.timestamps)
    return BlockStatistics(months, out, bars.account)


def _month_starts(blocks: Blocks) -> NDArray[np.int64]:
    months = blocks.timestamps[blocks.edges[:-1]].astype("datetime64[M]")
    return np.concatenate([[0], np.flatnonzero(months[1:] != months[:-1]) + 1]).astype(np.int64)


def _judged(measured: pd.DataFrame, targets: Targets, length: float | None) -> Joint:
    scored = targets.score(measured)
    ok = (scored["status"] == "ok").to_numpy()
    wanted = targets.targets
    met = np.stack([scored[f"margin_{t.metric}"].to_numpy() >= 0.0 for t in wanted]) & ok  # (targets, histories)
    values = np.stack([measured[t.metric].to_numpy(dtype=np.float64) for t in wanted])
    worst = np.array([[-np.inf if t.direction > 0 else np.inf] for t in wanted])
    low, middle, high = np.quantile(np.where(np.isnan(values), worst, values), QUANTILES, axis=1, method="inverted_cdf")
    each = pd.DataFrame(
        {"probability": met.mean(axis=1), "low": low, "middle": middle, "high": high},
        index=pd.Index(targets.metrics, name="metric"),
    )
    return Joint(float(met.all(axis=0).mean()), each, len(measured), length)
