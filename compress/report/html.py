"""report.html: the ledger with pictures, as one self-contained file."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from compress.core.shown import shown
from compress.report import tables, words
from compress.report.pictures.choose import PictureGroup, sensitivity, tradeoffs, training

if TYPE_CHECKING:
    from jinja2 import Template

    from compress.report.document import Report

FILE_NAME = "report.html"
_TEMPLATE = "report.html.jinja"


def html(report: Report) -> str:
    """Return the whole report as one HTML file, without scripts and external resources."""
    trainings = [
        PictureGroup(row.name, training(row.training)) for row in report.stages if row.training
    ]
    sensitivities = [
        part._replace(title=f"{row.name}, {part.title}")
        for row in report.stages
        if row.sensitivity
        for part in sensitivity(row.sensitivity)
    ]
    return _template().render(
        report=report,
        status=words.STATUS[report.status],
        headlines=words.headlines(report),
        stages=tables.stages(report) if report.stages else None,
        below=tables.below_stages(report) if report.stages else "",
        generation=tables.generation(report),
        below_generation=words.BELOW_GENERATION,
        runtimes=tables.runtimes(report),
        below_runtimes=words.BELOW_RUNTIMES,
        gates=tables.gates(report) if report.gates else None,
        environment=tables.environment(report),
        notes=words.notes(report),
        candidates=[
            (words.candidates_title(row), tables.candidates(row))
            for row in report.stages
            if row.candidates
        ],
        below_candidates=words.BELOW_CANDIDATES,
        tradeoffs=tradeoffs(report),
        trainings=trainings,
        sensitivities=sensitivities,
    )


def _shown(value: object) -> object:
    """Return a text without hidden characters; the result of a macro is HTML already."""
    from markupsafe import Markup

    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("compress.report", ""),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(_TEMPLATE)
