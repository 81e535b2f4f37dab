"""A disk that is full stops a study with one sentence, and once there is room it is resumed as if nothing had been."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from crashes import Drivers, assert_each_trial_is_there_once, of, results

SIZE = 16 * 2**20  # bytes of the small disk
UNTRACKED = "tracking.enabled=false"


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drivers]:
    drivers = Drivers(tmp_path_factory.mktemp("full"))
    yield drivers
    drivers.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small tmpfs cannot be mounted here (root and CAP_SYS_ADMIN are needed)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, *, leave: int) -> Path:
    """A file that takes all but so many bytes."""
    ballast = disk / "ballast"
    free = os.statvfs(disk)
    ballast.write_bytes(b"\0" * (free.f_bavail * free.f_frsize - leave))
    return ballast


@pytest.mark.parametrize("sampler", ["sobol", "tpe", "clouds"])
def test_no_room_for_a_part_the_journal_or_a_final_file(
    drivers: Drivers, disk: Path, tmp_path: Path, sampler: str
) -> None:
    overrides = [*of(sampler), UNTRACKED]
    whole = drivers.folder()
    drivers.drive(whole, overrides)
    kept = sum(path.stat().st_size for path in (whole / "runs").rglob("*") if path.is_file() and path.suffix != ".html")
    stopped = set()
    for share in (0.1, 0.3, 0.5, 0.7, 0.95):
        folder = drivers.folder()
        (folder / "runs").symlink_to(disk, target_is_directory=True)
        ballast = fill(disk, leave=int(kept * share) // 4096 * 4096)
        ended = drivers.drive(folder, overrides)
        assert "the disk is full; make room on it" in ended["refused"], ended
        stopped.add(Path(ended["refused"].rpartition("'")[0].rpartition("'")[2]).name)
        ballast.unlink()
        assert "refused" not in drivers.drive(folder, overrides, resume=True)
        assert results(folder) == results(whole)
        assert_each_trial_is_there_once(folder, tracked=False)
        for path in sorted((disk / "small").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    assert len(stopped) > 2  # in various places


@pytest.mark.parametrize("leave", [0, 2**20 + 8_192, 2**20 + 100_000])
def test_no_room_for_mlflows_database(drivers: Drivers, disk: Path, leave: int) -> None:
    folder = drivers.folder()
    (folder / "mlflow.db").replace(folder / "fresh.db")
    (disk / "mlflow.db").write_bytes((folder / "fresh.db").read_bytes())
    overrides = [*of("tpe"), f"tracking.uri=sqlite:///{disk}/mlflow.db"]
    ballast = fill(disk, leave=leave)
    ended = drivers.drive(folder, overrides)
    assert "full" in ended["refused"], ended
    ballast.unlink()
    assert "refused" not in drivers.drive(folder, overrides, resume=True)
    with sqlite3.connect(disk / "mlflow.db") as store, sqlite3.connect(folder / "mlflow.db") as copy:
        store.backup(copy)
    copy.close()
    store.close()
    assert_each_trial_is_there_once(folder, tracked=True)
