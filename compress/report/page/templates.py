"""The templates of pages: what they show is escaped and without hidden characters."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from compress.core.shown import shown

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def page_templates(folder: str) -> Environment:
    """Return the templates of a folder inside `compress/report`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("compress.report", folder),
        autoescape=True,
        finalize=_finalized,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _finalized(value: object) -> object:
    """Return a text without hidden characters; the result of a macro is HTML already."""
    from markupsafe import Markup

    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value
