import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax

from compress.distillation.losses import binary_labels, labels
from compress.errors import StageError


@st.composite
def logit_rows(draw):
    shape = (draw(st.integers(1, 5)), draw(st.integers(2, 6)))
    return draw(hnp.arrays(np.float64, shape, elements=st.floats(-20, 20)))


def value_and_gradient(loss, logits, targets):
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, targets)
    value.backward()
    return value.detach(), leaf.grad


@given(logit_rows(), st.floats(0, 0.9), st.integers(0, 1))
def test_labels_equal_plain_numpy(logits, smoothing, target):
    count, classes = logits.shape
    wanted = np.full((count, classes), smoothing / classes)
    wanted[:, target] += 1 - smoothing
    plain = -(wanted * log_softmax(logits, axis=1)).sum(axis=1).mean()
    targets = torch.full((count,), target)
    got = labels(torch.tensor(logits), targets, label_smoothing=smoothing).item()
    assert got == pytest.approx(plain, rel=1e-9, abs=1e-9)
    as_rows = torch.nn.functional.one_hot(targets, classes).double()
    got = labels(torch.tensor(logits), as_rows, label_smoothing=smoothing).item()
    assert got == pytest.approx(plain, rel=1e-9, abs=1e-9)


def test_mixtures_of_classes_are_mixtures_of_losses():
    torch.manual_seed(0)
    logits = torch.randn(1, 3)
    first, second = (labels(logits, torch.tensor([target])).item() for target in (0, 2))
    mixed = labels(logits, torch.tensor([[0.7, 0.0, 0.3]])).item()
    assert mixed == pytest.approx(0.7 * first + 0.3 * second, rel=1e-6)


def test_tokens_are_averaged_over_those_with_labels():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 5)
    targets = torch.tensor([[1, 2, 3], [4, -100, -100]])
    each = [
        labels(logits[place][None], targets[place][None]).item()
        for place in ((0, 0), (0, 1), (0, 2), (1, 0))
    ]
    assert labels(logits, targets).item() == pytest.approx(sum(each) / 4, rel=1e-6)


@pytest.mark.parametrize("junk", [5.0, torch.inf, torch.nan])
@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (labels, torch.tensor([1, -100, 0])),
        (labels, torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.5, 0.5, 0.0]])),
        (binary_labels, torch.tensor([[0.0, 1.0, 0.0], [-1.0, -1.0, -1.0], [1.0, 1.0, 0.0]])),
    ],
    ids=["classes", "probabilities", "binary"],
)
def test_rows_without_labels_change_nothing(loss, targets, junk):
    torch.manual_seed(0)
    logits = torch.randn(3, 3)
    plain = value_and_gradient(loss, logits, targets)
    changed = logits.clone()
    changed[1] = junk
    torch.testing.assert_close(value_and_gradient(loss, changed, targets), plain, rtol=0, atol=0)
    assert not plain[1][1].any()
    torch.testing.assert_close(plain[0], loss(logits[[0, 2]], targets[[0, 2]]))


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (labels, torch.full((2,), -100)),
        (labels, torch.zeros(2, 3)),
        (binary_labels, -torch.ones(2, 3)),
    ],
)
def test_without_any_label_there_is_no_loss(loss, targets):
    value, gradient = value_and_gradient(loss, torch.randn(2, 3), targets)
    assert value == 0
    assert not gradient.any()


@given(logit_rows(), st.floats(0, 0.9))
def test_binary_labels_equal_plain_numpy(logits, smoothing):
    targets = (logits > 0).astype(np.float64)
    smoothed = targets * (1 - smoothing) + smoothing / 2
    yes, no = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
    wanted = -(smoothed * yes + (1 - smoothed) * no).mean()
    got = binary_labels(torch.tensor(logits), torch.tensor(targets), label_smoothing=smoothing)
    assert got.item() == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_half_precision_gives_losses_in_fp32():
    logits = torch.randn(2, 3).bfloat16()
    assert labels(logits, torch.tensor([0, 1])).dtype == torch.float32
    assert labels(logits, torch.ones(2, 3) / 3).dtype == torch.float32
    assert binary_labels(logits, torch.ones(2, 3)).dtype == torch.float32


def test_targets_of_another_shape_are_refused():
    logits = torch.randn(2, 3)
    for loss, targets in (
        (labels, torch.zeros(2, 1, dtype=torch.long)),
        (labels, torch.ones(2, 1)),
        (binary_labels, torch.ones(2, 1)),
    ):
        with pytest.raises(StageError, match="'targets' must be of shape"):
            loss(logits, targets)
