import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compress.distillation.losses import (
    cosine_similarity,
    rkd_angle,
    rkd_distance,
    similarity_preserving,
)

STUDENT = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0], [-1.0, 1.0]])
TEACHER = np.array([[1.0, 2.0, 2.0], [0.0, 3.0, 4.0], [2.0, 0.0, 0.0], [1.0, -1.0, 0.0]])
ALL = [cosine_similarity, similarity_preserving, rkd_distance, rkd_angle]


@st.composite
def batches(draw):
    count, width = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    values = hnp.arrays(np.float64, (count, width), elements=st.floats(-5, 5, width=16))
    return torch.tensor(draw(values)), torch.tensor(draw(values))


def length(vector):
    return float(sum(value**2 for value in vector)) ** 0.5


def inner(first, second):
    return float(sum(a * b for a, b in zip(first, second, strict=True)))


def huber(first, second):
    gap = abs(first - second)
    return gap**2 / 2 if gap <= 1 else gap - 1 / 2


def test_cosine_similarity_equals_its_formula():
    total, count = 0.0, len(STUDENT)
    for i in range(count):
        for j in range(count):
            ours, theirs = (
                inner(rows[i], rows[j]) / (length(rows[i]) * length(rows[j]))
                for rows in (STUDENT, TEACHER)
            )
            total += (ours - theirs) ** 2
    got = cosine_similarity(torch.tensor(STUDENT), torch.tensor(TEACHER))
    assert got.item() == pytest.approx(total / count**2, rel=1e-12)


def test_similarity_preserving_equals_the_papers_formula():
    def normalized(rows):
        gram = [[inner(a, b) for b in rows] for a in rows]
        return [[value / length(row) for value in row] for row in gram]

    ours, theirs = normalized(STUDENT), normalized(TEACHER)
    count = len(STUDENT)
    frobenius = sum((ours[i][j] - theirs[i][j]) ** 2 for i in range(count) for j in range(count))
    got = similarity_preserving(torch.tensor(STUDENT), torch.tensor(TEACHER))
    assert got.item() == pytest.approx(frobenius / count**2, rel=1e-12)


def test_similarity_of_two_samples_worked_by_hand():
    # The student's G is [[1, 0], [0, 4]], so Ĝ is the identity; the teacher's rows are (1, 1),
    # so Ĝ is all 1/√2: (2 (1 - 1/√2)² + 2 / 2) / 4.
    student, teacher = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.ones(2, 1)
    wanted = (2 * (1 - 0.5**0.5) ** 2 + 1) / 4
    assert similarity_preserving(student, teacher).item() == pytest.approx(wanted, rel=1e-6)


def test_rkd_distance_equals_the_papers_formula():
    count = len(STUDENT)
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]

    def potentials(rows):
        plain = [length(rows[i] - rows[j]) for i, j in pairs]
        mean = sum(plain) / len(plain)
        return [distance / mean for distance in plain]

    ours, theirs = potentials(STUDENT), potentials(TEACHER)
    wanted = sum(map(huber, ours, theirs)) / len(pairs)
    got = rkd_distance(torch.tensor(STUDENT), torch.tensor(TEACHER))
    assert got.item() == pytest.approx(wanted, rel=1e-12)


def test_rkd_distance_leaves_zeros_out_of_the_mean():
    # Points on a line. The student's, at 0, 0 and 3, have the nonzero distances 3 and 3, whose mean
    # is 3: so 0, 1, 1. The teacher's, at 0, 1 and 2, have 1, 2 and 1 with mean 4/3: 3/4, 3/2, 3/4.
    student, teacher = torch.tensor([[0.0], [0.0], [3.0]]), torch.tensor([[0.0], [1.0], [2.0]])
    wanted = ((3 / 4) ** 2 / 2 + (1 / 2) ** 2 / 2 + (1 / 4) ** 2 / 2) / 3
    assert rkd_distance(student, teacher).item() == pytest.approx(wanted, rel=1e-6)


