"""What a verdict is made of, beside what tests/test_luck.py covers: other libraries, closed forms, simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_luck import sums

from kernels.errors import InputError
from search.overfitting import overfitting
from search.purged import histories, purged, shortest_history, splits

# ---- purged cross-validation


@pytest.mark.parametrize(("blocks", "tested", "embargo"), [(6, 2, 0), (8, 2, 13), (7, 3, 5), (12, 2, 20)])
def test_splits_and_histories_are_those_of_skfolio(blocks: int, tested: int, embargo: int) -> None:
    selection = pytest.importorskip("skfolio.model_selection")
    length = 24
    theirs = selection.CombinatorialPurgedCV(n_folds=blocks, n_test_folds=tested, embargo_size=embargo)
    tests, trainings = splits(np.full(blocks, length), tested, embargo)
    for (bars, parts), test, training in zip(
        theirs.split(np.zeros((blocks * length, 1))), tests, trainings, strict=True
    ):
        assert [part[0] // length for part in parts] == test.tolist()
        whole = np.flatnonzero(np.bincount(bars // length, minlength=blocks) == length)
        assert training.tolist() == whole.tolist()  # they leave out bars, block sums can only leave out blocks
    route = histories(tests, blocks)
    assert np.array_equal(route.T, theirs.recombined_paths)
    assert len(route) == theirs.n_test_paths


@pytest.mark.parametrize("embargo", [1, 24, 25, 60])
def test_an_embargo_of_several_blocks_is_that_of_purgedcv(embargo: int) -> None:
    library = pytest.importorskip("purgedcv")
    blocks, length = 9, 24
    times = pd.Series(pd.date_range("2024-01-01", periods=blocks * length))
    theirs = library.CombinatorialPurgedCV(
        blocks, 2, prediction_times=times, evaluation_times=times, embargo_observations=embargo
    )
    tests, trainings = splits(np.full(blocks, length), 2, embargo)
    for (bars, seen), test, training in zip(
        theirs.split(np.zeros((blocks * length, 1))), tests, trainings, strict=True
    ):
        assert np.unique(seen // length).tolist() == test.tolist()
        assert training.tolist() == np.flatnonzero(np.bincount(bars // length, minlength=blocks) == length).tolist()


def test_a_history_is_what_was_chosen_without_it() -> None:
    """Bar by bar: every block of every history is of the best configuration of a training that does not hold it."""
    returns = np.random.default_rng(3).normal(0.01, 1.0, (8 * 50, 20))
    found = purged(*sums(returns, 8), tested=3, embargo_bars=30)
    tests, trainings = splits(np.full(8, 50), 3, 30)
    parts = returns.reshape(8, 50, 20)
    for path, route in zip(found.paths, found.route, strict=True):
        pieces = []
        for block, split in enumerate(route):
            assert block in tests[split]
            seen = parts[trainings[split]].reshape(-1, 20)
            best = int((seen.mean(axis=0) / seen.std(axis=0, ddof=1)).argmax())
            assert best == found.chosen[split]
            pieces.append(parts[block, :, best])
        stitched = np.concatenate(pieces)
        assert path == pytest.approx(stitched.mean() / stitched.std(ddof=1), rel=1e-9)


def test_what_is_tested_once_in_training_never_leaks() -> None:
    """A configuration that is good on one block alone is not chosen where that block is tested."""
    returns = np.random.default_rng(0).normal(0.0, 1.0, (6 * 60, 2))
    returns[60:120, 0] += 30.0
    returns[:, 1] += 0.5
    found = purged(*sums(returns, 6), embargo_bars=0)
    tests, _ = splits(np.full(6, 60), 2, 0)
    held_out = (tests == 1).any(axis=1)
    assert set(found.chosen[held_out]) == {1}
    assert 0 in found.chosen[~held_out]


def test_skill_pays_on_every_history_and_noise_on_half_of_them() -> None:
    rng = np.random.default_rng(4)
    noise = [purged(*sums(rng.normal(size=(240, 40)), 8), embargo_bars=10).loss for _ in range(100)]
    # one search's share has a spread of about 0.4; the mean of 100 is good to 0.12 (3 standard errors)
    assert np.mean(noise) == pytest.approx(0.5, abs=0.12)
    skilled = rng.normal(size=(1200, 40))
    skilled[:, 7] += 0.3
    found = purged(*sums(skilled, 12), embargo_bars=10)
    assert found.loss == 0.0
    assert (found.chosen == 7).all()


@given(blocks=st.integers(3, 16), tested=st.integers(1, 4), length=st.integers(2, 40), embargo=st.integers(0, 200))
def test_what_is_too_short_names_what_would_do(blocks: int, tested: int, length: int, embargo: int) -> None:
    if tested >= blocks:
        tested = blocks - 1
    if len(splits(np.full(blocks, 1), tested, 0)[0]) > 600:
        tested = 2
    returns = np.random.default_rng(0).normal(size=(blocks * length, 2))
    try:
        purged(*sums(returns, blocks), tested=tested, embargo_bars=embargo)
    except InputError as error:
        (sentence,) = error.problems
        assert f"{blocks} blocks of {length} bars" in sentence
        words = sentence.split()
        if "take" in words and "more" not in words:
            fewer = int(words[words.index("take") + 1])
            _, trainings = splits(np.full(fewer, blocks * length // fewer), tested, embargo)
            assert all(len(training) for training in trainings)
        if (shortest := shortest_history(blocks, tested, embargo)) is not None:
            assert f"at least {shortest} bars" in sentence
            assert all(len(training) for training in splits(np.full(blocks, shortest // blocks), tested, embargo)[1])
            if (less := shortest // blocks - 1) > 0:
                assert not all(len(training) for training in splits(np.full(blocks, less), tested, embargo)[1])


@pytest.mark.parametrize("tested", [0, 6])
def test_blocks_must_be_left_to_train_on(tested: int) -> None:
    with pytest.raises(InputError, match=f"got tested={tested}, blocks=6"):
        purged(*sums(np.ones((60, 3)), 6), tested=tested, embargo_bars=0)


def test_one_block_at_a_time_is_one_history() -> None:
    returns = np.random.default_rng(5).normal(size=(120, 10))
    assert purged(*sums(returns, 6), tested=1, embargo_bars=0).paths.shape == (1,)


def test_a_flat_configuration_is_worth_nothing_to_both() -> None:
    flat = np.zeros((60, 3))
    assert purged(*sums(flat, 6), embargo_bars=0).paths == pytest.approx(np.zeros(5))
    assert overfitting(*sums(flat, 6)).inside == pytest.approx(np.zeros(20))
