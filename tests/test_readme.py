"""The README is true: its code runs, its commands exist, and its output is what the demo prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.cli import app
from kernels import STRATEGIES

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def command(*arguments: str, folder: Path) -> str:
    """Standard output of the command, run where a user would have the repository's configs/."""
    environment = os.environ | {"COLUMNS": "110", "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "-m", "cluster", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def unchanging(output: str) -> list[str]:
    """The title and the table, which do not depend on the machine (clock, backend and the run's name do)."""
    lines = [line.rstrip() for line in output.splitlines()]
    return [line for line in lines if line.startswith(("demo", " ", "targets")) and "http" not in line]


def test_the_eight_lines_run(capsys: pytest.CaptureFixture[str]) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    exec(code.group(1), {})
    assert "sharpe" in capsys.readouterr().out


def test_every_command_of_the_readme_exists_and_takes_these_options() -> None:
    lines = re.findall(r"^hedgegrid (.*?)(?:\s+#.*)?$", README, re.MULTILINE)
    assert len(lines) >= 8
    for line in lines:
        words = [word for word in line.split() if not word.startswith("--")]
        names = words[:2] if words[0] in ("data", "kernel") else words[:1]
        shown = CliRunner().invoke(app, [*names, "--help"])
        assert shown.exit_code == 0, line
        for option in re.findall(r"--[a-z]+", line):
            assert option in re.sub(r"\x1b\[[0-9;]*m", "", shown.output), line


def test_every_file_the_readme_links_to_is_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_catalogue_in_the_readme_is_the_catalogue() -> None:
    table = README.split("| strategy | what it does |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE) == [
        (s.name, s.summary) for s in STRATEGIES.values()
    ]


def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    pytest.importorskip("skfolio")
    shown = README.split("<!-- demo: the output of make demo -->\n```\n")[1].split("\n```\n")[0]
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    printed = command("run", "configs/studies/demo.yaml", folder=tmp_path)
    assert unchanging(printed) == unchanging(shown)
