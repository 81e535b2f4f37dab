"""The study file: what a study may say, key by key, and how it is read.

A study file is refused whole: every mistake with its path, in one `InputError`. Here is the form; what needs
the strategy (parameter names, ranges) is checked by `search.Space`, what needs the metrics by
`search.Targets`, what needs the data by `kernels.Market`.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Required

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from typing_extensions import TypedDict  # pydantic asks for this one below Python 3.12

from cluster.book_config import BookConfig
from cluster.exported import study_of
from cluster.option_config import OptionMarketConfig
from cluster.risk_config import RiskLimitsConfig
from cluster.search_config import SearchConfig
from cluster.selection_config import SelectionConfig
from cluster.study_text import FileDumper, apply_overrides, explain, read_yaml, short
from cluster.study_values import Flag, Moment, Number, Section, Whole
from kernels.errors import InputError
from search.targets import DEFAULTS

# ---- values


def _name(value: str) -> str:
    # it becomes a folder under runs/, on every file system
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value) or value.endswith("."):
        raise ValueError(
            f"1 to 100 letters, digits, '.', '_' and '-', with a letter or digit first, got {short(value)}; "
            "the name becomes a folder"
        )
    return value


def _parameter_value(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"a number, a word or null is needed, got {short(value)}")  # noqa: TRY004, pydantic gathers ValueErrors
    if not abs(value) <= sys.float_info.max:  # NaN fails here too
        raise ValueError(f"a finite number is needed, got {short(value)}")
    return value


def _price_of_trading(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        raise ValueError(  # noqa: TRY004, pydantic gathers ValueErrors
            f"one value is needed, got {short(value)}; a cost is the environment and cannot be searched: "
            "the search would choose the market it would like"
        )
    return value


Name = Annotated[str, AfterValidator(_name)]
Bps = Annotated[Number, BeforeValidator(_price_of_trading), Field(ge=0, lt=10_000)]
Value = Annotated[Any, BeforeValidator(_parameter_value), WithJsonSchema({"type": ["number", "string", "null"]})]


class Range(TypedDict, total=False):
    """Numbers from low to high, both included; even in steps, or (`log`) in the logarithm."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    low: Required[Number]
    high: Required[Number]
    step: Number | None
    log: Flag


