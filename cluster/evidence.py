"""What speaks for a winner and against it, as plain arrays and tables that a report shows: each part optional.

Sharpe ratios are a year's. A part that a study cannot have, or has not, is None, and the report says so in a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from kernels.market import FloatArray
from kernels.market_calendar import DateArray
from tracking.report import Verdict


@dataclass(frozen=True, slots=True)
class HoldOut:
    """The bars that the search has not seen. `opened` says when they were looked at: by other studies of the same data, which
    should not be, and last by this one, where `metrics` are known.

    `metrics` (None until this study opened it) has the winner and the baselines as rows, index: labels as in
    `Findings.compared`; columns: metrics by their names in results, `margin_<metric>`, and score where there is one.
    """

    first: str
    last: str
    bars: int
    opened: tuple[str, ...] = ()
    metrics: pd.DataFrame | None = None


@dataclass(frozen=True, slots=True)
class WalkForward:
    """Chosen on the past, held over what comes after it, fold by fold.

    `folds` has a row each: train_from, train_to, test_from, test_to (dates), trial, every searched parameter, score_in,
    sharpe_in, sharpe_out, return_out. `returns` (T rows) are bar returns over the tests put together, the stitched ones
    first, then those of the winner and the best baseline over the same bars; `timestamps` (T,).
    """

    folds: pd.DataFrame
    timestamps: DateArray
    returns: pd.DataFrame
    efficiency: float  # Sharpe ratio out of sample over that in training
    positive: float  # share of folds that earn


@dataclass(frozen=True, slots=True)
class Splits:
    """CSCV: of K splits the logit of the chosen one's rank, and its Sharpe ratios where it was chosen and outside."""

    logits: FloatArray
    inside: FloatArray
    outside: FloatArray
    probability: float


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """Purged combinatorial cross-validation: Sharpe ratios of the out-of-sample paths, (K,), and the winner's in sample."""

    paths: FloatArray
    inside: float


@dataclass(frozen=True, slots=True)
class RealityCheck:
    """The largest studentised lead in Sharpe ratio over the baseline `against` in each of R resampled histories, and the one
    found."""

    maxima: FloatArray
    found: float
    p_value: float
    against: str


@dataclass(frozen=True, slots=True)
class Joint:
    """How often every target is met at once in so many resampled histories, and each of them by itself."""

    probability: float
    replicates: int
    each: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it. `sharpes` (N,) are those of every valid configuration tried; `neighbours` the median score around the
    winner; `looks` the studies on this data (columns study, configurations, when); `dead` sentences on parameters that
    move nothing; `missing` sentences on what could not be judged, and why."""

    verdict: Verdict | None = None
    holdout: HoldOut | None = None
    walk_forward: WalkForward | None = None
    splits: Splits | None = None
    cross_validation: CrossValidation | None = None
    sharpes: FloatArray | None = None
    reality_check: RealityCheck | None = None
    joint: Joint | None = None
    neighbours: float | None = None
    looks: pd.DataFrame | None = None
    dead: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
