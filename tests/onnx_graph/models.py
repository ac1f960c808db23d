"""Graphs made by hand and at random, to be read and rewritten."""

from itertools import count
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compress.measurement.session import run, unoptimized_session

OPSET = 20
X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def value(name, shape=("n", 4), kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, *, outputs=("y",), weights=None, shape=None):
    """The input x is (n, 4) floats, outputs have any shape or one; weights are arrays by name."""
    made = helper.make_graph(
        nodes,
        "made",
        [value("x")],
        [value(name, shape) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def answers(given):
    """All outputs for `X`."""
    return run(unoptimized_session(given, path=Path("made.onnx")), {"x": X})


def same(got, wanted):
    """Whether all outputs are equal, bit by bit."""
    pairs = ((got[name], array) for name, array in wanted.items())
    return got.keys() == wanted.keys() and all(np.array_equal(a, b) for a, b in pairs)


def branching(*, reads="h"):
    """An If whose branches read tensors, and a weight, of the graph around it."""
    nodes = {"then": helper.make_node("Neg", [reads], ["inner"])}
    nodes["else"] = helper.make_node("Mul", [reads, "w"], ["inner"])
    branches = {
        f"{name}_branch": helper.make_graph([node], name, [], [value("inner", None)])
        for name, node in nodes.items()
    }
    chosen = [
        helper.make_node("Relu", ["x"], ["h"], name="relu"),
        helper.make_node("If", ["yes"], ["y"], name="if", **branches),
    ]
    weights = {"yes": np.array(True), "w": np.full(4, 2, np.float32)}
    return model(chosen, weights=weights)


@st.composite
def random_models(draw):
    """Up to a dozen nodes, of which some are read by nothing, with up to two outputs."""
    weights = {f"w{n}": np.full(4, n + 0.5, np.float32) for n in range(draw(st.integers(1, 4)))}
    known, nodes, numbers = ["x", *weights], [], count()
    for _ in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(["Add", "Mul", "Neg", "Relu", "If"]))
        name = f"t{next(numbers)}"
        read = [draw(st.sampled_from(known)) for _ in range(2 if kind in ("Add", "Mul") else 1)]
        if kind == "If":
            branches = {
                f"{side}_branch": helper.make_graph(
                    [helper.make_node(inner, read, [f"{name}.{side}"])],
                    side,
                    [],
                    [value(f"{name}.{side}", None)],
                )
                for side, inner in (("then", "Neg"), ("else", "Relu"))
            }
            nodes.append(helper.make_node("If", ["yes"], [name], name=name, **branches))
        else:
            nodes.append(helper.make_node(kind, read, [name], name=name))
        known.append(name)
    made = [name for node in nodes for name in node.output]
    outputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=2, unique=True))
    return model(nodes, outputs=outputs, weights={**weights, "yes": np.array(True)})
