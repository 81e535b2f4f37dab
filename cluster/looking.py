"""How often this data was looked at, for a plan: what it enters in the ledger of its runs folder, and what stands there.

Data is told apart by its digest: the same prices with other dates or tickers are other data here.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from cluster.plan import Plan
from search.looks import Look, Looks, Opening, looks, openings, record, record_opening, searched
from search.samplers import POINTS


def look(plan: Plan, study_id: str, configurations: int) -> None:
    """Enter that the study has tried so many configurations; OSError where it cannot be written.

    A search of a whole history has looked at the bars that another study would hide.
    """
    when = datetime.now(UTC).isoformat(timespec="seconds")
    record(plan.folder.parent, Look(plan.data_digest, _searched(plan), plan.config.name, configurations, when))
    if plan.holdout is None and plan.periods is not None:
        record_opening(plan.folder.parent, Opening(plan.data_digest, study_id, plan.config.name, 0, when))


def looks_of(plan: Plan) -> Looks:
    """All that was tried on the study's data by the studies of its runs folder."""
    return looks(plan.folder.parent, plan.data_digest)


def open_to(plan: Plan, study_id: str, when: str) -> None:
    """Enter that the bars hidden from the study are about to be looked at; OSError where it cannot be written."""
    assert plan.holdout is not None
    opening = Opening(plan.data_digest, study_id, plan.config.name, plan.holdout.first, when)
    record_opening(plan.folder.parent, opening)


def opened_before(plan: Plan, study_id: str) -> tuple[Opening, ...]:
    """When other studies opened some of the bars that are hidden from this one, or searched them, the oldest first: what is
    hidden is always the end of the data, so any opening concerns the last of them."""
    if plan.holdout is None:
        return ()
    return tuple(each for each in openings(plan.folder.parent, plan.data_digest) if each.study_id != study_id)


def _learnt(plan: Plan) -> dict[str, Any]:
    """What decides what a sampler that learns tries; more trials of the same search are not another one, unless its clouds
    shrink over them."""
    search = plan.config.search
    shrinks = search.cloud is not None and search.cloud.spec(1)["shrinks_over"] is not None
    longer = ("patience",) if shrinks else ("patience", "trials")
    return {key: value for key, value in search.model_dump(mode="json").items() if key not in longer}


def _searched(plan: Plan) -> str:
    """What the study tries, as a digest."""
    search = plan.config.search
    return searched(
        plan.space,
        sampler=search.sampler,
        seed=search.seed,
        also={
            "costs": plan.config.costs.model_dump(mode="json"),
            **plan.config.risk_limits.told,
            "holdout": plan.holdout.first if plan.holdout else None,
            "code": None if plan.code is None else hashlib.sha256(plan.code.encode()).hexdigest(),
            # what is tried next depends on scores where the sampler learns
            **({"targets": plan.targets.spec, "search": _learnt(plan)} if search.sampler not in POINTS else {}),
        },
    )
