"""The gate on every row's speedup over the one before."""

import pytest

from compress.measurement.results import Quality, Speedup
from compress.recipe.schema import Gates
from compress.report.document import Row
from compress.runner.gates.judge import judge

QUALITY = Quality("accuracy", 0.9, (0.8, 1.0), 10)


def row(*steps):
    """A row with a speedup over the previous one, and its interval, by batch size."""
    speedup = {
        str(size): Speedup(3.0, (2.9, 3.1), value, (value - width, value + width))
        for size, (value, width) in enumerate(steps, start=1)
    }
    return Row(index=1, name="a", params=1, macs=1, size_bytes=1, quality=QUALITY, speedup=speedup)


@pytest.mark.parametrize(
    ("rows", "value", "passed"),
    [
        ([row((1.5, 0.1)), row((1.2, 0.1))], 1.2, True),
        ([row((0.98, 0.05))], 0.98, True),  # its interval holds 1
        ([row((1.5, 0.1)), row((0.75, 0.05))], 0.75, False),
        ([row((2.0, 0.1), (0.75, 0.05))], 0.75, False),  # at another batch size
        ([row((0.75, 0.05)), row((2.0, 0.1))], 0.75, False),  # a later row is faster
    ],
)
def test_no_row_may_be_slower_than_the_one_before(rows, value, passed):
    gates = Gates(speedup_vs_previous=1.0)
    [found] = judge(gates, reference=row(), final=rows[-1], rows=rows)
    assert (found.name, found.limit, found.value) == ("speedup_vs_previous", 1.0, value)
    assert found.passed is passed


def test_without_a_later_row_there_is_nothing_to_judge():
    only = row()
    assert judge(Gates(speedup_vs_previous=1.0), reference=only, final=only, rows=[]) == []
