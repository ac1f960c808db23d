"""Explicit ratios by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.errors import StageError
from compress.models.structure.groups import Group
from compress.pruning.allocation.ratios import most, params_left, ratio_counts, ratio_meaning
from compress.pruning.allocation.search import choices

GROUPS = [Group(name, "channels", 40, ()) for name in ("stem", "block.0", "block.1", "head")]


def counts_for(ratios, *, max_ratio=1.0, round_to=1):
    every = choices(GROUPS, max_ratio=max_ratio, round_to=round_to)
    return ratio_counts(GROUPS, ratios, choices=every)


def test_the_first_pattern_that_matches_counts_and_the_rest_keep_all():
    counts, notes = counts_for({"block.1": 0.25, "block.*": 0.5, "hea?": 0.75})
    assert counts == [0, 20, 10, 30]
    assert notes == ()


def test_rounding_goes_to_the_nearest_and_is_noted():
    counts, notes = counts_for({"stem": 0.45, "head": 0.2}, round_to=8)
    assert counts == [16, 0, 0, 8]
    assert notes == ("ratios rounded to what a layer may keep: stem 0.4 for 0.45.",)


@given(ratio=st.floats(0, 0.999), limit=st.floats(0, 1), round_to=st.sampled_from([1, 4, 16]))
def test_no_ratio_goes_beyond_the_largest(ratio, limit, round_to):
    counts, notes = counts_for({"*": ratio}, max_ratio=limit, round_to=round_to)
    every = choices(GROUPS, max_ratio=limit, round_to=round_to)
    for count, each in zip(counts, every, strict=True):
        assert count <= limit * 40 + 1e-6
        assert abs(count - ratio * 40) == min(abs(other - ratio * 40) for other in each)
    assert bool(notes) == any(abs(count - ratio * 40) >= 1 for count in counts)


def test_a_pattern_that_matches_nothing_is_refused():
    with pytest.raises(StageError) as caught:
        counts_for({"stem": 0.5, "blocks.0": 0.5})
    assert str(caught.value) == (
        "ratios: 'blocks.0' matches nothing that can be cut. There are: stem, block.0, block.1, "
        "head. Did you mean 'block.0'?"
    )


def test_the_largest_ratio_of_a_name():
    assert most(0.5, "stem") == 0.5
    assert most({"st*": 0.25, "*": 0.75}, "stem") == 0.25
    assert most({"st*": 0.25}, "head") == 1.0


def test_what_a_ratio_means_in_parameters():
    assert params_left(0.5) == 0.25
    assert ratio_meaning({"a": 0.5, "b": 0.5, "c": 0.1}) == (
        "ratios are of units: 0.1 takes 19%, 0.5 takes 75% of the parameters of a layer cut on "
        "both sides, 10%, 50% on one."
    )
