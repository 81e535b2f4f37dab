"""Figures: what a reader sees equals the table it was made from, in the HTML and in the PNG."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking.axes import outline
from tracking.cells import MOST_VALUES, divide
from tracking.drawing_html import NARROW, WIDE, description, layout
from tracking.figures import equity, heatmap, pictures, profile, progress
from tracking.panels import Band, Chart, Figure, Heatmap, Line, Points, Quantity
from tracking.report import Report, Section, page

STRENGTH, THRESHOLD, WINDOW, MODE = (
    Quantity("strength"),
    Quantity("threshold"),
    Quantity("lookback", "bars"),
    Quantity("mode"),
)
SCORE = Quantity("score", good=+1)
DRAWDOWN = Quantity("score", "fraction", good=-1)


def sweep(rows: int, seed: int = 1) -> pd.DataFrame:
    """Configurations over two gridded parameters, a continuous one, and one that is a word or switched off."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "strength": rng.choice([0.1, 0.3, 0.5], rows),
            "threshold": rng.choice([-0.3, -0.1], rows),
            "lookback": rng.uniform(6, 365, rows),
            "mode": rng.choice(np.array(["full", "hedge_only", None], dtype=object), rows),
            "score": rng.normal(0.5, 0.1, rows),
        }
    )


def example(name: str) -> Figure:
    """One figure of every kind."""
    days = np.datetime64("2020-01-01", "us") + np.arange(400).astype("timedelta64[D]")
    growth = np.exp(np.cumsum(np.random.default_rng(2).normal(0.001, 0.01, (400, 2)), axis=0))
    trials = sweep(60).assign(number=range(60), targets_met=[k % 4 for k in range(60)])
    return {
        "heatmap": lambda: heatmap(trials, STRENGTH, THRESHOLD, SCORE),
        "profile": lambda: profile(trials, [STRENGTH, WINDOW, MODE, THRESHOLD], SCORE),
        "equity": lambda: equity(days, pd.DataFrame(growth, columns=["trial 3", "full"]), "trial 3"),
        "progress": lambda: progress(trials, 3),
        "nothing": lambda: heatmap(trials[:0], STRENGTH, THRESHOLD, SCORE),
    }[name]()


KINDS = ["heatmap", "profile", "equity", "progress", "nothing"]


