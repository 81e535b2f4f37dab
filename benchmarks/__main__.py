"""`python -m benchmarks`: measure everything on this machine in one process, print tables, keep them in results/."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks import (
    cases,
    compare,
    landscapes,
    memory,
    million,
    option_case,
    option_memory,
    options,
    pool,
    portfolio,
    reality,
    risk_limits,
    scaling,
    search,
    table,
    verdict,
)
from benchmarks.table import Table
from kernels.market import Market
from kernels.option_market import OptionMarket

PARTS: dict[str, tuple[Callable[[Any], Table], ...]] = {
    "backends": (compare.kernels, compare.whole),
    "ways": (compare.ways,),
    "scaling": (scaling.cost, memory.peaks),
    "banks": (scaling.banks,),
    "search": (search.samplers,),
    "landscapes": (landscapes.landscapes, landscapes.searches),
    "pool": (pool.measured, pool.real, pool.simulated),
    "reality": (reality.added,),
    "million": (million.study,),
    "verdict": (verdict.verdicts, verdict.seconds),
    "risk_limits": (risk_limits.asked, risk_limits.told, risk_limits.soaked),
    "portfolio": (portfolio.ways, portfolio.first),
    "options": (options.kernels, options.whole, options.tickers, options.planes, option_memory.peaks),
}
SLOW = (
    "search",
    "landscapes",
    "million",
    "verdict",
)  # forty, four, ten and three minutes: only where they are asked for
MARKETS: dict[str, Callable[[], tuple[Market | OptionMarket, str]]] = {
    "search": search.market,
    "landscapes": landscapes.market,
    "verdict": verdict.market,
    "options": option_case.market,
    "risk_limits": risk_limits.market,
}  # others: cases.market
WIDTH = 130  # of what is written to a file or a pipe
PACKAGES = ("numpy", "numba", "pandas", "vectorbt", "optuna", "cmaes", "ray")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all but {', '.join(SLOW)} by default"
    )
    parser.add_argument("--no-write", action="store_true", help="print only, leave benchmarks/results as it is")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.parts) - set(PARTS))
    if unknown:
        parser.error(f"unknown part {', '.join(unknown)}; parts are {', '.join(PARTS)}")

    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for part in arguments.parts or [part for part in PARTS if part not in SLOW]:
        market, source = MARKETS.get(part, cases.market)()
        assets = f"{market.n_assets} asset{'s' if market.n_assets > 1 else ''}"
        where = f"{table.circumstances(*PACKAGES)}. Market: {source}, {assets}, {market.n_bars} bars."
        console.print(where)
        tables = []
        for measure in PARTS[part]:
            tables.append(measure(market))
            show(console, tables[-1])
        if not arguments.no_write:
            console.print(f"written: {table.write(part, part, where, tables)}")


def show(console: Console, measured: Table) -> None:
    """One table on the terminal."""
    drawn = RichTable(title=measured.title, caption=measured.note or None, title_justify="left", caption_justify="left")
    for i, column in enumerate(measured.columns):
        drawn.add_column(column, justify="right" if i else "left")
    for row in measured.rows:
        drawn.add_row(*row)
    console.print(drawn)


if __name__ == "__main__":
    main()
