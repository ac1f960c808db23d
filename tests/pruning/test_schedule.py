"""Steps of a gradual cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from compress.pruning.schedule import Schedule, step_fraction, step_ratio, step_ratios


def test_curves_by_hand():
    linear = Schedule(steps=4, curve="linear")
    assert list(linear.progress()) == [0.25, 0.5, 0.75, 1.0]
    cubic = Schedule(steps=2)
    assert list(cubic.progress()) == [pytest.approx(0.875), 1.0]


@given(
    target=st.floats(0.05, 0.95),
    steps=st.integers(2, 10),
    curve=st.sampled_from(["linear", "cubic"]),
)
def test_steps_end_at_the_target_and_each_cuts(target, steps, curve):
    remaining = 1.0
    for progress in Schedule(steps=steps, curve=curve).progress():
        fraction = step_fraction(target, progress=progress, remaining=remaining)
        assert 0 < fraction < 1
        remaining *= fraction
    assert remaining == pytest.approx(target)


def test_a_step_makes_up_for_what_the_one_before_missed():
    assert step_fraction(0.5, progress=1.0, remaining=0.8) == pytest.approx(0.625)


@given(ratio=st.floats(0.05, 0.95), steps=st.integers(2, 10))
def test_ratios_of_steps_multiply_to_the_ratio(ratio, steps):
    kept, before = 1.0, 0.0
    for after in Schedule(steps=steps).progress():
        kept *= 1 - step_ratio(ratio, before=before, after=after)
        before = after
    assert 1 - kept == pytest.approx(ratio)


def test_ratios_keep_their_patterns():
    found = step_ratios({"a*": 0.5, "*": 0.0}, before=0.0, after=0.5)
    assert found == {"a*": pytest.approx(0.25), "*": 0.0}


@pytest.mark.parametrize("values", [{"steps": 1}, {"curve": "square"}, {"steps": 101}])
def test_bad_schedules_are_refused(values):
    with pytest.raises(ValidationError):
        Schedule.model_validate(values)
