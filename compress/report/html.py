"""report.html: the ledger with pictures, as one self-contained file."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from compress.report import tables, words
from compress.report.headline import sentence
from compress.report.notes import note_groups, warnings
from compress.report.page import inside_tables, speed_tables
from compress.report.page.cells import plain
from compress.report.page.recipe_lines import recipe_lines
from compress.report.page.stage_table import stage_table
from compress.report.page.templates import page_templates
from compress.report.page.tiles import tiles
from compress.report.pictures.courses import PictureGroup, sensitivity, training
from compress.report.pictures.lanes import quality_waterfall, speed_waterfalls, spreads
from compress.report.pictures.tradeoff import tradeoffs

if TYPE_CHECKING:
    from compress.report.document import Report

FILE_NAME = "report.html"
_TEMPLATE, _SCRIPT = "report.html.jinja", "script.js.jinja"


def html(report: Report) -> str:
    """Return the whole report as one HTML file without external resources.

    Its script sorts tables and shows the values of points; all can be read without it.
    """
    from markupsafe import Markup

    templates = page_templates("page")
    script = templates.get_template(_SCRIPT).render()
    found = {**_stages(report), **_speeds(report), **_insides(report)}
    return templates.get_template(_TEMPLATE).render(
        report=report,
        status=words.STATUS[report.status],
        headlines=words.headlines(report),
        sentence=sentence(report),
        tiles=tiles(report),
        warnings=warnings(report),
        gates=tables.gates(report) if report.gates else None,
        environment=tables.environment(report),
        recipe=recipe_lines(report),
        notes=note_groups(report),
        contents=_contents(report, found),
        script=Markup(script),  # noqa: S704 (our own file)
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **found,
    )


def _stages(report: Report) -> dict[str, Any]:
    pictures = [quality_waterfall(report), *speed_waterfalls(report)]
    return {
        "stages": stage_table(report) if report.stages else None,
        "below": tables.below_stages(report) if report.stages else "",
        "tradeoffs": tradeoffs(report),
        "has_candidates": any(row.candidates for row in report.stages),
        "waterfalls": [picture for picture in pictures if picture is not None],
        "attribution": speed_tables.attribution(report),
        "candidates": [
            (f"candidates-{row.index}", title, plain(title, tables.candidates(row)))
            for row in report.stages
            if row.candidates
            for title in [words.candidates_title(row)]
        ],
        "below_candidates": words.BELOW_CANDIDATES,
    }


def _speeds(report: Report) -> dict[str, Any]:
    return {
        "spreads": spreads(report),
        "serving": speed_tables.serving(report),
        "typical": speed_tables.typical(report),
        "from_text": [(title, plain(title, table)) for title, table in tables.from_text(report)],
        "below_from_text": words.BELOW_FROM_TEXT,
        "conditions": speed_tables.conditions(report),
        "generation": [
            (f"generation-{number}", title, plain(title, table))
            for number, (title, table) in enumerate(tables.generation(report))
        ],
        "below_generation": words.BELOW_GENERATION,
        "runtimes": [
            (f"runtime-{number}", title, plain(title, table))
            for number, (title, table) in enumerate(tables.runtimes(report))
        ],
        "below_runtimes": words.BELOW_RUNTIMES,
    }


def _insides(report: Report) -> dict[str, Any]:
    confusion = report.confusion
    return {
        "trainings": [
            PictureGroup(row.name, training(row.training)) for row in report.stages if row.training
        ],
        "sensitivities": [
            part._replace(title=f"{row.name}, {part.title}")
            for row in report.stages
            if row.sensitivity
            for part in sensitivity(row.sensitivity)
        ],
        "widths": inside_tables.widths(report),
        "noises": [inside_tables.noise(row) for row in report.stages if row.noise],
        "recall": inside_tables.recall(report),
        "confusion": []
        if confusion is None
        else [inside_tables.confusion(confusion, which) for which in ("reference", "final")],
    }


def _contents(report: Report, found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (id, title) of each section that the page has, in its order."""
    sections = [
        ("warnings", "Careful", warnings(report)),
        ("gates", "Gates", report.gates),
        ("stages", "Stages", found["stages"]),
        ("tradeoffs", "Quality, size and speed", found["tradeoffs"]),
        ("steps", "Stage by stage", found["waterfalls"]),
        ("latency", "Latency and serving", found["spreads"] or found["serving"]),
        *((id_, title.partition(":")[0], True) for id_, title, _ in found["generation"]),
        *((id_, title, True) for id_, title, _ in found["runtimes"]),
        ("classes", "Classes", found["recall"] or found["confusion"]),
        ("samples", "Samples that differ", report.disagreements),
        ("training", "Training", found["trainings"]),
        ("widths", "Widths", found["widths"]),
        ("sensitivity", "Sensitivity", found["sensitivities"]),
        *((id_, title, True) for id_, title, _ in found["candidates"]),
        ("noise", "Noise", found["noises"]),
        ("notes", "Notes", note_groups(report)),
        ("environment", "Environment", True),
        ("recipe", "Recipe", report.recipe),
    ]
    return [(id_, title) for id_, title, there in sections if there]
