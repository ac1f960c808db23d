import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.errors import StageError
from compress.measurement.session import run, session
from compress.onnx_graph.files import load_graph
from compress.onnx_graph.graph import Graph
from compress.quantization.dynamic import quantize_dynamic
from compress.quantization.integers import Integers
from compress.quantization.selection import select
from compress.quantization.static import activations, quantize_static


def _graph(path):
    return load_graph(path)


@pytest.mark.parametrize("method", ["dynamic", "static"])
def test_products_of_activations_stay_in_float(transformer, method):
    graph = _graph(transformer)
    weights = graph.initializers.keys()
    chosen = select(graph, method=method)
    products = {node.name for node in graph.nodes if node.op_type == "MatMul"}
    constant = {n.name for n in graph.nodes if n.op_type == "MatMul" and n.input[1] in weights}
    assert set(chosen.nodes) & products == constant
    assert len(constant) == 2 * 6
    assert products - constant <= set(chosen.excluded)


def test_weights_of_einsums_are_named():
    nodes = [
        helper.make_node("Einsum", ["x", "gate"], ["gated"], name="e", equation="bsd,sd->bsd"),
        helper.make_node("MatMul", ["gated", "w"], ["y"], name="m"),
    ]
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, 2])],
        [
            numpy_helper.from_array(np.ones((3, 4), np.float32), "gate"),
            numpy_helper.from_array(np.ones((4, 2), np.float32), "w"),
        ],
    )
    notes = select(Graph(helper.make_model(graph)), method="dynamic").notes
    assert notes[-1] == "kept in float: Einsum gate, as ONNX Runtime has no 8-bit Einsum"


def test_dynamic_convolutions_are_refused_with_the_reason(cnn):
    with pytest.raises(StageError, match=r"slower: 9\d% of the weights.*Use method static"):
        select(_graph(cnn), method="dynamic")


def test_exclude_takes_names_of_weights(cnn):
    chosen = select(_graph(cnn), method="static", exclude=["fc.*"])
    graph = _graph(cnn)
    gemm = next(node.name for node in graph.nodes if node.op_type == "Gemm")
    assert gemm not in chosen.nodes
    assert gemm in chosen.excluded
    assert any("exclude" in note and gemm in note for note in chosen.notes)


def test_a_pattern_that_fits_nothing_is_refused(cnn):
    with pytest.raises(StageError, match=r"unknown node or weight 'cf\.weight'.*'fc\.weight'"):
        select(_graph(cnn), method="static", exclude=["cf.weight"])


def test_nothing_left_is_refused(cnn):
    with pytest.raises(StageError, match="nothing to quantize"):
        select(_graph(cnn), method="static", exclude=["*"])


def test_unknown_operators_are_refused(transformer):
    with pytest.raises(StageError, match="unknown operator for dynamic quantization 'Matmul'"):
        select(_graph(transformer), method="dynamic", operators=["Matmul"])


def _of(nodes, weights, shape, path):
    draw = np.random.default_rng(0)
    tensors = [
        numpy_helper.from_array(draw.normal(size=size).astype(np.float32), name)
        for name, size in weights.items()
    ]
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        tensors,
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def _upwards(path):
    """A convolution, and a transposed one in two groups with a bias."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], name="conv"),
        helper.make_node("ConvTranspose", ["h", "v", "b"], ["y"], name="up", group=2),
    ]
    return _of(nodes, {"w": (4, 3, 3, 3), "v": (4, 3, 2, 2), "b": (6,)}, (3, 6, 6), path)


def _experts(path):
    """A matmul with one matrix for all, and one with three."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="one"),
        helper.make_node("MatMul", ["h", "v"], ["y"], name="three"),
    ]
    return _of(nodes, {"w": (5, 8), "v": (3, 8, 4)}, (5,), path)


def _quantized(source, method, path, *, per_channel):
    chosen = select(_graph(source), method=method, per_channel=per_channel)
    integers = Integers(reduce_range=True)  # right on every CPU
    given = {"path": path, "selection": chosen, "integers": integers, "per_channel": per_channel}
    if method == "dynamic":
        return chosen, quantize_dynamic(source, **given)
    ranges = dict.fromkeys(activations(load_graph(source), chosen), (-20.0, 20.0))
    return chosen, quantize_static(source, ranges=ranges, **given)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(
    ("make", "method", "stays", "shape"),
    [
        (_upwards, "static", "up", (3, 6, 6)),
        (_experts, "dynamic", "three", (5,)),
        (_experts, "static", "three", (5,)),
    ],
)
def test_weights_without_a_dimension_of_output_channels(
    tmp_path, make, method, stays, shape, per_channel
):
    """With a scale for each channel they stay in float, with a note; the file runs either way."""
    source = make(tmp_path / "float.onnx")
    chosen, path = _quantized(source, method, tmp_path / "int8.onnx", per_channel=per_channel)
    assert (stays in chosen.nodes) is not per_channel
    told = [note for note in chosen.notes if note.endswith(f"quantizes them): {stays}")]
    assert len(told) == per_channel
    x = {"x": np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)}
    wanted, answer = (run(session(each, threads=1), x)["y"] for each in (source, path))
    assert np.abs(answer - wanted).mean() < 0.1 * np.abs(wanted).mean()


def test_nothing_but_such_weights_is_refused_with_the_way_out(tmp_path):
    node = helper.make_node("MatMul", ["x", "v"], ["y"], name="three")
    path = _of([node], {"v": (3, 5, 4)}, (5,), tmp_path / "float.onnx")
    with pytest.raises(StageError, match=r"nothing to quantize.*'per_channel: false' quantizes"):
        select(_graph(path), method="dynamic")


def _classifier(classes):
    """A convolution of 36,864 weights, a pooling, and a matmul of 64 weights a class."""
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["c"], name="conv"),
        helper.make_node("GlobalAveragePool", ["c"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "w"], ["y"], name="gemm", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", classes])],
        [
            numpy_helper.from_array(np.ones((64, 64, 3, 3), np.float32), "kernel"),
            numpy_helper.from_array(np.ones((classes, 64), np.float32), "w"),
        ],
    )
    return Graph(helper.make_model(graph))


def test_a_matmul_of_next_to_no_weights_stays_in_float():
    small = select(_classifier(10), method="static")
    assert "gemm" not in small.nodes
    assert "conv" in small.nodes
    assert any("save less than" in note and note.endswith(": gemm") for note in small.notes)
    assert "gemm" in select(_classifier(20), method="static").nodes
    asked = select(_classifier(10), method="static", operators=["Conv", "Gemm"])
    assert "gemm" in asked.nodes
