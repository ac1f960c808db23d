"""Mean errors of quantized layers that their biases take out."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from compress.errors import StageError
from compress.measurement.session import run, unoptimized_session
from compress.onnx_graph.files import load_graph
from compress.onnx_graph.graph import Graph
from compress.quantization.bias_correction.correct import correct_biases
from compress.quantization.bias_correction.layers import biased_layers
from compress.quantization.bias_correction.means import channel_means
from compress.quantization.calibration.observe import observe
from compress.quantization.integers import Integers
from compress.quantization.selection import select
from compress.quantization.static import activations, quantize_static
from tests.quantization.hard_models import calibration, error, quantized
from tests.quantization.models import texts


def _quantized_transformer(source, path, batches):
    selection = select(load_graph(source), method="static")
    tensors = activations(load_graph(source), selection)
    ranges = observe(source, tensors, batches=batches, methods=("minmax",)).ranges("minmax")
    return quantize_static(
        source, path=path, selection=selection, ranges=ranges, integers=Integers()
    )


def _mean_errors(source, int8, batches):
    """Of every layer: root mean square of the channels' mean errors."""
    wanted, got = load_graph(source), load_graph(int8)
    layers, _ = biased_layers(wanted, got)
    axes = [layer.axis for layer in layers]
    names = [
        [layer.node.output[0] for layer in layers],
        [layer.quantized.output[0] for layer in layers],
    ]
    means = [
        channel_means(graph, each, axes=axes, path=path, batches=batches)
        for graph, each, path in zip((wanted, got), names, (source, int8), strict=True)
    ]
    return np.array([np.sqrt(np.square(b - a).mean()) for a, b in zip(*means, strict=True)])


def test_mean_errors_of_all_layers_fall(cnn, tmp_path):
    alone = quantized(cnn, tmp_path / "alone.onnx", per_channel=False)
    (note,) = correct_biases(cnn, alone, path=tmp_path / "b.onnx", batches=calibration())
    assert "7 layers" in note
    better = quantized(tmp_path / "b.onnx", tmp_path / "c.onnx", ranges_of=cnn, per_channel=False)
    before, after = (_mean_errors(cnn, path, calibration()) for path in (alone, better))
    assert len(before) == 7
    assert after.max() < before.max() / 10
    assert (after < before / 4).all()
    assert error(better, cnn) < error(alone, cnn)


def test_products_are_corrected_by_their_sums(transformer, tmp_path):
    batches = [texts(8, 10) for _ in range(2)]
    alone = _quantized_transformer(transformer, tmp_path / "alone.onnx", batches)
    (note,) = correct_biases(transformer, alone, path=tmp_path / "b.onnx", batches=batches)
    assert "14 layers" in note
    graph = onnx.load(tmp_path / "b.onnx").graph
    changed = {t.name for t in graph.initializer if t.name.endswith("_corrected_bias")}
    adders = [node for node in graph.node if changed.intersection(node.input)]
    assert {node.op_type for node in adders} == {"Add", "Gemm"}
    read = {name for node in graph.node for name in node.input}
    assert all(tensor.name in read for tensor in graph.initializer)
    selection = select(load_graph(transformer), method="static")
    tensors = activations(load_graph(transformer), selection)
    ranges = observe(transformer, tensors, batches=batches, methods=("minmax",)).ranges("minmax")
    better = quantize_static(
        tmp_path / "b.onnx",
        path=tmp_path / "c.onnx",
        selection=selection,
        ranges=ranges,
        integers=Integers(),
    )
    before, after = (_mean_errors(transformer, path, batches) for path in (alone, better))
    assert after.mean() < before.mean() / 2


def test_convolutions_without_a_bias_get_one(cnn, tmp_path):
    model = onnx.load(cnn)
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            del node.input[2:]
    source = tmp_path / "bare.onnx"
    onnx.save(model, source)
    alone = quantized(source, tmp_path / "alone.onnx")
    correct_biases(source, alone, path=tmp_path / "b.onnx", batches=calibration())
    layers = [n for n in onnx.load(tmp_path / "b.onnx").graph.node if n.op_type in ("Conv", "Gemm")]
    assert all(len(node.input) == 3 for node in layers)
    better = quantized(tmp_path / "b.onnx", tmp_path / "c.onnx", ranges_of=source)
    before, after = (_mean_errors(source, path, calibration()) for path in (alone, better))
    assert after.sum() < before.sum() / 4


def test_a_model_that_is_not_quantized_is_refused(cnn, tmp_path):
    with pytest.raises(StageError, match="no biases to correct"):
        correct_biases(cnn, cnn, path=tmp_path / "b.onnx", batches=calibration())


def test_no_samples_are_refused(cnn, tmp_path):
    alone = quantized(cnn, tmp_path / "alone.onnx")
    with pytest.raises(StageError, match="no calibration samples"):
        correct_biases(cnn, alone, path=tmp_path / "b.onnx", batches=[])


@pytest.mark.parametrize("size", [64, 7])
def test_means_are_those_of_all_samples_however_batched(cnn, size):
    images = np.concatenate([np.asarray(batch["pixel_values"]) for batch in calibration()])
    model = onnx.load(cnn)
    name = next(node.output[0] for node in model.graph.node if node.op_type == "Relu")
    batches = [{"pixel_values": images[i : i + size]} for i in range(0, len(images), size)]
    (found,) = channel_means(Graph(model), [name], axes=[1], path=cnn, batches=batches)
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
    )
    values = run(unoptimized_session(model, path=cnn), {"pixel_values": images})[name]
    np.testing.assert_allclose(found, values.mean((0, 2, 3), dtype=np.float64), rtol=1e-5)


def test_padding_is_not_counted(transformer):
    batch = texts(4, 10)
    batch["attention_mask"][:, 6:] = 0
    model = onnx.load(transformer)
    product = next(
        node
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1].endswith("query.weight.transposed")
    )
    name = product.output[0]
    (found,) = channel_means(Graph(model), [name], axes=[-1], path=transformer, batches=[batch])
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
    )
    values = run(unoptimized_session(model, path=transformer), batch)[name]
    np.testing.assert_allclose(found, values[:, :6].mean((0, 1)), rtol=1e-4, atol=1e-6)
    weight = {t.name: t for t in model.graph.initializer}[product.input[1]]
    assert len(found) == numpy_helper.to_array(weight).shape[1]
