"""On markets with a known plateau and a known spike, clouds choose the plateau and points the spike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from benchmarks.landscape import Known, Landscape
from benchmarks.landscapes import CLOUD, LANDSCAPES, MANY, SAMPLES, SEEDS, fresh_sharpe, search
from kernels.market import FloatArray
from kernels.strategy_check import check
from search.cloud import Cloud


@dataclass(frozen=True)
class Land:
    """A landscape and its first history, every configuration measured, and its Sharpe ratio on fresh samples."""

    landscape: Landscape
    known: Known
    fresh: FloatArray

    def spike(self) -> NDArray[np.bool_]:
        return self.landscape.spike(self.known.configurations).to_numpy()

    def plateau(self) -> NDArray[np.bool_]:
        return self.landscape.plateau(self.known.configurations).to_numpy()


@pytest.fixture(scope="module", params=LANDSCAPES, ids=lambda landscape: landscape.name)
def land(request: pytest.FixtureRequest) -> Land:
    landscape = request.param
    known = Known(landscape, landscape.sample(SAMPLES[0], planted=True))
    return Land(landscape, known, fresh_sharpe(landscape, known.configurations))


def test_the_rules_are_sound_and_see_no_future(land: Land) -> None:
    check(land.landscape.strategy)


def test_what_is_looked_up_is_what_a_backtest_of_its_own_gives(land: Land) -> None:
    rows = land.known.configurations.sample(5, random_state=3).reset_index(drop=True)
    alone = land.landscape.measured(land.landscape.sample(SAMPLES[0], planted=True), rows)
    pd.testing.assert_frame_equal(land.known.metrics(rows), alone, check_exact=True)


def test_the_best_configuration_is_a_spike_and_the_best_neighbourhood_a_plateau(land: Land) -> None:
    scores, spike, plateau = land.known.scores(), land.spike(), land.plateau()
    assert not (spike & plateau).any()
    assert spike[scores.argmax()]
    assert scores[spike].max() > scores[~spike].max()
    around = land.known.cloud_scores(Cloud(MANY, CLOUD.start))
    assert plateau[around.argmax()]
    assert around[plateau].max() > around[spike].max()
    # a cloud at the top of the spike holds more of what is not the spike
    assert around[scores.argmax()] < np.median(scores[plateau])
    assert spike.mean() < 0.06 < 0.15 < plateau.mean()


def test_only_the_plateau_is_there_on_fresh_samples(land: Land) -> None:
    here = land.known.metrics(land.known.configurations)["sharpe"].to_numpy()
    top = land.known.scores().argmax()
    assert here[top] > 2.5
    assert land.fresh[top] < 0.6
    assert np.median(land.fresh[land.plateau()]) > 0.75


def test_points_choose_the_spike_and_clouds_the_plateau_which_lasts(land: Land) -> None:
    points, clouds = (
        pd.concat([search(land.landscape, land.known, cloud, seed).row for seed in SEEDS], ignore_index=True)
        for cloud in (None, CLOUD)
    )
    assert land.landscape.spike(points).all()
    assert land.landscape.plateau(clouds).all()
    lasts, fades = (land.fresh[land.known.places(rows)] for rows in (clouds, points))
    assert lasts.min() > fades.max() + 0.3
