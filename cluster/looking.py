"""How often this data was looked at, for a plan: what it enters in the ledger of its runs folder, and what stands there."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from cluster.plan import Plan
from search.looks import Look, Looks, looks, record, searched
from search.samplers import POINTS


def look(plan: Plan, configurations: int) -> None:
    """Enter that the study has tried so many configurations; OSError where it cannot be written."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    record(plan.folder.parent, Look(plan.data_digest, _searched(plan), plan.config.name, configurations, when))


def looks_of(plan: Plan) -> Looks:
    """All that was tried on the study's data by the studies of its runs folder."""
    return looks(plan.folder.parent, plan.data_digest)


def _searched(plan: Plan) -> str:
    """What the study tries, as a digest."""
    search = plan.config.search
    return searched(
        plan.space,
        sampler=search.sampler,
        seed=search.seed,
        also={
            "costs": plan.config.costs.model_dump(mode="json"),
            "holdout": plan.holdout.first if plan.holdout else None,
            "code": None if plan.code is None else hashlib.sha256(plan.code.encode()).hexdigest(),
            # what is tried next depends on scores where the sampler learns
            **(
                {"targets": plan.targets.spec, "search": search.model_dump(mode="json")}
                if search.sampler not in POINTS
                else {}
            ),
        },
    )
