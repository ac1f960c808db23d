import pytest
import torch
from torch import nn

from compress.distillation.losses import labels, response
from compress.distillation.objective import Objective
from compress.distillation.options import Losses
from compress.errors import StageError
from compress.tasks.task import task

TASK = task("image-classification")


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return {"pixel_values": torch.randn(6, 4), "labels": torch.tensor([0, 1, 2, 0, 1, 2])}


@pytest.fixture
def teacher():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.9))


def test_parts_are_the_weighted_losses(batch, teacher):
    student = nn.Linear(4, 3)
    losses = Losses.model_validate(
        {"response": {"temperature": 3, "weight": 0.6}, "labels": {"weight": 0.2, "smoothing": 0.1}}
    )
    parts = Objective(losses, task=TASK, teacher=teacher, device="cpu")(student, batch)
    logits, wanted = student(batch["pixel_values"]), teacher[0](batch["pixel_values"])
    torch.testing.assert_close(parts["response"], 0.6 * response(logits, wanted, temperature=3.0))
    smoothed = labels(logits, batch["labels"], label_smoothing=0.1)
    torch.testing.assert_close(parts["labels"], 0.2 * smoothed)


def test_the_teacher_is_a_frozen_copy_in_eval_mode(batch, teacher):
    teacher.train()
    objective = Objective(Losses(), task=TASK, teacher=teacher, device="cpu")
    student = nn.Linear(4, 3)
    student.load_state_dict(teacher[0].state_dict())
    with torch.no_grad():
        teacher[0].weight.zero_()
    parts = objective(student, batch)
    assert parts["response"].item() == 0  # no dropout, and the weights from before
    sum(parts.values()).backward()
    assert teacher.training
    assert all(p.grad is None and p.requires_grad for p in teacher.parameters())
    assert student.weight.grad.abs().sum() > 0


def test_parts_without_weight_are_not_computed(batch):
    only_labels = Losses.model_validate({"response": {"weight": 0}})
    parts = Objective(only_labels, task=TASK, teacher=None, device="cpu")(nn.Linear(4, 3), batch)
    assert parts.keys() == {"labels"}


def test_response_needs_a_teacher():
    with pytest.raises(StageError, match="needs a teacher"):
        Objective(Losses(), task=TASK, teacher=None, device="cpu")
