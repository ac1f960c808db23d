"""report.html: the ledger with pictures, as one self-contained file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from compress.core.foreign.boundary import described, reading
from compress.core.shown import shown
from compress.errors import InputError
from compress.report import tables, words
from compress.report.pictures.choose import PictureGroup, sensitivity, tradeoffs, training

if TYPE_CHECKING:
    from jinja2 import Template

    from compress.report.document import Report

FILE_NAME = "report.html"
_TEMPLATE = "report.html.jinja"
_TRAINING, _SENSITIVITY = ("training.json", 2), ("sensitivity.json", 1)
"""Files that stages leave, with the versions of their schemas that can be drawn."""

_Drawn = TypeVar("_Drawn")


def html(report: Report, *, folders: Mapping[int, Path] | None = None) -> str:
    """Return the whole report as one HTML file, without scripts and external resources.

    Parameters
    ----------
    folders : the folder of each stage, by the index of its row. Files that training and the
        measurement of sensitivity left there are drawn; a file that can't be read is named in the
        page.
    """
    trainings: list[PictureGroup] = []
    sensitivities: list[PictureGroup] = []
    unread: list[str] = []
    for row in report.stages:
        folder = (folders or {}).get(row.index)
        if folder is None:
            continue
        pictures = _drawn(folder, _TRAINING, training, unread)
        trainings += [PictureGroup(row.name, pictures)] if pictures else []
        parts = _drawn(folder, _SENSITIVITY, sensitivity, unread)
        sensitivities += [part._replace(title=f"{row.name}, {part.title}") for part in parts]
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
        unread=unread,
    )


def _drawn(
    folder: Path,
    file: tuple[str, int],
    draw: Callable[[Mapping[str, Any]], list[_Drawn]],
    unread: list[str],
) -> list[_Drawn]:
    """Return the drawing of a stage's file, if the stage left one."""
    name, schema = file
    path = folder / name
    if not path.is_file():
        return []
    try:
        with reading(path):
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["schema"] != schema:
                unread.append(f"{folder.name}/{name}: of schema {document['schema']}, not {schema}")
                return []
            return draw(document)
    except InputError as error:
        unread.append(f"{folder.name}/{name}: {described(error.__cause__ or error)}")
        return []


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
