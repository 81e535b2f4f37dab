"""What a terminal shows of a hold-out: the winner and the baselines on the bars that were seen and on those that were not."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cluster.advice import wanted
from cluster.findings import Findings
from cluster.plan import Plan
from cluster.staircase_view import show_staircase


def show_opened(console: Console, plan: Plan, found: Findings) -> None:
    """One line per label and stretch, and the verdict that came of it."""
    assert found.selection is not None
    unhidden = found.selection.opened
    assert unhidden is not None
    table = Table(
        title=f"{plan.config.name}: the {unhidden.bars:,} bars it had not seen, {unhidden.first_day} to {unhidden.last_day}",
        title_justify="left",
    )
    table.add_column("")
    table.add_column("bars")
    for head in ("score", "targets_met", *(f"{metric}\n(margin)" for metric in plan.targets.metrics)):
        table.add_column(head, justify="right", no_wrap=True)
    seen = found.compared.rename(columns={plan.space.measured(m): m for m in plan.strategy.metrics}).to_dict("index")
    for label, row in unhidden.rows.to_dict("index").items():
        for bars, values in (("seen", seen[label]), ("unseen", row)):
            cells = [f"{values['score']:.3f}", f"{int(values['targets_met'])} of {len(plan.targets.metrics)}"]
            cells += [
                f"{plan.metric(m).text(float(values[m]))} ({values[f'margin_{m}']:+.2f})" for m in plan.targets.metrics
            ]
            name = escape(str(label)) if bars == "seen" else ""
            table.add_row(name, bars, *cells, style="bold" if bars == "unseen" else "dim", end_section=bars == "unseen")
    console.print(table)
    console.print(f"targets: {wanted(plan)} (a margin of 0 or more meets its target)")
    console.print(f"[bold]{escape(found.selection.verdict.line)}[/]")
    if found.staircase:
        show_staircase(console, plan, found.staircase)
    for name, when in unhidden.before:
        console.print(
            f"these bars are no longer unseen: {escape(name)} opened or searched them on {when[:10]}", soft_wrap=True
        )
    console.print(f"recorded in {plan.folder}/holdout.json: the search of these bars is over", soft_wrap=True)
