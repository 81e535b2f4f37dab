"""The report as its readers see it, in a real browser: complete, quiet, legible on a desk and on a phone, alone with itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import browser
import numpy as np
import pytest
from browser import Page
from hypothesis import given
from hypothesis import strategies as st
from made_up import RULES, VERDICT, evidence
from servers import ROOT
from studies import Watch, option_plans, run_one, small_plan

from cluster import output, study_report
from cluster.cli import main
from cluster.config import load_study
from cluster.evidence import Evidence
from cluster.identity import kept_identity
from cluster.job import run
from cluster.plan import make_plan, open_study
from cluster.report_again import remake
from cluster.running import Outcome
from cluster.study_figures import draw
from kernels import InputError
from tracking import selection_figures
from tracking.drawing_html import description
from tracking.panels import Axis, Band, Chart, Figure, Line, Points
from tracking.report import Report, Section, Table, page

WIDTHS = (1280, 400)
SMALLEST = 12  # pixels of a letter in a figure
UNTRACKED = "tracking.enabled=false"
HOSTILE = "</script><script>throw 1</script><img src=http://127.0.0.1:9/x onerror=alert(1)> & 'quoted\" words"
DRAWN = """[...document.querySelectorAll('.plot')].every(plot => plot.querySelectorAll('svg.main-svg').length)
  && document.querySelectorAll('.plot').length"""
LETTERS = """[...document.querySelectorAll('.plot svg text')].filter(text => text.textContent.trim())
  .map(text => parseFloat(getComputedStyle(text).fontSize))"""
BESIDE = """[...document.querySelectorAll('main, main *')].filter(each => !each.closest('.table, svg'))
  .filter(each => each.getBoundingClientRect().right > innerWidth + 0.5).map(each => each.outerHTML.slice(0, 80))"""
VIOLATION = """new Promise(done => {
  addEventListener('securitypolicyviolation', broken => done(broken.effectiveDirective));
  fetch('http://127.0.0.1:9/').catch(() => {});
})"""


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """Figures stand in the report; their pictures, seconds each, are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output.figures, "pictures", lambda *_: [])
        yield


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, undrawn: None) -> Outcome:
    """The demo with few trials."""
    config = load_study(ROOT / "configs" / "studies" / "demo.yaml", ["search.trials=64", UNTRACKED])
    return run_one(make_plan(config, tmp_path_factory.mktemp("demo")))


@pytest.fixture(scope="module")
def figures(demo: Outcome) -> list[Figure]:
    return list(draw(demo.plan, open_study(demo.plan, resume=True), demo.found))


def reported(outcome: Outcome, drawn: list[Figure], told: Evidence) -> Report:
    """The report of a study with that evidence."""
    identity = kept_identity(outcome.plan)
    return study_report.compose(
        outcome.plan, identity, outcome.found, told, drawn, tried="64 configurations tried.", caveats=["A caveat."]
    )


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    program = browser.chromium()
    if program is None:
        pytest.skip("chromium is not installed: the report cannot be looked at")
    with browser.opened(program, tmp_path_factory.mktemp("browser")) as opened:
        opened.ask("Network.enable")
        yield opened


def look(tab: Page, path: Path, width: int) -> str:
    """Open a file in a window so wide, wait for its figures, hold it to what every report keeps; its text."""
    tab.resize(width, 900)
    tab.open("about:blank")
    tab.errors.clear()
    tab.requests.clear()
    tab.open(path.as_uri())
    tab.wait(f"document.readyState === 'complete' && ({DRAWN})")
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.run(BESIDE) == []
    letters = tab.run(LETTERS)
    assert min(letters) >= SMALLEST
    assert tab.errors == []
    assert {address for address in tab.requests if not address.startswith(("data:", "blob:", "about:"))} == {
        path.as_uri()
    }
    return tab.text()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_of_a_study_is_whole_quiet_and_legible(demo: Outcome, tab: Page, width: int) -> None:
    text = look(tab, demo.folder / "report.html", width)
    assert tab.run(DRAWN) > 15
    for sentence in demo.found.advice:
        assert sentence in text
    for heading in ("What to do", "Targets", "Equity and drawdown", "Plateau or spike", "Costs", "What was searched"):
        assert f"\n{heading}\n" in text
    assert demo.found.verdict.label in text
    wanted = tab.run("[...document.querySelectorAll('.verdict tr td:nth-child(3)')].map(cell => cell.innerText)")
    assert wanted == [f"{rule.sign} {rule.limit:g}" for rule in demo.found.verdict.rules]  # broken or not


