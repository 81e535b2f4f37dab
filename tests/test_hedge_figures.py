"""Figures of hedging studies: what a reader sees is the table's, and the title's numbers are the picture's."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from hedge_tables import (
    COST,
    DAYS,
    DRAWDOWN,
    ERROR,
    EXPOSURE,
    LABELS,
    RETURN,
    line,
    marks,
    named,
    parts,
    paths,
    theory,
    trials,
    wealth,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking.axes import MOST_POINTS
from tracking.drawing_html import script
from tracking.figures import pictures
from tracking.frontier import efficient, frontier
from tracking.hedge_figures import attribution, hedging_error
from tracking.panels import Band, Bars, Chart, Figure, Labels, Level, Line, Points, Quantity, Span
from tracking.path_figures import distribution, fan
from tracking.target_figures import against_targets

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


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_is_drawn_twice(kind: str, tmp_path: Path) -> None:
    figure = KINDS[kind]()
    (picture,) = pictures([figure], tmp_path)
    pixels = matplotlib.image.imread(picture)
    assert pixels.shape[1] == 1920
    assert np.mean(np.any(pixels[..., :3] < 0.97, axis=-1)) > 0.01
    own = script(figure)
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
    assert len(pictures([figure], tmp_path)) == 1


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
    assert len(pictures(figures, tmp_path)) == 5


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
    without_best = frontier(trials(20), COST, ERROR, named=named().assign(cost=[np.inf, 0.001]))
    assert "best" not in without_best.title
    assert [mark.symbol for mark in marks(without_best, Points)] == ["circle", "circle", "diamond"]


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
    assert (
        figure.title
        == "The target of total_return can be met at exposure edge, centre, off: 60 of 60 configurations do"
    )


# What both drawers share


def test_a_levels_line_and_words_stand_at_its_value_on_both_kinds_of_axis() -> None:
    for log in (False, True):
        figure = KINDS["error"]() if log else KINDS["targets"]()
        chart = figure.panels[0]
        assert isinstance(chart, Chart)
        level = Level("y", 0.02, "here", "#009e73")
        own = script(Figure("f", "", (Chart(chart.x, chart.y, (level,)),)))
        assert '"y0":0.02,"y1":0.02' in own
        assert f'"y":{math.log10(0.02) if log else 0.02}' in own


def test_a_dollar_sign_is_a_dollar_sign(tmp_path: Path) -> None:
    table = parts().rename(index={"best": "$5 to $10"})
    assert len(pictures([attribution(table)], tmp_path)) == 1
