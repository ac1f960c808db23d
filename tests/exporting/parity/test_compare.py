import shutil

import numpy as np
import onnx
import pytest
import torch

from compress.errors import ParityError, StageError
from compress.exporting.parity.compare import check_parity, compare, module_answers
from compress.tasks.task import TASKS
from tests.exporting.samples import images

IMAGE = TASKS["image-classification"]


@pytest.fixture
def exported(cnn_file, tmp_path):
    return shutil.copy(cnn_file, tmp_path / "cnn.onnx")


def test_a_faithful_file_passes(cnn, exported):
    found = check_parity(cnn, exported, task=IMAGE, batches=[images(4), images(3)])
    assert found.samples == 7
    assert found.agreement == 1.0
    assert 0 <= found.mean_error <= found.max_error < 1e-4


def test_changed_weights_raise(cnn, exported):
    model = onnx.load(exported)
    weight = next(t for t in model.graph.initializer if t.name == "fc.weight")
    changed = onnx.numpy_helper.to_array(weight) + np.float32(0.01)
    weight.CopyFrom(onnx.numpy_helper.from_array(changed, weight.name))
    onnx.save(model, exported)
    with pytest.raises(ParityError, match=r"cnn\.onnx doesn't answer as ResNet.* does: max error"):
        check_parity(cnn, exported, task=IMAGE, batches=[images(8)])


def test_answers_that_are_no_numbers_raise(cnn, exported):
    with torch.no_grad():
        cnn.fc.bias[0] = float("nan")
    with pytest.raises(ParityError, match="max error nan"):
        check_parity(cnn, exported, task=IMAGE, batches=[images(2), images(2)])


def test_no_samples_raise(cnn, exported):
    with pytest.raises(StageError, match="no samples"):
        check_parity(cnn, exported, task=IMAGE, batches=[])


def test_a_module_in_training_mode_is_compared_in_eval_mode(cnn, exported):
    cnn.train()
    check_parity(cnn, exported, task=IMAGE, batches=[images(4)])
    assert cnn.training


def test_agreement_counts_the_largest_scores(cnn):
    batch = images(4)
    scores = module_answers(cnn, task=IMAGE)(batch)
    swapped = scores.copy()
    swapped[0] = -swapped[0]
    found = compare(lambda _: scores, lambda _: swapped, batches=[batch])
    assert found.agreement == 0.75
    assert found.max_error == pytest.approx(2 * np.abs(scores[0]).max())
    assert found.mean_error == pytest.approx(2 * np.abs(scores[0]).sum() / scores.size)


def test_answers_of_other_shapes_raise():
    with pytest.raises(StageError, match=r"\(2, 3\) and \(2, 4\)"):
        compare(lambda _: np.zeros((2, 3)), lambda _: np.zeros((2, 4)), batches=[images()])
