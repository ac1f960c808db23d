import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, reject
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax, softmax

from compress.distillation.losses import binary_response, decoupled, response, response_top_k
from compress.errors import StageError

LOGITS = st.floats(-20, 20, width=32)
TEMPERATURES = st.floats(0.5, 20)


@st.composite
def pairs(draw, least_classes=2):
    shape = (draw(st.integers(1, 5)), draw(st.integers(least_classes, 6)))
    return tuple(
        torch.tensor(draw(hnp.arrays(np.float32, shape, elements=LOGITS))).double()
        for _ in range(2)
    )


def gradient(student, teacher, temperature):
    leaf = student.clone().requires_grad_()
    response(leaf, teacher, temperature=temperature).backward()
    return leaf.grad


def top_k_of(teacher, k, temperature):
    kept, indices = teacher.topk(k, dim=-1)
    rest = (teacher / temperature).scatter(-1, indices, -torch.inf)
    return {"indices": indices, "teacher_logits": kept, "teacher_tail": rest.logsumexp(-1)}


@given(pairs(), TEMPERATURES)
def test_response_equals_plain_numpy(pair, temperature):
    student, teacher = (logits.numpy() / temperature for logits in pair)
    log_ratio = log_softmax(teacher, axis=1) - log_softmax(student, axis=1)
    wanted = temperature**2 * (softmax(teacher, axis=1) * log_ratio).sum(axis=1).mean()
    got = response(*pair, temperature=temperature).item()
    assert got == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    assert got >= -1e-9


@given(pairs(), TEMPERATURES)
def test_the_gradient_holds_the_temperature_once(pair, temperature):
    # d/dz of T² KL is T (softmax(student / T) - softmax(teacher / T)) / N.
    student, teacher = pair
    soft = torch.softmax(student / temperature, 1) - torch.softmax(teacher / temperature, 1)
    wanted = temperature * soft / len(student)
    torch.testing.assert_close(gradient(student, teacher, temperature), wanted)


def test_the_gradient_equals_finite_differences_of_t_squared_kl():
    generator = np.random.default_rng(0)
    student, teacher = generator.normal(size=(2, 3, 4))
    temperature, step = 5.0, 1e-5

    def t_squared_kl(logits):
        total = 0.0
        for row, other in zip(logits, teacher, strict=True):
            p, q = (np.exp(z / temperature) / np.exp(z / temperature).sum() for z in (other, row))
            total += temperature**2 * float((p * np.log(p / q)).sum())
        return total / len(logits)

    found = gradient(torch.tensor(student), torch.tensor(teacher), temperature)
    for place in np.ndindex(3, 4):
        nudge = np.zeros((3, 4))
        nudge[place] = step
        slope = (t_squared_kl(student + nudge) - t_squared_kl(student - nudge)) / (2 * step)
        assert found[place].item() == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_high_temperatures_keep_the_gradients_size():
    torch.manual_seed(0)
    student, teacher = torch.randn(8, 10), torch.randn(8, 10)
    sizes = [gradient(student, teacher, temperature).norm() for temperature in (20.0, 80.0)]
    # Without T² the second would be a sixteenth of the first.
    assert sizes[1] / sizes[0] == pytest.approx(1, abs=0.1)


@given(pairs(), TEMPERATURES, hnp.arrays(np.float64, (2, 5, 1), elements=st.floats(-5, 5)))
def test_a_shift_of_all_logits_of_a_sample_changes_nothing(pair, temperature, shifts):
    student, teacher = pair
    first, second = (torch.tensor(shift)[: len(student)] for shift in shifts)
    plain = response(student, teacher, temperature=temperature).item()
    shifted = response(student + first, teacher + second, temperature=temperature).item()
    assert shifted == pytest.approx(plain, rel=1e-9, abs=1e-9)


def test_tokens_are_averaged_over_those_that_count_not_over_samples():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    rows = [
        response(student[place][None], teacher[place][None], temperature=2.0).item()
        for place in ((0, 0), (0, 1), (0, 2), (1, 0))
    ]
    got = response(student, teacher, temperature=2.0, mask=mask).item()
    assert got == pytest.approx(sum(rows) / 4, rel=1e-5)


