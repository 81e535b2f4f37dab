"""A warm start: what an earlier study found, shown to a sampler that learns before its first proposal.

What is shown is kept beside the study's own results, in `warm_start.parquet`, and read from there for ever after: the
study goes on alike whatever becomes of the earlier one. It is no trial of the study: numbers below zero tell it apart.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from optuna.samplers._ga import BaseGASampler
from optuna.trial import FrozenTrial, TrialState

from kernels.errors import InputError
from search.cloud import Cloud
from search.dimension import Choices, Dimension, Steps
from search.manifest import Manifest, damaged
from search.parts import encoded
from search.record import RECORD
from search.space import Space
from search.targets import Targets

KEPT = "warm_start.parquet"
MOST = 1000  # trials shown: each costs every proposal of `tpe` what a trial told does
BEST_SHARE = 10  # of `MOST` one in so many is the best there are; the others are taken evenly from all ranks

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class WarmStart:
    """What of an earlier study is shown.

    `study` is its name as the study file has it, `found` the digest of its data, `trials` how many it had, of which
    `fitting` lie in the present space. `rows` has the searched parameters, the score and the margins by the present
    targets, best first: at most `MOST` rows.
    """

    study: str
    found: str
    trials: int
    fitting: int
    rows: pd.DataFrame

    @property
    def spec(self) -> dict[str, Any]:
        """It in plain values (JSON), with the digest of what is shown."""
        return {
            "study": self.study,
            "data_digest": self.found,
            "trials": self.trials,
            "fitting": self.fitting,
            "shown": len(self.rows),
            "sha256": hashlib.sha256(encoded(self.rows)).hexdigest(),
        }

    def keep(self, manifest: Manifest) -> None:
        """Write what is shown into the study's folder."""
        file = encoded(self.rows)
        manifest.write(KEPT, lambda opened: opened.write(file), rows=len(self.rows))


@dataclass(frozen=True)
class Earlier:
    """The study that a study file wants to start from, by its name there, and what was `found` of it; None where that can
    no longer be read and the study keeps what it was shown."""

    study: str
    found: WarmStart | None


def check_learns(study: str, sampler: str) -> None:
    """InputError where a sampler would not look at the results of an earlier `study`."""
    if sampler in ("grid", "random", "sobol"):
        raise InputError(
            f"search.warm_start: the points of {sampler} do not depend on results, so those of {study} would change "
            "nothing; leave it out, or use a sampler that learns"
        )


def kept_spec(folder: Path) -> dict[str, Any]:
    """`WarmStart.spec` of what the study in `folder` was shown when it began; empty where it was shown nothing."""
    try:
        spec = json.loads((folder / RECORD).read_text()).get("warm_start") or {}
    except (OSError, ValueError):
        return {}
    return dict(spec)


def read_kept(manifest: Manifest, spec: Mapping[str, Any]) -> WarmStart:
    """What a study was shown when it began, from its folder; InputError where that is not there as it was."""
    path = manifest.folder / KEPT
    if not path.exists():
        raise InputError(
            f"{path} is missing: what this study learnt from at its start; put it back, or use another name"
        )
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != spec["sha256"]:
        raise InputError(
            f"{path} is damaged (its SHA-256 is not the one in search.json); put it back as it was, or use another name"
        )
    try:
        rows: pd.DataFrame = pq.read_table(pa.BufferReader(data)).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise InputError(damaged(path, error)) from error
    return WarmStart(spec["study"], spec["data_digest"], spec["trials"], spec["fitting"], rows)


def chosen(
    study: str, found: str, configurations: pd.DataFrame, space: Space, targets: Targets, cloud: Cloud | None
) -> WarmStart:
    """What of an earlier study's `configurations` (trial, parameters, metrics, status, `member` in clouds) is shown.

    A trial is scored by the present targets: where both studies have clouds by the present statistic of its cloud, else
    as its point alone. InputError where none lies in the present space.
    """
    metrics = configurations.rename(columns={space.measured(name): name for name in targets.metrics})
    scores = targets.score(metrics[[*targets.metrics, "status"]])
    clouds = "member" in configurations
    points = (configurations["member"] == 0).to_numpy() if clouds else np.ones(len(configurations), dtype=bool)
    table = pd.concat([configurations[[p.name for p in space.strategy.parameters]], scores], axis="columns")
    margins = [f"margin_{name}" for name in targets.metrics]
    if clouds and cloud:
        size = len(configurations) // int(points.sum())
        each = scores["score"].to_numpy().reshape(-1, size)
        told = cloud.summary(each)["cloud_score"].to_numpy()
        carriers = np.flatnonzero(points) + cloud.carriers(each, told)
        table = table[points].copy()
        table["score"], table[margins] = told, scores[margins].to_numpy()[carriers]
    else:
        table = table[points]
    inside = {name: _inside(space, name, table[name]) for name in (*space.constants, *space.searched)}
    fitting = np.logical_and.reduce(list(inside.values()))
    if not fitting.any():
        outside = {name: int((~found).sum()) for name, found in inside.items() if not found.all()}
        counts = ", ".join(f"{name} of {n:,}" for name, n in sorted(outside.items(), key=lambda each: -each[1]))
        raise InputError(
            f"search.warm_start: none of the {len(table):,} trials of {study} lies in the space of this study ({counts} "
            "has another value than it allows); widen strategy.search, fix what it had fixed, or leave warm_start out"
        )
    rows = table[fitting].sort_values("score", ascending=False, kind="stable", ignore_index=True)
    rows = rows.iloc[_shown(len(rows))].reset_index(drop=True)
    return WarmStart(study, found, len(table), int(fitting.sum()), rows[[*space.searched, "score", *margins]])


