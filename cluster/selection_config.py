"""The `selection:` section of a study file: what the search may not see, and how its winner is judged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cluster.study_values import Number, Section, Whole


class SelectionConfig(Section):
    """How a winner is told from luck, on a market of one history.

    The last `holdout` of the bars is hidden from the search and opened once, by `hedgegrid validate`; null is a quarter,
    where that is longer than the strategy looks back. `blocks` is the even number of stretches for the probability of
    backtest overfitting and combinatorial cross-validation; null is 12, fewer on a short history, 0 none. `folds` are those
    of walking forward over the second half of what the search sees, each trained on all before it (`anchored`) or on as
    much as the first (`rolling`); null is 5, fewer where a fold would be shorter than the strategy looks back, 0 none.
    `replicates` are the histories resampled for the reality check, 0 none.
    """

    holdout: Annotated[Number, Field(ge=0, lt=1)] | None = None
    blocks: Annotated[Whole, Field(ge=0, le=24)] | None = None
    folds: Annotated[Whole, Field(ge=0, le=99)] | None = None
    window: Literal["anchored", "rolling"] = "anchored"
    replicates: Annotated[Whole, Field(ge=0, le=100_000)] = 500
