"""docs/portfolio_hedge.md is true: its program prints what it shows, its section is a study's, its names are the strategy's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from protected_books import PROTECTED

from cluster.book_config import BookConfig

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "portfolio_hedge.md").read_text(encoding="utf-8")


def test_the_program_of_the_page_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = re.search(r"```python\n(.*?)```.*?```text\n(.*?)```", PAGE, re.DOTALL).groups()  # type: ignore[union-attr]
    exec(code, {})
    assert capsys.readouterr().out == shown


def test_the_section_of_the_page_is_one_of_a_study() -> None:
    (section,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    book = yaml.safe_load(section)["book"]
    assert set(book) == set(BookConfig.model_fields)
    assert BookConfig(**book).hedge_asset == "SPY"


def test_every_parameter_and_metric_stands_on_the_page() -> None:
    names = {p.name for p in PROTECTED.parameters} | {metric.name for metric in PROTECTED.account.metrics}
    named = {name for name in names if re.search(rf"\b{name}\b", PAGE)}
    by_label = {name for name in names if name.startswith("exposure_") and name != "exposure_measure"}
    assert named | by_label == names
    assert "`exposure_<label>`" in PAGE
    assert {f"exposure_{label}" for label in re.findall(r"`(\w+_trending|\w+_volatility|ranging)`", PAGE)} >= by_label


def test_every_choice_and_default_of_the_bands_stands_on_the_page() -> None:
    for name in ("base", "correlation", "exposure_measure", "hedge"):
        for choice in PROTECTED.parameter(name).choices:
            assert re.search(rf"\b{choice}\b", PAGE), choice
    bands = re.findall(r"(\w+_\w+) +\(([\d.]+ ?%?)\)", PAGE)
    assert len(bands) >= 10
    for name, shown in bands:
        told = float(shown.rstrip(" %")) / (100.0 if "%" in shown else 1.0)
        assert PROTECTED.parameter(name).default == pytest.approx(told), name
