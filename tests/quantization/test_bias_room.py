"""A filter of nearly zero weights keeps its bias, whatever the type of its weights."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.onnx_graph.files import load_graph
from compress.quantization.integers import Integers
from compress.quantization.selection import select
from compress.quantization.static import activations, quantize_static
from tests.quantization.models import exact_answers

DEAD = [1, 5]


@pytest.fixture
def source(tmp_path):
    """A convolution whose outputs are their bias where filters are nearly zero."""
    draw = np.random.default_rng(0)
    weight = 0.1 * draw.normal(size=(8, 3, 3, 3)).astype(np.float32)
    weight[DEAD] *= 1e-12
    tensors = {"w": weight, "b": np.full(8, 0.4, np.float32)}
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"], name="only")],
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values, name) for name, values in tensors.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    path = tmp_path / "float.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def _answers(source, path, **given):
    chosen = select(load_graph(source), method="static")
    x = {"x": np.random.default_rng(1).uniform(-2, 2, (4, 3, 6, 6)).astype(np.float32)}
    ranges = dict.fromkeys(activations(load_graph(source), chosen), (-4.0, 4.0))
    quantize_static(source, path=path, selection=chosen, ranges=ranges, **given)
    return exact_answers(source, x), exact_answers(path, x)


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
@pytest.mark.parametrize("weights", ["uint8", "int8"])
def test_biases_of_dead_filters_stay(source, tmp_path, weights, form):
    integers = Integers("uint8", weights)
    wanted, answer = _answers(source, tmp_path / "int8.onnx", integers=integers, quant_format=form)
    assert np.abs(answer - wanted).max() < 0.08
    assert np.abs(answer[:, DEAD] - 0.4).max() < 0.03


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
def test_so_do_those_of_a_layer_that_is_dead(source, tmp_path, form):
    """One scale for the whole weight is enlarged too."""
    model = onnx.load(source)
    weight = model.graph.initializer[0]
    weight.CopyFrom(numpy_helper.from_array(1e-13 * numpy_helper.to_array(weight), "w"))
    onnx.save(model, source)
    integers = Integers("uint8", "uint8")
    given = {"integers": integers, "quant_format": form, "per_channel": False}
    _, answer = _answers(source, tmp_path / "int8.onnx", **given)
    assert np.abs(answer - 0.4).max() < 0.03
