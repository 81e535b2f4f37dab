"""Figures of a hedged portfolio: what is drawn is what the rule had, without a look ahead, in both drawers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import armed_rule
import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from hedge_tables import line, marks
from histories import history, part
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster import portfolio_figures
from cluster.portfolio_figures import Asked, books, hedges_a_portfolio, mean_with, of_correlation, of_regimes, unhedged
from kernels import STRATEGIES, Costs, Market
from kernels.backends import choose
from kernels.correlation import correlation, correlation_regime, mean_correlation
from kernels.engine import Engine
from kernels.indicators import equal_weight_returns
from kernels.regime import REGIMES, RegimeRule, market_regime
from kernels.second_market import cross_correlation
from tracking.drawing_html import description
from tracking.figures import pictures
from tracking.panels import Array, Chart, Figure, Heatmap, Level, Line, Quantity, Stretches
from tracking.portfolio_figures import Flags, hedge_over_drawdown, regimes_over_price, runs

RULE = {"regime_window": 12, "regime_memory": 60, "trend_strength": 4.0, "confirm_bars": 2, "min_bars": 3}
SETTINGS = {"correlation_window": 30, "hedge_exposure": 0.3, **RULE}
ASKED = Asked.of(SETTINGS)
MARKET = history(400, 3, seed=5)


@dataclass(frozen=True)
class Beside:
    """A book that has a second market only."""

    beside: Market
    implied: None = None


def hedge(market: Market, **chosen: float | str) -> Figure:
    """The figure of the small rule, as a study draws it."""
    defaults = {p.name: p.default for p in armed_rule.STRATEGY.parameters}
    rows = pd.DataFrame([defaults | {"hedge_exposure": 0.3} | chosen])
    without = unhedged(armed_rule.STRATEGY, rows)
    engine = Engine(market, armed_rule.STRATEGY, Costs(), choose("numpy").backend)
    own, plain = books(engine, pd.concat([rows, without], ignore_index=True))
    drawn = (market.timestamps[1:], own.drawdown, own.armed, own.exposure)
    return hedge_over_drawdown(*drawn, name="best", trigger=0.3, unhedged=plain.drawdown)


def stretches(figure: Figure, name: str, panel: int = 0) -> Stretches:
    (found,) = (mark for mark in marks(figure, Stretches, panel) if mark.name.startswith(name))
    assert isinstance(found, Stretches)
    return found


def shaded(mark: Stretches, timestamps: Array) -> Flags:
    """Which of (T,) bars begin within a stretch, of which no two overlap."""
    inside: Flags = (timestamps[:, None] >= mark.low) & (timestamps[:, None] < mark.high)
    assert inside.sum(axis=1).max(initial=0) <= 1
    return np.asarray(inside.any(axis=1))


def maps(figure: Figure) -> list[Heatmap]:
    return [panel for panel in figure.panels if isinstance(panel, Heatmap)]


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> Market:
    """A market of one ticker beside any other."""
    other = history(500, 1, seed=8)
    monkeypatch.setattr(portfolio_figures, "book_of", lambda _: Beside(other))
    return other


# Both drawers


FIGURES = {
    "correlation": lambda: of_correlation(MARKET, ASKED),
    "correlation of 64": lambda: of_correlation(history(150, 64), ASKED),
    "correlation of one": lambda: of_correlation(history(150, 1), ASKED),
    "regimes": lambda: of_regimes(MARKET, ASKED),
    "hedge": lambda: hedge(MARKET),
    "hedge that is never on": lambda: hedge(MARKET, hedge="off"),
    "hedge of one asset": lambda: hedge(history(150, 1)),
    "two bars": lambda: regimes_over_price(
        MARKET.timestamps[:2], np.array([1.0, 1.1]), np.zeros(2, dtype=np.int64), REGIMES
    ),
}


@pytest.mark.parametrize("kind", FIGURES)
def test_every_figure_is_drawn_twice_and_plotly_knows_its_words(kind: str, tmp_path: Path) -> None:
    from plotly.graph_objects import Figure as Plot

    figure = FIGURES[kind]()
    assert figure.panels
    (picture,) = pictures([figure], tmp_path)
    pixels = matplotlib.image.imread(picture)
    assert pixels.shape[1] == 1920
    assert np.mean(np.any(pixels[..., :3] < 0.97, axis=-1)) > 0.02
    told = description(figure)
    for form in ("wide", "narrow"):
        Plot({"data": told["data"], "layout": told[form]})


def test_nothing_to_show_is_said_and_not_drawn(tmp_path: Path) -> None:
    none = np.empty(0)
    days = np.empty(0, dtype="datetime64[us]")
    figures = [
        hedge_over_drawdown(days, none, none.astype(bool), none, name="best"),
        regimes_over_price(days, none, none.astype(np.int64), REGIMES),
    ]
    assert all(figure.panels == () and len(figure.title) > 20 for figure in figures)
    assert len(pictures(figures, tmp_path)) == 2


def test_a_stretch_lies_in_the_picture_where_its_dates_are(tmp_path: Path) -> None:
    """The first mark of a chart is a stretch: its dates are dates and not numbers."""
    figure = hedge(MARKET)
    layout = description(figure)["wide"]
    shape = layout["shapes"][0]
    days = re.findall(r"\d{4}-\d\d-\d\d", shape["path"])
    on = stretches(figure, "the hedge is on")
    assert days[0] == str(on.low[0].astype("datetime64[D]"))
    assert days.count(days[0]) == 2
    assert shape["path"].count("Z") == len(on.low)


# What is drawn is what the planes have


def test_the_lines_and_the_matrices_are_those_of_the_planes() -> None:
    figure = of_correlation(MARKET, ASKED)
    whole = correlation(MARKET, 30)
    for name, decay in (("rolling", 1.0), ("EWMA", 0.94)):
        drawn = line(figure, name)
        assert np.array_equal(drawn.y, mean_correlation(MARKET, 30, decay), equal_nan=True)
        assert np.array_equal(drawn.x, MARKET.timestamps)
    assert 2 <= len(maps(figure)) <= 4
    for panel in maps(figure):
        day = np.datetime64(re.findall(r"\d{4}-\d\d-\d\d", panel.title)[0])
        bar = int(np.flatnonzero(MARKET.timestamps == day)[0])
        assert np.array_equal(panel.grid[::-1], whole[bar])
        assert panel.y.categories[::-1] == panel.x.categories == MARKET.tickers
        assert panel.title.endswith(Quantity("", decimals=2).text(mean_correlation(MARKET, 30)[bar]))


def test_the_kind_of_correlation_that_the_rule_reads_is_the_one_that_is_judged() -> None:
    asked = Asked.of({**SETTINGS, "ewma": "on"})
    figure = of_correlation(MARKET, asked)
    assert marks(figure, Line)[0].name.startswith("EWMA")
    mean = mean_correlation(MARKET, 30, 0.94)
    regime = correlation_regime(mean, 250)
    for number, name in enumerate(("low", "normal", "high")):
        on = shaded(stretches(figure, f"{name}:"), MARKET.timestamps)
        assert np.array_equal(on, np.isfinite(mean) & (regime == number))


def test_every_bar_has_the_shade_and_the_lane_of_its_regime() -> None:
    figure = of_regimes(MARKET, ASKED)
    labels = market_regime(MARKET, RegimeRule(12, 60, trend_strength=4.0, confirm_bars=2, min_bars=3))
    assert len(set(labels)) > 3
    lanes = marks(figure, Stretches, 1)
    for number, name in enumerate(REGIMES):
        on = shaded(stretches(figure, f"{name}:"), MARKET.timestamps)
        assert np.array_equal(on, labels == number)
        assert np.array_equal(shaded(lanes[number], MARKET.timestamps), on)
        assert f"{name}: {on.mean():.0%} of bars" == stretches(figure, f"{name}:").name
    price = line(figure, "equal-weight").y
    assert price[1:] / price[:-1] == pytest.approx(1.0 + equal_weight_returns(MARKET)[1:], rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(130, 260), st.integers(1, 4))
def test_the_shares_in_a_legend_add_to_one(seed: int, bars: int, assets: int) -> None:
    market = history(bars, assets, seed)
    for figure, known in ((of_regimes(market, ASKED), bars), (of_correlation(market, ASKED), bars - 30)):
        kinds = marks(figure, Stretches)
        assert sum(int(shaded(kind, market.timestamps).sum()) for kind in kinds) == known
        shares = [int(re.findall(r"(\d+)%", kind.name)[0]) for kind in kinds]
        assert sum(shares) == pytest.approx(100, abs=0.5 * len(kinds))  # each is rounded to a whole one


def test_the_title_has_the_share_of_bars_in_which_the_state_was_armed() -> None:
    rows = pd.DataFrame(
        [
            {
                **{p.name: p.default for p in armed_rule.STRATEGY.parameters},
                "hedge_exposure": 0.3,
                "correlation_window": 30,
            }
        ]
    )
    engine = Engine(MARKET, armed_rule.STRATEGY, Costs(), choose("numpy").backend)
    armed = np.array([float(carried.rule.armed[0]) for _, _, _, carried in engine.walk(rows)])[1:] == 1.0
    exposure = np.array([float(carried.rule.exposure[0]) for _, _, _, carried in engine.walk(rows)])[1:]
    drawdown = engine.paths(rows).drawdown[:, 0]
    plain = engine.paths(rows.assign(hedge="off")).drawdown[:, 0]
    figure = hedge(MARKET)
    deep = plain < -0.1
    assert 0.05 < armed.mean() < 0.95
    said = f"on {armed.mean():.0%} of the time and in {armed[deep].mean():.0%} of the bars more than 10% below"
    assert said in figure.title
    assert np.array_equal(shaded(stretches(figure, "the hedge is on"), MARKET.timestamps[1:]), armed)
    assert np.array_equal(line(figure, "best").y, drawdown)
    assert np.array_equal(line(figure, "the same without").y, plain)
    assert np.array_equal(line(figure, "exposure", 1).y, exposure)
    (trigger,) = marks(figure, Level, 1)
    assert np.array_equal(armed, exposure > trigger.value)


def test_a_hedge_that_is_off_is_never_on() -> None:
    figure = hedge(MARKET, hedge="off")
    assert figure.title.startswith("The hedge was never on; worst drawdown")
    assert not len(stretches(figure, "the hedge is on").low)


# Nothing of the future


@pytest.mark.parametrize("bars", [180, 333])
def test_cutting_the_future_off_leaves_the_drawn_past(bars: int) -> None:
    past = part(MARKET, slice(0, bars))
    assert isinstance(past, Market)
    then = MARKET.timestamps[:bars]
    for whole, cut in (
        (of_correlation(MARKET, ASKED), of_correlation(past, ASKED)),
        (of_regimes(MARKET, ASKED), of_regimes(past, ASKED)),
        (hedge(MARKET), hedge(past)),
    ):
        for panel, (one, other) in enumerate(zip(whole.panels, cut.panels, strict=False)):
            if not isinstance(one, Chart):
                continue
            assert isinstance(other, Chart)
            for mark, seen in zip(one.marks, other.marks, strict=True):
                if isinstance(mark, Line) and len(mark.x) > 2:
                    assert isinstance(seen, Line)
                    shown = np.isin(mark.x, then)
                    assert np.array_equal(mark.x[shown], seen.x)
                    assert np.array_equal(mark.y[shown], seen.y, equal_nan=True)
                # `low` and `high` need so many values of the correlation: a shorter history has a shorter memory
                if isinstance(mark, Stretches) and (panel or not whole.name.startswith("correlation")):
                    assert isinstance(seen, Stretches)
                    assert np.array_equal(shaded(mark, then), shaded(seen, then))


# Many assets, one, a second market


def test_64_assets_have_no_seams_no_numbers_and_labels_with_room() -> None:
    figure = of_correlation(history(150, 64), ASKED)
    told = description(figure)
    for trace in (trace for trace in told["data"] if trace["type"] == "heatmap"):
        assert trace["xgap"] == trace["ygap"] == 0
        assert trace["texttemplate"] == ""
        assert np.shape(trace["z"]) == (64, 64)
    for form, most in (("wide", 24), ("narrow", 20)):
        for name, axis in told[form].items():
            if "axis" in name and "ticktext" in axis:
                assert 8 <= len(axis["ticktext"]) <= most


def test_one_asset_has_its_own_correlation_and_no_matrix() -> None:
    figure = of_correlation(history(150, 1), ASKED)
    assert figure.title == "One asset moves with itself alone: its correlation is 1"
    assert not maps(figure)


def test_the_second_market_has_a_line_where_there_is_one(second: Market) -> None:
    figure = of_correlation(MARKET, ASKED)
    (name,) = mean_with(MARKET, second, 30, 1.0)
    drawn = line(figure, name).y
    each = cross_correlation(MARKET, second, "X0", 30)
    known = np.isfinite(drawn)
    assert np.array_equal(drawn[known], each.mean(axis=1)[known])
    assert not each[~known].any()


def test_without_a_second_market_there_is_none() -> None:
    assert len(marks(of_correlation(MARKET, ASKED), Line)) == 2


# Pieces


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_stretches_hold_just_the_bars_that_are_on(on: list[bool]) -> None:
    times = np.cumsum(np.arange(1.0, len(on) + 1.0))
    low, high = runs(times, np.array(on))
    assert len(low) == len(high)
    inside = shaded(Stretches("", low, high, "#000000"), times)
    assert inside[:-1].tolist() == on[:-1]
    if len(on) > 1:
        assert inside[-1] == on[-1]


def test_a_chart_alone_has_a_row_and_the_others_keep_theirs() -> None:
    figure = of_correlation(MARKET, ASKED)
    rows = [len(row) for row in figure.grid]
    assert rows[0] == 1
    assert sum(rows) == len(figure.panels)
    assert all(count == 2 for count in rows[1:-1])


def test_what_a_configuration_does_not_say_is_as_by_default() -> None:
    assert Asked.of({"correlation_window": None, "hedge_exposure": float("nan"), "ewma": "off"}) == Asked.of({})
    assert Asked.of({}) == Asked(60, 1.0, RegimeRule(), None)
    assert Asked.of({"ewma": "on", "hedge_exposure": 0.2, **RULE}) == Asked(
        60, 0.94, RegimeRule(12, 60, 0.8, 0.2, 4, 2, 3), 0.2
    )


def test_only_a_rule_that_says_when_it_is_hedged_has_these_figures() -> None:
    assert hedges_a_portfolio(armed_rule.STRATEGY)
    assert not hedges_a_portfolio(STRATEGIES["tsmom_hedge"])
