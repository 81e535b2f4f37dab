"""The `search:` section of a study file: which sampler, how many trials, and what a trial is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    Tag,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from cluster.study_text import short
from cluster.study_values import Number, Section, Whole
from search.cloud import STATISTICS, WIDEST, Cloud, too_wide
from search.sampler_names import SAMPLERS, SEPARATOR, unknown


def _sampler(value: Any) -> Any:
    if isinstance(value, str) and (value in SAMPLERS or SEPARATOR in value):
        return value
    raise ValueError(unknown(short(value) if not isinstance(value, str) else value))


def _radius(value: Any) -> Any:
    return value if isinstance(value, dict) else _reach(value)


def _reach(value: Any) -> Any:
    if not _number(value) or not value > 0.0:
        raise ValueError(f"a share of each range, above 0, or {{start, end}} is needed, got {short(value)}")
    if value > WIDEST:
        raise ValueError(too_wide(value))
    return value


def _statistic(value: Any) -> Any:
    if value in STATISTICS or (_number(value) and 0.0 < value < 1.0):
        return value
    raise ValueError(f"{', '.join(STATISTICS)} or a quantile between 0 and 1 is needed, got {short(value)}")


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _kind_of_radius(value: Any) -> str:
    return "share" if isinstance(value, (int, float)) else "shrinking"


Sampler = Annotated[
    str,
    BeforeValidator(_sampler),
    WithJsonSchema({"anyOf": [{"enum": list(SAMPLERS)}, {"type": "string", "pattern": SEPARATOR}]}),
]
Reach = Annotated[Number, BeforeValidator(_reach)]


class Shrinking(Section):
    """A radius that falls from `start` at a study's first trial to `end` at its last, by equal factors."""

    start: Reach
    end: Reach


Radius = Annotated[
    Annotated[Reach, Tag("share")] | Annotated[Shrinking, Tag("shrinking")],
    Discriminator(_kind_of_radius),
    BeforeValidator(_radius),
]


class SearchConfig(Section):
    """Where to look: every grid point, or `trials` points of a sampler, `batch` at a time.

    A sampler that learns may be told the `cloud_statistic` of `configs_per_trial` configurations, which lie within
    `cloud_radius` of each parameter's range round the point it suggested.

    A sampler of one's own is `package.module:ClassName` or `file.py:ClassName`, made with `sampler_options`. With
    `objective` pareto the study looks for the front of its `objectives`, the targets' metrics where none are named.

    `scope` portfolio is one study of all tickers together, per_ticker one for each of `market.tickers`. Where the
    market has many paths, metrics are computed on each and then taken `over_paths`: median, mean or a quantile.

    `warm_start` is the folder of an earlier study, or its name under the runs folder, whose trials a sampler that learns is
    shown first. It ends early when `patience` batches in a row brought no better score.
    """

    sampler: Sampler = "grid"
    trials: Annotated[Whole, Field(ge=1)] | None = None
    batch: Annotated[Whole, Field(ge=1)] | None = None
    seed: Annotated[Whole, Field(ge=0)] = 0
    scope: Literal["portfolio", "per_ticker"] = "portfolio"
    over_paths: Literal["median", "mean"] | Annotated[Number, Field(gt=0, lt=1)] = "median"
    configs_per_trial: Annotated[Whole, Field(ge=1)] = 1
    cloud_radius: Radius = 0.1
    cloud_statistic: Annotated[str | Number, BeforeValidator(_statistic)] = "median"
    warm_start: Annotated[str, Field(min_length=1)] | None = None
    patience: Annotated[Whole, Field(ge=1)] | None = None
    sampler_options: dict[str, JsonValue] = Field(default_factory=dict)
    objective: Literal["score", "pareto"] = "score"
    objectives: list[str] | None = None

    @model_validator(mode="after")
    def _ends(self) -> SearchConfig:
        if self.sampler != "grid" and self.trials is None:
            raise ValueError(f"trials is needed with sampler {self.sampler}; only a grid ends by itself")
        return self

    @model_validator(mode="after")
    def _objectives_are_used(self) -> SearchConfig:
        if self.objectives is not None and self.objective == "score":
            raise ValueError(
                f"objectives {', '.join(self.objectives) or 'none'} are named, but objective is score; set objective: pareto"
            )
        return self

    @model_serializer(mode="wrap")
    def _plain(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = written(self)
        # a study without them reads, and is told from others, as before there were any
        since = ["sampler_options", "objective", "objectives", "warm_start", "patience"]
        since += [] if self.cloud else ["configs_per_trial", "cloud_radius", "cloud_statistic"]
        fields = type(self).model_fields
        for key in since:
            if content[key] == fields[key].get_default(call_default_factory=True):
                del content[key]
        return content

    @property
    def cloud(self) -> Cloud | None:
        """The cloud of a trial, None where a trial is one configuration."""
        if self.configs_per_trial == 1:
            return None
        radius = self.cloud_radius
        start, end = (radius.start, radius.end) if isinstance(radius, Shrinking) else (radius, radius)
        return Cloud(self.configs_per_trial, start, end, self.cloud_statistic)
