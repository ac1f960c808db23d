"""report.md: the ledger as Markdown that renders on any code host."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from compress.core.shown import one_line
from compress.report import tables, words

if TYPE_CHECKING:
    from compress.report.document import Report


def markdown(report: Report) -> str:
    """Return the whole report as Markdown."""
    parts = [f"# {escape(report.name)}", f"Status: {words.STATUS[report.status]}."]
    if report.error is not None:
        parts.append(f"**{escape(report.error)}**")
    parts += [f"**{escape(headline)}**" for headline in words.headlines(report)]
    if report.stages:
        parts += ["## Stages", table(tables.stages(report)), tables.below_stages(report)]
    for title, speeds in tables.generation(report):
        parts += [f"## {escape(title)}", table(speeds), words.BELOW_GENERATION]
    for title, speeds in tables.runtimes(report):
        parts += [f"## {escape(title)}", table(speeds), words.BELOW_RUNTIMES]
    if report.gates:
        parts += ["## Gates", table(tables.gates(report), strong="failed")]
    for row in report.stages:
        if row.candidates:
            title, choices = words.candidates_title(row), tables.candidates(row)
            parts += [f"## {escape(title)}", table(choices), words.BELOW_CANDIDATES]
    if notes := words.notes(report):
        parts += ["## Notes", "\n".join(f"- {escape(note)}" for note in notes)]
    parts += ["## Environment", _environment(report)]
    return "\n\n".join(parts) + "\n"


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
