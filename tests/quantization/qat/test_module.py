"""What is trained is what runs: a QDQ file as a module, and back."""

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from compress.errors import StageError
from compress.onnx_graph.graph import Graph
from compress.quantization.integers import Integers
from compress.quantization.onnx_torch.module import GraphModule
from compress.quantization.qat.module import aware, write_back
from tests.quantization.models import digits, exact_answers, texts
from tests.quantization.onnx_torch.models import (
    module_answers,
    plain_answers,
    quantized,
    tensors_of,
)

SETTINGS = [
    (Integers(), True),
    (Integers("int8", "int8", True), False),
    (Integers("uint8", "uint8"), True),
]


@pytest.fixture(scope="module", params=SETTINGS, ids=lambda value: f"{value[0]} {value[1]}")
def prepared(request, cnn, tmp_path_factory):
    """The float file, the quantized one, its integers."""
    integers, per_channel = request.param
    images, _ = digits()
    path = tmp_path_factory.mktemp("aware") / "int8.onnx"
    batches = [{"pixel_values": images[:64]}]
    return cnn, quantized(cnn, path, batches, integers, per_channel=per_channel), integers


def train(module, *, steps=8, learning_rate=0.01):
    images, labels = digits()
    optimizer = torch.optim.AdamW(module.parameters(), lr=learning_rate)
    for step in range(steps):
        part = slice(50 * step, 50 * step + 50)
        loss = torch.nn.functional.cross_entropy(module(images[part]), labels[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module


def test_untrained_it_answers_as_the_file_and_writes_the_same(prepared, tmp_path):
    source, path, integers = prepared
    images, _ = digits()
    batch = {"pixel_values": images[:200]}
    module = aware(path, source=source, integers=integers)
    assert np.array_equal(
        module_answers(module, batch), module_answers(GraphModule(Graph(onnx.load(path))), batch)
    )
    again = write_back(module, path, path=tmp_path / "again.onnx")
    before, after = tensors_of(path), tensors_of(again)
    assert before.keys() == after.keys()
    for name, array in before.items():
        assert after[name].dtype == array.dtype
        assert np.array_equal(after[name], array), name


@pytest.mark.parametrize("learn_scales", [True, False])
def test_trained_it_is_what_onnxruntime_computes(prepared, tmp_path, learn_scales):
    source, path, integers = prepared
    module = train(aware(path, source=source, integers=integers, learn_scales=learn_scales))
    written = write_back(module, path, path=tmp_path / "trained.onnx")
    images, _ = digits()
    batch = {"pixel_values": images[1000:]}
    got = module_answers(module, batch)
    before, after = tensors_of(path), tensors_of(written)
    changed = {name for name, array in before.items() if not np.array_equal(array, after[name])}
    assert {"conv.weight_quantized", "fc.bias_quantized", "fc.weight_scale"} <= changed
    assert ("pixel_values_scale" in changed) is learn_scales
    scale = float(after["logits_scale"])
    for want in (plain_answers(written, batch), exact_answers(written, batch)):
        assert (np.abs(want - got) > 1e-4).mean() < 0.02
        assert np.abs(want - got).max() < 3 * scale
        assert (want.argmax(1) == got.argmax(1)).mean() > 0.99
    first = plain_answers(path, batch)
    assert np.abs(first - got).max() > 5 * scale


def test_every_weight_is_on_the_grid_that_is_written(prepared, tmp_path):
    source, path, integers = prepared
    module = train(aware(path, source=source, integers=integers), steps=2)
    after = tensors_of(write_back(module, path, path=tmp_path / "trained.onnx"))
    for name in ("conv.weight", "fc.weight"):
        zero = after[f"{name}_zero_point"].astype(int)
        steps = np.abs(after[f"{name}_quantized"].astype(int) - zero.reshape(-1)[0]).max()
        half = 64 if integers.reduce_range else 127
        assert steps in (half, half + 1)


def test_training_takes_back_what_rounding_cost(cnn, tmp_path):
    images, labels = digits()
    coarse = Integers("int8", "int8", True)
    batches = [{"pixel_values": images[:64]}]
    path = quantized(cnn, tmp_path / "int8.onnx", batches, coarse, per_channel=False)

    def loss(module):
        with torch.no_grad():
            return torch.nn.functional.cross_entropy(module(images[1400:]), labels[1400:]).item()

    before = aware(path, source=cnn, integers=coarse)
    after = train(aware(path, source=cnn, integers=coarse), steps=28, learning_rate=1e-3)
    assert loss(after) < loss(before)


def test_a_transformer_with_quantized_embeddings(transformer, tmp_path):
    path = quantized(transformer, tmp_path / "int8.onnx", [texts(8, 12)], Integers())
    module = aware(path, source=transformer, integers=Integers())
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.003)
    for _ in range(3):
        module(*texts(8, 10).values()).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    written = write_back(module, path, path=tmp_path / "trained.onnx")
    batch = texts(30, 9)
    got, want = module_answers(module, batch), plain_answers(written, batch)
    assert (np.abs(got - want) > 1e-4).mean() < 0.1
    assert np.abs(got - want).max() < 0.05 * np.abs(want).max()
    before, after = tensors_of(path), tensors_of(written)
    table = "bert.embeddings.word_embeddings.weight_quantized"
    norm = "bert.embeddings.LayerNorm.weight"
    for name in (table, norm):
        assert (before[name] != after[name]).any()


def test_without_the_float_file_it_begins_on_the_grid(prepared):
    source, path, integers = prepared
    images, _ = digits()
    batch = {"pixel_values": images[:100]}
    module = aware(path, source=None, integers=integers)
    own, floats = module.tensor("fc.weight").detach().numpy(), tensors_of(source)["fc.weight"]
    assert 0 < np.abs(own - floats).max() < np.abs(floats).max() / 50
    apart = np.abs(module_answers(module, batch) - plain_answers(path, batch)).max()
    assert apart < 0.1 * np.abs(plain_answers(path, batch)).max()


def test_bf16_around_it_leaves_weights_on_their_grid(prepared):
    source, path, integers = prepared
    module = aware(path, source=source, integers=integers)
    images, _ = digits()
    names = [step.outputs[0] for step in module.steps if step.kind == "TrainedWeight"]
    plain = module.values([images[:2]], names)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = module.values([images[:2]], names)
        module(images[:8]).float().sum().backward()
    assert len(names) == 7
    assert all(torch.equal(plain[name], mixed[name]) for name in names)
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in module.parameters())


