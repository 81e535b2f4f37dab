"""All that a study tried, read once when it is over: what the judgement of its winner is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cluster.plan import Plan
from kernels.market import FloatArray
from search.periods import SCORE, SQUARES, SUM
from search.study import Study

MOST = 262_144  # configurations whose blocks are compared: evenly taken of more, so that memory and seconds are bounded
SAMPLE = 256  # configurations whose returns are correlated


@dataclass(frozen=True)
class Tried:
    """Of all configurations, in trial order.

    `sharpes` (N,) a year and `r1`, `r2` (S, N') sums of the blocks are of valid ones, N' of them evenly taken where there
    are more than `MOST`; `sample` are configurations evenly taken; `chosen` has a row per fold of walking forward: trial and
    parameters of the best training score, the earliest among equals.
    """

    sharpes: FloatArray
    quarantined: int
    r1: FloatArray
    r2: FloatArray
    sample: pd.DataFrame
    chosen: pd.DataFrame


def read(plan: Plan, study: Study) -> Tried:
    """One pass over a study's results; memory is that of what is kept of them."""
    periods = plan.periods
    S, F = (len(periods.blocks), len(periods.folds)) if periods else (0, 0)
    sums = [f"{kind}{b:02d}" for kind in (SUM, SQUARES) for b in range(S)]
    scores = [f"{SCORE}{k:02d}" for k in range(F)]
    names = ["trial", *(p.name for p in plan.strategy.parameters)]
    step, sparse = -(-plan.configurations // MOST), -(-plan.configurations // SAMPLE)
    sharpes: list[FloatArray] = []
    blocks: list[FloatArray] = []
    samples: list[pd.DataFrame] = []
    best: list[tuple[float, pd.DataFrame | None]] = [(-np.inf, None)] * F
    quarantined = first = 0
    for rows, kept in zip(study.configurations(), study.over_time(), strict=True):
        ok = (rows["status"] == "ok").to_numpy()
        quarantined += int((rows["status"] == "quarantined").sum())
        sharpes.append(rows.loc[ok, plan.space.measured("sharpe")].to_numpy())
        here = first + np.arange(len(rows))
        blocks.append(kept.loc[ok & (here % step == 0), sums].to_numpy(dtype=np.float64))
        samples.append(rows.loc[ok & (here % sparse == 0), names[1:]])
        folds = kept[scores].to_numpy(dtype=np.float64, na_value=-np.inf)
        for k, row in enumerate(folds.argmax(axis=0) if F else ()):
            if folds[row, k] > best[k][0]:
                best[k] = folds[row, k], rows.iloc[[row]][names]
        first += len(rows)
    both = np.concatenate(blocks).T
    chosen = [row for _, row in best if row is not None]
    return Tried(
        np.concatenate(sharpes),
        quarantined,
        np.ascontiguousarray(both[:S]),
        np.ascontiguousarray(both[S:]),
        pd.concat(samples, ignore_index=True),
        pd.concat(chosen, ignore_index=True) if chosen else pd.DataFrame(columns=names),
    )
