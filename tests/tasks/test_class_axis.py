"""Classes along another axis than the last, and mIoU."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torchmetrics.functional.classification import multiclass_jaccard_index

from compress import Output, Task
from compress.core.batch import IGNORED
from compress.errors import CompressError, InputError, StageError
from compress.measurement.metrics.own import own_tally
from compress.measurement.metrics.registry import metric_named
from compress.measurement.metrics.tally import Answer
from compress.models.onnx_file.matching import Activation
from compress.models.onnx_file.scores import applied, before_activation, probabilities
from compress.onnx_graph.graph import Graph
from compress.tasks.metrics import mean_iou
from compress.tasks.registry import find_task
from compress.testing.tasks import check_task
from tests.tasks import arrays, nets

PIXELS = {"class_axis": {"logits": 1}}


def made(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N, C, H, W) and labels (N, H, W); nothing is of class 4, and some have no label."""
    random = np.random.default_rng(seed)
    scores = random.normal(size=(7, 5, 4, 3)).astype(np.float32)
    labels = random.integers(0, 4, (7, 4, 3))
    scores[:, 4] = -9
    labels[random.random(labels.shape) < 0.2] = IGNORED
    return scores, labels


@pytest.mark.parametrize("seed", range(3))
def test_miou_is_the_jaccard_index_of_torchmetrics(seed: int) -> None:
    scores, labels = made(seed)
    tally = own_tally(mean_iou("logits", class_axis=1))
    for part in (slice(0, 2), slice(2, None)):
        tally.add(Answer(scores[part], {"labels": labels[part]}, outputs={"logits": scores[part]}))
    score = tally.score(seed=0)
    wanted = multiclass_jaccard_index(
        torch.from_numpy(scores), torch.from_numpy(labels), num_classes=5, ignore_index=IGNORED
    )
    assert score.value == pytest.approx(float(wanted), rel=1e-5)
    assert score.ci95[0] < score.value < score.ci95[1]
    assert score.draws is not None
    assert len(score.draws) == 2000


def test_the_axis_makes_no_other_difference() -> None:
    scores, labels = made()
    first, last = find_task("tensor-classification", PIXELS), find_task("tensor-classification")
    moved = np.moveaxis(scores, 1, -1)
    assert isinstance(first, Task)
    assert isinstance(last, Task)
    assert first.metrics == last.metrics
    for name in first.metrics:
        values = []
        for task, given in ((first, scores), (last, moved)):
            answer = Answer(given, {"labels": labels}, outputs={"logits": given})
            other = np.flip(given, 0)
            reference = Answer(other, {}, outputs={"logits": other})
            tally = metric_named(name, task=task).tally(())
            tally.add(Answer(given, answer.batch, reference, outputs=answer.outputs))
            values.append(tally.score(seed=0).value)
        assert values[0] == pytest.approx(values[1], abs=1e-6), name
    batch = {"labels": torch.from_numpy(labels)}
    ours, theirs = torch.from_numpy(scores), torch.from_numpy(moved)
    one, two = ({"logits": values} for values in (ours, theirs))
    assert float(first.loss(one, batch)) == pytest.approx(float(last.loss(two, batch)), abs=1e-6)
    wanted = float(nn.functional.cross_entropy(ours, batch["labels"]))
    assert float(first.loss(one, batch)) == pytest.approx(wanted, abs=1e-6)
    turned = [{"logits": values.flip(0)} for values in (ours, theirs)]
    assert float(first.compare(one, turned[0], batch, temperature=2.0)) == pytest.approx(
        float(last.compare(two, turned[1], batch, temperature=2.0)), abs=1e-6
    )
    assert first.answer({"logits": scores}) == last.answer({"logits": moved})


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    some = arrays.scenes()
    samples = [
        {"image": image, "labels": label}
        for image, label in zip(some["image"][:4], some["label"][:4], strict=True)
    ]
    task = find_task("tensor-classification", PIXELS)
    assert isinstance(task, Task)
    torch.manual_seed(0)
    check_task(task, nets.Segments(), samples, directory=tmp_path)


def test_a_wrong_shape_is_told_with_the_axis_that_would_fit() -> None:
    scores, labels = (torch.from_numpy(each) for each in made())
    task = find_task("tensor-classification")
    assert isinstance(task, Task)
    with pytest.raises(StageError, match="lie along axis 1, the output's class_axis is 1"):
        task.loss({"logits": scores}, {"labels": labels})
    far = find_task("tensor-classification", {"class_axis": {"logits": 4}})
    assert isinstance(far, Task)
    with pytest.raises(StageError, match=r"class_axis is 4, and the scores have the shape \(7, 5"):
        far.loss({"logits": scores}, {"labels": labels})


class Owned(Task):
    name = "owned"

    def __init__(self, **output: Any) -> None:
        self.outputs = (Output("y", **output),)


@pytest.mark.parametrize(
    ("task", "arguments", "said"),
    [
        ("tensor-classification", {"class_axis": 1}, "must be a number for each output's name"),
        ("tensor-classification", {"class_axis": {"y": 1}}, "must be by output, of logits"),
        ("tensor-classification", {"class_axis": {"logits": 0}}, "-1 or at least 1. Got 0"),
        ("tensor-regression", {"class_axis": {"values": 1}}, "it has no classes. Got 1"),
        (
            "tests.tasks.test_class_axis:Owned",
            {"role": "classes", "class_axis": 1.5},
            "-1 or at least 1. Got 1.5",
        ),
    ],
)
def test_a_wrong_axis_is_told(task: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(CompressError, match=said) as raised:
        find_task(task, arguments)
    assert isinstance(raised.value, InputError)


@pytest.mark.parametrize(
    ("written", "class_axis", "found"),
    [(1, 1, "b"), (-3, 1, "b"), (1, -1, None), (-1, -1, "b"), (3, -1, "b"), (-1, 1, None)],
)
def test_a_softmax_over_the_axis_of_the_classes_is_left_out(
    written: int, class_axis: int, found: str | None
) -> None:
    shape = ["N", 3, 4, 4]
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name in ("a", "b", "c")
    ]
    nodes = [
        onnx.helper.make_node("Relu", ["a"], ["b"]),
        onnx.helper.make_node("Softmax", ["b"], ["c"], axis=written),
    ]
    graph = onnx.helper.make_graph(nodes, "g", values[:1], values[2:], value_info=values[1:2])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    ends: Activation = "softmax"
    assert before_activation(Graph(model), "c", ends, class_axis=class_axis) == found


def test_probabilities_sum_to_one_over_their_axis() -> None:
    scores, _ = made()
    chances = applied("softmax", scores, class_axis=1)
    np.testing.assert_allclose(chances.sum(1), 1)
    assert probabilities(chances, "softmax", class_axis=1)
    assert not probabilities(chances, "softmax")
