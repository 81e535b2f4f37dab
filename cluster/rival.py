"""Which baseline the winner of a study must beat: the one that the study names, or the best-scoring one."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import pandas as pd

from kernels.errors import InputError
from search.verdict import BEST

if TYPE_CHECKING:  # a plan is checked here
    from cluster.plan import Plan


def check(named: str | None, baselines: pd.DataFrame) -> None:
    """InputError where the baseline that a study names is none of those that it compares with."""
    if named is None or named in baselines.index:
        return
    if baselines.empty:
        raise InputError(
            f"selection.baseline: {named!r} is no baseline of this study, which has none; name it under strategy.compare"
        )
    close = difflib.get_close_matches(named, list(baselines.index), 1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    raise InputError(
        f"selection.baseline: {named!r} is not evaluated in this study; strategy.compare has "
        f"{', '.join(baselines.index)}{meant}"
    )


def rival(plan: Plan, baselines: pd.DataFrame) -> str | None:
    """The label of the baseline to beat among scored `baselines` (index: labels); None where it could not be computed, or
    there is none at all."""
    computed = baselines[baselines["status"] == "ok"]
    named = plan.config.selection.baseline
    if named is not None:
        return named if named in computed.index else None
    return None if computed.empty else str(computed["score"].idxmax())


def in_order(plan: Plan, baselines: pd.DataFrame) -> pd.DataFrame:
    """The baselines, the one to beat first, then by score, the best first."""
    ranked = baselines.sort_values("score", ascending=False, kind="stable")
    first = rival(plan, baselines)
    return ranked.loc[sorted(ranked.index, key=lambda label: label != first)]


def best_of(plan: Plan, baselines: pd.DataFrame, column: str) -> tuple[float | None, str]:
    """What the winner must reach in `column`, and in words whose it is: that of the named baseline, else the highest.

    None where no such number is known.
    """
    named = plan.config.selection.baseline
    values = baselines[column].loc[baselines.index if named is None else [named]].dropna()
    return (None if values.empty else float(values.max())), named or BEST
