"""Values of a study file: what a number, a date and a section of it may be."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cluster.study_text import short


def _moment(value: str) -> str:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"a date such as 2020-01-31 or 2020-01-31T13:00 is needed, got {short(value)}") from None
    return value


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Moment = Annotated[str, AfterValidator(_moment)]


class Section(BaseModel):
    """A part of the study file: nothing can be changed later, nothing unknown is let in."""

    model_config = ConfigDict(frozen=True, extra="forbid")
