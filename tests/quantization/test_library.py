"""What onnxruntime's quantizer fails at is told with the node, whatever it raises."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.errors import StageError
from compress.onnx_graph.files import load_graph
from compress.quantization.integers import Integers
from compress.quantization.library import built
from compress.quantization.selection import Selection
from compress.quantization.static import activations, quantize_static


@pytest.fixture
def upwards(tmp_path):
    """Convolutions, and between them a transposed one in groups that can't have many scales."""
    draw = np.random.default_rng(0)
    shapes = {"w": (4, 3, 3, 3), "v": (4, 3, 2, 2), "b": (6,), "u": (2, 6, 1, 1)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], name="first"),
        helper.make_node("ConvTranspose", ["h", "v", "b"], ["k"], name="up", group=2),
        helper.make_node("Conv", ["k", "u"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(draw.normal(size=shape).astype(np.float32), name)
            for name, shape in shapes.items()
        ],
    )
    opset = [helper.make_opsetid("", 18)]
    path = tmp_path / "float.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def chosen(*nodes):
    return Selection("static", ("Conv", "ConvTranspose"), nodes, (), ())


def test_the_node_that_it_fails_on_is_named(upwards, tmp_path):
    selection = chosen("first", "up", "last")
    ranges = dict.fromkeys(activations(load_graph(upwards), selection), (-20.0, 20.0))
    given = {"ranges": ranges, "integers": Integers(), "path": tmp_path / "int8.onnx"}
    said = r"^ONNX Runtime's quantizer can't quantize node 'up': ValueError: .*'exclude' keeps"
    with pytest.raises(StageError, match=said):
        quantize_static(upwards, selection=selection, **given)
    quantize_static(upwards, selection=selection.without(["up"]), **given)
    assert given["path"].is_file()


@pytest.mark.parametrize("error", [KeyError("h"), AssertionError(), RuntimeError("so")])
def test_a_failure_of_no_single_node_is_the_graphs(error):
    def build(selection):
        if len(selection.nodes) > 1:
            raise error
        return onnx.ModelProto()

    with pytest.raises(StageError, match=rf"can't quantize this graph: {type(error).__name__}"):
        built(build, chosen("a", "b", "c"))


def test_an_error_of_ours_passes_as_it_is():
    def build(selection):
        raise StageError("no.")

    with pytest.raises(StageError, match=r"^no\.$"):
        built(build, chosen("a"))
