"""Adds to a row what the stage left behind besides its model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.models.structure.widths import widths
from compress.report.kept.stage_files import read_insides

if TYPE_CHECKING:
    from compress.report.document import Row
    from compress.runner.row.models import MeasuredModel


def with_insides(row: Row, measured: MeasuredModel) -> Row:
    """Return the row with the widths of the model's layers, and with what the stage's files tell.

    These aren't kept with the measured row, but read anew: they cost nothing.
    """
    found, notes = read_insides(measured.folder)
    module = measured.artifact.module
    if module is not None:
        found["widths"] = widths(module)
    return row.model_copy(update={**found, "notes": [*row.notes, *notes]})
