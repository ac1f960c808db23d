import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compress.distillation.losses import (
    attention_maps,
    attention_transfer,
    average_heads,
    query_key_relation,
    self_relation,
)
from compress.errors import StageError

VECTORS = hnp.arrays(np.float64, (2, 3, 4), elements=st.floats(-3, 3))


def softmax(scores):
    exponentials = [float(np.exp(score)) for score in scores]
    return [value / sum(exponentials) for value in exponentials]


def kl(first, second):
    return sum(p * np.log(p / q) for p, q in zip(first, second, strict=True))


def test_attention_transfer_equals_the_authors_formula():
    # One sample, two channels, two places. Sums of squares: the student's 1 + 4 and 0 + 0, so the
    # vector (1, 0); the teacher's 9 and 16, of length √(81 + 256).
    student = torch.tensor([[[[1.0, 0.0]], [[2.0, 0.0]]]])
    teacher = torch.tensor([[[[3.0, -4.0]]]])
    size = (81 + 256) ** 0.5
    wanted = ((1 - 9 / size) ** 2 + (16 / size) ** 2) / 2
    assert attention_transfer(student, teacher).item() == pytest.approx(wanted, rel=1e-6)


def test_attention_transfer_equals_numpy_on_several_samples():
    generator = np.random.default_rng(0)
    student, teacher = generator.normal(size=(3, 4, 2, 2)), generator.normal(size=(3, 5, 2, 2))
    total = 0.0
    for ours, theirs in zip(student, teacher, strict=True):
        vectors = []
        for values in (ours, theirs):
            energy = np.array([sum(c[y, x] ** 2 for c in values) for y in (0, 1) for x in (0, 1)])
            vectors.append(energy / np.sqrt((energy**2).sum()))
        total += ((vectors[0] - vectors[1]) ** 2).sum()
    got = attention_transfer(torch.tensor(student), torch.tensor(teacher))
    assert got.item() == pytest.approx(total / (3 * 4), rel=1e-12)


@given(st.floats(0.5, 8), st.booleans())
def test_attention_transfer_knows_no_scale_and_no_sign(scale, flip):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 2, 2).double(), torch.randn(2, 3, 4, 4).double()
    changed = student * (-scale if flip else scale)
    torch.testing.assert_close(
        attention_transfer(changed, teacher), attention_transfer(student, teacher)
    )


def test_a_dead_map_gets_no_gradient():
    student = torch.zeros(1, 2, 2, 2, requires_grad=True)
    attention_transfer(student, torch.ones(1, 2, 2, 2)).backward()
    assert not student.grad.any()


def test_maps_are_compared_over_the_tokens_that_count():
    # The last token is padding: of the first two queries the first two keys count.
    student = torch.tensor([[[[0.5, 0.5, 0.0], [0.2, 0.8, 0.0], [0.1, 0.2, 0.7]]]])
    teacher = torch.tensor([[[[0.9, 0.1, 0.0], [0.4, 0.6, 0.0], [0.3, 0.3, 0.4]]]])
    mask = torch.tensor([[True, True, False]])
    squares = (0.4**2 + 0.4**2) / 2 + (0.2**2 + 0.2**2) / 2
    got = attention_maps(student, teacher, mask=mask)
    assert got.item() == pytest.approx(squares / 2, rel=1e-6)
    divergences = kl([0.9, 0.1], [0.5, 0.5]) + kl([0.4, 0.6], [0.2, 0.8])
    got = attention_maps(student, teacher, divergence="kl", mask=mask)
    assert got.item() == pytest.approx(divergences / 2, rel=1e-6)


def test_without_padding_mse_is_the_plain_mean():
    torch.manual_seed(0)
    student, teacher = (torch.randn(2, 3, 4, 4).softmax(-1) for _ in range(2))
    torch.testing.assert_close(
        attention_maps(student, teacher), (student - teacher).square().mean()
    )


