"""What the terminal shows: what a run found, and tables of plans, markets and strategies."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from cluster.advice import wanted
from cluster.book_view import book_lines
from cluster.chunks import MOST_ROWS, MOST_SECONDS
from cluster.front_view import front_table
from cluster.live import bar_steps, market_size
from cluster.output import caveats, moved
from cluster.plan import Plan
from cluster.portfolio import Portfolio
from cluster.progress import duration
from cluster.risk_config import limits_in_words
from cluster.running import Outcome
from cluster.selection_advice import selected
from cluster.staircase_view import show_staircase
from cluster.staircase_words import sentences
from kernels import Strategy
from kernels.errors import InputError
from kernels.market_calendar import when
from kernels.market_check import Description
from kernels.option_market import OptionMarket
from tracking.address import ui_command

BEST_OF_A_TICKER = 3  # rows of each where there are several
ALWAYS = (
    "backtests",
    "search",
    "records",
)  # kernel, sampler and records: what a run's time is told of, even where none
MOST_GAPS = 30  # of a market's gaps listed one by one


def show_outcome(console: Console, outcome: Outcome) -> None:
    """The best trials beside the baselines, where everything lies, and how to browse it."""
    plan = outcome.plan
    beside = " beside the baselines" if len(outcome.found.baselines) else ""
    each = f" of {plan.config.search.configs_per_trial:,} configurations" if plan.config.search.cloud else ""
    title = f"{plan.config.name}: best of {outcome.trials:,} trials{each}{beside}"
    show_ranking(console, plan, title, outcome.found.best, outcome.found.baselines)
    if outcome.found.front:
        console.print(front_table(plan, outcome.found.front))
    if outcome.found.importance:
        console.print(f"what moved the score: {moved(outcome.found.importance)}")
    _advise(console, outcome.found.advice)
    if outcome.found.staircase:
        show_staircase(console, plan, outcome.found.staircase)
    for caveat in caveats(plan, outcome.trials, outcome.found.quarantined):
        console.print(f"note: {escape(caveat)}")
    console.print(f"time: {_spent(outcome.seconds)}")
    _say_where(console, outcome)


def show_ranking(console: Console, plan: Plan, title: str, best: pd.DataFrame, baselines: pd.DataFrame) -> None:
    """The best trials above the baselines (index: labels), or side by side where lines would be too long; the targets."""
    rows = [(f"trial {int(r['trial'])}", r) for r in best.to_dict("records")]
    others = [
        (escape(str(label)), row) for label, row in zip(baselines.index, baselines.to_dict("records"), strict=True)
    ]
    table = _ranking(plan, title, rows, others)
    if console.measure(table, options=console.options.update(width=1000)).maximum > console.width:
        table = _standing(plan, title, rows, others, console.width)
    console.print(table)
    console.print(f"targets: {wanted(plan)} (a margin of 0 or more meets its target)")


def _advise(console: Console, advice: Sequence[str]) -> None:
    """The recommendation in bold, what stands behind it below."""
    first, *others = (escape(sentence) for sentence in advice)
    console.print(f"\n[bold]{first}[/]")
    for sentence in others:
        console.print(Padding(sentence, (0, 0, 0, 2)))


def _say_where(console: Console, outcome: Outcome) -> None:
    """Where the files of a study lie, and how to browse its trials."""
    plan = outcome.plan
    console.print(f"files: {outcome.folder}/ (report.html, best.yaml, configs.parquet)", soft_wrap=True)
    if outcome.trials_url:
        if outcome.trials > plan.config.tracking.max_runs:
            console.print(f"MLflow: the {plan.config.tracking.max_runs:,} best trials and the baselines")
        if command := ui_command(plan.config.tracking.uri):
            console.print(f"browse: {command}", soft_wrap=True)
        console.print(f"        {outcome.trials_url}", soft_wrap=True)


Rows = list[tuple[str, dict[Any, Any]]]


def _ranking(plan: Plan, title: str, rows: Rows, baselines: Rows) -> Table:
    """One line per trial and baseline."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in _heads(plan):
        table.add_column(f"{name}\n(margin)" if name in plan.targets.metrics else name, justify="right", no_wrap=True)
    for number, (label, row) in enumerate([*rows, *baselines]):
        style = "bold" if number == 0 else "dim" if number >= len(rows) else ""
        table.add_row(label, *_cells(plan, row), style=style, end_section=number == len(rows) - 1)
    return table


