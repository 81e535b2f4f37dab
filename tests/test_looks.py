"""The ledger of looks: nothing lost or doubled by several drivers, by kills, or by a full disk."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import MIXED, NUMBERS

from search.looks import LOOKS, Look, Opening, looks, openings, record, record_opening, searched

ROOT = Path(__file__).resolve().parents[1]
DATA = "d" * 64


def look(study: str, configurations: int = 100, data: str = DATA) -> Look:
    return Look(data, study, f"study {study}", configurations, "2026-11-21T03:32:11+00:00")


def test_what_was_tried_adds_up_over_studies_and_data_are_apart(tmp_path: Path) -> None:
    assert looks(tmp_path, DATA).configurations == 0
    for one in (look("a", 80), look("b", 1000), look("c", 7, data="other")):
        record(tmp_path, one)
    assert looks(tmp_path, DATA).configurations == 1080
    assert looks(tmp_path, "other").studies == (look("c", 7, data="other"),)


def test_a_study_counts_once_with_the_most_it_tried(tmp_path: Path) -> None:
    for configurations in (80, 80, 200, 120):
        record(tmp_path, look("a", configurations))
    assert looks(tmp_path, DATA).studies == (look("a", 200),)
    assert len((tmp_path / LOOKS).read_text().splitlines()) == 2  # what changes nothing is not written


def test_openings_stand_beside_looks_once_for_each_study_and_data(tmp_path: Path) -> None:
    one, again = (Opening(DATA, "study-1", "study", 300, f"2026-11-{day}") for day in (21, 22))
    record(tmp_path, look("a", 80))
    for each in (one, again, Opening("other", "study-1", "study", 300, "2026-11-23")):
        record_opening(tmp_path, each)
    second = Opening(DATA, "study-2", "study", 250, "2026-11-24")
    record_opening(tmp_path, second)
    assert openings(tmp_path, DATA) == (one, second)
    assert looks(tmp_path, DATA).studies == (look("a", 80),)
    path = tmp_path / LOOKS
    path.write_bytes(path.read_bytes()[:-9])  # torn: the last one is not there
    assert openings(tmp_path, DATA) == (one,)
    record_opening(tmp_path, second)
    assert openings(tmp_path, DATA) == (one, second)
    assert openings(tmp_path / "empty", DATA) == ()


def test_what_a_study_searches_is_its_space_its_sampler_and_its_seed() -> None:
    one = searched(MIXED, sampler="tpe", seed=1)
    assert one == searched(MIXED, sampler="tpe", seed=1, also={})
    assert len({one, searched(MIXED, sampler="tpe", seed=2), searched(MIXED, sampler="sobol", seed=1)}) == 3
    assert searched(MIXED, sampler="tpe", seed=1, also={"costs": {"fee_bps": 4.0}}) != one
    assert searched(NUMBERS, sampler="grid", seed=1) == searched(NUMBERS, sampler="grid", seed=2)


@settings(max_examples=40)  # each waits for the disk
@given(cut=st.integers(0, 400), names=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True))
def test_a_torn_line_is_passed_over_and_cut(
    tmp_path_factory: pytest.TempPathFactory, cut: int, names: list[str]
) -> None:
    runs = tmp_path_factory.mktemp("runs")
    for name in names:
        record(runs, look(name))
    path = runs / LOOKS
    data = path.read_bytes()[:cut]
    path.write_bytes(data)
    kept = tuple(look(name) for name in names[: data.count(b"\n")])
    assert looks(runs, DATA).studies == kept
    record(runs, look("new"))
    assert looks(runs, DATA).studies == (*kept, look("new"))
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_damaged_line_costs_only_itself(tmp_path: Path) -> None:
    for name in "abc":
        record(tmp_path, look(name))
    path = tmp_path / LOOKS
    lines = path.read_bytes().splitlines(keepends=True)
    for damaged in (b"\xff\xfe\n", b"{}\n", b"[1]\n", b"\n", lines[1].replace(b"100", b'"x"')):
        path.write_bytes(lines[0] + damaged + lines[2])
        assert looks(tmp_path, DATA).studies == (look("a"), look("c"))


WRITER = f"""
import sys
from pathlib import Path
from search.looks import Look, record
runs, name, first, end = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
for i in range(first, end):
    record(runs, Look("{DATA}", f"{{name}}-{{i}}", "a study", i, "now"))
    print(i, flush=True)
"""


def writer(runs: Path, name: str, first: int, end: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(runs), name, str(first), str(end)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_drivers_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    drivers = [writer(tmp_path, name, 0, 60) for name in "abc"]
    for driver in drivers:
        driver.communicate(timeout=60)
        assert driver.returncode == 0
    found = looks(tmp_path, DATA)
    assert {one.study for one in found.studies} == {f"{name}-{i}" for name in "abc" for i in range(60)}
    assert len((tmp_path / LOOKS).read_text().splitlines()) == 180


def test_threads_of_one_driver_lose_nothing(tmp_path: Path) -> None:
    def enter(name: str) -> None:
        for i in range(40):
            record(tmp_path, look(f"{name}-{i}"))

    threads = [threading.Thread(target=enter, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(looks(tmp_path, DATA).studies) == 120


def test_a_kill_loses_nothing_that_was_said_to_be_there(tmp_path: Path) -> None:
    rng, first, said = random.Random(1), 0, 0
    for _ in range(4):
        driver = writer(tmp_path, "a", first, 1_000_000)
        assert driver.stdout is not None
        for _ in range(rng.randrange(1, 40)):
            said = int(driver.stdout.readline())
        driver.send_signal(signal.SIGKILL)
        rest = driver.communicate()[0].split()
        said = max([said, *(int(word) for word in rest)])
        there = [int(one.study.removeprefix("a-")) for one in looks(tmp_path, DATA).studies]
        assert there in (list(range(said + 1)), list(range(said + 2)))  # the last one may have been written unsaid
        first = said + 1


def test_nothing_is_left_of_a_line_that_the_disk_did_not_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path, look("a"))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="the disk is full") as told:
            record(tmp_path, look("b"))
    assert told.value.filename == str(tmp_path / LOOKS)
    assert looks(tmp_path, DATA).studies == (look("a"),)


def test_without_locks_a_torn_line_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    record(tmp_path, look("a"))
    path = tmp_path / LOOKS
    path.write_bytes(path.read_bytes() + b'{"data": "half')
    record(tmp_path, look("b"))
    assert looks(tmp_path, DATA).studies == (look("a"), look("b"))
    assert b'"half\n{' in path.read_bytes()
