"""What the terminal shows while studies run: a progress bar, or a line now and then."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from cluster.plan import Plan
from cluster.pool import Event, LocalPool, Pool
from cluster.progress import duration
from kernels import Market
from kernels.option_market import OptionMarket

LINE_SECONDS = 5.0  # between two plain progress lines where there is no terminal
BAR_COLUMNS = 75  # of a terminal that the progress bar and its numbers take
WORKERS_COLUMNS = 110  # of a terminal from which it shows the workers as well
SHOW_CURSOR = b"\x1b[?25h"  # which a bar hides


class Live:
    """A progress bar on a terminal, a plain line every few seconds elsewhere, nothing when quiet.

    One for all studies of a run: they go on side by side.
    """

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console, self._quiet = console, quiet
        self._bar: Progress | None = None
        self._best: dict[str, float] = {}  # so far, by study, of those that have results
        self._tickers: dict[str, str] = {}
        self._total = self._done = 0
        self._began = self._told = 0.0
        self._trials = self._trials_done = 0
        self._pool: Pool | None = None
        self._lost: Counter[str] = Counter()
        self._checking = False

    def started(self, plans: Sequence[Plan], pool: Pool, done: Sequence[int]) -> None:
        """Say what is about to run."""
        counts = [
            plan.configurations - before * plan.config.search.configs_per_trial + len(plan.baselines)
            for plan, before in zip(plans, done, strict=True)
        ]
        self._best = {}
        self._tickers = {plan.config.name: ", ".join(plan.market.tickers) for plan in plans}
        self._total, self._done = sum(counts), 0
        self._trials, self._trials_done = sum(plan.trials for plan in plans), sum(done)
        self._pool = pool
        self._began = self._told = time.perf_counter()
        if self._quiet:
            return
        for plan, count in zip(plans, counts, strict=True):
            self._console.print(
                f"[bold]{escape(plan.config.name)}[/]  {plan.strategy.name} on {market_size(plan.market)}, "
                f"{count:,} configurations ({bar_steps(plan.market, count):,} bar-steps)"
            )
        choice = plans[0].choice
        resumed = f"; {sum(done):,} trials were done before" if any(done) else ""
        self._console.print(f"backend {choice.backend.name}: {escape(choice.reason)}; {pool.where}{resumed}")
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                *((_Workers(self.workers),) if self.workers() and self._console.width >= WORKERS_COLUMNS else ()),
                TextColumn("{task.fields[best]}"),
                console=self._console,
            )
            self._bar.add_task("configurations", total=self._total, rate="", best="")
            self._bar.start()

    def advanced(self, configurations: int) -> None:
        """Move the bar, or print a line when some seconds have passed."""
        self._done += configurations
        now = time.perf_counter()
        rate = self._done / max(now - self._began, 1e-9)
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=self._done, rate=f"{rate:,.0f}/s")
        elif not self._quiet and now - self._told > LINE_SECONDS:
            self._told = now
            left = duration((self._total - self._done) / rate)
            self._console.print(
                f"{self._done:,} of {self._total:,} configurations, {rate:,.0f}/s, about {left} left, "
                f"best score {self._scores(self._console.width)}{f', {self.workers()}' if self.workers() else ''}"
            )

    def happened(self, event: Event) -> None:
        """Say what was lost and what became of it."""
        self._lost[event.kind] += 1
        if not self._quiet:
            self._console.print(escape(event.text), style="yellow" if event.kind == "chunks_quarantined" else "dim")

    def scored(self, plan: Plan, rows: pd.DataFrame) -> None:
        """Keep the best scores in view."""
        name = plan.config.name
        self._trials_done += len(rows)
        self._best[name] = max(self._best.get(name, 0.0), float(rows["score"].max()))
        if self._bar:
            best = self._scores(self._console.width - BAR_COLUMNS - len(self.workers()))
            self._bar.update(self._bar.task_ids[0], best=f"best {best}")

    def left_out(self, plan: Plan, trials: int) -> None:
        """Expect no more of a study that has ended early."""
        self._trials -= trials
        self._total -= trials * plan.config.search.configs_per_trial
        if self._bar:
            self._bar.update(self._bar.task_ids[0], total=self._total)

    def _scores(self, room: int) -> str:
        """The best score so far: of the one study, of each ticker, or where that is too long the worst and the best."""
        scores = list(self._best.values()) or [0.0]
        if len(self._tickers) == 1 or not self._best:
            return f"{scores[0]:.3f}"
        each = ", ".join(f"{self._tickers[name]} {score:.3f}" for name, score in self._best.items())
        return escape(each) if len(each) <= room else f"{min(scores):.3f} to {max(scores):.3f}"

    def workers(self) -> str:
        """How many workers stand ready and what was retried; nothing where this process computes."""
        if self._pool is None or isinstance(self._pool, LocalPool):
            return ""
        retried = self._lost["chunks_retried"]
        retries = f", {retried:,} {'retry' if retried == 1 else 'retries'}" if retried else ""
        return f"{self._pool.ready} of {self._pool.workers} workers{retries}"

    def stopping(self) -> None:
        """Say what is finished before the run stops, and how not to wait for it."""
        what = "what is under way"
        if left := self._pool.under_way if self._pool else 0:
            rate = self._done / max(time.perf_counter() - self._began, 1e-9)
            about = f" (about {duration(left / rate)})" if self._done else ""
            what = f"the {'batch' if len(self._tickers) == 1 else 'batches'} under way{about}"
        self._console.print(f"finishing {what}; press Ctrl-C again to stop at once", style="yellow")

    @property
    def interrupted(self) -> str:
        """What was done before the run was stopped."""
        done = f", {self._trials_done:,} of {self._trials:,} trials done" if self._trials else ""
        return f"interrupted{done}"

    def leave(self, words: str) -> None:
        """The last words of a process that is ended whatever its threads do: without the console, which they may hold."""
        if self._bar:
            os.write(self._console.file.fileno(), SHOW_CURSOR)
        os.write(2, f"\n{words}\n".encode())

    def checking(self) -> None:
        """Say once what is still being computed."""
        if not self._checking:
            self._checking = True
            self.close()
            if not self._quiet:
                self._console.print(
                    "reality check: every configuration once more, beside what luck would show", style="dim"
                )

    def finishing(self) -> None:
        """Say what is still being waited for."""
        self.close()
        if not self._quiet:
            self._console.print("writing files and figures", style="dim")

    def close(self) -> None:
        """Stop the bar."""
        if self._bar:
            self._bar.stop()
            self._bar = None


class _Workers(ProgressColumn):
    """Workers as they stand whenever the bar is drawn, whether or not anything has been computed since."""

    def __init__(self, told: Callable[[], str]) -> None:
        super().__init__(Column(no_wrap=True))
        self._told = told

    def render(self, task: Task) -> Text:
        return Text(self._told())


def market_size(market: Market | OptionMarket) -> str:
    """Assets, paths and bars of a market in words."""
    paths = f"{market.n_scenarios:,} paths x " if market.n_scenarios > 1 else ""
    assets = f"{market.n_assets} assets" if market.n_assets > 1 else market.tickers[0]
    return f"{assets} x {paths}{market.n_bars:,} bars"


def bar_steps(market: Market | OptionMarket, configurations: int) -> int:
    """Bars that so many configurations are stepped through, on every asset and path."""
    return configurations * market.n_scenarios * market.n_bars * market.n_assets
