"""How busy this machine is while studies run: processors, memory and GPUs, every ten seconds.

The measuring is MLflow's own, and so are the names, which its UI groups under System metrics. What sends it is not:
MLflow's monitor asks the store every ten seconds whether the run goes on, and writes beside the recorder, which on a
SQLite file is one writer too many; here the recorder writes it in its turn.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

EVERY_SECONDS = 10.0
FIRST_SECONDS = 1.0  # a study of a few seconds has something to show too

Tell = Callable[[Mapping[str, float]], None]


class Monitor(Protocol):
    """What MLflow's monitors have in common."""

    def collect_metrics(self) -> None:
        """Look once."""

    def aggregate_metrics(self) -> dict[str, float]:
        """What was seen."""

    def clear_metrics(self) -> None:
        """Forget it."""


@contextlib.contextmanager
def watched(tell: Sequence[Tell], every: float = EVERY_SECONDS, first: float = FIRST_SECONDS) -> Iterator[None]:
    """Tell each of them how busy the machine is, from a thread of its own, until the block ends.

    CPU and memory in per cent and MB of the whole machine; of each NVIDIA GPU (`gpu_0_...`) its use, memory and power, where
    nvidia-ml-py and a driver are there.
    """
    if not tell:
        yield
        return
    monitors = _monitors()
    over = threading.Event()

    def work() -> None:
        _sample(monitors)  # use is measured from one sample to the next of a thread
        wait = first
        while not over.wait(wait):
            values = _sample(monitors)
            for each in tell:
                each(values)
            wait = every

    thread = threading.Thread(target=work, name="machine-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _monitors() -> list[Monitor]:
    from mlflow.system_metrics.metrics import gpu_monitor
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor

    monitors: list[Monitor] = [CPUMonitor()]  # type: ignore[no-untyped-call]
    # What a device does not tell (a slice of a GPU has no use of its own) would be a line of log every ten seconds.
    logging.getLogger(gpu_monitor.__name__).setLevel(logging.ERROR)
    with contextlib.suppress(ImportError, RuntimeError):  # no nvidia-ml-py, no driver
        monitors.append(gpu_monitor.GPUMonitor())  # type: ignore[no-untyped-call]
    return monitors


def _sample(monitors: Sequence[Monitor]) -> dict[str, float]:
    values: dict[str, float] = {}
    for monitor in monitors:
        monitor.collect_metrics()
        values.update(monitor.aggregate_metrics())
        monitor.clear_metrics()
    return values
