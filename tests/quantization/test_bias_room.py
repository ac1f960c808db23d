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

KINDS = [Integers("uint8", "uint8"), Integers("uint8", "int8"), Integers("int8", "int8")]


def _network(path, *, dead):
    """A convolution with biases of 0.4, and some filters of almost nothing; then another."""
    draw = np.random.default_rng(0)
    weight = draw.normal(size=(8, 3, 3, 3)).astype(np.float32)
    weight[dead] = 1e-12 * weight[dead]
    tensors = {
        "w": weight,
        "b": np.full(8, 0.4, np.float32),
        "v": draw.normal(size=(4, 8, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["h"], name="first"),
        helper.make_node("Conv", ["h", "v"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values, name) for name, values in tensors.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


@pytest.mark.parametrize("dead", [[1, 5], list(range(8))], ids=["some", "all"])
@pytest.mark.parametrize("form", ["qdq", "qoperator"])
@pytest.mark.parametrize("integers", KINDS, ids=str)
def test_biases_of_dead_filters_stay(tmp_path, dead, form, integers):
    source = _network(tmp_path / "float.onnx", dead=dead)
    chosen = select(load_graph(source), method="static")
    x = {"x": np.random.default_rng(1).normal(size=(4, 3, 6, 6)).astype(np.float32)}
    ranges = dict.fromkeys(activations(load_graph(source), chosen), (-15.0, 15.0))
    given = {"selection": chosen, "ranges": ranges, "integers": integers, "quant_format": form}
    path = quantize_static(source, path=tmp_path / "int8.onnx", **given)
    wanted, answer = exact_answers(source, x), exact_answers(path, x)
    assert np.abs(answer - wanted).mean() < 0.15
