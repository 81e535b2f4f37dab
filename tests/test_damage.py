"""What a disk does to a study's files is noticed, named, and made good by going on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import opened, run, same

from kernels.errors import InputError
from search.manifest import MANIFEST, Manifest
from search.study import Study


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished studies: one of parts, one of a journal."""
    folder = tmp_path_factory.mktemp("whole")
    for sampler in ("sobol", "nsga2"):
        run(opened(folder / sampler, sampler))
    return {sampler: folder / sampler for sampler in ("sobol", "nsga2")}


def copied(study: Path, to: Path) -> Path:
    shutil.copytree(study, to, dirs_exist_ok=True)
    return to


def flipped(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    path.write_bytes(data)


def parts(folder: Path) -> list[Path]:
    return sorted((folder / "configs").glob("part-*.parquet"))


@given(bit=st.integers(0, 2**20))
def test_any_flipped_bit_of_a_part_is_noticed(
    bit: int, whole: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = copied(whole["sobol"], tmp_path_factory.mktemp("flipped"))
    flipped(parts(folder)[1], bit)
    manifest = Manifest(folder)
    assert manifest.problem("configs/part-000000008.parquet") == f"its SHA-256 is not the one in {MANIFEST}"
    with pytest.raises(InputError, match=r"part-000000008.parquet is damaged .*; remove it and resume"):
        manifest.read("configs/part-000000008.parquet")


@given(size=st.integers(0, 2**20))
def test_any_truncation_of_a_part_is_noticed(
    size: int, whole: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = copied(whole["sobol"], tmp_path_factory.mktemp("cut"))
    part = parts(folder)[1]
    part.write_bytes(part.read_bytes()[: size % part.stat().st_size])
    with pytest.raises(InputError, match=r"damaged \(it has [\d,]+ bytes and was written with [\d,]+\)"):
        Manifest(folder).rows("configs/part-000000008.parquet")


def test_every_damaged_part_is_named_before_any_work_and_what_is_removed_is_computed_again(
    whole: dict[str, Path], tmp_path: Path
) -> None:
    expected = opened(whole["sobol"], "sobol", resume=True).results()
    folder = copied(whole["sobol"], tmp_path / "demo")
    first, second, third = parts(folder)
    flipped(first, 5000)
    second.write_bytes(second.read_bytes()[:-1])
    third.unlink()  # missing: nothing to refuse, it is computed again
    with pytest.raises(InputError, match=r"part-000000008.parquet is damaged"):
        opened(folder, "sobol", resume=True)
    second.unlink()
    with pytest.raises(InputError, match=r"part-000000000.parquet is damaged"):
        opened(folder, "sobol", resume=True)
    first.unlink()
    study = opened(folder, "sobol", resume=True)
    assert study.done == 0
    same(run(study), expected)


def test_a_part_that_changes_under_a_running_study_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    study = opened(tmp_path / "demo", "sobol")
    run(study, 1)
    flipped(parts(tmp_path / "demo")[0], 12345)
    with pytest.raises(InputError, match="is damaged"):
        study.results()


@given(bit=st.integers(0, 2**20))
def test_a_damaged_manifest_never_lets_other_numbers_pass(
    bit: int, whole: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = copied(whole["sobol"], tmp_path_factory.mktemp("manifest"))
    flipped(folder / MANIFEST, bit)
    try:
        study = opened(folder, "sobol", resume=True)
    except InputError as error:
        assert "part-" in str(error)
        return
    same(run(study), opened(whole["sobol"], "sobol", resume=True).results())


def test_a_part_without_a_line_is_refused(whole: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(whole["sobol"], tmp_path / "demo")
    (folder / MANIFEST).unlink()
    with pytest.raises(InputError, match=r"it has no line in manifest.jsonl, where `hedgegrid repair`") as refused:
        opened(folder, "sobol", resume=True)
    assert len(refused.value.problems) == 3


def test_a_manifest_torn_at_any_byte_of_its_last_line_is_gone_on_with(whole: dict[str, Path], tmp_path: Path) -> None:
    """The line is written before its part has a name: a torn one is of a part that is not there."""
    lines = (whole["sobol"] / MANIFEST).read_bytes().splitlines(keepends=True)
    expected = opened(whole["sobol"], "sobol", resume=True).results()
    for cut in range(len(lines[-1])):
        folder = copied(whole["sobol"], tmp_path / str(cut))
        (folder / MANIFEST).write_bytes(b"".join(lines[:-1]) + lines[-1][:cut])
        parts(folder)[-1].unlink()
        study = opened(folder, "sobol", resume=True)
        assert study.done == 16
        if cut % 20 == 0:
            same(run(study), expected)
            same(opened(folder, "sobol", resume=True).results(), expected)
        release_all(study)


def test_a_journal_torn_at_any_byte_of_its_last_lines_is_gone_on_with(whole: dict[str, Path], tmp_path: Path) -> None:
    journal = (whole["nsga2"] / "optuna.journal").read_bytes()
    lines = journal.splitlines(keepends=True)
    expected = opened(whole["nsga2"], "nsga2", resume=True).results()
    tell = len(journal) - sum(map(len, lines[-2:]))  # a trial's last attribute and its tell
    for cut in range(tell, len(journal)):
        folder = copied(whole["nsga2"], tmp_path / "demo")
        (folder / "optuna.journal").write_bytes(journal[:cut])
        study = opened(folder, "nsga2", resume=True)
        assert study.done == 19
        if cut % 40 == 0:
            same(run(study), expected)
        shutil.rmtree(folder)
        release_all(study)


@settings(max_examples=40)
@given(bit=st.integers(0, 2**24))
def test_any_flipped_bit_of_a_journal_is_noticed_and_cut_off_as_told_it_is_made_again(
    bit: int, whole: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = copied(whole["nsga2"], tmp_path_factory.mktemp("journal"))
    journal = folder / "optuna.journal"
    flipped(journal, bit)
    with pytest.raises(InputError, match=r"optuna.journal is damaged .*; cut it with `truncate -s \d+ ") as refused:
        opened(folder, "nsga2", resume=True)
    words = str(refused.value).split()
    size, kept = int(words[words.index("-s") + 1]), int(words[words.index("trials") - 1])
    with journal.open("r+b") as file:
        file.truncate(size)
    study = opened(folder, "nsga2", resume=True)
    assert study.done == kept
    if bit % 4 == 0:
        same(run(study), opened(whole["nsga2"], "nsga2", resume=True).results())


def test_a_journal_cut_and_gone_on_with_is_whole_again_wherever_it_is_killed_next(
    whole: dict[str, Path], tmp_path: Path
) -> None:
    """It grows differently after the cut, so marks of before that lie further on must not be held against it."""
    expected = opened(whole["nsga2"], "nsga2", resume=True).results()
    journal = (whole["nsga2"] / "optuna.journal").read_bytes()
    for cut in np.linspace(100, len(journal) - 1, 7).astype(int):
        folder = copied(whole["nsga2"], tmp_path / str(cut))
        (folder / "optuna.journal").write_bytes(journal[:cut])
        study = opened(folder, "nsga2", resume=True)
        study.ask()
        release_all(study)
        for _ in range(3):
            again = opened(folder, "nsga2", resume=True)
            batch = again.ask()
            if batch is not None:
                told = pd.DataFrame(expected.iloc[batch.first : batch.first + len(batch.configurations)])
                same(
                    batch.configurations.reset_index(drop=True), told[list(batch.configurations)].reset_index(drop=True)
                )
            run(again, 1)
        same(run(opened(folder, "nsga2", resume=True)), expected)


def release_all(study: Study) -> None:
    """Hundreds of studies in one process: each keeps a lock open until it ends."""
    from search.lock import release

    release(study.manifest.folder)
