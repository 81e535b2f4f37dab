"""The judgement of a winner as it stands in best.yaml: plain values, Sharpe ratios a year."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from cluster.selection import Selection


def judgement(found: Selection, bars_per_year: float) -> dict[str, Any]:
    """The verdict with its rules and every figure behind it; None where a figure does not exist."""
    annual = math.sqrt(bars_per_year)
    content: dict[str, Any] = {
        "luck": asdict(found.luck),
        "looks_at_this_data": [
            {"study": each.name, "configurations": each.configurations} for each in found.looks.studies
        ],
        "against_baselines": {
            label: {"sharpe_difference": d.difference * annual, "error": d.error * annual, "p_value": d.p_value}
            for label, d in found.against.items()
        },
        "better_than_baseline_in": found.ahead,  # share of resampled histories, of the first of these
        "overfitting": None
        if found.overfitting is None
        else {"probability": found.overfitting.probability, "loss": found.overfitting.loss},
        "combinatorial": None
        if found.purged is None
        else {"sharpe_of_paths": found.purged.paths * annual, "loss": found.purged.loss},
        "walk_forward": None
        if found.walked is None
        else {
            "sharpe": found.walked.sharpe,
            "efficiency": found.walked.efficiency,
            "positive_folds": found.walked.positive,
            "drift": found.walked.drift,
        },
        "joint_target_probability": found.joint.probability,
        "plateau": {"neighbours": found.plateau.count, "median_score": found.plateau.median},
        "hold_out": None
        if found.opened is None
        else {
            "opened": found.opened.when,
            "opened_before_by": dict(found.opened_before),
            "from": found.opened.first_day,
            "to": found.opened.last_day,
            **found.opened.rows.to_dict("index"),
        },
    }
    if found.reality is not None:
        content["reality_check"] = {
            "baseline": found.reality.baseline,
            "p_value": found.reality.p_value,
            "upper_p_value": found.reality.upper_p_value,
            "replicates": found.reality.replicates,
        }
    return {name: _plain(value) for name, value in content.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, np.ndarray)):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
