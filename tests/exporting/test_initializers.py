"""A graph's weights are as narrow as the module's."""

import onnx
import pytest
import torch
from torch import nn

from compress.errors import StageError
from compress.exporting import to_onnx
from compress.exporting.initializers import check_shapes
from compress.exporting.to_onnx import export_module
from compress.models.resnet import resnet
from compress.tasks.task import TASKS
from tests.exporting.samples import LABELS, images

IMAGE = TASKS["image-classification"]


def _resize(model, name, shape):
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(onnx.numpy_helper.from_array(torch.ones(shape).numpy(), name))


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """A CNN that lost one inner channel of four, and its file."""
    module = resnet(blocks=(1,), width=4, in_channels=1, num_classes=3)
    block = module.stages[0][0]
    block.conv1 = nn.Conv2d(4, 3, 3, padding=1, bias=False)
    block.bn1 = nn.BatchNorm2d(3)
    block.conv2 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
    with torch.no_grad():  # statistics of its own: equal biases would be stored as one
        module.train()(torch.randn(16, 1, 8, 8))
    path = tmp_path_factory.mktemp("pruned") / "model.onnx"
    return module.eval(), export_module(
        module, task=IMAGE, example=images(), path=path, labels=LABELS
    )


def test_a_pruned_module_has_a_graph_as_narrow(pruned):
    module, path = pruned
    model = onnx.load(path)
    check_shapes(model, module)
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    assert shapes["stages.0.0.conv1.weight"] == [3, 4, 3, 3]
    assert shapes["stages.0.0.conv1.weight_bias"] == [3]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("stages.0.0.conv1.weight", (4, 4, 3, 3)),
        ("stages.0.0.conv1.weight_bias", (4,)),
        ("fc.bias", (4,)),
    ],
)
def test_a_weight_of_another_shape_is_named(name, shape, pruned):
    module, path = pruned
    model = onnx.load(path)
    _resize(model, name, shape)
    with pytest.raises(StageError, match=rf"holds '{name}' in the shape \({shape[0]},.*module's"):
        check_shapes(model, module)


def test_transposed_weights_are_held_against_the_module(exported_model):
    module, path = exported_model("tokens")
    model = onnx.load(path)
    check_shapes(model, module)
    _resize(model, "bert.encoder.layer.0.intermediate.dense.weight.transposed", (24, 16))
    with pytest.raises(StageError, match=r"in the shape \(24, 16\)\. The module's is \(16, 24\)"):
        check_shapes(model, module)


def test_lowering_checks_its_graph(cnn, tmp_path, monkeypatch):
    named = to_onnx.name_weights

    def tampered(model, state):
        named(model, state)
        _resize(model, "fc.weight", (3, 9))

    monkeypatch.setattr(to_onnx, "name_weights", tampered)
    path = tmp_path / "model.onnx"
    with pytest.raises(StageError, match=r"holds 'fc\.weight' in the shape \(3, 9\)"):
        export_module(cnn, task=IMAGE, example=images(), path=path, labels=LABELS)
    assert not path.exists()
