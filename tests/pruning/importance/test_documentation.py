"""The documentation's table of criteria says what the code does."""

from pathlib import Path
from typing import get_args

from compress.pruning.options import READ_DATA, READ_LABELS, Criterion

PAGE = Path(__file__).parents[3] / "docs" / "pruning.md"


def test_every_criterion_has_its_row():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| `importance` |"))
    named = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        name, _, reads = (cell.strip() for cell in line.strip("|").split("|"))
        named.append(name.strip("`"))
        assert ("samples" in reads) == (named[-1] in READ_DATA)
        assert ("labels" in reads) == (named[-1] in READ_LABELS)
    assert named == list(get_args(Criterion))
