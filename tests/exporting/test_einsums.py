"""Einsums of an activation and a weight become matmuls, others stay."""

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.exporting.einsums import einsums_as_matmuls
from compress.measurement.session import run, session

SIZES = {"b": 2, "s": 3, "d": 4, "h": 5, "e": 6}


def floats(letters):
    return np.random.default_rng(len(letters)).normal(size=[SIZES[x] for x in letters])


def model(*equations, weights, answers):
    """A graph that reads `x` and the weights by einsums, one after another's name."""
    nodes = [
        helper.make_node("Einsum", names, [f"y{i}"], name=f"e{i}", equation=equation)
        for i, (equation, names) in enumerate(equations)
    ]
    given = equations[0][0].split("->")[0].split(",")
    letters = given[equations[0][1].index("x")].replace("...", "bs")
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *letters[1:]])],
        [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, [None] * n) for i, n in answers],
        [numpy_helper.from_array(x.astype(np.float32), name) for name, x in weights.items()],
    )
    for dim in graph.input[0].type.tensor_type.shape.dim[1:]:
        dim.dim_value = SIZES[dim.dim_param]
    opset = helper.make_opsetid("", 20)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10), letters


def kinds(made):
    return Counter(node.op_type for node in made.graph.node)


def answers(made, x, path):
    onnx.save(made, path)
    return run(session(path, threads=1), {"x": x})


@pytest.mark.parametrize(
    ("equation", "steps"),
    [
        ("bsd,de->bse", {"MatMul": 1}),
        ("bsd, ed -> bse", {"MatMul": 1}),
        ("bsd,dhe->bshe", {"MatMul": 1, "Reshape": 1}),
        ("bshe,dhe->bsd", {"MatMul": 1, "Reshape": 1}),
        ("bsd,hde->bhse", {"MatMul": 1, "Reshape": 1, "Transpose": 1}),
        ("bhse,hed->bsd", {"MatMul": 1, "Reshape": 1, "Transpose": 1}),
        ("bsd,hde->ehsb", {"MatMul": 1, "Reshape": 1, "Transpose": 1}),
    ],
)
@pytest.mark.parametrize("first", ["values", "weight"])
def test_it_is_a_matmul_of_the_same_answers(equation, steps, first, tmp_path):
    left, right = equation.split("->")
    terms, names = left.split(","), ["x", "w"]
    if first == "weight":
        terms, names = terms[::-1], names[::-1]
    equation, weight = f"{','.join(terms)}->{right}", terms[names.index("w")].strip()
    made, letters = model(
        (equation, names), weights={"w": floats(weight)}, answers=[(0, len(right.strip()))]
    )
    x = floats(letters).astype(np.float32)
    before = answers(made, x, tmp_path / "einsum.onnx")["y0"]
    einsums_as_matmuls(made)
    assert kinds(made) == steps
    after = answers(made, x, tmp_path / "matmul.onnx")["y0"]
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)
    (matrix,) = [w for w in made.graph.initializer if w.data_type == TensorProto.FLOAT]
    assert (matrix.name, len(matrix.dims)) == ("w.matrix", 2)
    assert matrix.dims[0] * matrix.dims[1] == floats(weight).size


@pytest.mark.parametrize(
    "equation", ["bsd,d->bsd", "bsd,se->bse", "bsd,d->bs", "...d,de->...e", "bsd,sde->bse"]
)
def test_other_einsums_stay(equation):
    weight = equation.split(",")[1].split("->")[0]
    made, _ = model((equation, ["x", "w"]), weights={"w": floats(weight)}, answers=[(0, 3)])
    before = made.SerializeToString()
    einsums_as_matmuls(made)
    assert made.SerializeToString() == before


def test_a_weight_that_is_read_twice_is_stored_once(tmp_path):
    weights, two = {"w": floats("de")}, [(0, 3), (1, 3)]
    alike = [("bsd,de->bse", ["x", "w"]), ("bsd,de->bes", ["x", "w"])]
    made, letters = model(*alike, weights=weights, answers=two)
    x = floats(letters).astype(np.float32)
    before = answers(made, x, tmp_path / "einsum.onnx")
    einsums_as_matmuls(made)
    assert [w.name for w in made.graph.initializer] == ["w.matrix"]
    after = answers(made, x, tmp_path / "matmul.onnx")
    for name in before:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-5, atol=1e-5)
    turned = [("bsd,de->bse", ["x", "w"]), ("bse,de->bsd", ["y0", "w"])]
    made, _ = model(*turned, weights=weights, answers=[(1, 3)])
    einsums_as_matmuls(made)
    assert kinds(made) == {"Einsum": 2}
