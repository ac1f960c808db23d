import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compress.distillation.losses import feature, pooled_to_fit

FEATURES = hnp.arrays(np.float64, (2, 3, 4), elements=st.floats(-5, 5, width=16))


def test_feature_is_the_mean_squared_difference():
    student, teacher = (
        torch.tensor([[1.0, 2.0], [0.0, 0.0]]),
        torch.tensor([[3.0, 1.0], [1.0, 0.0]]),
    )
    # ((2² + 1²) + (1² + 0²)) over two samples of two features
    assert feature(student, teacher).item() == pytest.approx(6 / 4)


def test_directions_are_compared_at_length_one():
    # Directions (0.6, 0.8) and (1, 0): (0.4² + 0.8²) / 2, which is (2 - 2 · 0.6) / 2.
    student, teacher = torch.tensor([[3.0, 4.0]]), torch.tensor([[5.0, 0.0]])
    assert feature(student, teacher, normalize=True).item() == pytest.approx(0.4)


@given(FEATURES, FEATURES, st.floats(0.5, 8))
def test_directions_know_no_scale(student, teacher, scale):
    student, teacher = torch.tensor(student), torch.tensor(teacher)
    torch.testing.assert_close(
        feature(scale * student, teacher, normalize=True),
        feature(student, teacher, normalize=True),
    )


def test_a_feature_without_direction_gets_no_gradient():
    student = torch.zeros(1, 3, requires_grad=True)
    feature(student, torch.ones(1, 3), normalize=True).backward()
    assert not student.grad.any()


def test_tokens_that_count_are_averaged_alike():
    student, teacher = torch.zeros(2, 2, 1), torch.tensor([[[1.0], [2.0]], [[3.0], [9.0]]])
    mask = torch.tensor([[True, True], [True, False]])
    assert feature(student, teacher, mask=mask).item() == pytest.approx((1 + 4 + 9) / 3)


def test_maps_are_pooled_to_the_smaller_height_and_width():
    student = torch.arange(16.0).view(1, 1, 4, 4)
    teacher = torch.ones(1, 5, 2, 8)
    ours, theirs = pooled_to_fit(student, teacher)
    # Two rows of the student's are averaged: (0 + 4) / 2, (1 + 5) / 2, ...
    assert ours.tolist() == [[[[2.0, 3.0, 4.0, 5.0], [10.0, 11.0, 12.0, 13.0]]]]
    assert theirs.shape == (1, 5, 2, 4)


def test_maps_of_one_size_are_left_as_they_are():
    student, teacher = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 4, 4)
    ours, theirs = pooled_to_fit(student, teacher)
    assert ours is student
    assert theirs is teacher
