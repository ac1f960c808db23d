"""Parameters and multiply-accumulates of hand-made graphs, and of float and INT8 twins."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    quantize_dynamic,
    quantize_static,
)

from compress.errors import DataError, StageError
from compress.measurement.macs.graph import count_macs
from compress.measurement.params import count_params


class Samples(CalibrationDataReader):
    def __init__(self, *batches):
        self.rest = iter(batches)

    def get_next(self):
        return next(self.rest, None)


def quantize(source, target, kind, sample, **options):
    if kind == "dynamic":
        quantize_dynamic(source, target, **options)
    else:
        quantize_static(source, target, Samples(sample), quant_format=QuantFormat[kind], **options)


def graph(tmp_path: Path, nodes, weights, *, shape, opset=18, domains=()) -> Path:
    """Saves a graph from input "x" to output "y"."""
    made = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=9)
    path = tmp_path / "made.onnx"
    onnx.save(model, path)
    return path


def floats(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def zeros(*shape):
    return {"x": np.zeros(shape, dtype=np.float32)}


def test_convolution_by_hand(tmp_path):
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], group=2, strides=[2, 2])]
    path = graph(
        tmp_path, nodes, {"w": floats(6, 2, 3, 3), "b": floats(6)}, shape=["n", 4, "h", "w"]
    )
    # (9 - 3) // 2 + 1 = 4 in each direction; 6 * 4 * 4 outputs of 2 * 3 * 3 products
    assert count_macs(path, zeros(1, 4, 9, 9)) == (6 * 4 * 4 * 18, ())
    assert count_params(path) == 6 * 2 * 3 * 3 + 6


def test_transposed_convolution_by_hand(tmp_path):
    nodes = [helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])]
    path = graph(tmp_path, nodes, {"w": floats(4, 5, 2, 2)}, shape=["n", 4, 3, 3])
    # each of 4 * 3 * 3 inputs goes to 5 channels of a 2 * 2 patch
    assert count_macs(path, zeros(1, 4, 3, 3)).total == 4 * 3 * 3 * 5 * 4


def test_gemm_and_matmul_by_hand(tmp_path):
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], transB=1),
        helper.make_node("MatMul", ["h", "v"], ["y"]),
    ]
    weights = {"w": floats(7, 5), "b": floats(7), "v": floats(7, 3)}
    path = graph(tmp_path, nodes, weights, shape=["n", 5])
    assert count_macs(path, zeros(1, 5)).total == 5 * 7 + 7 * 3
    assert count_params(path) == 35 + 7 + 21


def test_transposed_left_operand_of_gemm(tmp_path):
    nodes = [helper.make_node("Gemm", ["w", "x"], ["y"], transA=1, transB=1)]
    path = graph(tmp_path, nodes, {"w": floats(5, 7)}, shape=["n", 5])
    assert count_macs(path, zeros(1, 5)).total == 5 * 7


def test_only_the_first_sample_counts(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    path = graph(tmp_path, nodes, {"w": floats(5, 3)}, shape=["n", 5])
    assert count_macs(path, zeros(8, 5)).total == 15


def test_attention_products_follow_the_length(tmp_path):
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "t"], ["scores"]),
        helper.make_node("MatMul", ["scores", "x"], ["y"]),
    ]
    path = graph(tmp_path, nodes, {}, shape=["n", "s", 4])
    assert count_macs(path, zeros(1, 6, 4)).total == 2 * 6 * 6 * 4
    assert count_params(path) == 0


def test_attention_operator_counts_as_its_two_products(tmp_path):
    nodes = [helper.make_node("Attention", ["x", "k", "v"], ["y"], q_num_heads=2, kv_num_heads=2)]
    weights = {"k": floats(1, 9, 4), "v": floats(1, 9, 6)}
    path = graph(tmp_path, nodes, weights, shape=["n", "s", 4], opset=23)
    assert count_macs(path, zeros(1, 5, 4)).total == 5 * 9 * 4 + 5 * 9 * 6


def test_products_that_are_not_counted_are_named(tmp_path):
    pads = {"pads": np.zeros(4, np.int64)}
    nodes = [
        helper.make_node("MatMul", ["x", "v"], ["h"]),
        helper.make_node(
            "ConvTransposeWithDynamicPads", ["h", "w", "pads"], ["y"], domain="com.microsoft"
        ),
    ]
    weights = {"v": floats(5, 5), "w": floats(2, 3, 2, 2)} | pads
    path = graph(tmp_path, nodes, weights, shape=["n", 2, 5, 5], domains=["com.microsoft"])
    total, notes = count_macs(path, zeros(1, 2, 5, 5))
    assert total == 2 * 5 * 5 * 5
    assert notes == (
        "macs leave out operators that can't be counted: 1 ConvTransposeWithDynamicPads.",
    )


def test_what_no_sample_is_needed_for_and_what_is_not_read_does_not_count(tmp_path):
    nodes = [
        helper.make_node("Identity", ["w"], ["i"]),
        helper.make_node("MatMul", ["w", "i"], ["square"]),
        helper.make_node("MatMul", ["x", "square"], ["y"]),
        helper.make_node("MatMul", ["y", "w"], ["unread"]),
    ]
    path = graph(tmp_path, nodes, {"w": floats(5, 5)}, shape=["n", 5])
    assert count_macs(path, zeros(1, 5)) == (25, ())


def inner(name, nodes, inputs, outputs, weights):
    value = helper.make_tensor_value_info
    return helper.make_graph(
        nodes,
        name,
        [value(each, kind, shape) for each, kind, shape in inputs],
        [value(each, kind, None) for each, kind in outputs],
        [numpy_helper.from_array(array, each) for each, array in weights.items()],
    )


FLOAT, BOOL, INT = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64


def branches():
    """An If over x (n, 5): a matrix of 5 by 2, or two of them."""
    one = [helper.make_node("MatMul", ["x", "a"], ["ay"])]
    two = [
        helper.make_node("MatMul", ["x", "b"], ["bx"]),
        helper.make_node("MatMul", ["bx", "c"], ["by"]),
    ]
    then = inner("then", one, [], [("ay", FLOAT)], {"a": floats(5, 2)})
    other = inner("else", two, [], [("by", FLOAT)], {"b": floats(5, 4), "c": floats(4, 2)})
    return helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=other)


@pytest.mark.parametrize(("yes", "macs"), [(True, 10), (False, 5 * 4 + 4 * 2)])
def test_of_branches_the_one_that_runs_counts(tmp_path, yes, macs):
    path = graph(tmp_path, [branches()], {"yes": np.array(yes)}, shape=["n", 5])
    assert count_macs(path, zeros(1, 5)) == (macs, ())


def test_a_loop_counts_as_often_as_it_runs_and_what_is_in_it_too(tmp_path):
    made = branches()
    made.output[0] = "small"
    nodes = [
        made,
        helper.make_node("MatMul", ["small", "back"], ["next"]),
        helper.make_node("Identity", ["going"], ["goes"]),
    ]
    body = inner(
        "body",
        nodes,
        [("turn", INT, []), ("going", BOOL, []), ("x", FLOAT, ["n", 5])],
        [("goes", BOOL), ("next", FLOAT)],
        {"back": floats(2, 5)},
    )
    loop = helper.make_node("Loop", ["three", "", "start"], ["y"], body=body)
    weights = {"three": np.array(3), "yes": np.array(True)}
    start = helper.make_node("Identity", ["x"], ["start"])
    for node in body.node:  # the loop's own x hides the outer one
        for index, name in enumerate(node.input):
            node.input[index] = "state" if name == "x" else name
    body.input[2].name = "state"
    for branch in body.node[0].attribute:
        for node in branch.g.node:
            node.input[0] = "state" if node.input[0] == "x" else node.input[0]
    path = graph(tmp_path, [start, loop], weights, shape=["n", 5])
    assert count_macs(path, zeros(1, 5)) == (3 * (5 * 2 + 2 * 5), ())


def test_a_scan_counts_once_for_every_slice(tmp_path):
    nodes = [
        helper.make_node("Unsqueeze", ["slice", "zero"], ["row"]),
        helper.make_node("MatMul", ["row", "w"], ["made"]),
        helper.make_node("Identity", ["state"], ["same"]),
    ]
    body = inner(
        "body",
        nodes,
        [("state", FLOAT, [1]), ("slice", FLOAT, ["n"])],
        [("same", FLOAT), ("made", FLOAT)],
        {"w": floats(1, 7), "zero": np.array([0])},
    )
    turned = helper.make_node("Transpose", ["x"], ["columns"])
    scan = helper.make_node(
        "Scan", ["begin", "columns"], ["end", "y"],
        body=body, num_scan_inputs=1, scan_output_axes=[0],
    )  # fmt: skip
    path = graph(tmp_path, [turned, scan], {"begin": floats(1)}, shape=["n", 5])
    assert count_macs(path, zeros(1, 5)) == (5 * 7, ())


def test_a_loop_may_multiply_more_in_every_run(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["state", "w"], ["made"]),
        helper.make_node("Concat", ["made", "made"], ["next"], axis=0),
        helper.make_node("Identity", ["going"], ["goes"]),
    ]
    inputs = [("turn", INT, []), ("going", BOOL, []), ("state", FLOAT, None)]
    outputs = [("goes", BOOL), ("next", FLOAT)]
    body = inner("body", nodes, inputs, outputs, {"w": floats(5, 5)})
    loop = helper.make_node("Loop", ["two", "", "x"], ["y"], body=body)
    path = graph(tmp_path, [loop], {"two": np.array(2)}, shape=["n", 5])
    assert count_macs(path, zeros(1, 5)) == (25 + 50, ())


def test_constants_in_nodes_count_and_each_constant_once(tmp_path):
    constant = numpy_helper.from_array(floats(5, 5))
    nodes = [
        helper.make_node("Constant", [], ["c"], value=constant),
        helper.make_node("MatMul", ["x", "c"], ["a"]),
        helper.make_node("MatMul", ["a", "c"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    path = graph(tmp_path, nodes, {"w": floats(5, 5)}, shape=["n", 5])
    assert count_params(path) == 50
    assert count_macs(path, zeros(1, 5)).total == 100


def test_scalars_shapes_and_unused_constants_are_no_parameters(tmp_path):
    weights = {
        "half": np.array([0.5], dtype=np.float32),
        "shape": np.array([1, 1, -1, 2]),
        "scales": np.array([1, 1, 2, 2], dtype=np.float32),
        "unused": floats(9),
    }
    nodes = [
        helper.make_node("Mul", ["x", "half"], ["a"]),
        helper.make_node("Reshape", ["a", "shape"], ["b"]),
        helper.make_node("Resize", ["b", "", "scales"], ["y"]),
    ]
    assert count_params(graph(tmp_path, nodes, weights, shape=["n", 4])) == 0


def test_local_functions_are_written_out(tmp_path):
    function = helper.make_function(
        "own", "Twice", ["a", "w"], ["c"],
        [
            helper.make_node("MatMul", ["a", "w"], ["b"]),
            helper.make_node("MatMul", ["b", "w"], ["c"]),
        ],
        [helper.make_opsetid("", 18)],
    )  # fmt: skip
    nodes = [helper.make_node("Twice", ["x", "w"], ["y"], domain="own")]
    path = graph(tmp_path, nodes, {"w": floats(5, 5)}, shape=["n", 5], domains=["own"])
    model = onnx.load(path)
    model.functions.append(function)
    onnx.save(model, path)
    assert count_macs(path, zeros(1, 5)).total == 50
    assert count_params(path) == 25


def test_a_missing_input_is_named(cnn_onnx):
    with pytest.raises(DataError, match="pixel_values"):
        count_macs(cnn_onnx, {})


def test_a_sample_that_does_not_fit_is_a_stage_error(cnn_onnx):
    with pytest.raises(StageError, match=r"measured_cnn\.onnx"):
        count_macs(cnn_onnx, {"pixel_values": np.zeros((1, 3, 8, 8), dtype=np.float32)})


@pytest.mark.parametrize("content", [b"", b"not a model"])
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(StageError, match=r"broken\.onnx"):
        count_params(path)


def test_cnn_counts_as_torch_does(cnn, cnn_onnx, images):
    # The batch norm (8 + 8) is folded into the convolution before it, whose bias stays.
    assert count_params(cnn_onnx) == sum(p.numel() for p in cnn.parameters()) - 16
    conv, grouped, transposed = 8 * 64 * 9, 8 * 9 * 2 * 9, 8 * 9 * 4 * 4
    assert count_macs(cnn_onnx, images(1)).total == conv + grouped + transposed + 64 * 16 + 160


def test_bert_counts_as_torch_does(bert, bert_onnx, texts):
    assert count_params(bert_onnx) == sum(p.numel() for p in bert.parameters())
    s, h, f = 7, 16, 24
    layer = 4 * s * h * h + 2 * s * s * h + 2 * s * h * f
    assert count_macs(bert_onnx, texts(1)) == (layer + h * h + h * 3, ())


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("model", ["cnn", "bert"])
@pytest.mark.parametrize("kind", ["dynamic", "QDQ", "QOperator"])
@pytest.mark.parametrize("operators", [None, ["MatMul", "Gemm", "Gather", "Conv"], ["MatMul"]])
def test_int8_counts_as_its_float_graph(request, tmp_path, model, kind, operators, per_channel):
    source = request.getfixturevalue(f"{model}_onnx")
    sample = request.getfixturevalue("images" if model == "cnn" else "texts")(1)
    target = tmp_path / "int8.onnx"
    options = {"per_channel": per_channel, "op_types_to_quantize": operators}
    quantize(source, target, kind, sample, **options)
    if operators is None or "Conv" in operators:
        assert target.stat().st_size != source.stat().st_size
    assert count_params(target) == count_params(source)
    assert count_macs(target, sample) == count_macs(source, sample)


def test_products_of_two_activations_count_alike_when_quantized(tmp_path, bert_onnx, texts):
    target = tmp_path / "int8.onnx"
    quantize_dynamic(bert_onnx, target, extra_options={"MatMulConstBOnly": False})
    assert count_macs(target, texts(1)) == count_macs(bert_onnx, texts(1))


SHARED = {
    "a matrix in other operators": (
        [
            helper.make_node("Gemm", ["x", "w", "b"], ["h"], transB=1),
            helper.make_node("Gemm", ["h", "w", "b"], ["i"]),
            helper.make_node("Add", ["i", "w"], ["y"]),
        ],
        {"w": floats(5, 5), "b": floats(5)},
    ),
    "a bias at several scales": (
        [
            helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
            helper.make_node("Gemm", ["h", "v", "b"], ["i"]),
            helper.make_node("Gemm", ["i", "w", "b"], ["y"]),
        ],
        {"w": floats(5, 5), "v": 2 * floats(5, 5), "b": floats(5)},
    ),
}


@pytest.mark.parametrize("kind", ["dynamic", "QDQ", "QOperator"])
@pytest.mark.parametrize("case", SHARED)
def test_copies_that_quantization_makes_of_shared_weights_count_once(tmp_path, case, kind):
    nodes, weights = SHARED[case]
    path = graph(tmp_path, nodes, weights, shape=["n", 5])
    target = tmp_path / "int8.onnx"
    quantize(path, target, kind, {"x": floats(5, 5)}, op_types_to_quantize=["Gemm"])
    assert count_params(path) == sum(value.size for value in weights.values())
    assert count_params(target) == count_params(path)


@pytest.mark.parametrize("per_channel", [False, True])
def test_scales_of_a_product_that_reads_an_8_bit_table_are_no_parameters(tmp_path, per_channel):
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["i"]),
        helper.make_node("Add", ["i", "b"], ["y"]),
    ]
    weights = {"table": floats(7, 5), "w": floats(5, 4), "b": floats(4)}
    x = helper.make_tensor_value_info("x", TensorProto.INT64, ["n"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    stored = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], stored),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    onnx.save(model, tmp_path / "float.onnx")
    target = tmp_path / "int8.onnx"
    quantize_dynamic(tmp_path / "float.onnx", target, per_channel=per_channel)
    assert "MatMulInteger" in {node.op_type for node in onnx.load(target).graph.node}
    assert count_params(target) == count_params(tmp_path / "float.onnx") == 35 + 20 + 4


def test_biases_whose_names_end_in_digits_are_told_apart(tmp_path):
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b1"], ["h"]),
        helper.make_node("Gemm", ["h", "v", "b12"], ["y"]),
    ]
    weights = {"w": floats(5, 5), "v": 2 * floats(5, 5), "b1": floats(5), "b12": 2 * floats(5)}
    path = graph(tmp_path, nodes, weights, shape=["n", 5])
    target = tmp_path / "int8.onnx"
    quantize(path, target, "QDQ", {"x": floats(5, 5)})
    assert count_params(target) == 60
