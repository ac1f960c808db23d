"""Tables of report.html, whose cells know how they sort and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from compress.report.tables import Table


class Cell(NamedTuple):
    """A cell.

    Attributes
    ----------
    text : its first line.
    below : a second line.
    sort : the number that it sorts by; None: its text.
    tone : "good", "bad", "soft" or empty.
    bars : shares of the cell's width that are filled, the pale one first; for a bar in the cell.
    """

    text: str
    below: str = ""
    sort: float | None = None
    tone: str = ""
    bars: tuple[float, ...] = ()


class Grid(NamedTuple):
    """A table.

    Attributes
    ----------
    title : what it shows, for those who hear it.
    head : titles of the columns.
    rows : cells; the first of a row is its name.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def plain(title: str, table: Table) -> Grid:
    """Return a table of texts as one of cells."""
    return Grid(title, table.head, [[Cell(text) for text in row] for row in table.rows])