def test_classes_that_both_rule_out_are_no_nan():
    student = torch.tensor([[0.0, 1.0, -torch.inf]], requires_grad=True)
    teacher = torch.tensor([[1.0, 0.0, -torch.inf]])
    value = response(student, teacher, temperature=1.0)
    value.backward()
    assert value.item() == pytest.approx(
        response(student[:, :2], teacher[:, :2], temperature=1.0).item()
    )
    assert student.grad.isfinite().all()


def test_standardized_response_equals_the_papers_formula():
    student, teacher, temperature = [3.0, 1.0, -1.0], [10.0, 0.0, 2.0], 2.0
    # The student's mean is 1, its deviation √((4 + 0 + 4) / 3); the teacher's mean is 4, its
    # deviation √((36 + 16 + 4) / 3).
    ours = np.array([2.0, 0.0, -2.0]) / np.sqrt(8 / 3) / temperature
    theirs = np.array([6.0, -4.0, -2.0]) / np.sqrt(56 / 3) / temperature
    p, q = np.exp(theirs) / np.exp(theirs).sum(), np.exp(ours) / np.exp(ours).sum()
    wanted = temperature**2 * (p * np.log(p / q)).sum()
    got = response(
        torch.tensor([student]),
        torch.tensor([teacher]),
        temperature=temperature,
        logit_standardization=True,
    )
    assert got.item() == pytest.approx(wanted, rel=1e-6)


@given(pairs(), TEMPERATURES, st.floats(0.5, 10), st.floats(-5, 5))
def test_standardized_response_knows_no_scale(pair, temperature, scale, shift):
    # A part of all logits' spread keeps clear of the least deviation.
    student, teacher = (logits + torch.arange(logits.shape[1]) for logits in pair)
    if min(logits.std(dim=1, correction=0).min() for logits in (student, teacher)) < 0.1:
        reject()
    values = [
        response(z, teacher, temperature=temperature, logit_standardization=True).item()
        for z in (student, scale * student + shift)
    ]
    assert values[1] == pytest.approx(values[0], rel=1e-4, abs=1e-5)


@given(pairs(), TEMPERATURES)
def test_top_k_of_all_classes_is_the_whole_response(pair, temperature):
    student, teacher = pair
    leaf = student.clone().requires_grad_()
    kept = top_k_of(teacher, teacher.shape[1], temperature)
    value = response_top_k(leaf, **kept, temperature=temperature)
    value.backward()
    wanted = response(student, teacher, temperature=temperature)
    torch.testing.assert_close(value.detach(), wanted)
    torch.testing.assert_close(leaf.grad, gradient(student, teacher, temperature))


@given(pairs(), TEMPERATURES, st.data())
def test_top_k_never_exceeds_the_whole_response_and_grows_with_k(pair, temperature, data):
    student, teacher = pair
    k = data.draw(st.integers(1, teacher.shape[1]))
    values = [
        response_top_k(student, **top_k_of(teacher, each, temperature), temperature=temperature)
        for each in range(1, k + 1)
    ]
    values.append(response(student, teacher, temperature=temperature))
    assert values[0] >= -1e-9
    for less, more in itertools.pairwise(values):
        assert less <= more + 1e-9


def test_top_k_equals_a_hand_worked_value():
    # T = 2; exp(z / T) of the teacher is 8, 4, 2, 2 and of the student 2, 6, 1, 1.
    teacher, student = 2 * np.log([8.0, 4.0, 2.0, 2.0]), 2 * np.log([2.0, 6.0, 1.0, 1.0])
    # K = 2 keeps classes 0 and 1; buckets: teacher 1/2, 1/4, 1/4; student 1/5, 3/5, 1/5.
    wanted = 4 * (
        1 / 2 * np.log((1 / 2) / (1 / 5))
        + 1 / 4 * np.log((1 / 4) / (3 / 5))
        + 1 / 4 * np.log((1 / 4) / (1 / 5))
    )
    got = response_top_k(
        torch.tensor(student)[None],
        indices=torch.tensor([[0, 1]]),
        teacher_logits=torch.tensor(teacher[:2])[None],
        teacher_tail=torch.tensor([np.log(4.0)]),
        temperature=2.0,
    )
    assert got.item() == pytest.approx(wanted, rel=1e-12)


