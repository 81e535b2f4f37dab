"""Whether the best of a study beats its baseline by more than the best of so many would by luck: asked of the workers once
its trials are told, for every configuration ever evaluated, and kept in the study's folder."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from cluster.identity import Identity
from cluster.plan import Plan
from cluster.rival import rival
from cluster.winner import engine_for
from cluster.work import Surveyed
from cluster.worker import Terms
from kernels.market import FloatArray
from search.bootstrap import block_length
from search.manifest import Manifest
from search.reality_check import risk_adjusted
from search.study import Study

REALITY = "reality.json"
NAMED_DIGITS = 6  # of a block length: the last ones of returns may differ between backends


@dataclass(frozen=True, slots=True)
class Reality:
    """What the reality check says of a study: of Sharpe ratios, against the baseline to beat or cash (None).

    `found` is the largest excess, in standard errors; None where no configuration differs from the baseline. `p_value` is
    Hansen's, `upper_p_value` White's: how often luck alone finds as much. `configurations` took part; `left_out` could not be
    computed or were invalid. `maxima` (replicates,) are the largest excesses by luck alone.
    """

    found: float | None
    p_value: float
    upper_p_value: float
    baseline: str | None
    replicates: int
    block_length: float  # bars
    configurations: int
    left_out: int
    maxima: tuple[float, ...]


class Survey(NamedTuple):
    """What is asked of the pool: terms, and configurations as trial numbers or as rows; what to keep the answer by."""

    terms: Terms
    rows: Sequence[range] | pd.DataFrame
    baseline: str | None  # its label
    size: int  # configurations evaluated
    settings: str  # SHA-256 of all that decides the answer


def replicates(plan: Plan) -> int:
    """How many bootstrap replicates a study asks for; 0 is no reality check."""
    return plan.config.selection.replicates


def survey_of(plan: Plan, identity: Identity, study: Study, baselines: pd.DataFrame) -> Survey | None:
    """The survey of a study whose trials are all told; None where none is wanted, there are many histories, or the baseline
    that the study names could not be computed.

    The blocks of the bootstrap suit the difference between the best configuration and the baseline (Politis and White).
    """
    if not replicates(plan) or plan.market.n_scenarios > 1:
        return None
    rows, best, size = _evaluated(plan, study)
    if best is None:
        return None
    label = rival(plan, baselines)
    if label is None and plan.config.selection.baseline is not None:
        return None  # what it would be held against could not be computed
    baseline = None if label is None else plan.baselines.loc[[label]]
    against = np.zeros(plan.market.n_bars - 1) if baseline is None else _series(plan, baseline)
    length = round(block_length(_series(plan, best) - against), NAMED_DIGITS)
    terms = Terms(_as_json(baseline), replicates(plan), length, plan.config.search.seed)
    looked_at = len(rows) if isinstance(rows, pd.DataFrame) else [(each.start, each.stop) for each in rows]
    what = (identity.study_digest, identity.data_digest, identity.code_digest)
    decided = json.dumps([*what, study.trials, size, looked_at, asdict(terms)])
    settings = hashlib.sha256(decided.encode()).hexdigest()
    return Survey(terms, rows, label, size, settings)


def keep(study: Study, survey: Survey, surveyed: Surveyed) -> Reality | None:
    """What was found, written into the study's folder; None where nothing could be computed."""
    found = surveyed.excess
    if found is None or not found.configurations:
        return None
    reality = Reality(
        found.found if math.isfinite(found.found) else None,
        found.p_value,
        found.upper_p_value,
        survey.baseline,
        survey.terms.replicates,
        survey.terms.block_length,
        found.configurations,
        survey.size - found.configurations,
        tuple(found.consistent.tolist()),
    )
    study.manifest.text(REALITY, json.dumps({**asdict(reality), "settings": survey.settings}, indent=1) + "\n")
    return reality


def kept(manifest: Manifest, settings: str | None = None) -> Reality | None:
    """What an earlier run found, by those settings or whatever they were; None where it is not there or not whole."""
    if manifest.problem(REALITY):
        return None
    content = json.loads(manifest.read(REALITY))
    if content.pop("settings") != settings and settings is not None:
        return None
    return Reality(**{**content, "maxima": tuple(content["maxima"])})


def _evaluated(plan: Plan, study: Study) -> tuple[Sequence[range] | pd.DataFrame, pd.DataFrame | None, int]:
    """What of a study's configurations is looked at: trials by their numbers where workers can make them, else rows, each
    once; the best of them (one row, None without a valid one); and how many were evaluated.

    What killed its worker would do so again, so quarantined ones are left out; invalid ones are by the workers.
    """
    names = [p.name for p in plan.strategy.parameters]
    by_number = plan.task.points is not None
    tables: list[pd.DataFrame] = []
    trials: list[np.ndarray] = []
    best: pd.DataFrame | None = None
    highest = -math.inf
    size = 0
    for table in study.configurations():
        size += len(table)
        computed = table[table["status"] != "quarantined"]
        valid = computed[computed["status"] == "ok"]
        scores = valid["score"].to_numpy()
        if len(scores) and (best is None or scores.max() > highest):
            highest, best = float(scores.max()), valid.iloc[[int(scores.argmax())]][names].reset_index(drop=True)
        if by_number:
            trials.append(computed["trial"].to_numpy())
        else:
            tables.append(valid[names])
    if by_number:
        return _runs(np.concatenate(trials)), best, size
    return pd.concat(tables, ignore_index=True).drop_duplicates(ignore_index=True), best, size


def _runs(numbers: np.ndarray) -> list[range]:
    """Whole numbers in rising order as ranges.

    >>> _runs(np.array([0, 1, 2, 5, 6]))
    [range(0, 3), range(5, 7)]
    """
    if not len(numbers):
        return []
    parts = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    return [range(int(part[0]), int(part[-1]) + 1) for part in parts]


def _series(plan: Plan, row: pd.DataFrame) -> FloatArray:
    return risk_adjusted(engine_for(plan, row).returns(row))[:, 0]


def _as_json(row: pd.DataFrame | None) -> str | None:
    """A row of parameters, those that are off as null."""
    if row is None:
        return None
    values = row.iloc[0].to_dict()
    return json.dumps({name: None if pd.isna(value) else value for name, value in values.items()})