@pytest.mark.parametrize("width", WIDTHS)
def test_a_report_with_every_statistic_is_whole_quiet_and_legible(
    demo: Outcome, figures: list[Figure], tab: Page, tmp_path: Path, width: int
) -> None:
    report = reported(demo, figures, evidence(demo.plan, demo.found))
    path = tmp_path / "report.html"
    path.write_text(page(report), encoding="utf-8")
    text = look(tab, path, width)
    assert path.stat().st_size < 8_000_000
    assert "\u2717 not supported" in text
    assert VERDICT.line.removeprefix("not supported: ") in text
    for rule in RULES:
        assert rule.what in text
        assert rule.explained in text
    for words in ("an <older> one", "592 configurations in all", "It was opened once: 2026-11-21", "dead parameter"):
        assert words in text
    assert "What is not here" not in text
    kinds = {"luck", "overfitting", "cross_validation", "reality_check", "walk_forward", "folds", "drift", "stress"}
    assert kinds <= set(tab.run("[...document.querySelectorAll('.plot')].map(plot => plot.id)"))


def test_a_wide_table_scrolls_in_itself_and_keeps_its_first_column_in_view(demo: Outcome, tab: Page) -> None:
    look(tab, demo.folder / "report.html", 400)
    wide = "[...document.querySelectorAll('.table')].find(each => each.scrollWidth > each.clientWidth + 50)"
    assert tab.run(f"{wide}.scrollLeft = 60, {wide}.scrollLeft") == 60
    assert (
        tab.run(f"{wide}.querySelector('tbody th').getBoundingClientRect().left - {wide}.getBoundingClientRect().left")
        == 0
    )


def test_figures_take_the_form_of_the_window_when_it_changes(demo: Outcome, tab: Page) -> None:
    look(tab, demo.folder / "report.html", 1280)
    columns = "document.getElementById('profile_score')._fullLayout.xaxis2.domain"
    assert tab.run(columns) != [0, 1]
    tab.resize(400, 900)
    tab.wait(f"({columns})[0] === 0 && ({columns})[1] === 1")
    tab.wait("document.documentElement.scrollWidth <= 400")
    tab.resize(1280, 900)
    tab.wait(f"({columns})[1] < 1 || ({columns})[0] > 0")
    assert tab.errors == []


def test_a_request_of_the_page_is_refused_by_the_page(demo: Outcome, tab: Page) -> None:
    look(tab, demo.folder / "report.html", 1280)
    assert tab.run(VIOLATION) == "connect-src"


def test_the_report_prints(demo: Outcome, tab: Page) -> None:
    look(tab, demo.folder / "report.html", 1280)
    assert len(tab.ask("Page.printToPDF")["data"]) > 100_000
    assert tab.errors == []


def test_words_of_a_study_are_never_markup(demo: Outcome, figures: list[Figure], tab: Page, tmp_path: Path) -> None:
    report = reported(demo, figures[:3], replace(Evidence(), dead=(HOSTILE,), missing=(HOSTILE,)))
    curve = Line(HOSTILE, np.arange(3.0), np.arange(3.0), "#0072b2")
    shown = Figure("own", HOSTILE, (Chart(Axis(HOSTILE), Axis("y"), (curve,), HOSTILE),), HOSTILE)
    sections = (*report.sections, Section(HOSTILE, (HOSTILE, Table((HOSTILE, "n"), ((HOSTILE, "1"),), HOSTILE), shown)))
    path = tmp_path / "report.html"
    path.write_text(page(replace(report, title=HOSTILE, lede=HOSTILE, sections=sections)), encoding="utf-8")
    tab.resize(1280, 900)
    tab.errors.clear()
    tab.requests.clear()
    tab.open(path.as_uri())
    tab.wait(DRAWN)
    assert tab.run("document.title") == HOSTILE
    assert tab.run("document.images.length") == 0
    assert tab.errors == []
    assert [address for address in tab.requests if "127.0.0.1" in address] == []


def test_a_market_of_many_paths_is_judged_by_other_paths_and_says_what_is_not_there(
    tab: Page, tmp_path: Path, undrawn: None
) -> None:
    outcome = run_one(option_plans(tmp_path)[0])
    for width in WIDTHS:
        text = look(tab, outcome.folder / "report.html", width)
        assert "this market has 25 paths" in text
        assert outcome.found.verdict.label in text
        assert "The hedge" in text
        assert tab.run("document.getElementById('paths') !== null")


# ---- made again, or refused


