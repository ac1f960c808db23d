"""Numbers are compared with a teacher's by their squared error, or by Huber's loss."""

from typing import Any

import pytest
import torch

from compress import Output, Task
from compress.errors import CompressError
from compress.tasks.registry import find_task

OURS, THEIRS = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[1.5], [2.0], [7.0]])


def compared(task: Any, name: str) -> float:
    return float(task.compare({name: OURS}, {name: THEIRS}, {"x": OURS}))


@pytest.mark.parametrize(
    ("task", "name", "given"),
    [("tensor-regression", "values", {"values": 1.0}), ("text-regression", "logits", 1.0)],
)
def test_huber_counts_outliers_less(task: str, name: str, given: Any) -> None:
    assert compared(find_task(task), name) == pytest.approx((0.25 + 16) / 3)
    # half the square of 0.5; beyond 1 linear: 1 * (4 - 1/2)
    huber = find_task(task, {"huber_delta": given})
    assert compared(huber, name) == pytest.approx((0.125 + 3.5) / 3)
    # labels have the squared error as before
    labels = {"x": OURS, "labels": THEIRS}
    assert float(huber.loss({name: OURS}, labels)) == pytest.approx((0.25 + 16) / 3)


def test_one_output_of_several_has_a_delta_and_a_weight() -> None:
    roles = {"kind": "classes", "box": "values"}
    task = find_task(
        "tensor-classification",
        {"outputs": roles, "huber_delta": {"box": 1.0}, "weights": {"box": 2.0}},
    )
    same = torch.zeros(3, 2)
    found = task.compare({"kind": same, "box": OURS}, {"kind": same, "box": THEIRS}, {"x": OURS})
    assert float(found) == pytest.approx(2 * (0.125 + 3.5) / 3)


class Owned(Task):
    name = "owned"

    def __init__(self, **output: Any) -> None:
        self.outputs = (Output("y", **output),)


@pytest.mark.parametrize(
    ("task", "arguments", "sentence"),
    [
        ("text-regression", {"huber_delta": 0}, "must be a finite number above 0. Got 0"),
        ("text-regression", {"huber_delta": "1"}, "must be a finite number above 0. Got '1'"),
        ("tensor-regression", {"huber_delta": 1.0}, "must be a number for each output's name"),
        ("tensor-regression", {"huber_delta": {"y": 1.0}}, "must be by output, of values"),
        ("tensor-classification", {"huber_delta": {"logits": 1.0}}, "scores of classes have no"),
        (
            "tests.tasks.test_huber:Owned",
            {"role": "features", "huber_delta": float("inf")},
            "'huber_delta' of output 'y' must be a finite number above 0",
        ),
    ],
)
def test_a_delta_is_bounded(task: str, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CompressError, match=sentence):
        find_task(task, arguments)
