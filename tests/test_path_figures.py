"""Figures over many paths, and the axes of all figures."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from hedge_tables import DRAWDOWN, LABELS, RETURN, line, marks, paths, wealth
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking.axes import around, log_ticks
from tracking.panels import Band, Chart, Labels, Points, Quantity
from tracking.path_figures import distribution, fan, worst_mean


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


# Axes


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
