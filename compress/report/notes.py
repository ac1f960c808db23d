"""A report's notes by weight and stage, so that no warning is buried."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from compress.core.notes import Weight, unmarked, weight

if TYPE_CHECKING:
    from compress.report.document import Report


class NoteGroup(NamedTuple):
    """The notes of one stage, or of the whole run, without their marks."""

    name: str
    choices: list[str]
    checks: list[str]


def warnings(report: Report) -> list[str]:
    """Return every warning; one of a stage begins with its name."""
    of_run = [note for note in report.notes if weight(note) is Weight.WARNING]
    of_rows = [
        f"{row.name}: {unmarked(note)}"
        for row in report.stages
        for note in row.notes
        if weight(note) is Weight.WARNING
    ]
    return [*map(unmarked, of_run), *of_rows]


def note_groups(report: Report) -> list[NoteGroup]:
    """Return all notes that are no warnings: those of the run, then those of each stage."""
    given = [("the run", report.notes), *((row.name, row.notes) for row in report.stages)]
    if report.baseline is not None:
        given.append((report.baseline.name, list(report.baseline.notes)))
    groups = [
        NoteGroup(
            name,
            [note for note in notes if weight(note) is Weight.CHOICE],
            [note for note in notes if weight(note) is Weight.CHECK],
        )
        for name, notes in given
    ]
    return [group for group in groups if group.choices or group.checks]
