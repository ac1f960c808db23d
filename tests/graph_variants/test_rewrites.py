"""Each rewrite on graphs made by hand: where it applies, and where it must not."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.graph_variants.attention_operators import attention_operators
from compress.graph_variants.masks import padding_masks
from compress.graph_variants.residual_sums import residual_sums
from compress.graph_variants.unread_rows import unread_rows
from compress.measurement.session import run, unoptimized_session

GENERATOR = np.random.default_rng(0)


def floats(*shape):
    return GENERATOR.normal(size=shape).astype(np.float32)


def model(nodes, weights, inputs, *, opset=20):
    """Inputs by name: (type, shape); the output is "y"."""
    made = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info(name, *what) for name, what in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def compute(graph, tmp_path, **inputs):
    return run(unoptimized_session(graph, path=tmp_path / "made.onnx"), inputs)["y"]


def kinds(graph):
    return [node.op_type for node in graph.graph.node]


X = {"x": (TensorProto.FLOAT, ["n", "s", 4])}


def norm(before, after):
    return helper.make_node("LayerNormalization", [before, "g"], [after])


@pytest.mark.parametrize(("other", "count"), [("x", 1), ("bias", 0)])
def test_only_additions_of_two_activations_become_sums(tmp_path, other, count):
    nodes = [helper.make_node("Add", ["x", other], ["a"]), norm("a", "y")]
    weights = {"g": floats(4)} | ({"bias": floats(4)} if other == "bias" else {})
    graph, x = model(nodes, weights, X), floats(2, 3, 4)
    wanted = compute(graph, tmp_path, x=x)
    assert residual_sums(graph) == count
    assert kinds(graph).count("Sum") == count
    assert np.array_equal(compute(graph, tmp_path, x=x), wanted)


def block(*, pick=0, axis=1):
    """A residual block of which one position is read."""
    return [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Gelu", ["h"], ["gelu"]),
        helper.make_node("Add", ["gelu", "x"], ["a"]),
        norm("a", "n"),
        helper.make_node("Gather", ["n", "position"], ["y"], axis=axis),
    ], {"w": floats(4, 4), "g": floats(4), "position": np.array(pick)}


@pytest.mark.parametrize("pick", [0, 2])
def test_only_the_row_that_is_read_is_computed(tmp_path, pick):
    nodes, weights = block(pick=pick)
    graph, x = model(nodes, weights, X), floats(2, 3, 4)
    wanted = compute(graph, tmp_path, x=x)
    assert unread_rows(graph) == 1
    assert kinds(graph)[0] == "Gather"
    assert np.allclose(compute(graph, tmp_path, x=x), wanted, atol=1e-6)


def test_rows_that_something_else_reads_stay():
    nodes, weights = block()
    nodes += [
        helper.make_node("ReduceMean", ["n"], ["m"], keepdims=0),
        helper.make_node("Add", ["y0", "m"], ["y"]),
    ]
    nodes[4].output[0] = "y0"
    graph = model(nodes, weights, X)
    before = graph.SerializeToString()
    assert unread_rows(graph) == 0
    assert graph.SerializeToString() == before


def test_rows_read_by_an_inner_graph_stay():
    nodes, weights = block()
    nodes[4].output[0] = "row"
    branches = {
        name: helper.make_graph(
            [helper.make_node("ReduceMean", ["n"], [f"{name}_y"], keepdims=0)],
            name, [], [helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)],
        )
        for name in ("then_branch", "else_branch")
    }  # fmt: skip
    nodes += [
        helper.make_node("If", ["yes"], ["mean"], **branches),
        helper.make_node("Add", ["row", "mean"], ["y"]),
    ]
    assert unread_rows(model(nodes, weights | {"yes": np.array(True)}, X)) == 0


def attention(*, mask_rows="s", heads=2):
    """Attention of x with itself, with a mask (n, 1, mask_rows, s)."""
    split = np.array([0, 0, heads, 4 // heads])
    nodes = [
        helper.make_node("Reshape", ["x", "split"], ["view"]),
        helper.make_node("Transpose", ["view"], ["q"], perm=[0, 2, 1, 3]),
        helper.make_node("Transpose", ["view"], ["k"], perm=[0, 2, 3, 1]),
        helper.make_node("Transpose", ["view"], ["v"], perm=[0, 2, 1, 3]),
        helper.make_node("MatMul", ["q", "k"], ["scores"]),
        helper.make_node("Mul", ["scores", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "mask"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["probabilities"], axis=-1),
        helper.make_node("MatMul", ["probabilities", "v"], ["mixed"]),
        helper.make_node("Transpose", ["mixed"], ["t"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["t", "join"], ["y"]),
    ]
    weights = {"split": split, "join": np.array([0, 0, 4]), "scale": np.float32(0.7)}
    inputs = X | {"mask": (TensorProto.FLOAT, ["n", 1, mask_rows, "s"])}
    return nodes, {k: np.asarray(v) for k, v in weights.items()}, inputs


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_becomes_one_operator(tmp_path, heads):
    graph = model(*attention(heads=heads))
    given = {"x": floats(2, 3, 4), "mask": floats(2, 1, 3, 3)}
    wanted = compute(graph, tmp_path, **given)
    assert attention_operators(graph) == 1
    assert kinds(graph) == ["Attention"]
    assert np.allclose(compute(graph, tmp_path, **given), wanted, atol=1e-6)


def test_attention_stays_where_the_runtime_would_not_take_its_mask():
    graph = model(*attention(mask_rows=1))
    assert attention_operators(graph) == 0
    assert graph.opset_import[0].version == 20


def test_attention_stays_where_its_scores_are_read_elsewhere():
    nodes, weights, inputs = attention()
    nodes[-1].output[0] = "joined"
    nodes += [
        helper.make_node("ReduceMean", ["probabilities"], ["mean"], keepdims=0),
        helper.make_node("Add", ["joined", "mean"], ["y"]),
    ]
    assert attention_operators(model(nodes, weights, inputs)) == 0


def test_attention_stays_in_an_old_opset():
    assert attention_operators(model(*attention(), opset=17)) == 0


def masked(*, causal):
    """Scores plus a mask that is spread over the queries."""
    nodes = [
        helper.make_node("Cast", ["ids"], ["kept"], to=TensorProto.BOOL),
        helper.make_node("Unsqueeze", ["kept", "axes"], ["keys"]),
        helper.make_node("Shape", ["ids"], ["length"], start=1),
        helper.make_node("Concat", ["length", "length"], ["shape"], axis=0),
        helper.make_node("Expand", ["ones", "shape"], ["square"]),
        *([helper.make_node("Trilu", ["square"], ["seen"], upper=0)] if causal else
          [helper.make_node("Identity", ["square"], ["seen"])]),
        helper.make_node("Cast", ["seen"], ["allowed"], to=TensorProto.BOOL),
        helper.make_node("And", ["keys", "allowed"], ["condition"]),
        helper.make_node("Where", ["condition", "zero", "low"], ["mask"]),
        helper.make_node("Add", ["scores", "mask"], ["y"]),
    ]  # fmt: skip
    weights = {
        "axes": np.array([1, 2]),
        "ones": np.ones((1, 1), np.float32),
        "zero": np.float32(0),
        "low": np.float32(-1e9),
    }
    inputs = {
        "ids": (TensorProto.INT64, ["n", "s"]),
        "scores": (TensorProto.FLOAT, ["n", 2, "s", "s"]),
    }
    made = model(nodes, {k: np.asarray(v) for k, v in weights.items()}, inputs)
    square = helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", 1, "s", "s"])
    made.graph.value_info.append(square)  # as the exporter records it
    return made


@pytest.mark.parametrize(("causal", "count"), [(False, 1), (True, 0)])
def test_masks_of_padding_alone_hold_one_row(tmp_path, causal, count):
    graph = masked(causal=causal)
    given = {"ids": np.array([[1, 1, 0], [1, 0, 0]]), "scores": floats(2, 2, 3, 3)}
    wanted = compute(graph, tmp_path, **given)
    assert padding_masks(graph) == count
    assert ("Expand" in kinds(graph)) == causal
    assert np.array_equal(compute(graph, tmp_path, **given), wanted)
