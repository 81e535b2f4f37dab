"""What each protective feature of a strategy bought on this data, and what it cost: in sample, walking forward, hidden bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from cluster.plan import Plan
from cluster.selection import Selection
from cluster.stairs import Stretch, days, measured, off_of, stairs, switched, unseen, wanted
from cluster.validation import Opened, nothing_hidden
from cluster.winner import engine_for
from kernels.blocks import Blocks, BlockStatistics
from kernels.market import FloatArray
from kernels.metrics import metrics
from search.paired import Word, word_of

SEEN, WALKED, HIDDEN = "in sample", "walking forward", "hold-out"


@dataclass(frozen=True)
class Staircase:
    """The stairs of a winner that has the features `on`; the search left the others off.

    `walked` are the choices of walking forward, each fold's own with its features switched, put together; `chosen` in how
    many of the `folds` the choice had the feature on. `hidden` are the winner's stairs on the bars that were hidden from the
    search. A stretch that is None is not there, and `why_not` says why, by its name.
    """

    on: tuple[str, ...]
    left_off: tuple[str, ...]
    seen: Stretch
    walked: Stretch | None
    hidden: Stretch | None
    chosen: dict[str, int]
    folds: int
    why_not: dict[str, str]

    @property
    def stretches(self) -> dict[str, Stretch]:
        """Those that are there, by name."""
        every = {SEEN: self.seen, WALKED: self.walked, HIDDEN: self.hidden}
        return {name: stretch for name, stretch in every.items() if stretch is not None}

    @property
    def judge(self) -> tuple[str, Stretch]:
        """The stretch that features are judged on: walking forward, else the hidden bars, else the searched ones."""
        name = WALKED if self.walked else HIDDEN if self.hidden else SEEN
        return name, self.stretches[name]

    def word(self, plan: Plan, feature: str) -> Word | Literal["not judged"]:
        """Whether a feature earned its place: by targets on the bars that judge; hidden bars that say the opposite take the
        word back."""
        name, stretch = self.judge
        if name == SEEN:
            return "not judged"
        words = [
            word_of([each.better(feature, "removed", metric) for metric in wanted(plan)])
            for each in (stretch, self.hidden or stretch)
        ]
        return "not shown" if set(words) == {"earned", "harmed"} else words[0]


def climb(plan: Plan, chosen: pd.DataFrame, compared: pd.DataFrame, selection: Selection) -> Staircase | None:
    """The staircase of the first of `compared`, the winner; None where the strategy names no features or there are many paths.

    `chosen` has a row per fold, what the study would have chosen on the bars before it (`Tried.chosen`).
    """
    if not plan.strategy.features or plan.periods is None:
        return None
    opened, why_not = selection.opened, selection.why_not.get(WALKED)
    on, left_off = switched(plan.strategy, compared.iloc[:1])
    walks = chosen if why_not is None else chosen.iloc[:0]
    climbs = [compared.iloc[:1], *(walks.iloc[[fold]] for fold in range(len(walks)))]
    rows = pd.concat([stairs(plan.strategy, each, on) for each in climbs])
    labels, rows = list(rows.index[: len(rows) // len(climbs)]), rows.reset_index(drop=True)
    # Beside the baselines, as in walking forward: the same parameters are off, so their kernel is there already.
    engine = engine_for(plan, pd.concat([rows, compared[list(rows.columns)]]))
    backtest = engine.run(rows)
    walked = _walked(plan, on, labels, backtest.statistics, engine.returns(rows)) if len(walks) else None
    hidden = opened.stairs if opened else None
    reasons = {} if why_not is None else {WALKED: why_not}
    return Staircase(
        on,
        left_off,
        Stretch(*days(engine.blocks), backtest.metrics.iloc[: len(labels)][measured(plan)].set_axis(labels)),
        walked,
        hidden,
        {name: int((walks[name] != off_of(plan.strategy, name)).sum()) for name in on},
        len(walks),
        reasons | ({} if hidden else {HIDDEN: _not_hidden(plan, opened)}),
    )


def _walked(
    plan: Plan, on: Sequence[str], labels: list[str], statistics: BlockStatistics, returns: FloatArray
) -> Stretch:
    """Every fold's test by its own stairs, put together; the first columns, as many as `labels`, are the winner's."""
    assert plan.periods is not None
    edges, sums, bars = statistics.blocks.edges, [], []
    for k, fold in enumerate(plan.periods.folds, start=1):
        columns = slice(k * len(labels), (k + 1) * len(labels))
        first, end = (edges[edge] - 1 for edge in fold.test)  # the first bar has no return
        sums.append(statistics.values[:, slice(*fold.test), columns])  # noqa: PD011 - an array
        bars.append(returns[first:end, columns])
    # Tests follow upon each other, so together they are one stretch.
    begin, after = plan.periods.folds[0].test[0], plan.periods.folds[-1].test[1]
    blocks = Blocks(edges[begin : after + 1], statistics.blocks.timestamps)
    together = replace(statistics, blocks=blocks, values=np.concatenate(sums, axis=1))
    table = metrics(together, plan.market.bars_per_year).set_axis(labels)
    return unseen(plan, on, table, np.concatenate(bars), blocks)


def _not_hidden(plan: Plan, opened: Opened | None) -> str:
    if plan.holdout is None:
        return nothing_hidden(plan)
    if opened is not None:
        return "it was opened before stairs were kept of it"
    return f"not opened: `hedgegrid validate {plan.folder}` opens it, once"
