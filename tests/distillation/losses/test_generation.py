import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compress.distillation.losses import labels, response, shift, token_divergence
from compress.errors import StageError

LOGITS = hnp.arrays(np.float64, (3, 4), elements=st.floats(-20, 20))


def kl(first, second):
    return sum(p * np.log(p / q) for p, q in zip(first, second, strict=True))


def test_a_position_answers_for_the_next_token():
    # Token t is followed by t + 1, and the logits say so: without a shift they would be wrong.
    ids = torch.tensor([[0, 1, 2, 3]])
    logits = 50 * torch.nn.functional.one_hot(ids + 1, 5).float()
    ours, wanted = shift(logits, ids)
    assert ours.shape == (1, 3, 5)
    assert wanted.tolist() == [[1, 2, 3]]
    assert labels(ours, wanted) < 1e-6
    assert labels(logits, ids) > 10


def test_hidden_states_are_shifted_like_logits():
    hidden, ids = torch.randn(2, 4, 3), torch.arange(8).view(2, 4)
    ours, wanted = shift(hidden, ids)
    torch.testing.assert_close(ours, hidden[:, :3])
    torch.testing.assert_close(wanted, ids[:, 1:])
    with pytest.raises(StageError, match="'labels' must be of shape"):
        shift(hidden, ids[:, 1:])


def test_divergences_equal_their_formulas():
    teacher, student, temperature, beta = [0.5, 0.3, 0.2], [0.2, 0.2, 0.6], 2.0, 0.3
    mixture = [beta * p + (1 - beta) * q for p, q in zip(teacher, student, strict=True)]
    wanted = {
        "forward": kl(teacher, student),
        "reverse": kl(student, teacher),
        "jsd": beta * kl(teacher, mixture) + (1 - beta) * kl(student, mixture),
    }
    logits = [
        temperature * torch.tensor(p, dtype=torch.float64).log()[None] for p in (student, teacher)
    ]
    for divergence, value in wanted.items():
        got = token_divergence(
            *logits, divergence=divergence, temperature=temperature, jsd_beta=beta
        )
        assert got.item() == pytest.approx(temperature**2 * value, rel=1e-12)


@given(LOGITS, LOGITS, st.floats(0.5, 10), st.floats(0.05, 0.95))
def test_divergences_are_never_negative(student, teacher, temperature, beta):
    student, teacher = torch.tensor(student), torch.tensor(teacher)
    for divergence in ("forward", "reverse", "jsd"):
        value = token_divergence(
            student, teacher, divergence=divergence, temperature=temperature, jsd_beta=beta
        )
        assert value >= -1e-9


@given(LOGITS, LOGITS, st.floats(0.5, 10), st.floats(0.05, 0.95))
def test_how_the_divergences_belong_together(student, teacher, temperature, beta):
    student, teacher = torch.tensor(student), torch.tensor(teacher)
    forward = token_divergence(student, teacher, temperature=temperature)
    torch.testing.assert_close(forward, response(student, teacher, temperature=temperature))
    swapped = token_divergence(teacher, student, divergence="reverse", temperature=temperature)
    torch.testing.assert_close(forward, swapped)
    jsd = token_divergence(student, teacher, divergence="jsd", jsd_beta=beta)
    mirrored = token_divergence(teacher, student, divergence="jsd", jsd_beta=1 - beta)
    torch.testing.assert_close(jsd, mirrored)


def test_jsd_lies_between_the_two_divergences():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 5, 7).double()
    forward = token_divergence(student, teacher)
    reverse = token_divergence(student, teacher, divergence="reverse")
    near = [
        token_divergence(student, teacher, divergence="jsd", jsd_beta=beta)
        for beta in (1e-5, 1 - 1e-5)
    ]
    torch.testing.assert_close(near[0] / 1e-5, forward, rtol=1e-3, atol=0)
    torch.testing.assert_close(near[1] / 1e-5, reverse, rtol=1e-3, atol=0)


def test_the_average_is_over_tokens_that_count():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 4)
    mask = torch.tensor([[True, True, True], [False, True, False]])
    each = [
        token_divergence(student[place][None], teacher[place][None], divergence="reverse").item()
        for place in ((0, 0), (0, 1), (0, 2), (1, 1))
    ]
    got = token_divergence(student, teacher, divergence="reverse", mask=mask).item()
    assert got == pytest.approx(sum(each) / 4, rel=1e-5)


def test_bad_choices_are_refused():
    logits = torch.randn(2, 3)
    with pytest.raises(StageError, match=r"unknown divergence 'forwards'.*Did you mean 'forward'"):
        token_divergence(logits, logits, divergence="forwards")
    with pytest.raises(StageError, match="'jsd_beta' must be a float between 0 and 1"):
        token_divergence(logits, logits, divergence="jsd", jsd_beta=1.0)
