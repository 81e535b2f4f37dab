"""A report as one HTML file: verdict first, then sections of prose, tables and figures; it opens from disk, without a network.

What it shows is handed to it as text and figures; it knows nothing of studies. All text is escaped: a ticker or a
question is never markup.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tracking.drawing_html import script
from tracking.panels import Figure
from tracking.report_style import POLICY, SCRIPT, STYLE

MET, MISSED = "\u2713", "\u2717"  # a mark beside the colour, for those who do not see it, and in print
NUMBER = re.compile(rf"[{MET}{MISSED}]? ?[-+\u2212<>=]{{0,2}} ?[\d.]|$|none$|\u2013$")
WORDS = 32  # letters from which a cell is broken into lines


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a verdict: `what` is `value`, wanted is `sign` `limit`; `explained` in one sentence."""

    what: str
    value: str
    sign: str
    limit: str
    met: bool
    explained: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to believe, in one line, and the rules that it follows from."""

    label: Literal["supported", "not supported", "not judged"]
    line: str
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as they are read. A cell that begins with `MET` or `MISSED` is coloured so; columns of numbers stand right."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Bullets:
    """Sentences, one below the other."""

    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """A number to remember: its name, itself, and a few words on it."""

    name: str
    value: str
    words: str = ""


Part = str | Bullets | Table | Figure


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it, in its order: paragraphs, bullets, tables, figures."""

    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A page from its top to its end; `lede` is the question that it answers, `facts` say what was looked at."""

    title: str
    lede: str
    facts: str
    sections: tuple[Section, ...]
    verdict: Verdict | None = None
    keys: tuple[Key, ...] = ()


def page(report: Report) -> str:
    """The whole file: one plotly inside, no address outside, no two figures of one name."""
    from plotly.offline import get_plotlyjs

    title = _text(report.title)
    head = (
        "<meta charset='utf-8'><meta name='viewport' content='width=device-width, initial-scale=1'>"
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><meta name="referrer" content="no-referrer">'
        f"<title>{title}</title><style>{STYLE}</style>"
    )
    body = [f"<h1>{title}</h1>", f"<p class='lede'>{_text(report.lede)}</p>" if report.lede else ""]
    body += [f"<p class='facts'>{_text(report.facts)}</p>" if report.facts else "", _verdict(report.verdict)]
    body.append(_keys(report.keys))
    if len(report.sections) > 1:
        links = (f"<a href='#part-{n}'>{_text(each.title)}</a>" for n, each in enumerate(report.sections, start=1))
        body.append(f"<nav>{''.join(links)}</nav>")
    for number, section in enumerate(report.sections, start=1):
        body.append(f"<section id='part-{number}'><h2>{_text(section.title)}</h2>")
        body += [_part(part) for part in section.parts]
        body.append("</section>")
    written = "\n".join(line for line in body if line)
    return (
        f"<!doctype html>\n<html lang='en'><head>{head}</head><body><main>\n{written}\n</main>\n"
        f"<script>{get_plotlyjs()}</script><script>{SCRIPT}</script></body></html>\n"
    )


def _part(part: Part) -> str:
    if isinstance(part, str):
        return f"<p>{_text(part)}</p>"
    if isinstance(part, Bullets):
        return f"<ul>{''.join(f'<li>{_text(sentence)}</li>' for sentence in part.sentences)}</ul>"
    if isinstance(part, Table):
        return _table(part)
    heading = f"<h3>{_text(part.title)}</h3>" + (f"<p class='note'>{_text(part.note)}</p>" if part.note else "")
    if not part.panels:
        return heading
    drawn = f"<div class='plot' id='{_text(part.name)}'></div><script type='application/json'>{script(part)}</script>"
    return f"<figure>{heading}{drawn}</figure>"


def _verdict(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    kind, mark = {"supported": ("good", MET), "not supported": ("bad", MISSED), "not judged": ("", "\u2013")}[
        verdict.label
    ]
    rows = [
        (r.what, f"{MET if r.met else MISSED} {r.value}", f"{r.sign} {r.limit}", r.explained) for r in verdict.rules
    ]
    rules = _table(Table(("rule", "found", "wanted", ""), tuple(rows))) if rows else ""
    line = verdict.line.removeprefix(f"{verdict.label}: ")
    said = f"<strong>{mark} {verdict.label}</strong><p>{_text(line)}</p>"
    return f"<div class='verdict {kind}'>{said}{rules}</div>"


def _keys(keys: Sequence[Key]) -> str:
    if not keys:
        return ""
    each = (
        f"<div><dt>{_text(k.name)}</dt><dd>{_text(k.value)}<small>{_text(k.words)}</small></dd></div>" for k in keys
    )
    return f"<dl class='keys'>{''.join(each)}</dl>"


def _table(table: Table) -> str:
    columns = list(zip(*table.rows, strict=True)) if table.rows else [() for _ in table.head]
    kinds = [
        "number" if column and all(NUMBER.match(cell) for cell in column) else
        "words" if any(len(cell) > WORDS for cell in column) else ""
        for column in columns
    ]  # fmt: skip

    def cell(text: str, number: int) -> str:
        sort = {MET: " met", MISSED: " missed"}.get(text[:1], "")
        tag = "td" if number else "th"
        kind = kinds[number] if number or kinds[number] == "words" else ""
        return f"<{tag} class='{(kind + sort).strip()}'>{_text(text)}</{tag}>"

    head = "".join(f"<th class='{kinds[n] if n else ''}'>{_text(name)}</th>" for n, name in enumerate(table.head))
    rows = "".join(f"<tr>{''.join(cell(text, n) for n, text in enumerate(row))}</tr>" for row in table.rows)
    caption = f"<caption>{_text(table.caption)}</caption>" if table.caption else ""
    return f"<div class='table'><table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"


def _text(words: str) -> str:
    return html.escape(words)
