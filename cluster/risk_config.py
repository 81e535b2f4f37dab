"""The risk limits of a study: the environment that every backtest of it runs in, as its costs are."""

from __future__ import annotations

from typing import Annotated, Any

import pandas as pd
from pydantic import ValidationError, WithJsonSchema, model_validator
from pydantic_core import InitErrorDetails

from cluster.study_values import Section
from kernels.errors import InputError
from kernels.risk_settings import EXPOSURES, ON_UNKNOWN, SECTION, Limits

# `Limits` says what each value may be, so that a study file and a live program are refused in the same words
Share = Annotated[Any, WithJsonSchema({"type": "number", "minimum": 0})]
Count = Annotated[Any, WithJsonSchema({"type": "integer", "minimum": 3})]
Switch = Annotated[Any, WithJsonSchema({"type": "boolean"})]
DEFAULTS = Limits()


class RiskLimitsConfig(Section):
    """Limits that the rule asks at each bar; docs/risk_limits.md tells what each one means. Off unless `enabled`."""

    enabled: Switch = False
    symbol_limit: Share = DEFAULTS.symbol_limit
    direction_limit: Share = DEFAULTS.direction_limit
    regime_limit: Share = DEFAULTS.regime_limit
    exposure: Annotated[Any, WithJsonSchema({"enum": list(EXPOSURES)})] = DEFAULTS.exposure
    pyramiding: Switch = DEFAULTS.pyramiding
    allow_leverage: Switch = DEFAULTS.allow_leverage
    correlation_limit: Share = DEFAULTS.correlation_limit
    correlation_cut: Share = DEFAULTS.correlation_cut
    correlation_lookback: Count = DEFAULTS.correlation_lookback
    correlation_common: Count = DEFAULTS.correlation_common
    on_unknown: Annotated[Any, WithJsonSchema({"enum": list(ON_UNKNOWN)})] = DEFAULTS.on_unknown

    @model_validator(mode="after")
    def _within_bounds(self) -> RiskLimitsConfig:
        try:
            Limits(**self.model_dump())
        except InputError as error:
            raise ValidationError.from_exception_data(SECTION, [_mistake(p) for p in error.problems]) from None
        return self

    @property
    def limits(self) -> Limits | None:
        """The limits that backtests run under; None where they are off."""
        return Limits(**self.model_dump()) if self.enabled else None

    @property
    def told(self) -> dict[str, Any]:
        """The section as files tell it, under its name; nothing where the limits are off."""
        return {SECTION: self.model_dump(mode="json")} if self.enabled else {}


def _mistake(problem: str) -> InitErrorDetails:
    """A sentence of `Limits` as a mistake of its key: `risk_limits.key: what is wrong`."""
    path, _, sentence = problem.partition(": ")
    return InitErrorDetails(
        type="value_error", loc=tuple(path.split(".")[1:]), input=None, ctx={"error": ValueError(sentence)}
    )


def limits_in_words(limits: Limits) -> str:
    """What the limits allow, in a line.

    >>> limits_in_words(Limits(correlation_cut=0.0, pyramiding=True))
    'at most 25% in an asset, 60% long or short, 50% in a regime; positions may be added to'
    """
    told = (
        f"at most {limits.symbol_limit:.0%} in an asset, {limits.direction_limit:.0%} long or short, "
        f"{limits.regime_limit:.0%} in a regime"
    )
    if limits.correlation_cut > 0.0:
        told += (
            f"; orders cut by up to {limits.correlation_cut:.0%} above a correlation of {limits.correlation_limit:g}"
        )
        told += f" ({limits.correlation_lookback} bars, {limits.on_unknown} what is not known)"
    return told + ("; positions may be added to" if limits.pyramiding else "; no position is added to")


def what_limits_did(limits: Limits | None, row: pd.Series) -> list[str]:
    """A sentence on a row of metrics: the orders that the limits cut and refused; none where they are off."""
    if limits is None or "limit_cuts" not in row or "limit_refusals" not in row:
        return []
    cuts, refusals = row["limit_cuts"], row["limit_refusals"]
    return [f"The risk limits cut {cuts:,.0f} of its orders and refused {refusals:,.0f}."]
