"""What a verdict is made of, beside what tests/test_luck.py covers: other libraries, closed forms, simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import HEDGE, MIXED, NUMBERS, TARGETS, planted
from test_luck import sums

from kernels.errors import InputError
from search.overfitting import overfitting
from search.plateau import Plateau, plateau
from search.points import scored
from search.purged import histories, purged, shortest_history, splits
from search.sharpe import average_correlation, effective_trials, worthless_spread
from search.space import Space

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


# ---- the plateau


def scored_rows(space: Space, table: pd.DataFrame) -> pd.DataFrame:
    return scored(space, TARGETS, table, planted(table)).assign(trial=np.arange(len(table)))


def found_on(space: Space, table: pd.DataFrame, pieces: int = 1) -> tuple[pd.DataFrame, pd.DataFrame, Plateau]:
    rows = scored_rows(space, table)
    best = rows.nlargest(1, "score")
    parts = [rows.iloc[part] for part in np.array_split(np.arange(len(rows)), pieces)]
    return rows, best, plateau(parts, space, best, targets=2)


def test_neighbours_in_a_grid_are_one_step_away() -> None:
    space = Space.of(HEDGE, search={n: {"low": 0, "high": 1, "step": 0.25} for n in ("x", "y")})
    rows, best, found = found_on(space, space.grid())
    x, y = best[["x", "y"]].iloc[0]
    assert (x, y) == (0.25, 0.75)
    near = rows[(rows["x"] <= 0.5) & (rows["y"] >= 0.5)].drop(best.index)
    assert found.count == len(near) == 8
    assert found.median == near["score"].median()
    assert [found.low, found.high] == near["score"].quantile([0.25, 0.75]).tolist()
    assert found.meet == (near["targets_met"] == 2).mean()
    assert found.line.startswith(
        f"its 8 neighbours score {found.median:.2f} in the median (winner {found.winner:.2f}), "
    )


def test_a_profile_is_what_pandas_would_group() -> None:
    rows, best, found = found_on(MIXED, MIXED.random(3000, seed=1), pieces=7)
    u, centre = MIXED.to_unit(rows), MIXED.to_unit(best)[0]
    close = np.abs(u - centre) <= np.array([0.1, 0.1, 0.0, 0.0]) + 1e-9
    for i, name in enumerate(MIXED.searched):
        profile = found.profiles[name]
        few = {"mode": 2, "stop": 3}.get(name, 20)
        assert len(profile) == few
        cell = np.minimum((u[:, i] * few).astype(int), few - 1)
        for prefix, part in (("", np.full(len(rows), True)), ("near_", np.delete(close, i, axis=1).all(axis=1))):
            groups = rows.loc[part, "score"].groupby(cell[part])
            expected = groups.agg(["count", "median", "max"]).reindex(range(few))
            assert profile[f"{prefix}count"].tolist() == expected["count"].fillna(0).tolist()
            np.testing.assert_array_equal(profile[f"{prefix}median"], expected["median"])
            np.testing.assert_array_equal(profile[f"{prefix}best"], expected["max"])
    assert found.profiles["mode"]["value"].tolist() == ["flat", "hedge"]
    assert found.profiles["stop"]["value"].isna().tolist() == [True, False, False]
    bars = found.profiles["bars"]
    assert (bars["low"].iloc[0], bars["high"].iloc[-1]) == pytest.approx((10, 300), rel=1e-9)
    assert (bars["low"] <= bars["value"]).all()


def test_a_needle_and_a_plateau_are_told_apart() -> None:
    space = Space.of(HEDGE, search={n: {"low": 0, "high": 1} for n in ("x", "y")})
    rows = scored_rows(space, space.sobol(2000, seed=0))
    winner = rows.nlargest(1, "score")
    level = plateau([rows], space, winner, targets=2)
    assert level.median > 0.9 * level.winner
    needle = rows.assign(score=np.where(rows.index.isin(winner.index), rows["score"], 0.1))
    assert plateau([needle], space, winner, targets=2).median == 0.1


def test_a_winner_without_neighbours_says_so() -> None:
    rows = scored_rows(NUMBERS, NUMBERS.grid())
    found = plateau([rows.iloc[[0, -1]]], NUMBERS, rows.iloc[[0]], targets=2)
    assert (found.count, found.line[:17]) == (0, "nothing was tried")
    gone = rows.assign(status=np.where(rows.index == 0, "ok", "quarantined"))
    assert plateau([gone], NUMBERS, rows.iloc[[0]], targets=2).count == 0


# ---- correlated trials


@given(seed=st.integers(0, 99), common=st.floats(0.0, 5.0), series=st.integers(2, 30))
def test_the_average_correlation_is_that_of_all_pairs(seed: int, common: float, series: int) -> None:
    rng = np.random.default_rng(seed)
    returns = common * rng.normal(size=(60, 1)) + rng.normal(size=(60, series)) * rng.uniform(0.1, 10.0, series)
    pairs = np.corrcoef(returns, rowvar=False)[np.triu_indices(series, 1)]
    assert average_correlation(returns) == pytest.approx(pairs.mean(), abs=1e-9)
    still = np.column_stack([returns, np.full(60, 0.3), np.zeros(60)])
    assert average_correlation(still) == pytest.approx(pairs.mean(), abs=1e-9)


def test_what_is_alone_or_still_correlates_with_nothing() -> None:
    assert average_correlation(np.random.default_rng(0).normal(size=(50, 1))) == 0.0
    assert average_correlation(np.ones((50, 4))) == 0.0


def test_as_many_copies_are_one_trial() -> None:
    same = np.repeat(np.random.default_rng(0).normal(size=(50, 1)), 20, axis=1) * np.arange(1, 21)
    assert effective_trials(20, average_correlation(same)) == pytest.approx(1.0)


def test_the_spread_of_worthless_configurations_is_known() -> None:
    returns = np.random.default_rng(1).standard_t(5, (500, 4000))
    sharpes = returns.mean(axis=0) / returns.std(axis=0, ddof=1)
    # of 4000 independent ones: good to 1 / sqrt(8000)
    assert worthless_spread(sharpes, 500) == pytest.approx(1 / np.sqrt(499), rel=0.04)
    assert worthless_spread(np.concatenate([sharpes, sharpes + 1.0]), 500) == 1 / np.sqrt(499)
