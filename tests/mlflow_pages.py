"""What MLflow's pages show, read as a user sees it: the table of runs, the note, the files, and the errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import browser
import pytest
from browser import Page

ROWS = """(() => {
  const rows = {};
  for (const row of document.querySelectorAll('.ag-row')) {
    const cells = rows[row.getAttribute('row-index')] ??= {};
    for (const cell of row.querySelectorAll('.ag-cell')) cells[cell.getAttribute('col-id')] = cell.innerText;
  }
  return Object.keys(rows).map(Number).sort((a, b) => a - b).map(index => rows[index]);
})()"""
COLUMNS = """[...document.querySelectorAll('.ag-header-cell')]
  .sort((a, b) => a.getBoundingClientRect().x - b.getBoundingClientRect().x).map(cell => cell.innerText)"""
NAME = "attributes.`Run Name`"
PRESSES = 4  # of a file, until it shows
NOT_OURS = (
    "/ajax-api/2.0/mlflow/users/current",  # MLflow asks for a login that only its server with passwords knows
    "ResizeObserver loop completed",  # the table, when its window changes
)
WITHOUT_ASSISTANT = "try { localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true') } catch {}"


@contextmanager
def window(profile: Path) -> Iterator[Page]:
    """A browser for MLflow's pages; skips the test where there is none."""
    program = browser.chromium()
    if program is None:
        pytest.skip("chromium is not installed: MLflow's pages cannot be looked at")
    with browser.opened(program, profile) as page:
        page.ask("Page.addScriptToEvaluateOnNewDocument", source=WITHOUT_ASSISTANT)
        yield page


def runs(page: Page, *, at_least: int = 1) -> list[dict[str, Any]]:
    """The rows of the table of runs, by column; `name` is the run's. Waits for so many of them."""
    page.wait(f"{ROWS}.filter(row => row['{NAME}']).length >= {at_least}")
    rows: list[dict[str, Any]] = page.run(ROWS)
    return [{**row, "name": row[NAME].splitlines()[-1]} for row in rows if row.get(NAME)]


def unfold(page: Page) -> None:
    """Press the sign before the first run, which has runs below it."""
    page.click(f'document.querySelector(\'.ag-row[row-index="0"] [col-id="{NAME}"] button\')')


def choose_file(page: Page, name: str, shown: str) -> Any:
    """Press a file or a folder among the artifacts until the expression `shown` is true, and give its value.

    The list moves while its folders and pictures load, so that a press may miss.
    """
    for press in range(1, PRESSES + 1):
        page.click(f"document.querySelector('[artifact-name=\"{name}\"]')")
        try:
            return page.wait(shown, 60.0 / PRESSES)
        except AssertionError:
            if press == PRESSES:
                raise
    return None


def errors(page: Page) -> list[str]:
    """What the console called an error since the last look, beside what MLflow's pages do everywhere."""
    found = _unexpected(page.errors)
    page.errors.clear()
    return found


def _unexpected(told: Iterable[str]) -> list[str]:
    return [error for error in told if not any(known in error for known in NOT_OURS)]
