"""What was lost while a study ran, and what became of it: `events.jsonl` and `quarantined.csv` in its folder."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from cluster.pool import EVENTS, Event
from search.whole import writing

LOG, QUARANTINED = "events.jsonl", "quarantined.csv"


class EventLog:
    """A study's events, those of earlier runs of it included. They tell a story; what is true stands in the records."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.counts: Counter[str] = Counter(dict.fromkeys(EVENTS, 0))
        text = _read(folder / LOG)
        self._torn = not text.endswith("\n") and bool(text)  # by a crash
        self.counts.update(_kinds(text))

    def keep(self, event: Event) -> None:
        """Write an event down, with the configurations of a quarantined chunk."""
        self.counts[event.kind] += 1
        line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "kind": event.kind, "text": event.text}
        path = self._folder / LOG
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(("\n" if self._torn else "") + json.dumps(line) + "\n")
        self._torn = False
        if event.configurations is not None:
            path = self._folder / QUARANTINED
            rows = event.configurations.assign(error=event.text)
            with writing(path):
                rows.to_csv(path, mode="a", header=not path.exists(), index=False)

    @property
    def tags(self) -> dict[str, str]:
        """The counts that are not zero, as MLflow is told them."""
        return {kind: str(count) for kind, count in self.counts.items() if count}


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _kinds(text: str) -> list[str]:
    """The kinds of the events written so far; a line that a crash cut short is none."""
    kinds = []
    for line in text.splitlines():
        try:
            kind = json.loads(line)["kind"]
        except (ValueError, KeyError, TypeError):
            continue
        if kind in EVENTS:
            kinds.append(kind)
    return kinds