def frozen(rows: pd.DataFrame, space: Space, targets: Targets) -> list[FrozenTrial]:
    """The rows of a warm start as trials that Optuna's samplers take for told ones, numbered from -n to -1."""
    distributions = space.distributions()
    trials = [
        optuna.create_trial(
            params={name: _param(d, row[name]) for name, d in space.dimensions.items()},
            distributions=distributions,
            value=row["score"],
            constraints=targets.constraints(row),
        )
        for row in rows.to_dict("records")
    ]
    for number, trial in enumerate(trials, start=-len(trials)):
        trial.number = trial._trial_id = number
    return trials


class Shown(optuna.Study):
    """A study as a sampler sees it when it is asked for a trial: earlier trials stand before its own, and of its own those
    before that one.

    A Gaussian process counts what is asked and not told. Of a trial whose asking was cut short it would find its own
    proposal, and keep away from it.
    """

    def __init__(self, study: optuna.Study, trial: FrozenTrial, earlier: Sequence[FrozenTrial]) -> None:
        self.__dict__ = study.__dict__ | {"_earlier": earlier, "_end": trial.number}

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        own = super()._get_trials(deepcopy, states, use_cache)
        earlier = self.__dict__["_earlier"] if states is None or TrialState.COMPLETE in states else []
        return [*earlier, *(trial for trial in own if trial.number < self.__dict__["_end"])]


def shown_to(
    sampler: object, study: optuna.Study, trial: FrozenTrial, earlier: Sequence[FrozenTrial], population: int
) -> optuna.Study:
    """The study as `sampler` is to see it. To one that breeds, the best `population` earlier trials are its first."""
    if earlier and isinstance(sampler, BaseGASampler):
        key = sampler._get_generation_key()
        for each in earlier[:population]:
            each.system_attrs = {**each.system_attrs, key: 0}
    return Shown(study, trial, earlier)


def _shown(n: int) -> NDArray[np.int64]:
    """Which of n rows, best first, are shown: all; of too many the best ones, and an even choice of the others."""
    if n <= MOST:
        return np.arange(n)
    best = MOST // BEST_SHARE
    return np.concatenate([np.arange(best), np.linspace(best, n - 1, MOST - best).round().astype(np.int64)])


def _inside(space: Space, name: str, values: pd.Series) -> Mask:
    """Whether each value (rows,) of a parameter is one that the space allows."""
    allowed = space.dimensions[name] if name in space.dimensions else Choices((space.constants[name],))
    if space.strategy.parameter(name).choices:
        assert isinstance(allowed, Choices)
        found: Mask = values.isin(allowed.values).to_numpy()
        return found
    numbers = values.to_numpy(dtype=np.float64)
    off = np.isnan(numbers)
    if isinstance(allowed, Choices):
        some = [value for value in allowed.values if value is not None]  # noqa: PD011 - a tuple
        listed: Mask = np.isin(numbers, some) | (off & (len(some) < allowed.count))
        return listed
    low, high = allowed.low, allowed.bound if isinstance(allowed, Steps) else allowed.high
    within = ~off & (numbers >= low) & (numbers <= high)
    near = np.where(within, numbers, low)
    if isinstance(allowed, Steps):
        cells = np.rint((near - low) / allowed.step).astype(np.int64)
        within = within & (cells < allowed.count) & (allowed.pick(cells) == near)
    elif allowed.integer:
        within = within & (near == np.rint(near))
    return np.asarray(within, dtype=np.bool_)


def _param(dimension: Dimension, value: Any) -> Any:
    """A table's value as Optuna spells it."""
    if isinstance(value, float) and math.isnan(value):
        return None
    whole = not isinstance(dimension, Choices) and dimension.integer
    return int(value) if whole else value
