"""The shape of the repository: imports point one way, files stay small, nothing of one machine is in it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("kernels", "search", "tracking", "cluster")
FORBIDDEN = {
    "kernels": {"search", "tracking", "cluster", "ray", "optuna", "mlflow"},
    "search": {"tracking", "cluster", "ray", "mlflow"},
    "tracking": {"kernels", "search", "cluster", "optuna", "ray"},
    "cluster": set[str](),
}
ANY_PYTHON_PATH = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def tracked() -> list[Path]:
    """The files of the repository, or of a copy without git all that a build does not make."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]
    return [path for folder in (*PACKAGES, "tests", "configs", "docs") for path in (ROOT / folder).rglob("*.*")]


def imports(path: Path) -> set[str]:
    """Top-level names that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports within the project are absolute"
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("path", ANY_PYTHON_PATH, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    wrong = imports(path) & FORBIDDEN[package]
    assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}; {package} may not"


WITHOUT = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"numba", "cupy", "llvmlite", "ray", "optuna", "mlflow", "scipy"}:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Blocked())
import numpy as np
from kernels import STRATEGIES, InputError, Market, backtest
from kernels.backends import choose

close = 100.0 * np.exp(np.cumsum(np.sin(np.arange(80.0))[:, None] / 50.0, axis=0))
stamps = np.datetime64("2020-01-01") + np.arange(80)
result = backtest(Market(("X",), stamps, close, close, close, close), STRATEGIES["tsmom_hedge"], [{}])
assert result.backend == "numpy"
assert "Numba is not installed" in choose("auto").reason
try:
    choose("numba")
except InputError as error:
    print(error)
"""


def test_kernels_work_with_numpy_and_pandas_alone() -> None:
    """Without Numba and CuPy the NumPy backend is chosen, says why, and asking for another is refused."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "numba was asked for, but Numba is not installed" in done.stdout


def test_no_file_is_long() -> None:
    """About 100 lines, seldom 300: a file beyond 420 has more than one idea in it."""
    lengths = {path: len(path.read_text().splitlines()) for path in tracked() if path.suffix == ".py"}
    assert {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > 420} == {}


def test_nothing_of_one_machine_is_in_the_repository() -> None:
    """No home or work folder, no address of a package index: they belong to one place, and a checkout goes anywhere."""
    local = re.compile(r"(?<![\w.])/(?:home|Users|root|work)/\w|(?:index-url|--extra-index|PIP_INDEX)|pypi\.org/simple")
    found = []
    for path in tracked():
        if path == Path(__file__).resolve() or path.suffix in {".png", ".parquet"}:
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if local.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert found == []


def test_every_python_file_says_what_it_is_for() -> None:
    for path in ANY_PYTHON_PATH:
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path.relative_to(ROOT)} has no docstring"