def test_the_page_made_again_is_the_same(demo: Outcome) -> None:
    before = (demo.folder / "report.html").read_bytes()
    (demo.folder / "report.html").unlink()
    assert remake(str(demo.folder), demo.folder.parent) == [demo.folder / "report.html"]
    assert (demo.folder / "report.html").read_bytes() == before


def test_a_study_that_never_finished_has_no_report_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = small_plan(tmp_path, UNTRACKED)
    with pytest.raises(KeyboardInterrupt):
        run([plan], Watch(), stop=lambda: True)
    before = sorted(path.name for path in plan.folder.iterdir())
    monkeypatch.setattr("sys.argv", ["hedgegrid", "report", str(plan.folder)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.count("a report is made of a finished study") == 1
    assert "--resume" in told
    assert sorted(path.name for path in plan.folder.iterdir()) == before


def test_a_study_that_goes_on_with_more_trials_has_no_report_until_it_ends(tmp_path: Path, undrawn: None) -> None:
    plan = small_plan(tmp_path, UNTRACKED)
    run_one(plan)
    page_before = (plan.folder / "report.html").read_bytes()
    (plan.folder / "trials.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"trials\.parquet missing or damaged"):
        remake("small", tmp_path / "runs")
    assert (plan.folder / "report.html").read_bytes() == page_before


# ---- what is shown is what is there


@given(st.sets(st.sampled_from([field.name for field in fields(Evidence)])), st.integers(0, 100))
def test_every_part_of_the_evidence_can_be_missing(
    demo: Outcome, figures: list[Figure], kept: set[str], seed: int
) -> None:
    whole = evidence(demo.plan, demo.found, seed)
    report = reported(demo, figures, Evidence(**{name: getattr(whole, name) for name in kept}))
    names = [part.name for section in report.sections for part in section.parts if isinstance(part, Figure)]
    assert len(names) == len(set(names))
    assert ("overfitting" in names) == ("splits" in kept)
    assert ("walk_forward" in names) == ("walk_forward" in kept)
    assert ("reality_check" in names) == ("reality_check" in kept)
    assert report.verdict is not None
    assert (report.verdict.label == "not supported") == ("verdict" in kept)


def test_plotly_knows_every_word_of_the_figures_wide_and_narrow(demo: Outcome, figures: list[Figure]) -> None:
    from plotly.graph_objects import Figure as Plot

    report = reported(demo, figures, evidence(demo.plan, demo.found))
    for part in (part for section in report.sections for part in section.parts if isinstance(part, Figure)):
        told = description(part)
        for form in ("wide", "narrow"):
            Plot({"data": told["data"], "layout": told[form]})
        json.dumps(told, allow_nan=False)


logits = st.lists(st.floats(-6.0, 6.0, width=32) | st.just(0.0), min_size=1, max_size=300)


@given(logits)
def test_the_coloured_part_of_the_logits_is_the_probability_of_overfitting(values: list[float]) -> None:
    array = np.array(values)
    ones = np.ones(len(array))
    panel = selection_figures.overfitting(array, ones, ones, float((array <= 0.0).mean())).panels[0]
    assert isinstance(panel, Chart)
    counted = {}
    for band in panel.marks:
        if isinstance(band, Band):
            counted[band.name] = band.high[1:-1:2].sum()  # (both ends of every bin are in it)
            assert (band.x.max() <= 1e-9) == band.name.startswith("no better") or band.x.min() >= -1e-9
    assert counted.get("no better than the median of all", 0.0) == (array <= 0.0).sum()
    assert sum(counted.values()) == len(array)


@given(st.lists(st.floats(-3.0, 3.0), min_size=1, max_size=60))
def test_every_path_of_a_cross_validation_is_a_dot_at_its_sharpe_ratio(values: list[float]) -> None:
    (panel,) = selection_figures.cross_validation(np.array(values), 1.0).panels
    assert isinstance(panel, Chart)
    (points,) = [mark for mark in panel.marks if isinstance(mark, Points)]
    assert sorted(points.x) == sorted(values)
    assert len(set(zip(points.x, points.y, strict=True))) == len(values)


def test_what_is_not_finite_is_left_out_and_counted() -> None:
    sharpes = np.array([0.1, np.nan, 0.3, np.inf])
    figure = selection_figures.tried(sharpes, 0.2, np.nan, {"the winner": 0.3}, configurations=4)
    assert "Left out, not finite: 2." in figure.note
    assert figure.title == "The Sharpe ratio 0.30 of the winner is above the 0.20 of the best of 4 by luck"
    none = selection_figures.reality_check(np.array([np.nan]), 1.0, 0.5, "full")
    assert none.panels == ()
