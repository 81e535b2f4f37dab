"""What the risk limits refuse by name: settings, prices, positions that are not held, names that are none."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from made_risk import ROOMY, book, pair

from kernels import InputError
from kernels.risk_settings import Limits

# ---- bad input


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"symbol_limit": -0.1}, "risk_limits.symbol_limit: a share of equity of 0 or more must hold, got -0.1"),
        ({"direction_limit": math.nan}, "risk_limits.direction_limit: a share of equity of 0 or more"),
        ({"regime_limit": 1.5}, "risk_limits.regime_limit: at most 1 must hold where leverage is not allowed, got 1.5"),
        ({"correlation_limit": 1.0}, "risk_limits.correlation_limit: from 0 to below 1"),
        ({"correlation_cut": 1.1}, "risk_limits.correlation_cut: from 0 to 1"),
        ({"correlation_lookback": 2.5}, "risk_limits.correlation_lookback: a whole number of 3 or more"),
        ({"correlation_lookback": 20}, "correlation_common <= correlation_lookback must hold"),
        ({"exposure": "sideways"}, "risk_limits.exposure: choose one of net, gross, got 'sideways'"),
        ({"on_unknown": "guess"}, "risk_limits.on_unknown: choose one of cap, ignore"),
        ({"enabled": "false"}, "risk_limits.enabled: give true or false, got 'false'"),
    ],
)
def test_settings_out_of_bounds_are_refused_by_name(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as refused:
        Limits(**change)  # type: ignore[arg-type]
    assert words in str(refused.value)


def test_every_mistake_in_the_settings_is_told_at_once() -> None:
    with pytest.raises(InputError) as refused:
        Limits(symbol_limit=-1.0, direction_limit=2.0, exposure="x", correlation_cut=-1.0)  # type: ignore[arg-type]
    assert len(refused.value.problems) == 4
    assert Limits(symbol_limit=2.0, allow_leverage=True).symbol_limit == 2.0


@pytest.mark.parametrize(
    ("stamps", "values", "words"),
    [
        ("2026-01-01T00:00", 5.0, "prices of A: out of order, 2026-01-01 after 2026-01-05 04:00"),
        ("2026-01-05T04:00", 5.0, "prices of A: duplicate timestamp 2026-01-05 04:00; send each bar once"),
        (["2026-02-02", "2026-02-01"], [5.0, 5.0], "prices of A: out of order, 2026-02-01 after 2026-02-02"),
        (["2026-02-02", "2026-02-02"], [5.0, 5.0], "prices of A: duplicate timestamp 2026-02-02"),
        ("2026-02-01", 0.0, "prices of A: a close is finite and above 0, got 0 at 2026-02-01"),
        ("2026-02-01", math.nan, "prices of A: a close is finite and above 0, got nan"),
        ("2026-02-01", "dear", "prices of A: closes are numbers, got 'dear'"),
        (["2026-02-01", "2026-02-02"], 5.0, "prices of A: one close per timestamp, got 1 closes and 2 timestamps"),
        (1_700_000_000, 5.0, "a timestamp is a date and a time, not the number 1700000000"),
        ("one day", 5.0, "update_prices: not a timestamp"),
        (None, 5.0, "update_prices: a timestamp is missing"),
    ],
)
def test_prices_that_cannot_be_are_refused_and_nothing_is_taken(stamps: object, values: object, words: str) -> None:
    limits, untouched = book(ROOMY, **pair(0.92)), book(ROOMY, **pair(0.92))
    with pytest.raises(InputError) as refused:
        limits.update_prices(stamps, {"NEW": np.full(np.size(values), 3.0), "A": values})
    assert words in str(refused.value)
    for made in (limits, untouched):
        made.update_prices("2026-03-01", {"NEW": 3.0})
        made.open("A", "long", 10.0)
    assert limits.check("B", "long", 10.0) == untouched.check("B", "long", 10.0)
    assert limits.check("NEW", "long", 10.0) == untouched.check("NEW", "long", 10.0)


def test_time_zones_are_one_time() -> None:
    limits = book(ROOMY)
    limits.update_prices(pd.Timestamp("2026-01-01 12:00", tz="Europe/Berlin"), {"A": 5.0})
    with pytest.raises(InputError, match="duplicate timestamp 2026-01-01 11:00"):
        limits.update_prices("2026-01-01T11:00", {"A": 5.0})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("C",), "close: no position in 'C' is open; open: A, B"),
        (("A", "short"), "close: 'A' is held long, not short"),
        (("B",), "close: 'B' is held long and short; say which side"),
        (("A", "long", 11.0), "close: 10.00 long of 'A' is held, got 11.00"),
        (("A", "long", -1.0), "close: the notional of 'A' is a finite amount above 0, got -1.0"),
        (("A", "buy"), "side of 'A': choose one of long, short, got 'buy'"),
    ],
)
def test_closing_what_is_not_held_is_refused(arguments: tuple[str], words: str) -> None:
    limits = book(ROOMY)
    for name, side in (("A", "long"), ("B", "long"), ("B", "short")):
        limits.open(name, side, 10.0)
    before = limits.stats()
    with pytest.raises(InputError) as refused:
        limits.close(*arguments)
    assert words in str(refused.value)
    assert limits.stats() == before
    with pytest.raises(InputError, match="mark: no position in 'C' is open; open: A, B"):
        limits.mark("C", None, 5.0)


def test_names_that_are_none_are_refused() -> None:
    limits = book(ROOMY)
    for arguments, words in (
        (("", "long", 1.0), "symbol: give its name"),
        (("A", "buy", 1.0), "side of 'A': choose one of long, short"),
        (("A", "long", 1.0, 7), "regime of 'A': give its name"),
    ):
        for asked in (limits.check, limits.open, limits.check_and_open):
            with pytest.raises(InputError, match=words):
                asked(*arguments)
    with pytest.raises(InputError, match="open: the notional of 'A' is a finite amount above 0"):
        limits.open("A", "long", math.nan)
    assert limits.stats().open_positions == 0
