"""Point search and cloud search on markets whose plateau and spike are known: which one each chooses, and what is left of
it on fresh samples of the same market."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from benchmarks import landscape_drawdown, landscape_reversion, landscape_trend
from benchmarks.landscape import BARS, TARGETS, Known, Landscape
from benchmarks.table import Table
from kernels import Market
from kernels.market import FloatArray
from search.cloud import Cloud
from search.study import Study

LANDSCAPES = (landscape_trend.LANDSCAPE, landscape_reversion.LANDSCAPE, landscape_drawdown.LANDSCAPE)
BUDGET, BATCH = 192, 8  # configurations of a search; trials to a launch
CLOUD = Cloud(12, 0.15)
CONTESTANTS = (None, Cloud(6, 0.15), CLOUD, Cloud(24, 0.15))
STATISTICS = tuple(Cloud(CLOUD.size, CLOUD.start, statistic=statistic) for statistic in (0.25, "best"))
MANY = 64  # members of the cloud that tells how a neighbourhood is: its median is near that of the whole box
SAMPLES, SEEDS = (1, 2, 3, 4, 5), range(5)
FRESH = (1001, 1002, 1003, 1004, 1005)  # samples without the coincidence


@dataclass(frozen=True)
class Choice:
    """What one search would recommend, the launches it took and the CPU seconds that it spent beside backtests."""

    row: pd.DataFrame
    launches: int
    seconds: float


def market() -> tuple[Market, str]:
    """The first history of the first market, and what all are."""
    return LANDSCAPES[0].sample(SAMPLES[0], planted=True), "simulated, three kinds, described below"


def search(landscape: Landscape, known: Known, cloud: Cloud | None, seed: int) -> Choice:
    """One study by TPE, asked and told as `hedgegrid run` does, `BUDGET` configurations in all."""
    began, launches = time.process_time(), 0
    with TemporaryDirectory() as folder:
        study = Study.open(
            Path(folder),
            landscape.name,
            landscape.space,
            TARGETS,
            sampler="tpe",
            trials=BUDGET // (cloud.size if cloud else 1),
            batch=BATCH,
            seed=seed,
            cloud=cloud,
        )
        while (batch := study.ask()) is not None:
            study.tell(batch, known.metrics(batch.configurations))
            launches += 1
        chosen = study.best(1)[list(known.configurations)]
    return Choice(chosen, launches, time.process_time() - began)


def fresh_sharpe(landscape: Landscape, rows: pd.DataFrame) -> FloatArray:
    """The Sharpe ratio of each configuration, its median over the fresh samples."""
    ratios = [landscape.measured(landscape.sample(seed, planted=False), rows)["sharpe"] for seed in FRESH]
    median: FloatArray = np.median(ratios, axis=0)
    return median


def landscapes(_: Market) -> Table:
    """What is known of each market before any search."""
    rows = []
    for landscape in LANDSCAPES:
        known = Known(landscape, landscape.sample(SAMPLES[0], planted=True))
        table, here = known.configurations, known.metrics(known.configurations)["sharpe"].to_numpy()
        there = fresh_sharpe(landscape, table)
        top, around = int(known.scores().argmax()), known.cloud_scores(Cloud(MANY, CLOUD.start))
        for name, cells, best, at in (
            ("spike", landscape.spike(table), "the highest score", top),
            ("plateau", landscape.plateau(table), "the highest median of a cloud", int(around.argmax())),
        ):
            where = ", ".join(f"{parameter} {table[parameter][at]:g}" for parameter in landscape.search)
            rows.append(
                (
                    landscape.name,
                    name,
                    f"{cells.mean():.1%} of {len(table)}",
                    f"{here[cells].max():.1f}, {there[cells].max():.1f}",
                    f"{np.median(here[cells]):.1f}, {np.median(there[cells]):.1f}",
                    f"{best}: {where}",
                )
            )
    return Table(
        f"Three markets of {BARS:,} bars: what was planted, and what lasts",
        ("market", "", "configurations", "best Sharpe, sample and fresh", "median Sharpe, sample and fresh", "holds"),
        tuple(rows),
        f"The rules are {'; '.join(f'of {each.name} {each.story}' for each in LANDSCAPES)}. Every configuration is "
        f"backtested on the first history; fresh: medians over {len(FRESH)} samples of the same market without the planted "
        "coincidence.",
    )


def searches(_: Market) -> Table:
    """What point search and cloud search choose, over histories and seeds."""
    rows = []
    for landscape in LANDSCAPES:
        histories = [Known(landscape, landscape.sample(seed, planted=True)) for seed in SAMPLES]
        for cloud in (*CONTESTANTS, *STATISTICS):
            found = [search(landscape, known, cloud, seed) for known in histories for seed in SEEDS]
            rows.append((landscape.name, *_words(cloud), *summary(landscape, histories, found)))
    return Table(
        f"{BUDGET} configurations of TPE each: what is chosen, and what it earns on fresh samples",
        (
            "market",
            "configurations per trial",
            "told",
            "chose the spike",
            "the plateau",
            "neither",
            "Sharpe, sample",
            "Sharpe, fresh (lowest)",
            "launches",
            "CPU seconds beside backtests",
        ),
        tuple(rows),
        f"{len(SAMPLES)} histories x {len(SEEDS)} seeds; medians. A search is asked and told as a study is, {BATCH} trials "
        f"to a launch, and the configuration that it would recommend is measured on {len(FRESH)} fresh samples. Clouds reach "
        f"{CLOUD.start:g} of each range to either side. Backtests are looked up; waiting for the disk is not counted.",
    )


def summary(landscape: Landscape, histories: list[Known], found: list[Choice]) -> tuple[str, ...]:
    """How many chose what, and the middle of their figures; `found` has equally many of each history, in order."""
    rows = pd.concat([choice.row for choice in found], ignore_index=True)
    spike, plateau = landscape.spike(rows), landscape.plateau(rows)
    each = len(found) // len(histories)
    here = [
        float(known.metrics(choice.row)["sharpe"].iloc[0])
        for i, known in enumerate(histories)
        for choice in found[i * each : (i + 1) * each]
    ]
    distinct = rows.drop_duplicates().reset_index(drop=True)
    there = rows.merge(distinct.assign(fresh=fresh_sharpe(landscape, distinct)), how="left")["fresh"]
    return (
        f"{spike.sum()} of {len(found)}",
        f"{plateau.sum()}",
        f"{(~spike & ~plateau).sum()}",
        f"{np.median(here):.2f}",
        f"{there.median():.2f} ({there.min():.2f})",
        f"{np.median([choice.launches for choice in found]):.0f}",
        f"{np.median([choice.seconds for choice in found]):.2f}",
    )


def _words(cloud: Cloud | None) -> tuple[str, str]:
    if cloud is None:
        return "1", "its score"
    return str(cloud.size), cloud.statistic if isinstance(cloud.statistic, str) else f"quantile {cloud.statistic:g}"