def test_stored_answers_of_other_rows_are_refused():
    kept = top_k_of(torch.randn(2, 5), 3, 1.0)
    with pytest.raises(StageError, match="'indices' must be of shape"):
        response_top_k(torch.randn(3, 5), **kept, temperature=1.0)


def test_decoupled_equals_the_papers_formula():
    temperature, alpha, beta, target = 2.0, 1.0, 8.0, 1
    # exp(z / T): the teacher's 2, 5, 1 and the student's 1, 2, 1, the target in the middle.
    teacher, student = np.array([2.0, 5.0, 1.0]), np.array([1.0, 2.0, 1.0])
    target_teacher, target_student = 5 / 8, 2 / 4
    tckd = target_teacher * np.log(target_teacher / target_student) + (1 - target_teacher) * np.log(
        (1 - target_teacher) / (1 - target_student)
    )
    # Among the others the teacher has 2/3 and 1/3, the student 1/2 and 1/2.
    nckd = 2 / 3 * np.log((2 / 3) / (1 / 2)) + 1 / 3 * np.log((1 / 3) / (1 / 2))
    got = decoupled(
        torch.tensor(temperature * np.log(student))[None],
        torch.tensor(temperature * np.log(teacher))[None],
        torch.tensor([target]),
        temperature=temperature,
        alpha=alpha,
        beta=beta,
    )
    assert got.item() == pytest.approx(temperature**2 * (alpha * tckd + beta * nckd), rel=1e-9)


@given(pairs(), TEMPERATURES, st.integers(0, 1))
def test_decoupled_with_the_teachers_own_mass_is_the_whole_response(pair, temperature, target):
    student, teacher = (logits[:1] for logits in pair)
    others = 1 - torch.softmax(teacher / temperature, dim=1)[0, target].item()
    got = decoupled(
        student,
        teacher,
        torch.tensor([target]),
        temperature=temperature,
        alpha=1.0,
        beta=others,
    )
    wanted = response(student, teacher, temperature=temperature)
    torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-6)


def test_decoupled_leaves_out_what_has_no_label():
    torch.manual_seed(0)
    student, teacher = torch.randn(3, 4), torch.randn(3, 4)
    options = {"temperature": 2.0, "alpha": 1.0, "beta": 2.0}
    got = decoupled(student, teacher, torch.tensor([1, -100, 2]), **options)
    rows = [0, 2]
    torch.testing.assert_close(
        got, decoupled(student[rows], teacher[rows], torch.tensor([1, 2]), **options)
    )
    nothing = decoupled(student, teacher, torch.full((3,), -100), **options)
    assert nothing == 0


@given(pairs(), TEMPERATURES)
def test_a_binary_head_is_a_softmax_against_zero(pair, temperature):
    student, teacher = (logits[:, :1] for logits in pair)
    against_zero = [torch.cat([z, torch.zeros_like(z)], dim=1) for z in (student, teacher)]
    torch.testing.assert_close(
        binary_response(student, teacher, temperature=temperature),
        response(*against_zero, temperature=temperature),
    )


def test_several_labels_equal_a_hand_worked_mean():
    # Odds exp(z / T): the teacher's 3 and 1, the student's 1 and 1/3; probabilities 3/4, 1/2 and
    # 1/2, 1/4.
    temperature = 2.0
    teacher, student = (temperature * np.log(odds) for odds in ([3.0, 1.0], [1.0, 1 / 3]))
    first = 3 / 4 * np.log((3 / 4) / (1 / 2)) + 1 / 4 * np.log((1 / 4) / (1 / 2))
    second = 1 / 2 * np.log((1 / 2) / (1 / 4)) + 1 / 2 * np.log((1 / 2) / (3 / 4))
    got = binary_response(
        torch.tensor(student)[None], torch.tensor(teacher)[None], temperature=temperature
    )
    assert got.item() == pytest.approx(temperature**2 * (first + second) / 2, rel=1e-12)
