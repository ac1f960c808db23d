"""The documentation's table of families says what the code does."""

from pathlib import Path

import pytest

from compress.models.structure.transformers.families import LAYOUTS
from compress.models.structure.transformers.groups import prunable
from compress.models.transformers.unexportable import UNEXPORTABLE
from tests.models.structure.cut_families import EXPORTED, SAME_CODE
from tests.models.structure.family_models import TRACED

MARKS = {"root": "¹", "rotary": "²", "decoder": "⁴"}
"""Footnotes by a word of the reason."""
PAGE = Path(__file__).parents[4] / "docs" / "pruning.md"


def rows(first="family"):
    """The rows of the table that begins with this column, by its first cell."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} |"))
    head = [cell.strip() for cell in lines[start].strip("|").split("|")]
    found = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        found[cells[0]] = dict(zip(head[1:], cells[1:], strict=True))
    return found


def test_every_described_family_has_its_row():
    assert sorted(rows()) == sorted(LAYOUTS)


@pytest.mark.parametrize("family", sorted(LAYOUTS))
def test_the_row_says_what_can_be_cut_and_gives_a_reason_for_the_rest(family):
    row = rows()[family]
    for unit, reason in prunable(family).items():
        if unit == "channels":
            assert reason is not None
            continue
        marks = [mark for word, mark in MARKS.items() if reason is not None and word in reason]
        assert row[unit] == ("yes" if reason is None else f"no {marks[0]}")
    assert (row["export"], row["INT8"]) == ("yes", "yes")
    assert family in SAME_CODE or family in {name.split(",")[0] for name in EXPORTED}
    assert row["`width`"] == ("no ³" if LAYOUTS[family].sizes is None else "yes")


def test_families_that_are_not_described_are_traced_or_refused():
    found = rows("not described")
    assert sorted(found) == sorted([*TRACED, *UNEXPORTABLE])
    for family, row in found.items():
        assert row["export"] == row["INT8"] == ("no ⁵" if family in UNEXPORTABLE else "yes")
        assert row["prune"].startswith("-" if family in UNEXPORTABLE else "`channels`")
