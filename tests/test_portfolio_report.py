"""The report of a study whose rule hedges a portfolio, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import armed_rule
import browser
import pytest
import yaml
from browser import Page
from studies import run_one

from cluster.config import load_study
from cluster.plan import make_plan
from cluster.running import Outcome
from tracking import figures


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """A small study of the armed rule; its pictures, seconds each, are tested elsewhere."""
    folder = tmp_path_factory.mktemp("armed")
    content = {
        "name": "armed",
        "market": {"source": "synthetic", "bars": 420, "assets": 3},
        "strategy": {
            "name": "armed_rule",
            "file": armed_rule.__file__,
            "search": {"hedge_exposure": [0.1, 0.2], "hedge_strength": [0.5, 1.0]},
            "compare": {"unhedged": {"hedge": "off"}},
        },
        "search": {"sampler": "grid"},
        "compute": {"backend": "numpy"},
        "tracking": {"enabled": False},
    }
    (folder / "armed.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "pictures", lambda *_: [])
        yield run_one(make_plan(load_study(folder / "armed.yaml"), folder / "runs"))


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    program = browser.chromium()
    if program is None:
        pytest.skip("chromium is not installed: the report cannot be looked at")
    with browser.opened(program, tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.mark.parametrize("width", [1280, 400])
def test_the_figures_are_in_the_report_and_keep_their_height_when_its_window_changes(
    outcome: Outcome, tab: Page, width: int
) -> None:
    shown = "[...document.querySelectorAll('.plot')].map(plot => plot.id)"
    heights = "[...document.querySelectorAll('.plot')].map(plot => plot._fullLayout.height)"
    tab.resize(width, 900)
    tab.open((outcome.folder / "report.html").as_uri())
    tab.wait(
        "document.readyState === 'complete' && document.getElementById('hedge_over_drawdown')._fullLayout.width > 0"
    )
    assert {"correlation_over_time", "regimes_over_price", "hedge_over_drawdown"} <= set(tab.run(shown))
    assert "The hedge was on" in tab.text()
    before = tab.run(heights)
    assert min(before) > 150  # pixels; a figure that has lost its height has 120
    for smaller in (20, 40):
        tab.resize(width - smaller, 900 - smaller)
        tab.wait(f"document.getElementById('hedge_over_drawdown')._fullLayout.width < {width - smaller}")
        tab.run("new Promise(done => setTimeout(done, 400))")  # plotly waits before it draws anew
    assert tab.run(heights) == before
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.errors == []