def test_what_is_no_quantized_file_is_refused(cnn, prepared, tmp_path):
    with pytest.raises(StageError, match="no quantized weights in QDQ form"):
        aware(cnn, source=None, integers=Integers())
    with pytest.raises(StageError, match=r"one that 'aware' made\. Got 'Linear'"):
        write_back(torch.nn.Linear(1, 1), prepared[1], path=tmp_path / "x.onnx")
    with pytest.raises(StageError, match="lacks some of its weights"):
        write_back(GraphModule(Graph(onnx.load(cnn))), prepared[1], path=tmp_path / "x.onnx")


def test_a_source_of_another_shape_is_refused(prepared, tmp_path):
    source, path, integers = prepared
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        if tensor.name == "fc.bias":
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(3, "f4"), "fc.bias"))
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(StageError, match=r"'fc.bias' must have the shape \(10,\)"):
        aware(path, source=tmp_path / "other.onnx", integers=integers)


def test_metadata_come_along(prepared, tmp_path):
    source, path, integers = prepared
    model = onnx.load(path)
    helper.set_model_props(model, {"task": "image-classification", "own": "entry"})
    onnx.save(model, tmp_path / "named.onnx")
    module = aware(tmp_path / "named.onnx", source=source, integers=integers)
    written = write_back(module, tmp_path / "named.onnx", path=tmp_path / "out.onnx")
    assert {p.key: p.value for p in onnx.load(written).metadata_props}["own"] == "entry"
