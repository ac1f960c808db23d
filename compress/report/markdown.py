"""report.md: the ledger as Markdown that renders on any code host."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from compress.core.shown import one_line
from compress.report import tables, words
from compress.report.headline import sentence
from compress.report.notes import note_groups, warnings

if TYPE_CHECKING:
    from compress.report.document import Report


MOST = 60_000
"""Characters of a report. A comment on a pull request takes 65,536."""


def markdown(report: Report) -> str:
    """Return the report as Markdown that fits a pull request.

    What is long is folded up. If the whole is longer than `MOST` characters, the longest of the
    folded parts are left to report.html, and named.
    """
    folded = _folded(report)
    left_out: list[str] = []
    while True:
        parts = [*_open(report), *(_fold(title, body) for title, body in folded)]
        if left_out:
            parts.append(f"Too long for this page, and in report.html: {', '.join(left_out)}.")
        text = "\n\n".join(parts) + "\n"
        if len(text) <= MOST or not folded:
            return text
        longest = max(folded, key=lambda part: len(part[1]))
        folded.remove(longest)
        left_out.append(escape(longest[0]))


def _open(report: Report) -> list[str]:
    """Return what a reader sees at once: the result, the gates, the stages, the warnings."""
    parts = [f"# {escape(report.name)}", f"Status: {words.STATUS[report.status]}."]
    if report.error is not None:
        parts.append(f"**{escape(report.error)}**")
    parts += [f"**{escape(headline)}**" for headline in words.headlines(report)]
    if said := sentence(report):
        parts.append(escape(said))
    if report.gates:
        parts += ["## Gates", table(tables.gates(report), strong="failed")]
    if report.stages:
        parts += ["## Stages", table(tables.stages(report)), tables.below_stages(report)]
    for title, speeds in tables.from_text(report):
        parts += [f"## {escape(title)}", table(speeds), words.BELOW_FROM_TEXT]
    for title, speeds in tables.generation(report):
        parts += [f"## {escape(title)}", table(speeds), words.BELOW_GENERATION]
    for title, speeds in tables.runtimes(report):
        parts += [f"## {escape(title)}", table(speeds), words.BELOW_RUNTIMES]
    if found := warnings(report):
        parts += ["## Careful", _list(found)]
    return parts


def _folded(report: Report) -> list[tuple[str, str]]:
    """Return (title, text) of what is folded up."""
    parts = []
    for row in report.stages:
        if row.candidates:
            body = f"{table(tables.candidates(row))}\n\n{words.BELOW_CANDIDATES}"
            parts.append((words.candidates_title(row), body))
    notes = [
        f"**{escape(group.name)}**\n\n{_list([*group.choices, *group.checks])}"
        for group in note_groups(report)
    ]
    if notes:
        parts.append(("Notes", "\n\n".join(notes)))
    parts.append(("Environment", _environment(report)))
    return parts


def _fold(title: str, body: str) -> str:
    return f"<details><summary>{_html(title)}</summary>\n\n{body}\n\n</details>"


def _html(text: str) -> str:
    """Return a text for a line of HTML, in which Markdown means nothing."""
    return html.escape(one_line(text), quote=False)


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {escape(item)}" for item in items)


def _environment(report: Report) -> str:
    compress, *others = tables.environment(report).rows
    lines = [" ".join(compress), *(f"{escape(name)}: {escape(value)}" for name, value in others)]
    return "\n".join(f"- {line}" for line in lines)


def table(given: tables.Table, *, strong: str | None = None) -> str:
    """Return a table as Markdown.

    Parameters
    ----------
    strong : a last cell with this text is set in bold.
    """
    head, *rows = ([escape(cell) for cell in line] for line in (given.head, *given.rows))
    rows = [[*cells, f"**{last}**" if last == strong else last] for *cells, last in rows]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(text: str) -> str:
    """Return a name as inline code."""
    return f"`{one_line(text).replace('`', chr(39))}`"


def escape(text: str) -> str:
    """Return a text escaped for a line or a cell of a table.

    Markup, HTML, links, and characters that are hidden or steer terminals, are shown literally.
    """
    text = _ENTITY.sub("&amp;", one_line(text))
    text = _MARKUP.sub(r"\\\g<0>", text).replace("<", "&lt;")
    text = _BLOCK.sub(r"\g<1>\\\g<2>", text)
    return _LINK.sub(lambda found: found[0].replace(":", "&#58;").replace(".", "&#46;"), text)


_ENTITY = re.compile(r"&(?=#?\w+;)")
_MARKUP = re.compile(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])")
"""Characters to escape; an underscore inside a word isn't markup."""
_BLOCK = re.compile(r"^(\d*)(>|[#+.)=-](?=\s|#|=|-))")
_LINK = re.compile(r"://|\bwww\.", re.IGNORECASE)
"""Text that becomes a link without any markup."""
