"""Measured tables, kept as Markdown with the machine they were measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Table:
    """Rows of text under column heads; `note` says what a reader must know to judge them."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def markdown(self) -> str:
        head = f"| {' | '.join(self.columns)} |\n|{' --- |' + ' ---: |' * (len(self.columns) - 1)}"
        body = "\n".join(f"| {' | '.join(row)} |" for row in self.rows)
        return f"## {self.title}\n\n{head}\n{body}\n" + (f"\n{self.note}\n" if self.note else "")


def rate(bar_steps_per_second: float) -> str:
    """Million bar-steps (configurations x assets x bars) per second, three digits."""
    value = bar_steps_per_second / 1e6
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def times(value: float) -> str:
    """A ratio, such as 12.3x."""
    return f"{value:.0f}x" if value >= 100 else f"{value:.3g}x"


def processor() -> str:
    """The processor's own name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    vectors = " with AVX-512" if any(line.startswith("flags") and " avx512f" in line for line in lines) else ""
    return f"{names[0] if names else platform.machine()}{vectors}"


def circumstances(*packages: str) -> str:
    """Machine, day and versions, as one line."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    cores = len(os.sched_getaffinity(0))
    today = f"{today_utc():%Y-%m-%d}"
    return f"{processor()}, {cores} cores, {today}; Python {platform.python_version()}, {', '.join(found)}"


def today_utc() -> date:
    return datetime.now(UTC).date()


def write(what: str, heading: str, where: str, tables: Sequence[Table]) -> Path:
    """`results/<what>-<date>.md` with these tables."""
    path = RESULTS / f"{what}-{today_utc():%Y-%m-%d}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([f"# {heading}\n\n{where}\n", *(t.markdown() for t in tables)]))
    return path