def test_far_distances_are_on_the_linear_side_of_the_huber_loss():
    # Points on a line; the pairs (0, 1) and (0, 2) have the distances 1 and 100, and 100 and 1.
    student = torch.tensor([[0.0], [1.0], [100.0]], dtype=torch.float64)
    teacher = torch.tensor([[0.0], [100.0], [1.0]], dtype=torch.float64)
    mean = (1 + 100 + 99) / 3
    ours, theirs = (1 / mean, 100 / mean, 99 / mean), (100 / mean, 1 / mean, 99 / mean)
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) > 1
    wanted = sum(map(huber, ours, theirs)) / 3
    assert rkd_distance(student, teacher).item() == pytest.approx(wanted, rel=1e-12)


def test_rkd_angle_equals_the_papers_formula():
    count = len(STUDENT)
    triples = [
        (i, j, k)
        for i in range(count)
        for j in range(count)
        for k in range(count)
        if len({i, j, k}) == 3
    ]

    def cosine(rows, i, j, k):
        first, second = rows[i] - rows[j], rows[k] - rows[j]
        return inner(first, second) / (length(first) * length(second))

    wanted = sum(
        huber(cosine(STUDENT, *triple), cosine(TEACHER, *triple)) for triple in triples
    ) / len(triples)
    got = rkd_angle(torch.tensor(STUDENT), torch.tensor(TEACHER))
    assert got.item() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("loss", ALL)
@given(pair=batches(), scale=st.floats(0.5, 8))
def test_the_scale_of_a_model_does_not_matter(loss, pair, scale):
    student, teacher = pair
    torch.testing.assert_close(
        loss(scale * student, teacher), loss(student, teacher), rtol=1e-5, atol=1e-7
    )


@given(batches(), hnp.arrays(np.float64, 5, elements=st.floats(0.5, 8)))
def test_cosines_know_no_length_of_any_sample(pair, scales):
    student, teacher = pair
    scaled = student * torch.tensor(scales)[: len(student), None]
    torch.testing.assert_close(
        cosine_similarity(scaled, teacher), cosine_similarity(student, teacher)
    )


def test_similarity_knows_the_lengths_of_samples():
    student, teacher = torch.tensor(STUDENT), torch.tensor(TEACHER)
    scaled = student * torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    assert not torch.allclose(
        similarity_preserving(scaled, teacher), similarity_preserving(student, teacher), rtol=1e-3
    )


@pytest.mark.parametrize("loss", [rkd_distance, rkd_angle])
@given(pair=batches(), shift=st.integers(-8, 8))
def test_distances_and_angles_know_no_origin(loss, pair, shift):
    student, teacher = pair
    torch.testing.assert_close(
        loss(student + shift, teacher), loss(student, teacher), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("loss", ALL)
@given(pair=batches(), angle=st.floats(0, 6))
def test_a_rotation_does_not_matter(loss, pair, angle):
    student, teacher = (torch.nn.functional.pad(values, (0, 1)) for values in pair)
    rotation = torch.eye(student.shape[1], dtype=torch.float64)
    rotation[0, 0] = rotation[-1, -1] = np.cos(angle)
    rotation[0, -1], rotation[-1, 0] = -np.sin(angle), np.sin(angle)
    torch.testing.assert_close(
        loss(student @ rotation, teacher), loss(student, teacher), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("loss", ALL)
@given(pair=batches())
def test_they_are_never_negative_and_end_in_finite_gradients(loss, pair):
    student, teacher = pair
    leaf = student.clone().requires_grad_()
    value = loss(leaf, teacher)
    value.backward()
    assert value >= 0
    assert leaf.grad.isfinite().all()
    assert loss(student, student) == 0


@pytest.mark.parametrize("loss", ALL)
def test_feature_maps_are_flattened(loss):
    torch.manual_seed(0)
    student, teacher = torch.randn(4, 2, 3, 3), torch.randn(4, 5, 2, 2)
    torch.testing.assert_close(loss(student, teacher), loss(student.flatten(1), teacher.flatten(1)))


@pytest.mark.parametrize("loss", [rkd_distance, rkd_angle])
def test_too_few_samples_have_no_relation(loss):
    student = torch.randn(1, 3, requires_grad=True)
    value = loss(student, torch.randn(1, 4))
    value.backward()
    assert value == 0
    assert not student.grad.any()
