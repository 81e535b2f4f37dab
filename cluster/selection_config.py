"""The `selection:` section of a study file: what the search may not see, and how its winner is judged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from cluster.study_values import Number, Section, Whole
from search.verdict import LEVEL

FEWEST_REPLICATES = round(1 / LEVEL) - 1  # with R of them the smallest p-value there is is 1 / (R + 1)
MOST_BLOCKS = 16  # 12,870 ways to take half of them: seconds; of 20 there are 184,756
FEWEST_BLOCKS = 4  # two are tested together, and each half of two says little of the other


def _replicates(value: int) -> int:
    if 0 < value < FEWEST_REPLICATES:
        raise ValueError(
            f"0 for none, or at least {FEWEST_REPLICATES}: {value} give no p-value below {1 / (value + 1):.2g}, and "
            f"{LEVEL:g} or less is wanted"
        )
    return value


def _blocks(value: int) -> int:
    if 0 < value < FEWEST_BLOCKS or value % 2:
        near = sorted({max(FEWEST_BLOCKS, value - value % 2), max(FEWEST_BLOCKS, min(value + value % 2, MOST_BLOCKS))})
        raise ValueError(
            f"an even number from {FEWEST_BLOCKS} to {MOST_BLOCKS} is needed, since each half is compared with the other, got "
            f"{value}; take {' or '.join(map(str, near))}, or 0 for none"
        )
    return value


class SelectionConfig(Section):
    """How a winner is told from luck, on a market of one history.

    The last `holdout` of the bars is hidden from the search and opened once, by `hedgegrid validate`; null is a quarter,
    where that is longer than the strategy looks back. `blocks` is the even number of stretches for the probability of
    backtest overfitting and combinatorial cross-validation; null is 12, fewer on a short history, 0 none. `folds` are those
    of walking forward over the second half of what the search sees, each trained on all before it (`anchored`) or on as
    much as the first (`rolling`); null is 5, fewer where a fold would be shorter than the strategy looks back, 0 none.
    `replicates` are the histories resampled for the reality check, 0 none. `baseline` is the one under strategy.compare
    that the winner must beat; null is the best-scoring one.
    """

    holdout: Annotated[Number, Field(ge=0, lt=1)] | None = None
    blocks: Annotated[Whole, Field(ge=0, le=MOST_BLOCKS), AfterValidator(_blocks)] | None = None
    folds: Annotated[Whole, Field(ge=0, le=99)] | None = None
    window: Literal["anchored", "rolling"] = "anchored"
    replicates: Annotated[Whole, Field(ge=0, le=100_000), AfterValidator(_replicates)] = 500
    baseline: Annotated[str, Field(min_length=1)] | None = None
