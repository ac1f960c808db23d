"""A comparison as Markdown, as a self-contained HTML page and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from compress.report.comparison import tables
from compress.report.markdown import escape, table
from compress.report.page.templates import page_templates

if TYPE_CHECKING:
    from compress.report.comparison.compare import Cell, Comparison
    from compress.report.tables import Table

_TEMPLATE = "comparison.html.jinja"


def comparison_markdown(comparison: Comparison) -> str:
    """Return the comparison as Markdown."""
    parts = [f"# {' / '.join(escape(run.title) for run in comparison.runs)}"]
    parts += [f"**Careful: {escape(warning)}**" for warning in comparison.warnings]
    parts += [escape(line) for line in tables.verdicts(comparison)]
    parts += [
        _rows(tables.rows_table(comparison)),
        tables.BELOW,
        "\n".join(f"- {escape(line)}" for line in tables.statuses(comparison)),
    ]
    if comparison.recipes:
        parts += ["## Recipes", table(tables.recipe_table(comparison))]
    return "\n\n".join(parts) + "\n"


def _rows(found: Table) -> str:
    """Return a table whose cells have several lines."""
    head = [escape(cell) for cell in found.head]
    rows = [["<br>".join(map(escape, cell.split("\n"))) for cell in row] for row in found.rows]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def comparison_html(comparison: Comparison) -> str:
    """Return the comparison as one HTML file, without scripts and external resources."""
    template = page_templates("comparison").get_template(_TEMPLATE)
    return template.render(
        title=" / ".join(run.title for run in comparison.runs),
        warnings=comparison.warnings,
        verdicts=tables.verdicts(comparison),
        rows=tables.rows_table(comparison),
        below=tables.BELOW.replace("`", ""),
        statuses=tables.statuses(comparison),
        recipes=tables.recipe_table(comparison) if comparison.recipes else None,
    )


def comparison_json(comparison: Comparison) -> str:
    """Return the comparison as JSON: rows, tested differences, recipes' keys and warnings."""
    document = {
        "schema": 1,
        "runs": [
            {"title": run.title, "status": run.report.status, "recipe_hash": run.report.recipe_hash}
            for run in comparison.runs
        ],
        "rows": [
            {"name": name, "cells": [_cell(cell) for cell in cells]}
            for name, cells in comparison.rows.items()
        ],
        "recipes": [line._asdict() for line in comparison.recipes],
        "warnings": list(comparison.warnings),
    }
    return json.dumps(document, indent=2) + "\n"


def _cell(cell: Cell | None) -> dict[str, Any] | None:
    if cell is None:
        return None
    row = cell.row.model_dump(
        mode="json", include={"params", "macs", "size_bytes", "quality", "latency_ms", "speedup"}
    )
    found = None if cell.difference is None else asdict(cell.difference)
    return {**row, "against": cell.against, "difference": found}
