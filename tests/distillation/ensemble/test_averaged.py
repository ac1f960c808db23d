import pytest
import torch

from compress.distillation.answers import Answers, TopK
from compress.distillation.ensemble.averaged import AveragedTeacher
from compress.errors import StageError

FIRST = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]])
SECOND = torch.tensor([[-4.0, 1.0, 1.0], [90.0, -90.0, 0.0]])


def asked(*logits, target):
    teachers = [lambda batch, one=one: Answers(one) for one in logits]
    return AveragedTeacher(teachers, target=target)({}).logits


def test_probabilities_of_classes_are_averaged():
    wanted = (FIRST.softmax(-1) + SECOND.softmax(-1)) / 2
    got = asked(FIRST, SECOND, target="class")
    assert torch.allclose(got.exp(), wanted, atol=1e-6)
    assert torch.isfinite(got).all(), "a class that one teacher excludes has a logarithm"


def test_classes_of_a_set_are_averaged_by_themselves():
    wanted = (FIRST.sigmoid() + SECOND.sigmoid()) / 2
    assert torch.allclose(asked(FIRST, SECOND, target="class-set").sigmoid(), wanted, atol=1e-6)


@pytest.mark.parametrize("target", ["class", "class-set"])
def test_one_teacher_answers_as_it_does_alone(target):
    got = asked(FIRST, target=target)
    assert torch.allclose(got.softmax(-1), FIRST.softmax(-1), atol=1e-6)


def test_parts_of_answers_are_not_averaged():
    top = TopK(torch.zeros(2, 1, dtype=torch.int64), FIRST[:, :1], FIRST[:, 0])
    with pytest.raises(StageError, match="all its logits"):
        asked(FIRST, top, target="class")
