"""What every loss from a teacher promises, whatever its formula."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from compress.distillation import losses
from compress.errors import StageError

N, S, C, HEADS = 4, 3, 6, 2


def top_k(student, teacher, *, mask=None, k=3, temperature=2.0):
    kept, indices = teacher.topk(k, dim=-1)
    rest = (teacher / temperature).scatter(-1, indices, -torch.inf)
    return losses.response_top_k(
        student,
        indices=indices,
        teacher_logits=kept,
        teacher_tail=rest.logsumexp(-1),
        temperature=temperature,
        mask=mask,
    )


def decoupled(student, teacher, *, mask=None):
    # Its targets go by place, so it is left out where places change.
    targets = torch.arange(student[..., 0].numel()).view(student.shape[:-1]) % C
    return losses.decoupled(
        student, teacher, targets, temperature=2.0, alpha=1.0, beta=8.0, mask=mask
    )


def query_key(student, teacher, *, mask=None):
    return losses.query_key_relation(
        student, student.roll(1, -1), teacher, teacher.roll(1, -1), heads=HEADS, mask=mask
    )


class Case(NamedTuple):
    loss: Callable[..., Tensor]
    kind: str  # rows (N, C), tokens (N, S, C), attentions (N, HEADS, S, S) or maps (N, C, 2, 2)
    tolerance: float = 1e-6  # of a gradient that should be 0


response = partial(losses.response, temperature=3.0)
CASES = {
    "response": Case(response, "rows"),
    "response of tokens": Case(response, "tokens"),
    "standardized": Case(partial(response, logit_standardization=True), "rows"),
    "top k": Case(top_k, "rows"),
    "top k of tokens": Case(top_k, "tokens"),
    "decoupled": Case(decoupled, "rows", 1e-5),
    "decoupled of tokens": Case(decoupled, "tokens", 1e-5),
    "binary": Case(partial(losses.binary_response, temperature=3.0), "rows"),
    "embedding": Case(losses.embedding_cosine, "rows"),
    "feature": Case(losses.feature, "rows"),
    "feature of tokens": Case(losses.feature, "tokens"),
    "directions": Case(partial(losses.feature, normalize=True), "tokens"),
    "cosine": Case(losses.cosine_similarity, "rows"),
    "similarity": Case(losses.similarity_preserving, "rows"),
    "distance": Case(losses.rkd_distance, "rows"),
    "angle": Case(losses.rkd_angle, "rows"),
    "transfer": Case(losses.attention_transfer, "maps"),
    "attention mse": Case(losses.attention_maps, "attentions"),
    "attention kl": Case(partial(losses.attention_maps, divergence="kl"), "attentions"),
    "self relation": Case(partial(losses.self_relation, heads=HEADS), "tokens"),
    "query key": Case(query_key, "tokens"),
    "forward": Case(losses.token_divergence, "tokens"),
    "reverse": Case(partial(losses.token_divergence, divergence="reverse"), "tokens"),
    "jsd": Case(partial(losses.token_divergence, divergence="jsd", jsd_beta=0.3), "tokens"),
}
MASKED = {name: case for name, case in CASES.items() if case.kind != "maps"}


def every(cases):
    return pytest.mark.parametrize("case", cases.values(), ids=cases)


def draw(kind, *, seed, count=N, length=S, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    shape = {
        "rows": (count, C),
        "tokens": (count, length, C),
        "attentions": (count, HEADS, length, length),
        "maps": (count, C, 2, 2),
    }[kind]
    values = torch.randn(shape, generator=generator, dtype=dtype)
    return values.softmax(-1) if kind == "attentions" else values


def some_mask(kind):
    if kind == "rows":
        return torch.tensor([True, False, True, True])
    return torch.tensor([[1, 1, 0], [0, 0, 0], [1, 1, 1], [0, 1, 1]]).bool()


def filled(values, mask, junk):
    """A copy with junk wherever the mask doesn't count."""
    values = values.clone()
    if values.dim() == 4:
        values.transpose(1, 2)[~mask] = junk
        values.permute(0, 3, 1, 2)[~mask] = junk
    else:
        values[~mask] = junk
    return values


def value_and_gradient(case, student, teacher, **mask):
    student = student.detach().clone().requires_grad_()
    value = case.loss(student, teacher, **mask)
    value.backward()
    return value.detach(), student.grad


@every(CASES)
def test_a_student_that_equals_its_teacher_has_nothing_to_learn(case):
    values = draw(case.kind, seed=0)
    value, gradient = value_and_gradient(case, values, values)
    assert value.abs() < 1e-6
    assert gradient.abs().max() < case.tolerance