class TargetKeys(TypedDict, total=False):
    """What is wanted of a metric: at least or at most a value, half attained at `reservation`."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    at_least: Number
    at_most: Number
    reservation: Number
    weight: Number


def _kind_of_search(value: Any) -> str:
    return "range" if isinstance(value, dict) else "choices"


def _searchable(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        return value
    raise ValueError(
        f"a list of choices or {{low, high}} is needed, got {short(value)}; one value belongs under strategy.fixed"
    )


Searched = Annotated[
    Annotated[list[Value], Tag("choices")] | Annotated[Range, Tag("range")],
    Discriminator(_kind_of_search),
    BeforeValidator(_searchable),
]


# ---- sections


class FileMarket(Section):
    """A long table in a file, one row per ticker and bar; `path` is relative to the working directory."""

    source: Literal["parquet", "csv"]
    path: str
    tickers: list[str] | None = None
    start: Moment | None = None
    end: Moment | None = None
    bars_per_year: Annotated[Number, Field(gt=0)] | None = None
    before_listing: Literal["refuse", "flat"] = "refuse"
    gaps: Literal["refuse", "keep"] = "refuse"


class Sp500Market(Section):
    """Daily closes of 20 US stocks, 1990 to 2022, that come with skfolio."""

    source: Literal["sp500"]
    tickers: list[str] | None = None
    start: Moment | None = None
    end: Moment | None = None
    bars_per_year: Annotated[Number, Field(gt=0)] = 252.0


class SyntheticMarket(Section):
    """Simulated daily bars: calm and stressed times, correlated assets (`cluster.sources.synthetic`)."""

    source: Literal["synthetic"]
    seed: Annotated[Whole, Field(ge=0)] = 0
    bars: Annotated[Whole, Field(ge=2, le=1_000_000)] = 1500
    assets: Annotated[Whole, Field(ge=1, le=10_000)] = 4
    start: Moment = "2020-01-01"
    drift: Number = 0.3
    volatility: Annotated[Number, Field(gt=0, le=10)] = 0.6
    correlation: Annotated[Number, Field(ge=0, lt=1)] = 0.5
    stress_volatility: Annotated[Number, Field(gt=0, le=10)] = 1.2
    stress_share: Annotated[Number, Field(ge=0, le=0.5)] = 0.2
    stress_bars: Annotated[Number, Field(ge=1)] = 40.0
    bars_per_year: Annotated[Number, Field(gt=0)] = 365.0


PriceMarketConfig = FileMarket | Sp500Market | SyntheticMarket
MarketConfig = PriceMarketConfig | OptionMarketConfig


class StrategyConfig(Section):
    """Which rule, its fixed parameters, the searched ones, and the baselines to compare with."""

    name: str
    file: str | None = None
    fixed: dict[str, Value] = Field(default_factory=dict)
    search: dict[str, Searched] = Field(default_factory=dict)
    compare: dict[str, dict[str, Value]] = Field(default_factory=dict)


class CostsConfig(Section):
    """The trading environment, per side; never searched."""

    fee_bps: Bps = 4.0
    slippage_bps: Bps = 5.0
    fill: Annotated[Literal["next_open", "next_close", "close"], BeforeValidator(_price_of_trading)] = "next_open"
    option_spread: Annotated[Number, BeforeValidator(_price_of_trading), Field(ge=0, lt=1)] = 0.0
    impact: Annotated[Literal["none", "linear", "square_root"], BeforeValidator(_price_of_trading)] = "none"
    impact_coefficient: Annotated[Number, BeforeValidator(_price_of_trading), Field(ge=0)] = 0.0
    capital: Annotated[Number, BeforeValidator(_price_of_trading), Field(gt=0)] = 1e6
    adv: Annotated[Number, BeforeValidator(_price_of_trading), Field(gt=0)] = 1e9
    cash_rate: Annotated[Number, BeforeValidator(_price_of_trading), Field(ge=-0.05, le=0.25)] = 0.0


class ComputeConfig(Section):
    """Who computes.

    With the `address` of a Ray cluster, backend auto is cuda where one of its nodes has a GPU, and `workers` unset is
    one worker per GPU, or on CPUs as many as fill all cores with the smallest node's cores each. Seconds after which
    something counts as lost: a chunk's worker, a pool of which no worker stands ready any more, one of which none has yet.
    """

    backend: Literal["auto", "numpy", "numba", "cuda"] = "auto"
    precision: Literal["float64", "mixed"] = "float64"
    pool: Literal["auto", "local", "ray"] = "auto"
    address: str | None = None
    workers: Annotated[Whole, Field(ge=1)] | None = None
    chunk_seconds: Annotated[Number, Field(gt=0)] = 600.0
    stall_seconds: Annotated[Number, Field(gt=0)] = 120.0
    start_seconds: Annotated[Number, Field(gt=0)] = 300.0

    @model_validator(mode="after")
    def _address_is_used(self) -> ComputeConfig:
        if self.address is not None and self.pool == "local":
            raise ValueError(f"address {self.address!r} names a Ray cluster, but pool is local; set pool: ray")
        if (self.workers or 1) > 1 and self.pool == "local":
            raise ValueError(f"{self.workers} workers need Ray, but pool is local, which is one process; set pool: ray")
        return self


class TrackingConfig(Section):
    """Where MLflow keeps the trials; experiment null is hedgegrid/<strategy>.

    A study of more than `max_runs` trials records its best `max_runs` at the end; all are in configs.parquet.
    `system_metrics` adds how busy this machine, its GPUs and the cluster are, every ten seconds, to the study's own run.
    """

    uri: str = "sqlite:///mlflow.db"
    experiment: str | None = None
    enabled: Flag = True
    max_runs: Annotated[Whole, Field(ge=1)] = 2000
    system_metrics: Flag = True


def _default_targets() -> dict[str, TargetKeys | None]:
    """The targets of `search.targets`, as a study file spells them."""
    found: dict[str, TargetKeys | None] = {}
    for target in DEFAULTS:
        keys: TargetKeys = {"at_least": target.value} if target.direction > 0 else {"at_most": target.value}
        found[target.metric] = {**keys, "reservation": target.reservation, "weight": target.weight}
    return found


class StudyConfig(Section):
    """A study: one search for hedge settings."""

    name: Name
    question: str = ""
    market: Annotated[MarketConfig, Field(discriminator="source")]
    book: BookConfig | None = None
    strategy: StrategyConfig
    costs: CostsConfig = CostsConfig()
    risk_limits: RiskLimitsConfig = RiskLimitsConfig()
    search: SearchConfig = SearchConfig()
    selection: SelectionConfig = SelectionConfig()
    targets: dict[str, TargetKeys | None] = Field(default_factory=_default_targets, min_length=1)
    compute: ComputeConfig = ComputeConfig()
    tracking: TrackingConfig = TrackingConfig()

    @property
    def smallest_rebalance_days(self) -> float | None:
        """The smallest `rebalance_days` fixed, searched or compared with: the bar of a simulated option market."""
        rule = self.strategy
        searched = rule.search.get("rebalance_days", [])
        asked = [searched["low"]] if isinstance(searched, dict) else list(searched)
        asked += [row.get("rebalance_days") for row in (rule.fixed, *rule.compare.values())]
        return min((float(x) for x in asked if isinstance(x, (int, float))), default=None)


# ---- reading and writing


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """The study in a YAML file, with `key.path=value` overrides on top; InputError with every mistake.

    The value of an override is YAML: `search.trials=200`, `strategy.search.lookback=[20, 30]`.
    """
    content, problems = read_yaml(Path(path).expanduser())
    content = study_of(content)
    problems += apply_overrides(content, overrides)
    try:
        study = StudyConfig.model_validate(content)
    except ValidationError as error:
        problems += explain(error, StudyConfig.model_json_schema())
    if problems:
        raise InputError([f"{path} is not a valid study:", *(f"  {problem}" for problem in problems)])
    return study


def studies(study: StudyConfig) -> tuple[StudyConfig, ...]:
    """The studies that a study file asks for: itself, or with `scope: per_ticker` one named after each ticker.

    InputError where a scope per ticker names no tickers, or has a book.
    """
    if study.search.scope == "portfolio":
        return (study,)
    if study.book is not None:
        raise InputError(
            "book: one book is of all tickers together, and search.scope per_ticker makes a study of each; set search.scope: "
            "portfolio, or remove the section"
        )
    tickers: list[str] | None = getattr(study.market, "tickers", None)  # a synthetic market has none
    if not tickers:
        raise InputError("search.scope: per_ticker makes a study of each ticker; list them under market.tickers")
    return tuple(
        study.model_copy(
            update={
                "name": f"{study.name}-{ticker}",
                "market": study.market.model_copy(update={"tickers": [ticker]}),
                "search": study.search.model_copy(update={"scope": "portfolio"}),
            }
        )
        for ticker in tickers
    )


def resolved_yaml(study: StudyConfig) -> str:
    """The study with every default filled in; loading it gives an equal study."""
    content = study.model_dump(mode="json")
    return yaml.dump(content, Dumper=FileDumper, sort_keys=False, allow_unicode=True, width=110)


def study_digest(study: StudyConfig) -> str:
    """SHA-256 of what decides the results: market, book, strategy, costs, search, selection, targets, precision, and risk
    limits where they are on.

    The name, the question, the tracking and who computes may change between two runs of one study. The order
    of the searched parameters counts, since it numbers the trials.
    """
    content = study.model_dump(mode="json", include={"market", "strategy", "costs", "search", "selection", "targets"})
    for judged in ("replicates", "baseline"):  # when the search is over
        del content["selection"][judged]
    if study.book is not None:  # one without is what it was before there were books
        content["book"] = study.book.model_dump(mode="json")
    content["precision"] = study.compute.precision
    content |= study.risk_limits.told
    text = json.dumps(_canonical(content), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """Equal values spelled alike: 1 and 1.0 are one number."""
    if isinstance(value, dict):
        return {key: _canonical(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_canonical(entry) for entry in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def json_schema() -> dict[str, Any]:
    """JSON Schema of a study file, for editors that complete and check it."""
    schema = StudyConfig.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "HedgeGrid study"}
