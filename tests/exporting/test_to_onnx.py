import json
import logging
import warnings

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from compress.errors import StageError
from compress.exporting.parity.compare import module_answers
from compress.exporting.to_onnx import export_module
from compress.measurement.session import run, session
from compress.tasks.task import TASKS
from tests.exporting.samples import LABELS, images, texts

TEXT, IMAGE = TASKS["text-classification"], TASKS["image-classification"]


def _export_module(module, path, *, task=TEXT, example=None, **options):
    example = example or (texts() if task.modality == "text" else images())
    return export_module(module, task=task, example=example, path=path, labels=LABELS, **options)


def _answers(path, batch):
    return run(session(path, threads=1), batch)["logits"]


def test_a_text_model_takes_any_batch_and_sequence(exported_bert):
    bert, path = exported_bert
    for count, length in ((1, 2), (1, 9), (5, 30)):
        batch = texts(count, length, padding=3)
        wanted = module_answers(bert, task=TEXT)(batch)
        np.testing.assert_allclose(_answers(path, batch), wanted, atol=1e-5)


def test_padding_changes_nothing(exported_bert):
    _, path = exported_bert
    torch.manual_seed(1)
    plain = texts(3, 7)
    torch.manual_seed(1)
    padded = texts(3, 7, padding=12)
    np.testing.assert_allclose(_answers(path, padded), _answers(path, plain), atol=1e-5)
    padded["attention_mask"][:] = 1
    assert np.abs(_answers(path, padded) - _answers(path, plain)).max() > 0.1


@pytest.mark.parametrize("name", ["vit", "cnn"])
def test_an_image_model_takes_any_batch(name, cnn, cnn_file, exported_model):
    module, path = exported_model("vit") if name == "vit" else (cnn, cnn_file)
    for count in (1, 7):
        batch = images(count)
        wanted = module_answers(module, task=IMAGE)(batch)
        np.testing.assert_allclose(_answers(path, batch), wanted, atol=1e-5)


def test_a_convolutional_model_takes_images_of_any_size(cnn, tmp_path):
    path = _export_module(cnn, tmp_path / "cnn.onnx", task=IMAGE, dynamic_image_size=True)
    for count, height, width in ((1, 8, 8), (3, 13, 10), (2, 6, 21)):
        batch = {"pixel_values": torch.randn(count, 1, height, width)}
        wanted = module_answers(cnn, task=IMAGE)(batch)
        np.testing.assert_allclose(_answers(path, batch), wanted, atol=1e-5)


def test_a_model_that_fixes_the_size_of_images_is_refused_with_the_reason(vit, tmp_path):
    said = "can't export ViTForImageClassification for images of any size.* a static shape of 8"
    with pytest.raises(StageError, match=rf"{said}"):
        _export_module(vit, tmp_path / "vit.onnx", task=IMAGE, dynamic_image_size=True)
    assert not (tmp_path / "vit.onnx").exists()


def test_inputs_outputs_and_axes_are_named(exported_bert):
    graph = onnx.load(exported_bert[1]).graph
    axes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert axes == {
        **{name: ["batch_size", "sequence_length"] for name in texts()},
        "logits": ["batch_size", 3],
    }


def test_a_module_gives_the_same_bytes_again_and_is_left_as_it_was(bert, exported_bert, tmp_path):
    """In training mode, and with an example of another shape, the file is the same."""
    bert.train()
    before = {name: tensor.clone() for name, tensor in bert.state_dict().items()}
    attention = bert.config._attn_implementation
    path = _export_module(bert, tmp_path / "bert.onnx", example=texts(4, 13))
    assert path.read_bytes() == exported_bert[1].read_bytes()
    assert bert.training
    assert bert.config._attn_implementation == attention
    assert all(parameter.requires_grad for parameter in bert.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in bert.state_dict().items())


def test_a_file_names_no_paths(exported_bert):
    content = exported_bert[1].read_bytes()
    assert b".py" not in content
    assert b"site-packages" not in content
    assert b"private" not in content


