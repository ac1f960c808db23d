import pytest

from compress.measurement.results import Speedup
from compress.report.attribution import attribute


def steps(report, *, params, sizes, faster, quality=(0.9, 0.9, 0.8)):
    """Rows with these figures, the reference first."""
    first = report.stages[0]
    return [
        first.model_copy(
            update={
                "index": number,
                "name": f"stage-{number}",
                "params": params[number],
                "size_bytes": sizes[number],
                "quality": type(first.quality)("accuracy", quality[number], (0, 1), 100),
                "speedup": {"1": Speedup(9.0, (8.0, 10.0), faster[number], (0.1, 9.0))},
                "seconds": 10.0 * number,
            }
        )
        for number in range(len(params))
    ]


def test_shares_are_of_logarithms_and_add_up(report):
    rows = steps(report, params=[800, 400, 100], sizes=[400, 400, 100], faster=[None, 4.0, 2.0])
    first, second = attribute(rows, device="cpu")
    assert (first.params, second.params) == pytest.approx((1 / 3, 2 / 3))
    assert (first.size, second.size) == pytest.approx((0, 1))
    assert (first.speedup["1"], second.speedup["1"]) == pytest.approx((2 / 3, 1 / 3))
    assert (first.quality, second.quality) == pytest.approx((0, -0.1))
    assert (first.name, first.seconds, first.device) == ("stage-1", 10.0, "cpu")


def test_a_stage_that_makes_it_slower_has_a_negative_share(report):
    rows = steps(report, params=[8, 8, 8], sizes=[4, 4, 4], faster=[None, 4.0, 0.5])
    assert [each.speedup["1"] for each in attribute(rows)] == pytest.approx([2, -1])


def test_what_was_not_gained_is_not_shared_out(report):
    rows = steps(report, params=[8, 8, 9], sizes=[4, 4, 4], faster=[None, 1.01, 1.0])
    for each in attribute(rows):
        assert (each.params, each.size, each.speedup) == (None, None, {})


def test_a_speedup_that_is_not_known_shares_out_none(report):
    rows = steps(report, params=[8, 4, 2], sizes=[4, 2, 1], faster=[None, None, 2.0])
    assert [each.speedup for each in attribute(rows)] == [{}, {}]
    assert [each.params for each in attribute(rows)] == pytest.approx([0.5, 0.5])


def test_the_reference_alone_has_no_entry(report):
    assert attribute(report.stages[:1]) == []
    assert attribute([]) == []
