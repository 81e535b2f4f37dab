"""Figures of hedging studies: what a reader sees is the table's, and the title's numbers are the picture's."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking.axes import around, log_ticks
from tracking.drawing_html import page
from tracking.figures import write
from tracking.frontier import MOST_POINTS, efficient, frontier
from tracking.hedge_figures import attribution, hedging_error
from tracking.panels import Band, Bars, Chart, Figure, Labels, Level, Line, Mark, Points, Quantity, Span
from tracking.path_figures import distribution, fan, worst_mean
from tracking.target_figures import against_targets

DAYS = Quantity("rebalance_days", "days")
EXPOSURE = Quantity("exposure")
ERROR = Quantity("hedging_error", "fraction", good=-1)
COST = Quantity("cost", "fraction/year", good=-1)
RETURN = Quantity("total_return", "fraction", good=+1)
DRAWDOWN = Quantity("max_drawdown", "fraction", good=-1)
LABELS = ["best", "daily", "no hedge"]
TIMES = np.array([0.1, 0.5, 1.0, 5.0, 20.0])


def theory(times: np.ndarray[Any, Any] = TIMES) -> pd.DataFrame:
    return pd.DataFrame({"rebalance_days": times, "hedging_error": 0.004 * np.sqrt(times)})


def trials(rows: int, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    times = rng.choice(TIMES, rows)
    return pd.DataFrame(
        {
            "rebalance_days": times,
            "exposure": rng.choice([0.5, 1.0, 1.5], rows),
            "hedging_error": 0.004 * np.sqrt(times) * rng.lognormal(0.0, 0.4, rows),
            "cost": 0.01 / np.sqrt(times) * rng.lognormal(0.0, 0.4, rows),
            "total_return": rng.normal(0.1, 0.1, rows),
            "max_drawdown": rng.uniform(0.01, 0.3, rows),
        }
    )


def named() -> pd.DataFrame:
    return pd.DataFrame({"hedging_error": [0.004, 0.02], "cost": [0.012, 0.001]}, index=["best", "no hedge"])


def parts() -> pd.DataFrame:
    columns = {"option": [0.38, 0.41], "shares": [-0.22, 0.0], "carry": [0.01, 0.02], "stock cost": [-0.03, 0.0]}
    return pd.DataFrame(columns, index=["best", "no hedge"])


def paths(count: int, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"label": np.repeat(LABELS, count), "total_return": rng.normal(0.1, 0.2, 3 * count)})
    return table.assign(max_drawdown=rng.uniform(0.0, 0.4, 3 * count))


def wealth(count: int, days: int = 60) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], pd.DataFrame]:
    rng = np.random.default_rng(4)
    grown = np.exp(np.cumsum(rng.normal(0.0, 0.01, (days, count)), axis=0))
    members = np.exp(np.cumsum(rng.normal(0.0, 0.01, (days, 2)), axis=0))
    times = np.datetime64("2024-01-01", "us") + np.arange(days).astype("timedelta64[D]")
    return times, grown, pd.DataFrame(members, columns=["AAPL", "MSFT"])


LEVELS = {"total_return": (0.12, +1), "max_drawdown": (0.15, -1)}
KINDS: dict[str, Callable[[], Figure]] = {
    "error": lambda: hedging_error(trials(200), theory(), DAYS, ERROR),
    "error of one row each": lambda: hedging_error(theory(), theory(), DAYS, ERROR),
    "frontier": lambda: frontier(trials(400), COST, ERROR, [DAYS, EXPOSURE], named()),
    "frontier of equal values": lambda: frontier(trials(9).assign(cost=0.0, hedging_error=0.01), COST, ERROR),
    "attribution": lambda: attribution(parts()),
    "attribution of one": lambda: attribution(parts()[:1]),
    "targets": lambda: against_targets(trials(90), EXPOSURE, [RETURN, DRAWDOWN], LEVELS),
    "distribution": lambda: distribution(paths(300), [RETURN, DRAWDOWN], LABELS),
    "distribution of equal values": lambda: distribution(paths(3).assign(total_return=0.1), [RETURN], LABELS),
    "fan": lambda: fan(*wealth(200)),
    "fan of one path": lambda: fan(*wealth(1)),
}


def marks(figure: Figure, kind: type[Mark], panel: int = 0) -> list[Any]:
    chart = figure.panels[panel]
    assert isinstance(chart, Chart)
    return [mark for mark in chart.marks if isinstance(mark, kind)]


def line(figure: Figure, name: str, panel: int = 0) -> Line:
    (found,) = (mark for mark in marks(figure, Line, panel) if mark.name.startswith(name))
    assert isinstance(found, Line)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_is_drawn_twice(kind: str, tmp_path: Path) -> None:
    figure = KINDS[kind]()
    whole, picture = write("study", [figure], tmp_path)
    pixels = matplotlib.image.imread(picture)
    assert pixels.shape[1] == 1920
    assert np.mean(np.any(pixels[..., :3] < 0.97, axis=-1)) > 0.01
    own = whole.read_text().rpartition("</head>")[2]
    assert "http" not in own
    assert "NaN" not in own


EMPTY: dict[str, Callable[[], Figure]] = {
    "error": lambda: hedging_error(trials(0), theory(), DAYS, ERROR),
    "error of zero": lambda: hedging_error(trials(5).assign(hedging_error=0.0), theory(), DAYS, ERROR),
    "frontier": lambda: frontier(trials(5).assign(cost=np.nan), COST, ERROR, [DAYS], named()),
    "attribution": lambda: attribution(parts()[:0]),
    "targets": lambda: against_targets(trials(0), EXPOSURE, [RETURN], LEVELS),
    "distribution": lambda: distribution(paths(0), [RETURN], LABELS),
    "fan": lambda: fan(*wealth(0)),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_nothing_to_show_is_said_and_not_drawn(kind: str, tmp_path: Path) -> None:
    figure = EMPTY[kind]()
    assert figure.panels == ()
    assert len(figure.title) > 20
    assert len(write("study", [figure], tmp_path)) == 2


@pytest.mark.parametrize("rows", [1, 2])
def test_one_row_is_enough(rows: int, tmp_path: Path) -> None:
    table = trials(rows)
    figures = [
        hedging_error(table, theory(), DAYS, ERROR),
        frontier(table, COST, ERROR, [DAYS], named()),
        against_targets(table, EXPOSURE, [RETURN, DRAWDOWN], LEVELS),
        distribution(paths(rows), [RETURN], LABELS),
        fan(*wealth(rows, days=1)),
    ]
    assert all(figure.panels for figure in figures)
    assert len(write("study", figures, tmp_path)) == 6


# Error against the theory


@pytest.mark.parametrize("factor", [1.0, 0.5, 3.0])
def test_the_title_says_how_far_measured_is_from_theory(factor: float) -> None:
    measured = theory(np.array([0.2, 3.0])).assign(hedging_error=lambda t: factor * t["hedging_error"])
    figure = hedging_error(measured, theory(), DAYS, ERROR)
    assert figure.title == f"hedging_error is {factor:.2f} times the theory's at rebalance_days 0.2 to 3"
    assert not marks(figure, Band)


def test_an_error_outside_the_theorys_range_is_shown_and_not_compared() -> None:
    figure = hedging_error(theory(np.array([0.01, 1.0, 90.0])), theory(), DAYS, ERROR)
    assert figure.title.endswith("is 1.00 times the theory's at rebalance_days 1")
    assert line(figure, "measured").x.tolist() == [0.01, 1.0, 90.0]
    alone = hedging_error(theory(np.array([90.0])), theory(), DAYS, ERROR)
    assert alone.title == "hedging_error: 3.8% at rebalance_days 90"


def test_errors_that_logarithmic_axes_cannot_show_are_counted() -> None:
    table = trials(50)
    table.loc[:2, "hedging_error"] = 0.0
    table.loc[3, "hedging_error"] = np.nan
    figure = hedging_error(table, theory(), DAYS, ERROR)
    assert "Left out: 1 without a finite" in figure.note
    assert "No place on these axes: 3 " in figure.note
    assert all((mark.y > 0).all() for mark in marks(figure, Line))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(0, 1000), st.booleans())
def test_the_median_lies_within_its_band_at_few_times_or_many(rows: int, seed: int, continuous: bool) -> None:
    table = trials(rows, seed)
    if continuous:
        table["rebalance_days"] = np.random.default_rng(seed).uniform(0.1, 20.0, rows)
    figure = hedging_error(table, theory(), DAYS, ERROR)
    median = line(figure, "median" if marks(figure, Band) else "measured")
    assert np.all(np.diff(median.x) > 0)
    for band in marks(figure, Band):
        assert np.all((band.low <= median.y) & (median.y <= band.high))
        assert np.all(line(figure, "least").y <= band.low)


# The frontier

points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40)


@settings(max_examples=100, deadline=None)
@given(points)
def test_no_configuration_beats_an_efficient_one_and_each_other_is_beaten(table: list[tuple[int, int]]) -> None:
    error, cost = np.array(table, dtype=np.float64).T
    chosen = efficient(error, cost)
    assert np.all(np.diff(error[chosen]) > 0)
    assert np.all(np.diff(cost[chosen]) < 0)
    for k in range(len(error)):
        no_worse = (error <= error[k]) & (cost <= cost[k])
        beaten = (no_worse & ((error < error[k]) | (cost < cost[k]))).any()
        first = k == np.flatnonzero((error == error[k]) & (cost == cost[k]))[0]
        assert (k in chosen) == (first and not beaten)
        assert no_worse[chosen].any()


def test_many_configurations_are_thinned_and_the_frontier_is_of_all() -> None:
    table = trials(100_000)
    figure = frontier(table, COST, ERROR)
    crowd = marks(figure, Points)[0]
    assert MOST_POINTS / 4 < len(crowd.x) < 3 * MOST_POINTS
    assert f"{len(crowd.x):,} are drawn" in figure.note
    best = efficient(table["hedging_error"].to_numpy(), table["cost"].to_numpy())
    assert line(figure, "efficient").y.tolist() == table["cost"].to_numpy()[best].tolist()
    again = marks(frontier(table, COST, ERROR), Points)[0]
    assert np.array_equal(crowd.x, again.x)


def test_the_title_names_the_price_of_half_the_error() -> None:
    table = pd.DataFrame({"hedging_error": [0.005, 0.01, 0.02, 0.04], "cost": [0.035, 0.02, 0.012, 0.01]})
    assert frontier(table, COST, ERROR, named=pd.DataFrame(table[2:3]).set_axis(["trial 7"])).title == (
        "Halving the hedging_error from 2.0% (trial 7) to 1.0% costs 0.80% more a year: 2.0% instead of 1.2%"
    )
    assert frontier(table, COST, ERROR).title.startswith("Halving the hedging_error from 4.0% to 2.0% costs 0.20% more")
    least = pd.DataFrame(table[:1]).set_axis(["trial 0"])
    assert frontier(table, COST, ERROR, named=least).title == "The least hedging_error is 0.50%, at a cost of 3.5%"


def test_a_chosen_configuration_that_another_beats_is_said_to_be() -> None:
    table = pd.DataFrame({"hedging_error": [0.01, 0.02], "cost": [0.02, 0.01]})
    chosen = pd.DataFrame({"hedging_error": [0.021], "cost": [0.03]}, index=["best"])
    assert (
        "best is not efficient: as little hedging_error is to be had for 1.0% instead of 3.0%."
        in frontier(table, COST, ERROR, named=chosen).note
    )


def test_a_baseline_without_a_finite_error_is_named_in_the_note() -> None:
    figure = frontier(trials(20), COST, ERROR, named=named().assign(hedging_error=[0.004, np.nan]))
    assert "Without a finite cost or hedging_error: no hedge." in figure.note
    assert [mark.name.split(":")[0] for mark in marks(figure, Points)] == ["configurations", "efficient", "best"]


# Attribution

amounts = st.lists(st.floats(-1.0, 1.0).map(lambda v: round(v, 3)), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(amounts)
def test_each_part_starts_where_the_one_before_it_ended(values: list[float]) -> None:
    table = pd.DataFrame([values], index=["best"], columns=[f"part {k}" for k in range(len(values))])
    figure = attribution(table)
    found = {
        float(at): (float(low), float(high))
        for bars in marks(figure, Bars)
        for at, low, high in zip(bars.at, bars.low, bars.high, strict=True)
    }
    running = 0.0
    for place, value in zip(range(len(values), 0, -1), values, strict=True):
        low, high = found[place]
        # Sums of at most seven numbers below 1, in another order: 7 * 2**-52 < 1e-14.
        assert math.isclose(low, min(running, running + value), abs_tol=1e-14)
        assert math.isclose(high, max(running, running + value), abs_tol=1e-14)
        running += value
    assert found[0.0] == pytest.approx((min(running, 0.0), max(running, 0.0)), abs=1e-14)
    (labels,) = marks(figure, Labels)
    share = Quantity("", "fraction")
    assert labels.words[:-1] == tuple(share.text(value) for value in values)


def test_attribution_compares_configurations_on_one_scale() -> None:
    figure = attribution(pd.concat([parts(), parts().rename(index={"best": "lost", "no hedge": "gone"}) * np.nan]))
    assert figure.title == (
        "best nets 14.0% a year (largest parts: option 38.0%, shares -22.0%, stock cost -3.0%); no hedge nets 43.0%"
    )
    assert "Left out, not finite: lost, gone." in figure.note
    assert [panel.title for panel in figure.panels] == ["best", "no hedge"]
    assert len({panel.x.limits for panel in figure.panels if isinstance(panel, Chart)}) == 1


# Targets


def test_the_title_says_for_which_values_all_targets_are_met_together() -> None:
    table = pd.DataFrame(
        {
            "exposure": [0.5, 1.0, 1.5, 2.0, 2.5, 2.5],
            "total_return": [0.05, 0.15, 0.2, 0.1, 0.4, 0.01],
            "max_drawdown": [0.01, 0.1, 0.15, 0.1, 0.12, 0.01],
        }
    )
    figure = against_targets(table, EXPOSURE, [RETURN, DRAWDOWN], LEVELS)
    assert figure.title == "Both targets can be met at exposure 1 to 1.5 and 2.5: 3 of 6 configurations do"
    those = line(figure, "median of those")
    np.testing.assert_array_equal(those.y, [np.nan, 0.15, 0.2, np.nan, 0.4])
    never = against_targets(table, EXPOSURE, [RETURN, DRAWDOWN], {**LEVELS, "total_return": (0.5, +1)})
    assert (
        never.title == "No exposure meets both targets: at best 1 of 2, at 0.5; none meets the target of total_return"
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(0, 500), st.sampled_from([-1, +1]), st.floats(-1.0, 1.0))
def test_the_shaded_side_of_a_target_holds_exactly_what_meets_it(
    rows: int, seed: int, sense: int, level: float
) -> None:
    table = trials(rows, seed)
    figure = against_targets(table, EXPOSURE, [RETURN], {"total_return": (level, sense)})
    ((span,), (drawn,)) = marks(figure, Span), marks(figure, Level)
    assert drawn.value == level
    best = line(figure, "best").y
    assert np.array_equal((span.low <= best) & (best <= span.high), sense * (best - level) >= 0.0)
    assert figure.title.startswith("No ") == (not (sense * (table["total_return"] - level) >= 0.0).any())


def test_a_parameter_that_is_switched_off_or_a_word_has_a_place() -> None:
    table = trials(60).assign(exposure=np.resize(np.array(["edge", "centre", None], dtype=object), 60))
    figure = against_targets(table, EXPOSURE, [RETURN], {"total_return": (-9.0, +1)})
    assert figure.title == "The target of total_return can be met at exposure edge, off: 60 of 60 configurations do"


# Paths


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-2.0, 2.0), min_size=1, max_size=120), st.sampled_from([RETURN, DRAWDOWN]))
def test_the_worst_mean_is_the_mean_of_the_worst_twentieth(values: list[float], measure: Quantity) -> None:
    array = np.array(values)
    worst = worst_mean(array, measure)
    count = max(round(len(values) / 20), 1)
    expected = np.mean(sorted(values, reverse=measure.good < 0)[:count])
    # A mean of at most six numbers up to 2, added in another order: 6 * 2 * 2**-52 < 1e-14.
    assert math.isclose(worst, float(expected), abs_tol=1e-14)
    assert worst * measure.good <= float(np.median(array)) * measure.good + 1e-14


def test_median_and_worst_mean_stand_beside_every_histogram() -> None:
    table = paths(500)
    table.loc[0, "total_return"] = np.nan
    table.loc[1, "total_return"] = 1e6  # beyond any axis, and in the mean all the same
    figure = distribution(table, [RETURN, DRAWDOWN], LABELS)
    medians, worst = marks(figure, Points)
    groups = table.groupby("label")["total_return"]
    assert medians.x.tolist() == groups.median()[LABELS].tolist()
    daily = table.loc[table["label"] == "daily", "total_return"].to_numpy()
    assert worst.x[1] == worst_mean(daily, RETURN)
    assert "Left out, not finite: 1 results." in figure.note
    assert "beyond the axes" in figure.note
    chart = figure.panels[0]
    assert isinstance(chart, Chart)
    assert chart.x.limits is not None
    assert chart.x.limits[1] < 2.0
    assert chart.y.categories == tuple(reversed(LABELS))


def test_a_label_without_paths_keeps_its_row() -> None:
    figure = distribution(paths(20), [RETURN], [*LABELS, "absent"])
    assert "0 paths of absent" in figure.note
    assert marks(figure, Labels)[0].words[-1] == "none"


def test_bands_of_wealth_are_ordered_quantiles_of_whole_paths() -> None:
    times, equity, members = wealth(101)
    broken = equity.copy()
    broken[5, 7] = np.nan
    figure = fan(times, broken, members.assign(META=np.nan))
    assert "100 paths. Left out: 1 with a gap. Members left out: META." in figure.note
    wide, middle = marks(figure, Band)
    median = line(figure, "portfolio")
    whole = np.delete(equity, 7, axis=1)
    np.testing.assert_array_equal(median.y, np.median(whole, axis=1))
    for low, high in (
        (wide.low, middle.low),
        (middle.low, median.y),
        (median.y, middle.high),
        (middle.high, wide.high),
    ):
        assert np.all(low <= high)


def test_one_path_is_a_line_and_ruin_has_no_logarithm() -> None:
    times, equity, members = wealth(1)
    figure = fan(times, equity, members, "five tickers")
    assert figure.title.startswith(f"five tickers grew {equity[-1, 0]:.2f}x, worst drawdown ")
    assert not marks(figure, Band)
    chart = fan(times, equity - equity.min(), members).panels[0]
    assert isinstance(chart, Chart)
    assert not chart.y.log


# What both drawers share


@settings(max_examples=200, deadline=None)
@given(st.floats(-8.0, 8.0), st.floats(0.01, 12.0))
def test_a_logarithmic_axis_has_a_few_round_numbers(start: float, decades: float) -> None:
    low = 10.0**start
    high = low * 10.0**decades
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks) <= 9
    assert all(a < b for a, b in pairwise(ticks))
    # Ticks are rounded to 12 digits.
    assert low * (1 - 1e-9) <= ticks[0]
    assert ticks[-1] <= high * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-9, 1e9), st.floats(1.0, 1e6), st.booleans())
def test_ends_of_an_axis_lie_outside_its_numbers(low: float, factor: float, log: bool) -> None:
    left, right = around(low, low * factor, log=log)
    assert left < low <= low * factor < right


def test_a_levels_line_and_words_stand_at_its_value_on_both_kinds_of_axis() -> None:
    for log in (False, True):
        figure = KINDS["error"]() if log else KINDS["targets"]()
        chart = figure.panels[0]
        assert isinstance(chart, Chart)
        level = Level("y", 0.02, "here", "#009e73")
        own = page("study", [Figure("f", "", (Chart(chart.x, chart.y, (level,)),))]).rpartition("</head>")[2]
        assert '"y0":0.02,"y1":0.02' in own
        assert f'"y":{math.log10(0.02) if log else 0.02}' in own


def test_a_dollar_sign_is_a_dollar_sign(tmp_path: Path) -> None:
    table = parts().rename(index={"best": "$5 to $10"})
    assert len(write("$a_b$", [attribution(table)], tmp_path)) == 2
