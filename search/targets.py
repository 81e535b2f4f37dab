r"""The score: how far a configuration is from what is wanted of it.

A target i names a metric m_i, the value wanted T_i, the value R_i (`reservation`) at which attainment is one
half, a direction g_i (+1 at least, -1 at most) and a weight w_i (normalised to sum 1)::

    z_i = g_i (m_i - T_i) / |T_i - R_i|       margin; the target is met  <=>  z_i >= 0
    s_i = max(0, -z_i),  e_i = max(0, z_i)    shortfall, surplus
    A   = exp(-sum_i w_i ln(1 + s_i^2))       attainment: 1 <=> every target is met
    U   = 1 / (1 + sum_i w_i / e_i^2)         surplus: 0 as soon as one target is missed
    score = (1 - b) A + b U,  b = 0.2

0 < score < 1; it never falls when a metric improves; its slope is continuous; it is at least 1 - b exactly
where every target is met. The scales stand in the study file, so scores compare across tickers, studies and
years. The slope is zero at a target: show `targets_met` and the margins beside the score.

Sources: goal programming (Charnes and Cooper 1961); desirability functions (Derringer and Suich 1980);
achievement scalarising functions (Wierzbicki 1980).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kernels.errors import InputError
from kernels.market import FloatArray
from search.hint import hint

SCORE_VERSION = 1  # raise it with any change of the formula: scores of two versions must not be compared
SURPLUS_SHARE = 0.2  # b
TARGET_KEYS = ("at_least", "at_most", "reservation", "weight")


@dataclass(frozen=True, slots=True)
class Target:
    """What is wanted of a metric: +1 at least, -1 at most `value`; half attained at `reservation`."""

    metric: str
    direction: int
    value: float
    reservation: float
    weight: float


DEFAULTS = (
    Target("sharpe", +1, 1.0, 0.0, 0.4),
    Target("cagr", +1, 0.30, 0.0, 0.3),
    Target("max_drawdown", -1, 0.10, 0.20, 0.2),  # drawdown as a positive fraction
    Target("consistency", +1, 0.60, 0.40, 0.1),
)


@dataclass(frozen=True)
class Targets:
    """Everything that is wanted of a configuration. `weights` sum to 1."""

    targets: tuple[Target, ...]

    @classmethod
    def of(cls, wanted: Mapping[str, Mapping[str, Any] | None] | None = None, *, metrics: Collection[str]) -> Targets:
        """The targets of a study file, the defaults where it gives none; InputError with every mistake.

        A default target's metric keeps what the study leaves out; any other needs `at_least` or `at_most`
        and a `reservation`. Weights may be left out of all targets (then the defaults' own, or equal ones),
        not of some.
        """
        if not wanted:
            wanted = {target.metric: None for target in DEFAULTS}
        problems: list[str] = []
        found: list[Target] = []
        unweighted = all(not isinstance(given, Mapping) or given.get("weight") is None for given in wanted.values())
        equal = unweighted and not set(wanted) <= {target.metric for target in DEFAULTS}
        for metric, given in wanted.items():
            target, wrong = _target(metric, given, metrics, equal=equal)
            problems += [f"targets.{metric}{problem}" for problem in wrong]
            if target is not None:
                found.append(target)
        if problems:
            raise InputError(problems)
        return cls(tuple(found))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that have a target."""
        return tuple(target.metric for target in self.targets)

    @property
    def weights(self) -> FloatArray:
        """(targets,) normalised to sum 1."""
        weights = np.array([target.weight for target in self.targets])
        normalised: FloatArray = weights / weights.sum()
        return normalised

    @property
    def spec(self) -> dict[str, Any]:
        """The targets in plain values (JSON): equal for equal scores."""
        return {
            "version": SCORE_VERSION,
            "surplus_share": SURPLUS_SHARE,
            # twelve digits: weights 2 and 1 or 0.2 and 0.1 are the same score, their quotients differ in the
            # last bit
            **{
                target.metric: {
                    "at_least" if target.direction > 0 else "at_most": target.value,
                    "reservation": target.reservation,
                    "weight": round(float(weight), 12),
                }
                for target, weight in zip(self.targets, self.weights, strict=True)
            },
        }

    @property
    def score_spec(self) -> str:
        """Names the targets and the formula in records: only scores with the same one compare."""
        return hashlib.sha256(json.dumps(self.spec, sort_keys=True).encode()).hexdigest()[:12]

    def score(self, metrics: pd.DataFrame) -> pd.DataFrame:
        """Scores of C configurations from their metrics (C rows), same index.

        Columns: `score`; `targets_met`, how many of the targets; `status`, that of the metrics, or "invalid" where one
        with a target is not finite; `margin_<metric>`, z. Where the status is not "ok" the score is 0 and no target is met.
        """
        values = metrics[list(self.metrics)].to_numpy(dtype=np.float64, na_value=np.nan)  # (C, targets)
        sign = np.array([t.direction for t in self.targets], dtype=np.float64)
        wanted = np.array([t.value for t in self.targets])
        scale = np.abs(wanted - np.array([t.reservation for t in self.targets]))
        valid = np.isfinite(values).all(axis=1)
        status = (
            metrics["status"].to_numpy(dtype=object) if "status" in metrics else np.full(len(metrics), "ok", object)
        )
        valid &= status == "ok"
        status = np.where(valid | (status != "ok"), status, "invalid")
        with np.errstate(over="ignore", invalid="ignore"):
            margins = sign * (values - wanted) / scale
        met = (margins >= 0) & valid[:, None]
        table = pd.DataFrame(
            {
                "score": np.where(valid, _score(np.where(valid[:, None], margins, 0.0), self.weights), 0.0),
                "targets_met": met.sum(axis=1),
                "status": pd.Series(status, index=metrics.index, dtype="str"),
            },
            index=metrics.index,
        )
        for i, metric in enumerate(self.metrics):
            table[f"margin_{metric}"] = margins[:, i]
        return table

    def constraints(self, row: Mapping[Any, Any]) -> dict[str, float]:
        """What Optuna is told of a scored row besides its score: a constraint per target, met at <= 0."""
        margins = {metric: float(row[f"margin_{metric}"]) for metric in self.metrics}
        return {metric: math.inf if math.isnan(margin) else -margin for metric, margin in margins.items()}


def _score(margins: FloatArray, weights: FloatArray) -> FloatArray:
    """(C,) from margins (C, targets), none of them NaN."""
    short, surplus = np.maximum(0.0, -margins), np.maximum(0.0, margins)
    # ln(1 + s^2) = 2 ln s + ln(1 + s^-2): neither form squares a number that could overflow
    far = np.maximum(short, 1.0)
    near = np.minimum(short, 1.0)
    penalty = np.where(short < 1.0, np.log1p(near * near), 2.0 * np.log(far) + np.log1p((1.0 / far) ** 2))
    attained = np.exp(-_weighted(penalty, weights))
    with np.errstate(divide="ignore", over="ignore"):
        beyond = 1.0 / (1.0 + _weighted((1.0 / surplus) ** 2, weights))
    score = (1.0 - SURPLUS_SHARE) * attained + SURPLUS_SHARE * beyond
    # rounding must not lift a configuration that misses a target by 1e-9 to the value that says all are met,
    # nor reach 0 (invalid) or 1
    missed = (margins < 0).any(axis=1)
    top = np.where(missed, np.nextafter(1.0 - SURPLUS_SHARE, 0.0), np.nextafter(1.0, 0.0))
    bottom = np.where(missed, np.finfo(np.float64).tiny, 1.0 - SURPLUS_SHARE)
    return np.clip(score, bottom, top)


def _weighted(terms: FloatArray, weights: FloatArray) -> FloatArray:
    """Sum over targets in a fixed order, so that a row's score is the same in any table."""
    total = np.zeros(len(terms))
    for i, weight in enumerate(weights):
        total = total + weight * terms[:, i]
    return total


def _target(
    metric: str, given: Mapping[str, Any] | None, metrics: Collection[str], *, equal: bool
) -> tuple[Target | None, list[str]]:
    """One target, or the sentences that refuse it (each begins with the rest of its key)."""
    if metric not in metrics:
        return None, [f": target on unknown metric '{metric}'; {hint(metric, metrics, 'metrics')}"]
    default = next((target for target in DEFAULTS if target.metric == metric), None)
    if given is not None and not isinstance(given, Mapping):
        return None, [f": {{at_least or at_most, reservation, weight}} is needed, got {given!r}"]
    given = {key: value for key, value in (given or {}).items() if value is not None}
    problems = [f".{key}: unknown key; {hint(key, TARGET_KEYS, 'keys')}" for key in given if key not in TARGET_KEYS]
    problems += [
        f".{key}: a finite number is needed, got {value!r}"
        for key, value in given.items()
        if key in TARGET_KEYS
        and (isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value))
    ]
    if problems:
        return None, problems
    if "at_least" in given and "at_most" in given:
        problems.append(f": at_least or at_most, not both, got {given['at_least']:g} and {given['at_most']:g}")
    elif "at_least" in given or "at_most" in given:
        direction, value = (1, given["at_least"]) if "at_least" in given else (-1, given["at_most"])
    elif default is not None:
        direction, value = default.direction, default.value
    else:
        problems.append(": at_least or at_most is needed")
    reservation = given.get("reservation", default.reservation if default else None)
    if reservation is None:
        problems.append(".reservation: is needed, the value at which the target counts as half attained")
    weight = given.get("weight", 1.0 if equal else default.weight if default else None)
    if weight is None:
        problems.append(".weight: is needed, since other targets have one; give it, or give none")
    elif weight <= 0:
        problems.append(f".weight: weight > 0 must hold, got {weight:g}; remove a target that does not count")
    if not problems and reservation is not None and direction * (value - reservation) <= 0:
        side = "below" if direction > 0 else "above"
        word = "at_least" if direction > 0 else "at_most"
        problems.append(
            f".reservation: must lie {side} {word}, on the worse side, got {word}={value:g}, "
            f"reservation={reservation:g}"
        )
    if problems or weight is None or reservation is None:
        return None, problems
    return Target(metric, direction, float(value), float(reservation), float(weight)), []