@every(CASES)
def test_another_student_has_something_to_learn(case):
    value, gradient = value_and_gradient(case, draw(case.kind, seed=0), draw(case.kind, seed=1))
    assert value.shape == ()
    assert value > 1e-4
    assert gradient.abs().max() > 1e-5


@every(CASES)
def test_gradients_equal_finite_differences(case):
    student, teacher = (draw(case.kind, seed=seed, dtype=torch.float64) for seed in (0, 1))
    assert torch.autograd.gradcheck(
        lambda values: case.loss(values, teacher), student.requires_grad_()
    )


@every(CASES)
@pytest.mark.parametrize("teacher_too", [False, True])
def test_zeros_and_equal_samples_give_finite_gradients(case, teacher_too):
    teacher = draw(case.kind, seed=1)
    for student in (torch.zeros_like(teacher), teacher[:1].expand_as(teacher)):
        other = student if teacher_too else teacher
        value, gradient = value_and_gradient(case, student, other)
        assert value.isfinite()
        assert gradient.isfinite().all()
        assert gradient.abs().max() < 1e5


@every(MASKED)
@pytest.mark.parametrize("junk", [7.0, torch.inf, torch.nan])
def test_what_does_not_count_changes_nothing(case, junk):
    mask = some_mask(case.kind)
    student, teacher = (draw(case.kind, seed=seed) for seed in (0, 1))
    plain = value_and_gradient(case, student, teacher, mask=mask)
    other = value_and_gradient(
        case, filled(student, mask, junk), filled(teacher, mask, junk), mask=mask
    )
    assert plain[0] > 0
    torch.testing.assert_close(other, plain, rtol=0, atol=0)
    torch.testing.assert_close(other[1], filled(other[1], mask, 0.0), rtol=0, atol=0)


@every(MASKED)
def test_a_mask_that_counts_all_is_no_mask(case):
    student, teacher = (draw(case.kind, seed=seed) for seed in (0, 1))
    mask = torch.ones_like(some_mask(case.kind))
    torch.testing.assert_close(case.loss(student, teacher, mask=mask), case.loss(student, teacher))


@every({name: case for name, case in MASKED.items() if case.loss is not decoupled})
def test_padding_changes_nothing(case):
    student, teacher = (draw(case.kind, seed=seed, count=2, length=2) for seed in (0, 1))
    wide = [draw(case.kind, seed=seed) for seed in (2, 3)]
    mask = torch.zeros_like(some_mask(case.kind))
    places = {"rows": (slice(2),), "tokens": (slice(2), slice(2))}
    where = places.get(case.kind, (slice(2), slice(None), slice(2), slice(2)))
    for padded, values in zip(wide, (student, teacher), strict=True):
        padded[where] = values
    mask[(slice(2), slice(2))[: mask.dim()]] = True
    torch.testing.assert_close(case.loss(*wide, mask=mask), case.loss(student, teacher))


@every(MASKED)
def test_where_nothing_counts_the_loss_is_nothing(case):
    student, teacher = (draw(case.kind, seed=seed) for seed in (0, 1))
    mask = torch.zeros_like(some_mask(case.kind))
    value, gradient = value_and_gradient(case, student, teacher, mask=mask)
    assert value == 0
    assert not gradient.any()


@every({name: case for name, case in CASES.items() if case.loss is not decoupled})
def test_the_order_of_samples_does_not_matter(case):
    student, teacher = (draw(case.kind, seed=seed) for seed in (0, 1))
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(
        case.loss(student[order], teacher[order]), case.loss(student, teacher)
    )


@every(CASES)
def test_losses_are_computed_in_fp32_whatever_the_models_run_in(case):
    student, teacher = (draw(case.kind, seed=seed).bfloat16() for seed in (0, 1))
    wanted = case.loss(student.float(), teacher.float())
    value = case.loss(student, teacher)
    assert value.dtype == torch.float32
    # A teacher whose logits the test itself divides by T in half precision is a little off.
    torch.testing.assert_close(value, wanted, rtol=1e-2 if case.loss is top_k else 1e-6, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(case.loss(student.float(), teacher.float()), wanted)


@every(MASKED)
def test_masks_of_integers_are_refused(case):
    student, teacher = (draw(case.kind, seed=seed) for seed in (0, 1))
    with pytest.raises((StageError, RuntimeError), match=r"bool"):
        case.loss(student, teacher, mask=some_mask(case.kind).long())


@every({name: case for name, case in CASES.items() if case.loss is not top_k})
def test_what_torch_would_broadcast_is_refused(case):
    student, teacher = (draw(case.kind, seed=seed) for seed in (0, 1))
    with pytest.raises(StageError, match="of shape"):
        case.loss(student, teacher[:1])
