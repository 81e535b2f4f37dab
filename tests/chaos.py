"""`make chaos MINUTES=n`: random harm to a real cluster and to real drivers for so long, and a table of what became of it.

Ends with 1 where anything was missing, doubled or wrong, or an innocent chunk was quarantined.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from chaos_cluster import IMPATIENT, ChaosCluster
from chaos_drivers import SAMPLERS, Drivers
from chaos_rounds import POISON, WORKERS, Round, Rounds
from studies import small_plan

from cluster.pool import cores

TABLE = Path(__file__).resolve().parent.parent / "docs" / "chaos.md"
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
ON_CLUSTER = 0.7  # of the time; the rest is for drivers
ROWS = 1200


def harm_clusters(until: float, random: Random) -> Counter[str]:
    """Batches on a cluster that is harmed at random until then."""
    import chaos_rounds
    import ray

    from cluster.ray_fleet import _hush
    from cluster.ray_session import start_ray

    sums: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="hg", dir="/tmp") as short, tempfile.TemporaryDirectory() as folder:
        plan = small_plan(Path(folder), "tracking.enabled=false", "market.bars=120")
        rows = plan.space.grid_rows(0, 12).sample(ROWS, replace=True, random_state=1, ignore_index=True)
        cluster = ChaosCluster(Path(short), random)
        start_ray(ray, cluster.address, WORKERS, 0, 1)
        _hush()
        ray.cloudpickle.register_pickle_by_value(chaos_rounds)  # workers do not know it
        rounds = Rounds(ray, plan.task, rows)
        while time.monotonic() < until:
            poison = tuple(random.sample(POISON, random.choice((0, 0, 1, 3))))
            played = rounds.play(
                cluster.anything, every=random.randint(3, 12), times=random.randint(1, 5), poison=poison
            )
            cluster.settle()
            if played.bad:
                print(json.dumps(played.as_dict(), indent=1), file=sys.stderr)
            sums.update(_counted(played, len(poison)))
            print(f"batch {sums['batches']}: {json.dumps(_counted(played, len(poison)))}", flush=True)
        sums.update(cluster.harmed)
        ray.shutdown()
        cluster.shutdown()
    return sums


def _counted(played: Round, poison: int) -> dict[str, int]:
    return {
        **{"batches": 1, "configurations": played.rows, "workers lost": played.lost, "chunks retried": played.retried},
        **{"poisoned chunks": poison, "chunks quarantined": played.quarantined, "batches ended": bool(played.error)},
        **{"missing": played.missing, "doubled": played.doubled, "wrong": played.wrong, "innocent": played.innocent},
    }


def harm_drivers(until: float, random: Random) -> Counter[str]:
    """Studies whose drivers are killed at random until then."""
    sums: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="hg", dir="/tmp") as folder:
        drivers = Drivers(Path(folder), random)
        while time.monotonic() < until:
            kills, missing, doubled, wrong = drivers.play(random.choice(list(SAMPLERS)))
            counted = {"studies": 1, "drivers killed": kills, "missing": missing, "doubled": doubled, "wrong": wrong}
            sums.update(counted)
            print(f"study {sums['studies']}: {json.dumps(counted)}", flush=True)
    return sums


CLUSTER = (
    *("batches", "configurations", "workers killed", "workers stopped", "nodes killed", "nodes stopped"),
    *("workers lost", "chunks retried", "poisoned chunks", "chunks quarantined"),
    *("batches ended", "missing", "doubled", "wrong", "innocent"),
)
DRIVERS = ("studies", "drivers killed", "missing", "doubled", "wrong")


def table(cluster: Counter[str], drivers: Counter[str], minutes: float, seed: int) -> str:
    """Both counts as Markdown."""
    head = f"{minutes:g} minutes on {cores()} cores, seed {seed}:"
    parts = [
        "\n".join([f"| {title} | count |", "|---|---:|", *(f"| {name} | {sums[name]:,} |" for name in names)])
        for title, names, sums in (("a cluster", CLUSTER, cluster), ("drivers", DRIVERS, drivers))
    ]
    return "\n\n".join([head, *parts])


def main() -> int:
    parsing = argparse.ArgumentParser(description=__doc__)
    parsing.add_argument("--minutes", type=float, default=10.0)
    parsing.add_argument("--seed", type=int, default=1)
    parsing.add_argument("--write", action="store_true", help="keep the table in docs/chaos.md")
    asked = parsing.parse_args()
    os.environ.update(IMPATIENT)
    random, began = Random(asked.seed), time.monotonic()
    seconds = 60.0 * asked.minutes
    cluster = harm_clusters(began + ON_CLUSTER * seconds, random)
    drivers = harm_drivers(began + seconds, random)
    text = table(cluster, drivers, asked.minutes, asked.seed)
    print(text)
    if asked.write:
        page = TABLE.read_text(encoding="utf-8")
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        TABLE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
    bad = ("missing", "doubled", "wrong", "innocent", "batches ended")
    return int(any(sums[name] for sums in (cluster, drivers) for name in bad))


if __name__ == "__main__":
    sys.exit(main())