def _standing(plan: Plan, title: str, rows: Rows, baselines: Rows, width: int) -> Table:
    """The same for a narrow terminal: one column per trial and baseline, as many as there is room for."""
    names = _heads(plan)
    left = width - max(map(len, names)) - 3
    shown = []
    for number, (label, row) in enumerate([rows[0], *baselines, *rows[1:]]):
        cells = [label, *_cells(plan, row)]
        left -= max(map(len, cells)) + 2
        if number == 0 or left >= 0:
            shown.append(cells)
    trials = [cells for cells in shown if cells[0] not in dict(baselines)]
    others = [cells for cells in shown if cells[0] in dict(baselines)]
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for cells in (*trials, *others):
        table.add_column(cells[0], justify="right", no_wrap=True)
    for number, name in enumerate(names, start=1):
        table.add_row(name, *(cells[number] for cells in (*trials, *others)))
    return table


def outcome_json(outcomes: Sequence[Outcome], portfolio: Portfolio | InputError | None) -> str:
    """The outcome for programs; of several studies `studies` and, where there is one, the `portfolio` of their winners."""
    found: list[dict[str, Any]] = [
        {
            "study": outcome.plan.config.name,
            "folder": str(outcome.folder),
            "trials": outcome.trials,
            "evaluated": outcome.evaluated,
            "backend": outcome.plan.choice.backend.name,
            "data_digest": outcome.plan.market.digest,
            "seconds": outcome.seconds,
            "shares_of_time": shares(outcome.seconds),
            "best": _plain(outcome.found.best.to_dict("records")),
            "baselines": {str(k): _plain(v) for k, v in outcome.found.baselines.to_dict("index").items()},
            "importance": outcome.found.importance,
            "at_dearer_costs": {
                f"{m:g}x": _plain(row) for m, row in outcome.found.winner.stress.to_dict("index").items()
            },
            "break_even": _plain(outcome.found.winner.break_even),
            "on_unseen_paths": None
            if outcome.found.winner.unseen is None
            else _plain(outcome.found.winner.unseen.to_dict()),
            "advice": outcome.found.advice,
            "features": sentences(outcome.plan, outcome.found.staircase) if outcome.found.staircase else [],
            "caveats": caveats(outcome.plan, outcome.trials, outcome.found.quarantined),
            "study_url": outcome.study_url,
        }
        for outcome in outcomes
    ]
    if len(found) == 1:
        return json.dumps(found[0], indent=1)
    rows = _plain(portfolio.rows.to_dict("index")) if isinstance(portfolio, Portfolio) else None
    times = shares(spent_by_all(outcomes))
    return json.dumps({"studies": found, "portfolio": rows, "shares_of_time": times}, indent=1)


def show_tickers(console: Console, outcomes: Sequence[Outcome], portfolio: Portfolio | InputError) -> None:
    """The best trials of each ticker, the portfolio of the first of each, what to do, and the time it took."""
    plan = outcomes[0].plan
    table = Table(title="the best of each ticker", title_justify="left")
    for head in ("", *plan.space.searched, "score", "targets_met", *plan.targets.metrics):
        table.add_column(head.replace("_", "\n"), justify="left" if not head else "right")
    for outcome in outcomes:
        own, rows = outcome.plan, outcome.found.best.head(BEST_OF_A_TICKER)
        for number, (_, line) in enumerate(rows.iterrows(), start=1):
            row = {str(k): v for k, v in line.items()}
            cells = [_value(row[name]) for name in own.space.searched]
            cells += [f"{row['score']:.3f}", f"{int(row['targets_met'])} of {len(own.targets.metrics)}"]
            cells += [own.metric(m).text(row[own.metric(m).name]) for m in own.targets.metrics]
            ticker = ", ".join(own.market.tickers) if number == 1 else ""
            table.add_row(ticker, *cells, style="" if number == 1 else "dim", end_section=number == len(rows))
    if isinstance(portfolio, Portfolio):
        for label, line in portfolio.rows.drop(index="members").iterrows():
            row = {str(k): v for k, v in line.items()}
            cells = [""] * len(plan.space.searched)
            cells += [f"{row['score']:.3f}", f"{int(row['targets_met'])} of {len(plan.targets.metrics)}"]
            cells += [plan.metric(m).text(row[m]) for m in plan.targets.metrics]
            table.add_row("portfolio" if label == "portfolio" else "on unseen paths", *cells, style="bold")
    console.print(table)
    console.print(f"targets: {wanted(plan)}")
    for outcome in outcomes:
        _advise(console, outcome.found.advice)
        if outcome.found.staircase:
            show_staircase(console, outcome.plan, outcome.found.staircase)
    if isinstance(portfolio, Portfolio):
        _advise(console, portfolio.advice)
    else:
        console.print(f"\n{escape(str(portfolio))}")
    console.print()
    told = [caveats(outcome.plan, outcome.trials, outcome.found.quarantined) for outcome in outcomes]
    for caveat in dict.fromkeys(sentence for each in told for sentence in each):
        console.print(f"note: {escape(caveat)}")
    for outcome in outcomes:
        _say_where(console, outcome)
    console.print(f"time of all: {_spent(spent_by_all(outcomes))}")


