"""A driver killed anywhere, and again, leaves a study that is resumed as if nothing had been."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np
import pytest
from crashes import Drivers, assert_each_trial_is_there_once, of, results

SAMPLERS = ("grid", "random", "sobol", "tpe", "cmaes", "nsga2", "clouds")
UNTRACKED = "tracking.enabled=false"
CHAINS = int(os.environ.get("HEDGEGRID_CHAINS", "2"))  # of two kills each, per sampler and storage: 56 kills in all


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drivers]:
    drivers = Drivers(tmp_path_factory.mktemp("crash"))
    yield drivers
    drivers.close()


@pytest.fixture(scope="module")
def uninterrupted(drivers: Drivers) -> dict[str, dict[str, bytes]]:
    """What each sampler's study finds when nothing interrupts it."""
    found = {}
    for sampler in SAMPLERS:
        folder = drivers.folder()
        assert not drivers.drive(folder, [*of(sampler), UNTRACKED])["killed"]
        found[sampler] = results(folder)
    return found


@pytest.mark.parametrize("tracked", [True, False], ids=["mlflow", "untracked"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_killed_anywhere_and_resumed_is_uninterrupted(
    drivers: Drivers, uninterrupted: dict[str, dict[str, bytes]], sampler: str, tracked: bool
) -> None:
    overrides = of(sampler) if tracked else (*of(sampler), UNTRACKED)
    rng = np.random.default_rng([SAMPLERS.index(sampler), tracked])
    steps = drivers.drive(drivers.folder(), overrides)["steps"]
    for chain in range(CHAINS):
        folder = drivers.folder()
        first = int(rng.integers(1, steps))
        how = [{"kill_at": first, "torn": True}]
        if chain % 2:  # at once after it has gone on, or some time after, wherever that is
            how += [{"kill_at": int(rng.integers(1, max(2, (steps - first) // 2)))}]
        else:
            how += [{"after": float(rng.uniform(0.02, 0.15))}]
        for number, kill in enumerate(how):
            ended = drivers.drive(folder, overrides, resume=number > 0, **kill)
            assert ended["killed"], (kill, ended)
        ended = drivers.drive(folder, overrides, resume=True)
        assert "refused" not in ended, (how, ended)
        assert results(folder) == uninterrupted[sampler], how
        assert_each_trial_is_there_once(folder, tracked=tracked)


def test_killed_while_mlflows_tables_are_made_and_resumed_is_complete(drivers: Drivers) -> None:
    """Half of MLflow's tables would be refused for ever."""
    folders = [drivers.folder() for _ in range(3)]
    for folder in folders:
        (folder / "mlflow.db").unlink()
    since = time.monotonic()
    drivers.drive(folders[0], of("grid"))
    whole = time.monotonic() - since
    for folder, share in zip(folders[1:], (0.15, 0.35), strict=True):
        assert drivers.drive(folder, of("grid"), after=share * whole)["killed"]
        assert "refused" not in drivers.drive(folder, of("grid"), resume=True)
        assert_each_trial_is_there_once(folder, tracked=True)
