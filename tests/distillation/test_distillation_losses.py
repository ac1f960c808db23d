import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError
from scipy.special import log_softmax, softmax

from compress.distillation.losses import labels, response
from compress.distillation.options import Losses, StudentSpec

LOGITS = st.floats(-20, 20, width=32)
TEMPERATURES = st.floats(0.5, 20)


@st.composite
def pairs(draw):
    shape = (draw(st.integers(1, 5)), draw(st.integers(2, 6)))
    return tuple(
        torch.tensor(draw(hnp.arrays(np.float32, shape, elements=LOGITS))) for _ in range(2)
    )


def gradient(student, teacher, temperature):
    leaf = student.clone().requires_grad_()
    response(leaf, teacher, temperature=temperature).backward()
    return leaf.grad


@given(pairs(), TEMPERATURES)
def test_response_equals_plain_numpy(pair, temperature):
    student, teacher = (logits.numpy().astype(np.float64) / temperature for logits in pair)
    log_ratio = log_softmax(teacher, axis=1) - log_softmax(student, axis=1)
    wanted = temperature**2 * (softmax(teacher, axis=1) * log_ratio).sum(axis=1).mean()
    got = response(*pair, temperature=temperature).item()
    assert got == pytest.approx(wanted, rel=1e-4, abs=1e-3)
    assert got >= -1e-3


@given(pairs(), TEMPERATURES)
def test_the_gradient_holds_the_temperature_once(pair, temperature):
    # d/dz of T² KL is T (softmax(student / T) - softmax(teacher / T)) / N.
    student, teacher = pair
    soft = torch.softmax(student / temperature, 1) - torch.softmax(teacher / temperature, 1)
    wanted = temperature * soft / len(student)
    torch.testing.assert_close(
        gradient(student, teacher, temperature), wanted, rtol=1e-4, atol=1e-5
    )


def test_the_gradient_equals_finite_differences():
    torch.manual_seed(0)
    student, teacher = torch.randn(3, 4), torch.randn(3, 4)
    step, temperature = 1e-2, 5.0
    found = gradient(student, teacher, temperature)
    for place in np.ndindex(3, 4):
        nudge = torch.zeros(3, 4)
        nudge[place] = step
        above = response(student + nudge, teacher, temperature=temperature)
        below = response(student - nudge, teacher, temperature=temperature)
        slope = (above - below).item() / (2 * step)
        assert found[place].item() == pytest.approx(slope, abs=2e-4)


def test_high_temperatures_keep_the_gradients_size():
    torch.manual_seed(0)
    student, teacher = torch.randn(8, 10), torch.randn(8, 10)
    sizes = [gradient(student, teacher, temperature).norm() for temperature in (20.0, 80.0)]
    # Without T² the second would be a sixteenth of the first.
    assert sizes[1] / sizes[0] == pytest.approx(1, abs=0.1)


@given(pairs(), TEMPERATURES)
def test_a_student_that_equals_its_teacher_has_nothing_to_learn(pair, temperature):
    logits, _ = pair
    assert response(logits, logits, temperature=temperature).item() == 0
    assert gradient(logits, logits, temperature).abs().max() < 1e-5


@given(pairs(), TEMPERATURES, st.floats(-5, 5), st.floats(-5, 5))
def test_constant_shifts_of_the_logits_change_nothing(pair, temperature, first, second):
    student, teacher = pair
    plain = response(student, teacher, temperature=temperature).item()
    shifted = response(student + first, teacher + second, temperature=temperature).item()
    assert shifted == pytest.approx(plain, rel=1e-3, abs=1e-3 * temperature)


@given(pairs(), st.floats(0, 0.9), st.integers(0, 1))
def test_labels_equal_plain_numpy(pair, smoothing, target):
    logits, _ = pair
    count, classes = logits.shape
    wanted = np.full((count, classes), smoothing / classes)
    wanted[:, target] += 1 - smoothing
    plain = -(wanted * log_softmax(logits.numpy().astype(np.float64), axis=1)).sum(axis=1).mean()
    targets = torch.full((count,), target)
    got = labels(logits, targets, label_smoothing=smoothing).item()
    assert got == pytest.approx(plain, rel=1e-4, abs=1e-4)


def test_half_precision_logits_give_losses_in_fp32():
    logits = torch.randn(2, 3).bfloat16()
    assert response(logits, logits + 1, temperature=2.0).dtype == torch.float32
    assert labels(logits, torch.tensor([0, 1])).dtype == torch.float32


@pytest.mark.parametrize(
    "values",
    [
        {"response": None, "labels": None},
        {"response": {"weight": 0}, "labels": {"weight": 0}},
        {"response": {"temperature": 0}},
        {"labels": {"smoothing": 1}},
        {"labels": {"weight": -1}},
        {"hints": {}},
    ],
)
def test_bad_losses_are_refused(values):
    with pytest.raises(ValidationError):
        Losses.model_validate(values)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"layers": 0},
        {"layers": 2, "python": "a.b:c"},
        {"python": "a.b.c"},
        {"layers": 2, "arguments": {"width": 4}},
        {"width": 0.5},
    ],
)
def test_bad_students_are_refused(values):
    with pytest.raises(ValidationError):
        StudentSpec.model_validate(values)


def test_summaries_are_short():
    assert Losses().summarize() == "0.7 response (T 4) + 0.3 labels"
    assert StudentSpec(layers=3).summarize() == "3 layers"
    assert StudentSpec(transformers={"hidden_size": 8}).summarize() == "untrained, hidden_size 8"
    assert StudentSpec(python="a:b").summarize() == "untrained a:b"
