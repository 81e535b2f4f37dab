"""What `hedgegrid status` shows: one study line by line, several as a table, once or until they have ended."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cluster.progress import Count, Progress, duration
from cluster.status import Status, as_json, look

LOOK_SECONDS = 1.0
STYLES = {"running": "green", "finished": "green", "unknown": "yellow"}


def show(console: Console, folders: Sequence[Path], *, watch: bool, to_json: bool) -> None:
    """Show the studies of those folders; with `watch` again and again, until none of them is running."""
    found = [look(folder) for folder in folders]
    if watch and console.is_terminal and not to_json:
        with Live(_view(found), console=console, auto_refresh=False) as shown:
            while any(each.state == "running" for each in found):
                time.sleep(LOOK_SECONDS)
                found = [look(folder) for folder in folders]
                shown.update(_view(found), refresh=True)
        return
    while watch and any(each.state == "running" for each in found):
        time.sleep(LOOK_SECONDS)
        found = [look(folder) for folder in folders]
    if to_json:
        print(json.dumps({"studies": [as_json(each) for each in found]}, indent=1))
    else:
        console.print(_view(found))


def lost(events: dict[str, int]) -> str:
    """What was lost, in words.

    >>> lost({"workers_lost": 2, "chunks_retried": 3, "chunks_quarantined": 0})
    '2 workers lost, 3 chunks retried'
    """
    return ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in events.items() if count)


def _view(found: Sequence[Status]) -> RenderableType:
    parts: list[RenderableType] = [_one(found[0])] if len(found) == 1 else [_several(found), *_runs(found)]
    commands = {each.again: each for each in found if each.again}
    for command, each in commands.items():
        where = each.progress.directory if each.progress and each.progress.again else ""
        place = f", in {where}" if where and where != str(Path.cwd()) else ""
        parts.append(Text(f"what was finished is kept, continue with{place}:\n  {command}", overflow="fold"))
    return Group(*parts)


def _one(found: Status) -> RenderableType:
    rows = Table(show_header=False, box=None, title=f"{found.name}: {found.state}", title_justify="left")
    rows.title_style = f"bold {STYLES.get(found.state, 'red')}"
    rows.add_column(no_wrap=True, style="dim")
    rows.add_column(overflow="fold")
    rows.add_row("state", escape(found.told))
    rows.add_row("folder", escape(str(found.folder)))
    if (progress := found.progress) is None:
        return rows
    rows.add_row("trials", _share(progress.trials))
    rows.add_row("best so far" if found.state != "finished" else "best", _best(progress))
    if found.state == "running":
        rows.add_row("configurations", _share(progress.configurations))  # those of a batch under way are not kept yet
        for name, text in _pace(progress).items():
            rows.add_row(name, escape(text))
    rows.add_row("lost", lost(progress.events) or "nothing")
    assert found.age is not None
    rows.add_row("written", f"{_ago(found.age)} ago")
    return rows


def _several(found: Sequence[Status]) -> Table:
    table = Table()
    for head in ("study", "state", "trials", "configurations", "best", "lost", "written"):
        table.add_column(
            head, no_wrap=head == "study", justify="right" if head in ("trials", "configurations") else "left"
        )
    for each in found:
        told = escape(each.told if each.state != "running" or not each.progress else each.progress.phase)
        cells = [escape(each.name), f"[{STYLES.get(each.state, 'red')}]{told}[/]"]
        if (progress := each.progress) and each.age is not None:
            cells += [_share(progress.trials), _share(progress.configurations), _best(progress)]
            cells += [lost(progress.events) or "nothing", f"{_ago(each.age)} ago"]
        table.add_row(*cells)
    return table


def _runs(found: Sequence[Status]) -> list[Text]:
    """A line for each run that is computing some of these studies: they share its workers."""
    runs = {
        (each.progress.host, each.progress.pid): each.progress for each in found if _running(each) and each.progress
    }
    return [
        Text(f"process {pid} on {host}: " + "; ".join(f"{name} {text}" for name, text in _pace(progress).items()))
        for (host, pid), progress in runs.items()
    ]


def _running(found: Status) -> bool:
    return found.state == "running"


def _pace(progress: Progress) -> dict[str, str]:
    """Speed, time left and workers of a run."""
    speed = "not known"
    if progress.per_second_mean:
        speed = f"{progress.per_second:,.0f} configurations/s of late, {progress.per_second_mean:,.0f}/s in all"
    left = "not known" if progress.seconds_left is None else f"about {duration(progress.seconds_left)} of backtests"
    left = "no backtests" if progress.seconds_left == 0.0 else left
    workers = f"{progress.workers_ready} of {progress.workers} ready ({progress.where})"
    return {"speed": speed, "left": left, "workers": workers if progress.where else "starting"}


def _share(count: Count) -> str:
    share = f" ({count.done / count.of:.0%})" if 0 < count.done < count.of else ""
    return f"{count.done:,} of {count.of:,}{share}"


def _best(progress: Progress) -> str:
    return f"score {progress.best.score:.3f}, trial {progress.best.trial:,}" if progress.best else "none yet"


def _ago(seconds: float) -> str:
    return duration(max(seconds, 0.0)) if seconds < 172_800 else f"{seconds / 86_400:,.0f} days"