def test_probability_on_padding_is_divided_among_the_others():
    student = torch.tensor([[[[0.3, 0.3, 0.4]] * 3]])
    teacher = torch.tensor([[[[0.2, 0.6, 0.2]] * 3]])
    mask = torch.tensor([[True, True, False]])
    got = attention_maps(student, teacher, divergence="kl", mask=mask)
    assert got.item() == pytest.approx(kl([0.25, 0.75], [0.5, 0.5]), rel=1e-6)


def test_causal_zeros_give_no_nan():
    teacher = torch.tensor([[[[1.0, 0.0], [0.3, 0.7]]]])
    student = torch.tensor([[[[1.0, 0.0], [0.6, 0.4]]]], requires_grad=True)
    value = attention_maps(student, teacher, divergence="kl")
    value.backward()
    assert value.item() == pytest.approx(kl([0.3, 0.7], [0.6, 0.4]) / 2, rel=1e-6)
    assert student.grad.isfinite().all()


def test_heads_are_averaged_in_groups_of_neighbours():
    maps = torch.arange(4.0).view(1, 4, 1, 1).expand(1, 4, 2, 2)
    assert average_heads(maps, heads=2)[0, :, 0, 0].tolist() == [0.5, 2.5]
    assert average_heads(maps.softmax(-1), heads=1).sum(-1).allclose(torch.ones(1))
    with pytest.raises(StageError, match="'heads' must be a divisor of 4"):
        average_heads(maps, heads=3)


def test_another_measure_is_refused():
    maps = torch.ones(1, 1, 1, 1)
    with pytest.raises(StageError, match="unknown divergence 'l1'"):
        attention_maps(maps, maps, divergence="l1")


def relation_by_hand(queries, keys, *, head_width):
    """Rows of softmax(Q Kᵀ / √d), a list for each head."""
    heads = []
    for start in range(0, queries.shape[1], head_width):
        part = slice(start, start + head_width)
        heads.append(
            [softmax([sum(q[part] * k[part]) / head_width**0.5 for k in keys]) for q in queries]
        )
    return heads


def test_relations_equal_the_papers_formula():
    generator = np.random.default_rng(0)
    # Two relation heads: of width 2 in the student, of width 3 in the teacher.
    student, teacher = generator.normal(size=(2, 2, 3, 4)), generator.normal(size=(2, 2, 3, 6))
    total = 0.0
    for sample in range(2):
        ours = relation_by_hand(student[0][sample], student[1][sample], head_width=2)
        theirs = relation_by_hand(teacher[0][sample], teacher[1][sample], head_width=3)
        total += sum(kl(theirs[head][t], ours[head][t]) for head in range(2) for t in range(3))
    got = query_key_relation(*map(torch.tensor, (*student, *teacher)), heads=2)
    assert got.item() == pytest.approx(total / (2 * 2 * 3), rel=1e-9)


def test_values_are_related_to_themselves():
    generator = np.random.default_rng(1)
    student, teacher = generator.normal(size=(1, 3, 2)), generator.normal(size=(1, 3, 4))
    ours = relation_by_hand(student[0], student[0], head_width=2)[0]
    theirs = relation_by_hand(teacher[0], teacher[0], head_width=4)[0]
    got = self_relation(torch.tensor(student), torch.tensor(teacher), heads=1)
    assert got.item() == pytest.approx(sum(map(kl, theirs, ours)) / 3, rel=1e-9)


@given(VECTORS, VECTORS)
def test_a_rotation_within_heads_does_not_matter(student, teacher):
    student, teacher = torch.tensor(student), torch.tensor(teacher)
    swapped = student[..., [1, 0, 3, 2]] * torch.tensor([1.0, -1.0, 1.0, -1.0])
    value = self_relation(student, teacher, heads=2)
    assert value >= -1e-12
    torch.testing.assert_close(self_relation(swapped, teacher, heads=2), value)


def test_relation_heads_divide_both_widths():
    with pytest.raises(StageError, match="'heads' must be a divisor of the width 4"):
        self_relation(torch.randn(1, 2, 4), torch.randn(1, 2, 6), heads=3)
