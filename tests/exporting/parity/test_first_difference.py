"""A file that is wrong at one place: that place is named."""

import numpy as np
import onnx
import pytest

from compress.errors import ParityError
from compress.exporting.parity.compare import check_parity
from compress.exporting.parity.first_difference import first_difference, first_difference_of_files
from compress.tasks.task import TASKS
from tests.exporting.samples import images
from tests.exporting.tasks import inputs, task_of

IMAGE = TASKS["image-classification"]


def _broken(path, weight, folder):
    """The file with one weight half as large again, and the node that reads it."""
    model = onnx.load(path)
    tensor = next(t for t in model.graph.initializer if t.name == weight)
    values = onnx.numpy_helper.to_array(tensor) * np.float32(1.5)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, weight))
    broken = folder / "broken.onnx"
    onnx.save(model, broken)
    return broken, next(node for node in model.graph.node if weight in node.input)


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("llama", "model.layers.1.mlp.up_proj.weight.transposed"),
        ("gpt2", "transformer.h.0.attn.c_proj.weight"),
        ("tokens", "bert.encoder.layer.0.output.dense.weight.transposed"),
    ],
)
def test_the_layer_whose_weight_was_changed_is_named(name, weight, exported_model, tmp_path):
    module, path = exported_model(name)
    broken, node = _broken(path, weight, tmp_path)
    batch, task = inputs(name, 3, 7, padding=2), task_of(name)
    found = first_difference(module, broken, task=task, batch=batch)
    assert found.part == weight.removesuffix(".transposed").removesuffix(".weight")
    assert found.error > 0.01 * found.scale
    assert isinstance(first_difference(module, path, task=task, batch=batch), str)
    of_files = first_difference_of_files(path, broken, batch=batch)
    assert (of_files.node, of_files.operator) == (node.name, node.op_type)
    assert first_difference_of_files(path, path, batch=batch) is None


def test_parity_names_the_convolution_that_its_batch_norm_was_folded_into(cnn, cnn_file, tmp_path):
    broken, node = _broken(cnn_file, "stages.0.0.conv2.weight", tmp_path)
    named = rf"The first node that differs: Conv {node.name} \(stages\.0\.0\.conv2\), by .*"
    with pytest.raises(ParityError, match=named + r"; node_Conv_\d+ before it is still right\."):
        check_parity(cnn, broken, task=IMAGE, batches=[images(3)])
    assert not cnn.training
    assert not any(part._forward_hooks for part in cnn.modules())
