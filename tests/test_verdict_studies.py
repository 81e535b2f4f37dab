"""The verdict of whole studies, as `hedgegrid run` comes to it, on markets of which it is known what is there to be found.

`python -m benchmarks verdict` asks 200 of each; its table is in benchmarks/results/.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.verdict import noise, told, trends
from cluster import selection

NOISE, EDGES = 20, 10


@pytest.fixture(scope="module", autouse=True)
def few_histories() -> Iterator[None]:
    """Of the winner alone: how many decides no verdict."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "REPLICATES", 20)
        yield


def test_noise_is_hardly_ever_supported() -> None:
    found = told(noise, NOISE)
    assert found.supported <= 0.05 * NOISE
    assert found.broken["deflated Sharpe"] > 0.9 * NOISE


def test_an_edge_is_nearly_always_supported() -> None:
    found = told(trends, EDGES)
    assert found.sharpe == pytest.approx(2.0, abs=0.4)
    assert found.supported >= 0.9 * EDGES