def spent_by_all(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Wall seconds of a run of several studies, by what they went into."""
    kinds = dict.fromkeys(what for outcome in outcomes for what in outcome.seconds)
    return {what: sum(outcome.seconds.get(what, 0.0) for outcome in outcomes) for what in kinds}


def shares(seconds: Mapping[str, float]) -> dict[str, float]:
    """Each part of the whole time, largest first; kernel, sampler and records always among them.

    >>> shares({"records": 1.0, "backtests": 3.0})
    {'backtests': 0.75, 'records': 0.25, 'search': 0.0}
    """
    all_of = {**dict.fromkeys(ALWAYS, 0.0), **seconds}
    whole = sum(all_of.values())
    return {what: s / whole if whole else 0.0 for what, s in sorted(all_of.items(), key=lambda spent: -spent[1])}


def _spent(seconds: Mapping[str, float]) -> str:
    """The whole time and its shares, largest first.

    >>> _spent({"records": 1.0, "backtests": 3.0})
    '4.0 s; backtests 3.0 s (75%), records 1.0 s (25%), search 0.0 s (0%)'
    """
    told = ", ".join(f"{what} {seconds.get(what, 0.0):.1f} s ({share:.0%})" for what, share in shares(seconds).items())
    return f"{sum(seconds.values()):.1f} s; {told}"


def show_plan(console: Console, plan: Plan) -> None:
    """What `hedgegrid run` would do."""
    market, config = plan.market, plan.config
    estimate = plan.estimate()
    table = Table(title=f"{config.name}: the plan (nothing has been run)", show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    first, last = when(market.timestamps[0]), when(market.timestamps[-1])
    table.add_row("market", f"{market_size(market)}, {first} to {last}")
    for line in book_lines(market):
        table.add_row("book", line)
    table.add_row("selection", selected(plan))
    table.add_row("strategy", f"{plan.strategy.name}: {plan.strategy.summary}")
    if plan.limits:
        table.add_row("risk limits", limits_in_words(plan.limits))
    table.add_row("searched", ", ".join(plan.space.searched) or "nothing")
    clouds = f"{plan.configurations:,} in " if config.search.cloud else ""
    table.add_row(
        "configurations",
        f"{clouds}{plan.trials:,} trials and {len(plan.baselines)} baselines by {config.search.sampler}",
    )
    if plan.objectives:
        better = {"maximize": "more", "minimize": "less"}
        told = ", ".join(f"{better[way]} {metric}" for metric, way in plan.objectives.spec.items())
        table.add_row("objectives", f"the front of {told}")
    chunk = min(round(estimate[0] * MOST_SECONDS) if estimate else MOST_ROWS, MOST_ROWS, plan.together)
    table.add_row("chunks", f"of up to {chunk:,} configurations, in batches of {plan.together:,}")
    steps = bar_steps(market, plan.configurations + len(plan.baselines))
    table.add_row("bar-steps", f"{steps:,}")
    table.add_row("backend", f"{plan.choice.backend.name}: {plan.choice.reason}")
    for what, size in plan.bytes().items():
        table.add_row(what, _bytes(size))
    if estimate is None:
        told = f"not measured: this machine cannot run {plan.choice.backend.name}, the cluster's workers do"
    else:
        told = (
            f"{duration(estimate[1])} of backtests ({estimate[0]:,.0f} configurations/s on one worker, measured here)"
        )
    table.add_row("estimated time", told)
    table.add_row("results", str(plan.folder))
    table.add_row("MLflow", config.tracking.uri if config.tracking.enabled else "off")
    console.print(table)


def show_market(console: Console, found: Description) -> None:
    """The market as the engine sees it."""
    table = Table(title="the market as the engine sees it", show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("tickers", ", ".join(found.tickers))
    table.add_row("bars", f"{found.n_bars:,}, {when(found.first)} to {when(found.last)}")
    table.add_row("columns", ", ".join(found.columns))
    table.add_row("bars per year", f"{found.bars_per_year:g}")
    gaps = found.calendar.gaps
    table.add_row("gaps", f"{len(gaps)}, {sum(g.missing for g in gaps):,} bars missing" if gaps else "none")
    for gap in gaps[:MOST_GAPS]:
        table.add_row("", f"{gap.missing:,} missing after {when(gap.after)}, on with {when(gap.before)}")
    if len(gaps) > MOST_GAPS:
        table.add_row("", f"and {len(gaps) - MOST_GAPS:,} more")
    table.add_row("digest", found.digest)
    console.print(table)
    if not found.suspicions:
        console.print("nothing suspicious found")
        return
    odd = Table(title="worth a look", title_justify="left", show_header=False)
    odd.add_column(no_wrap=True)
    odd.add_column(overflow="fold")
    for suspicion in found.suspicions:
        odd.add_row(suspicion.kind, escape(suspicion.text))
    console.print(odd)


def show_option_market(console: Console, market: OptionMarket) -> None:
    """A market of options as the engine sees it: what is sold, on what paths, at which volatilities."""
    contract, spot = market.contract, market.spot
    table = Table(title="the market as the engine sees it", show_header=False, title_justify="left")
    table.add_row("underlier", ", ".join(market.tickers))
    table.add_row("bars", f"{market_size(market)}, {when(market.timestamps[0])} to {when(market.timestamps[-1])}")
    second = f"a second option of {contract.second_tenor:g} times that tenor, at the money"
    table.add_row(
        "contract",
        f"{contract.side} a {contract.kind} of {contract.tenor_days:g} days at {contract.moneyness:g} x forward; {second}",
    )
    table.add_row("cycles", f"{int(market.opens.sum())}")
    table.add_row("last prices", f"{spot[:, -1].min():,.2f} to {spot[:, -1].max():,.2f}, first {spot[0, 0, 0]:,.2f}")
    implied = market.volatility[market.volatility > 0.0]
    table.add_row("implied volatility", f"{implied.min():.1%} to {implied.max():.1%}")
    table.add_row("rate, dividend yield", f"{market.rate:.2%}, {market.dividend_yield:.2%} per year")
    table.add_row("digest", market.digest)
    console.print(table)


def show_strategies(console: Console, strategies: Iterable[Strategy]) -> None:
    """The catalogue."""
    for strategy in strategies:
        console.print(f"[bold]{strategy.name}[/]  {strategy.summary}\n[dim]{escape(strategy.source)}[/]")
        table = Table()
        for head in ("parameter", "default", "range", "unit", "meaning"):
            table.add_column(head, no_wrap=head in ("parameter", "default", "unit"))
        for p in strategy.parameters:
            span = (
                ", ".join(p.choices) if p.choices else f"{p.low:g} .. {p.high:g}" + (" or none" if p.optional else "")
            )
            default = "none" if p.default is None else str(p.default)
            table.add_row(p.name, default, span, p.unit, p.doc)
        console.print(table)


def _heads(plan: Plan) -> tuple[str, ...]:
    ranked = ("cloud_score",) if plan.config.search.cloud else ()
    return (*plan.space.searched, *ranked, "score", "targets_met", *plan.targets.metrics)


def _cells(plan: Plan, row: dict[Any, Any]) -> list[str]:
    cells = [_value(row[name]) for name in plan.space.searched]
    if plan.config.search.cloud:
        cells.append(f"{row['cloud_score']:.3f}" if "cloud_score" in row else "")  # a baseline is no cloud
    cells.append(f"{row['score']:.3f}")
    cells.append(f"{int(row['targets_met'])} of {len(plan.targets.metrics)}")
    return cells + [
        f"{plan.metric(m).text(row[plan.metric(m).name])} ({row[f'margin_{m}']:+.2f})" for m in plan.targets.metrics
    ]


def _value(value: Any) -> str:
    if pd.isna(value):
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1024
    return ""
