"""Point search and cloud search on markets whose plateau and whose spike are known."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.landscape import TARGETS, Known, Landscape
from search.cloud import Cloud
from search.study import Study

BUDGET, BATCH = 160, 8
CLOUD = Cloud(10, 0.15)


def search(landscape: Landscape, known: Known, seed: int, cloud: Cloud | None):
    size = cloud.size if cloud else 1
    with TemporaryDirectory() as folder:
        study = Study.open(Path(folder), "benchmark", landscape.space, TARGETS, sampler="tpe", trials=BUDGET // size, batch=BATCH, seed=seed, cloud=cloud)
        while (batch := study.ask()) is not None:
            study.tell(batch, known.metrics(batch.configurations))
        return study.best(1)