def test_weights_keep_their_names(exported_bert):
    bert, path = exported_bert
    model = onnx.load(path)
    weights = {
        tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer
    }
    state = bert.state_dict()
    name = "bert.encoder.layer.0.attention.self.query.weight"
    np.testing.assert_array_equal(weights[f"{name}.transposed"], state[name].numpy().T)
    matrices = [
        name for name, tensor in state.items() if tensor.ndim > 1 and tensor.is_floating_point()
    ]
    assert {n.removesuffix(".transposed") for n in weights} >= set(matrices)


def test_a_shared_weight_is_stored_once(tmp_path):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(8, 8)

        def forward(self, pixel_values):
            x = pixel_values.reshape(-1, 8, 8)
            return self.inner(torch.tanh(self.inner(x))).mean(1)

    module = Twice().eval()
    path = _export_module(module, tmp_path / "twice.onnx", task=IMAGE)
    weights = [t for t in onnx.load(path).graph.initializer if len(t.dims) == 2]
    assert [t.name for t in weights] == ["inner.weight.transposed"]
    batch = images(3)
    wanted = module_answers(module, task=IMAGE)(batch)
    np.testing.assert_allclose(_answers(path, batch), wanted, atol=1e-5)


def test_batch_norms_are_folded(cnn_file):
    kinds = {node.op_type for node in onnx.load(cnn_file).graph.node}
    assert "Conv" in kinds
    assert "BatchNormalization" not in kinds


def test_the_metadata_says_task_labels_and_config(exported_bert, cnn_file):
    text = onnx.load(exported_bert[1])
    metadata = {entry.key: entry.value for entry in text.metadata_props}
    assert metadata["task"] == "text-classification"
    assert json.loads(metadata["labels"]) == list(LABELS)
    assert json.loads(metadata["config"])["num_hidden_layers"] == 1
    assert "private" not in metadata["config"]
    image = onnx.load(cnn_file)
    assert "config" not in {entry.key for entry in image.metadata_props}


def dense():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 3)).eval()


def test_the_opset_is_the_one_asked_for(tmp_path):
    model = onnx.load(_export_module(dense(), tmp_path / "cnn.onnx", task=IMAGE, opset=18))
    assert [entry.version for entry in model.opset_import if not entry.domain] == [18]


def test_weights_beyond_one_file_go_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr("compress.onnx_graph.files.SINGLE_FILE_BYTES", 1000)
    module = dense()
    path = _export_module(module, tmp_path / "cnn.onnx", task=IMAGE)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cnn.onnx", "cnn.onnx.data"]
    batch = images(3)
    wanted = module_answers(module, task=IMAGE)(batch)
    np.testing.assert_allclose(_answers(path, batch), wanted, atol=1e-5)
    monkeypatch.undo()
    _export_module(module, path, task=IMAGE)
    assert [file.name for file in tmp_path.iterdir()] == ["cnn.onnx"]


def test_the_exporter_is_silent(cnn, tmp_path, capfd, caplog):
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        _export_module(cnn, tmp_path / "cnn.onnx", task=IMAGE)
        assert logging.root.manager.disable == logging.NOTSET
    assert capfd.readouterr() == ("", "")


def test_a_fixed_batch_is_refused(tmp_path):
    class Fixed(nn.Module):
        def forward(self, pixel_values):
            return pixel_values.reshape(2, 64)[:, :3] * 1.0

    with pytest.raises(StageError, match="can't export Fixed"):
        _export_module(Fixed().eval(), tmp_path / "fixed.onnx", task=IMAGE)
    assert not (tmp_path / "fixed.onnx").exists()


def test_what_torch_cannot_export_is_a_stage_error(tmp_path):
    class Branches(nn.Module):
        def forward(self, pixel_values):
            return pixel_values[:, 0, 0] if pixel_values.sum() > 0 else pixel_values[:, 0, 1]

    with pytest.raises(StageError, match="can't export Branches to ONNX"):
        _export_module(Branches().eval(), tmp_path / "model.onnx", task=IMAGE)
