"""What the tests share: prices, and every backend that can run here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from histories import history
from hypothesis import settings
from shim import COMPILER, ShimBackend

from kernels import Market
from kernels.backends import why_not
from kernels.launch import Backend

os.environ.pop("COLUMNS", None)  # a terminal's width is none of the tests': processes of pytest-xdist inherit one

# The same examples on every machine and every run; a compiled kernel's first call is slow whatever it computes.
settings.register_profile("hedgegrid", deadline=None, derandomize=True)
settings.load_profile("hedgegrid")

CRYPTO8 = ("BTC", "ETH", "BNB", "SOL", "DOGE", "LINK", "ADA", "AVAX")
COMPILED = ("numba", "cuda source under g++", "cuda")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real prices; a test that needs it is skipped where it is not."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("HEDGEGRID_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder.name}/ of prices beside the checkout (HEDGEGRID_DATA names another)")
    return folder


@pytest.fixture(scope="session")
def crypto8(shared_data: Path) -> Market:
    """The market of the published sweep: 8 crypto assets, daily, 2020 to 2025."""
    path = shared_data / "crypto8_daily.parquet"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the data folder")
    return Market.from_frame(pd.read_parquet(path), name=path.name, tickers=CRYPTO8)


@pytest.fixture(scope="session")
def market() -> Market:
    """400 synthetic bars of 3 assets (tests/histories.py)."""
    return history()


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """No pictures of the studies of this module: they take seconds each."""
    from cluster import output  # here: tests of kernels run where cluster's dependencies are not installed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "draw", lambda *_: ())
        yield


@pytest.fixture(scope="session")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as a first study finds it: MLflow's tables (a second's work), nothing of ours."""
    from tracking.recorder import Recorder  # here, as above
    from tracking.records import StudyRecord

    path = tmp_path_factory.mktemp("store") / "fresh.db"
    with Recorder.open(f"sqlite:///{path}", "another", StudyRecord("another", "another")):
        pass
    return path


@pytest.fixture(scope="session", params=COMPILED)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each compiled backend that can run here; NumPy is what they are compared with."""
    if request.param == "cuda source under g++":
        if COMPILER is None:
            pytest.skip("g++ is not installed: the CUDA source cannot be run without a device")
        return ShimBackend()
    if reason := why_not(request.param):
        pytest.skip(reason)
    if request.param == "numba":
        from kernels.backends.numba import NumbaBackend

        return NumbaBackend()
    from kernels.backends.cuda import CudaBackend

    return CudaBackend()
