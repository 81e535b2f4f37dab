"""What works on this machine: versions, backends, Ray and MLflow; and whether it is safe."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cluster.pool import cores
from cluster.safety import findings
from kernels.backends import BACKENDS, choose, why_not
from tracking.address import TrackingError, check_tracking_uri

PACKAGES = ("numpy", "pandas", "pyarrow", "numba", "ray", "optuna", "mlflow", "plotly", "matplotlib", "skfolio")
CUPY = ("cupy-cuda12x", "cupy-cuda13x")


def examine(console: Console) -> None:
    """Print the findings; changes nothing."""
    table = Table(title="hedgegrid doctor", show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("hedgegrid", f"{_version('hedgegrid')}, Python {platform.python_version()}, {platform.platform()}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else 0.0
    table.add_row(
        "machine", f"{cores()} cores, {memory:.0f} GiB memory, {shutil.disk_usage('.').free / 2**30:.0f} GiB free"
    )
    table.add_row("packages", ", ".join(f"{p} {_version(p)}" for p in (*PACKAGES, _cupy())))
    for backend in BACKENDS:
        reason = why_not(backend)
        table.add_row(f"backend {backend}", "works" if reason is None else f"not here: {reason}")
    choice = choose()
    table.add_row("backend: auto", f"{choice.backend.name}, {choice.reason}")
    table.add_row("Ray", f"{_version('ray')}: a private cluster on loopback is started when a study asks for workers")
    try:
        check_tracking_uri("sqlite:///mlflow.db")
        table.add_row("MLflow", f"{_version('mlflow')}: sqlite:///mlflow.db can be used here")
    except TrackingError as error:
        table.add_row("MLflow", str(error))
    console.print(table)
    safe = Table(title="safety (docs/security.md)", show_header=False, title_justify="left")
    safe.add_column(no_wrap=True)
    safe.add_column(no_wrap=True)
    safe.add_column(overflow="fold")
    for finding in findings():
        safe.add_row(finding.what, "good" if finding.good else "[bold]look[/]", escape(finding.text))
    console.print(safe)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def _cupy() -> str:
    return next((name for name in CUPY if _version(name) != "(not installed)"), CUPY[0])
