"""Evidence that nobody found: numbers as a study's statistics would have them, made from a seed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cluster.evidence import CrossValidation, Evidence, HoldOut, Joint, RealityCheck, Splits, WalkForward
from cluster.findings import Findings
from cluster.plan import Plan
from tracking.report import Rule, Verdict

FOLDS = 5
RULES = (
    Rule("deflated Sharpe", "0.41", ">=", "0.95", False, "The winner's Sharpe ratio is what luck would show."),
    Rule("PBO", "0.62", "<=", "0.50", False, "Chosen on one half of the history it is below the median on the other."),
    Rule("hold-out earns", "3.1%", ">", "0%", True),
)
VERDICT = Verdict("not supported", "not supported: deflated Sharpe 0.41 < 0.95, PBO 0.62 > 0.5", RULES)


def evidence(plan: Plan, found: Findings, seed: int = 0) -> Evidence:
    """Every part that a report can show, for a study on one history."""
    rng = np.random.default_rng(seed)
    seen = found.compared
    margins = [f"margin_{metric}" for metric in plan.targets.metrics]
    held = seen[[*(plan.metric(m).name for m in plan.targets.metrics), *margins, "score"]] - 0.1
    inside = rng.normal(1.1, 0.3, 924)
    outside = 0.2 - 0.3 * (inside - 1.1) + rng.normal(0.0, 0.4, 924)
    return Evidence(
        verdict=VERDICT,
        holdout=HoldOut("2015-01-02", "2022-12-28", 2012, ("2026-11-21",), held),
        walk_forward=_walk_forward(plan, found, rng),
        splits=Splits(outside - 0.1 + rng.normal(0.0, 1.0, 924), inside, outside, 0.62),
        cross_validation=CrossValidation(rng.normal(0.5, 0.2, 9), 1.03),
        sharpes=rng.normal(0.6, 0.2, 5000),
        reality_check=RealityCheck(rng.gumbel(2.0, 0.4, 500), 2.3, 0.31, "disabled"),
        joint=Joint(0.12, 500),
        neighbours=float(found.best["score"].iloc[0]) - 0.02,
        looks=pd.DataFrame(
            {"study": ["demo", "an <older> one"], "configurations": [512, 80], "when": ["2026-11-21", "2026-11-02"]}
        ),
        dead=("hedge_threshold is a dead parameter between -0.05 and -0.07: no metric changes.",),
    )


def _walk_forward(plan: Plan, found: Findings, rng: np.random.Generator) -> WalkForward:
    bars = 1500
    days = np.datetime64("2016-01-01", "us") + np.arange(bars).astype("timedelta64[D]")
    begins = days[:: bars // FOLDS]
    ends = np.append(begins[1:], days[-1])
    chosen = pd.concat([found.best.iloc[:1]] * FOLDS, ignore_index=True)[list(plan.space.searched)]
    for name in chosen.select_dtypes("number"):
        chosen[name] = chosen[name] * rng.choice([1.0, 1.0, 1.5], FOLDS)
    folds = chosen.assign(
        train_from=days[0],
        train_to=begins,
        test_from=begins,
        test_to=ends,
        trial=range(FOLDS),
        score_in=rng.uniform(0.6, 0.8, FOLDS),
        sharpe_in=rng.normal(1.1, 0.1, FOLDS),
        sharpe_out=rng.normal(0.4, 0.6, FOLDS),
        return_out=rng.normal(0.05, 0.1, FOLDS),
    )
    names = ["walk-forward", "the winner", "baseline disabled"]
    returns = pd.DataFrame(rng.normal(0.0004, 0.01, (bars, 3)), columns=names)
    return WalkForward(folds, days, returns, efficiency=0.36, positive=0.6)