def drawn(figure: Figure) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Traces and layout as a wide page hands them to plotly."""
    whole = description(figure)
    return whole["data"], whole["wide"]


def alone(figure: Figure, title: str = "study") -> str:
    """A page of one figure."""
    return page(Report(title, "", "", (Section("figures", (figure,)),)))


# Values near 1 and far from it, with repeats, so that ties and wide ranges are met.
scores = st.lists(st.sampled_from([0.25, 0.5, 0.5 + 1e-9, 0.75, -3.0]), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(scores, st.randoms(use_true_random=False), st.sampled_from([SCORE, DRAWDOWN]))
def test_a_cell_shows_the_best_and_the_median_of_its_own_configurations(
    values: list[float], random: Any, metric: Quantity
) -> None:
    table = pd.DataFrame({"score": values})
    table["strength"] = [random.choice([0.1, 0.2, 0.7]) for _ in values]
    table["mode"] = [random.choice(["full", None]) for _ in values]
    figure = heatmap(table, STRENGTH, MODE, metric)
    assert {panel.title for panel in figure.panels} <= {"", "best of each cell", "median of each cell"}
    for panel in figure.panels:
        assert isinstance(panel, Heatmap)
        for row, mode in enumerate(panel.y.categories):
            for column, strength in enumerate(panel.x.categories):
                inside = table["mode"].isna() if mode == "off" else table["mode"] == mode
                own = table.loc[inside & (table["strength"] == float(strength)), "score"]
                if own.empty:
                    assert np.isnan(panel.grid[row, column])
                elif panel.title.startswith("median"):
                    assert panel.grid[row, column] == own.median()
                else:
                    assert panel.grid[row, column] == (own.min() if metric.good < 0 else own.max())
    best = figure.panels[0]
    assert isinstance(best, Heatmap)
    assert best.mark is not None
    assert best.grid[best.mark] == (min(values) if metric.good < 0 else max(values))
    assert best.depth(float(best.grid[best.mark])) == (1.0 if best.low < best.high else 0.5)


numbers = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda value: round(value, 3))


@settings(max_examples=80, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=200))
def test_every_row_falls_in_exactly_one_cell_and_the_nearest(values: list[float]) -> None:
    cells = divide(pd.Series(values))
    assert len(cells.labels) == len(set(cells.labels)) == len(cells.positions)
    distance = np.abs(np.asarray(values)[:, None] - cells.positions[None, :])  # (rows, cells)
    # Rounding at a bin's edge: a few units in the last place of values up to 1e6.
    assert np.all(distance[np.arange(len(values)), cells.index] <= distance.min(axis=1) + 1e-8)
    if len(set(values)) <= MOST_VALUES:
        assert np.all(cells.positions[cells.index] == values)
    else:
        assert cells.binned
        assert 3 <= len(cells.labels) <= 12


def test_bins_are_labelled_with_round_numbers() -> None:
    cells = divide(pd.Series(np.linspace(-0.5, -0.01, 300)))
    assert cells.labels == ("-0.5", "-0.45", "-0.4", "-0.35", "-0.3", "-0.25", "-0.2", "-0.15", "-0.1", "-0.05", "0")


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 120), st.integers(0, 1000))
def test_a_profile_is_ordered_and_its_best_is_the_best_of_all(rows: int, seed: int) -> None:
    table = sweep(rows, seed)
    figure = profile(table, [STRENGTH, WINDOW, MODE], SCORE)
    for panel in figure.panels:
        assert isinstance(panel, Chart)
        band, median, best = panel.marks
        assert isinstance(band, Band)
        assert isinstance(median, Line)
        assert isinstance(best, Line)
        assert np.all(band.low <= median.y)
        assert np.all(median.y <= band.high)
        assert np.all(band.high <= best.y)
        assert best.y.max() == table["score"].max()
    median = figure.panels[0].marks[1]  # type: ignore[union-attr]
    assert isinstance(median, Line)
    expected = table.groupby("strength")["score"].median()
    assert dict(zip(median.x, median.y, strict=True)) == expected.to_dict()


def test_the_page_holds_the_tables_numbers() -> None:
    table = sweep(60)
    traces, _ = drawn(heatmap(table, STRENGTH, THRESHOLD, SCORE))
    cells = table.groupby(["threshold", "strength"])["score"]
    for trace, series in zip(traces, (cells.max(), cells.median()), strict=True):
        # Both group in the order of the axes, row by row, and every cell of the grid was tried.
        np.testing.assert_array_equal(np.ravel(trace["z"]), series.to_numpy())


def test_growth_is_shown_as_it_is_and_drawdown_is_the_fall_from_the_peak() -> None:
    days = np.datetime64("2024-01-01", "us") + np.arange(4).astype("timedelta64[D]")
    figure = equity(days, pd.DataFrame({"full": [1.0, 1.0, 1.0, 1.0], "best": [1.0, 2.0, 1.5, 3.0]}), "best")
    assert figure.title == "best grew 3x, worst drawdown -25.0%"
    traces, layout = drawn(figure)
    curves = {(trace["yaxis"], trace["name"].split(":")[0]): trace for trace in traces if "hovertemplate" in trace}
    assert curves["y", "best"]["y"] == [1.0, 2.0, 1.5, 3.0]
    assert curves["y2", "best"]["y"] == [0.0, 0.0, -0.25, 0.0]
    assert curves["y2", "full"]["y"] == [0.0] * 4
    assert curves["y", "best"]["x"][0] == "2024-01-01"
    assert layout["yaxis"]["type"] == "log"


def test_a_crowd_of_trials_is_thinned_and_the_running_best_is_of_all() -> None:
    number = np.arange(200_000)
    score = np.sin(number * 1.7) ** 2
    table = pd.DataFrame({"number": number, "score": score, "targets_met": (score > 0.5).astype(int)})
    (panel,) = progress(table, 2).panels
    assert isinstance(panel, Chart)
    *crowds, best = panel.marks
    assert isinstance(best, Line)
    assert sum(len(crowd.x) for crowd in crowds if isinstance(crowd, Points)) < 20_000
    assert len(best.x) < 100
    assert best.y[-1] == score.max()
    np.testing.assert_array_equal(best.y, np.maximum.accumulate(score)[best.x.astype(int)])


def test_the_running_best_never_falls_and_the_title_names_the_trial() -> None:
    table = pd.DataFrame({"number": [2, 0, 1, 3], "score": [0.9, 0.2, 0.1, np.inf], "targets_met": [3, 1, 0, 0]})
    figure = progress(table, 4)
    assert figure.title == "Best score 0.900 at trial 2 of 4: 3 of 4 targets met"
    assert "1 without a finite score" in figure.note
    (panel,) = figure.panels
    assert isinstance(panel, Chart)
    line = panel.marks[-1]
    assert isinstance(line, Line)
    assert line.y.tolist() == [0.2, 0.2, 0.9]
    assert [mark.name for mark in panel.marks if isinstance(mark, Points)] == [
        "0 of 4 targets met",
        "1 of 4 targets met",
        "3 of 4 targets met",
    ]


def test_cells_that_share_the_best_value_are_counted() -> None:
    table = pd.DataFrame({"strength": [0.1, 0.2, 0.3], "threshold": -0.1, "score": [0.7, 0.7, 0.1]})
    figure = heatmap(table, STRENGTH, THRESHOLD, SCORE)
    assert figure.title == "score: best 0.700 at strength 0.1, threshold -0.1"
    assert "2 cells share the best value." in figure.note


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_drawn_and_is_wide_enough_to_read(kind: str, tmp_path: Path) -> None:
    (picture,) = pictures([example(kind)], tmp_path / "figures")
    pixels = matplotlib.image.imread(picture)
    assert pixels.shape[1] == 1920
    painted = np.mean(np.any(pixels[..., :3] < 0.97, axis=-1))
    assert painted > (0.002 if kind == "nothing" else 0.01)


class _References(HTMLParser):
    """What a page would fetch: the address of every element that loads something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [f"{tag} {name}={value}" for name, value in attrs if name in ("src", "href", "srcset", "data")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_fetches_nothing(kind: str) -> None:
    whole = alone(example(kind))
    references = _References()
    references.feed(whole)
    assert references.found == []
    # The page's own part, outside the plotting library, names no address at all.
    body = whole.rindex("<body>")
    assert "http" not in whole[body : whole.index("</main>", body)]


def test_text_from_a_study_cannot_become_part_of_the_page() -> None:
    table = sweep(20).rename(columns={"mode": "<img src=x>"})
    whole = alone(heatmap(table, Quantity("<img src=x>"), STRENGTH, SCORE), "<img src=x>")
    assert "<img src=x>" not in whole


@pytest.mark.parametrize("rows", [1, 2])
def test_one_configuration_is_enough_for_every_figure(rows: int, tmp_path: Path) -> None:
    table = sweep(rows).assign(number=range(rows), targets_met=0)
    days = np.array(["2024-01-01"], dtype="datetime64[us]")
    figures = [
        heatmap(table, STRENGTH, WINDOW, SCORE),
        profile(table, [WINDOW], SCORE),
        progress(table, 0),
        equity(days, pd.DataFrame({"best": [1.0]}), "best"),
    ]
    assert len(pictures(figures, tmp_path)) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_plotly_knows_every_word_of_a_figure_wide_and_narrow(kind: str) -> None:
    """The page hands plotly plain JSON: its own check of names and values is asked here."""
    from plotly.graph_objects import Figure as Plot

    whole = description(example(kind))
    for form in ("wide", "narrow"):
        Plot({"data": whole["data"], "layout": whole[form]})


@pytest.mark.parametrize("kind", KINDS)
def test_panels_stand_below_each_other_on_a_narrow_page_and_never_overlap(kind: str) -> None:
    figure = example(kind)
    for form in (WIDE, NARROW):
        described = layout(figure, form)
        places = [
            (*described[f"xaxis{n or ''}"]["domain"], *described[f"yaxis{n or ''}"]["domain"])
            for n in (0, *range(2, len(figure.panels) + 1))[: len(figure.panels)]
        ]
        for i, (left, right, low, high) in enumerate(places):
            assert 0.0 <= left < right <= 1.0 + 1e-12
            assert -1e-12 <= low < high <= 1.0 + 1e-12
            if form is NARROW:
                assert (left, right) == (0.0, 1.0)
            for other in places[:i]:
                assert right <= other[0] or other[1] <= left or high <= other[2] or other[3] <= low


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4000), st.integers(1, 4), st.integers(0, 1000))
def test_a_long_curve_loses_no_peak_and_no_trough(bars: int, count: int, seed: int) -> None:
    curves = np.random.default_rng(seed).normal(0.0, 1.0, (bars, count)).cumsum(axis=0)
    kept = outline(curves)
    assert (kept[0], kept[-1]) == (0, bars - 1)
    assert np.all(np.diff(kept) > 0)
    np.testing.assert_array_equal(curves[kept].max(axis=0), curves.max(axis=0))
    np.testing.assert_array_equal(curves[kept].min(axis=0), curves.min(axis=0))
    assert len(kept) <= max(bars if bars < 4000 else 0, 400 * (2 * count + 1) + 1)
