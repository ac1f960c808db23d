"""Small hand-made ONNX graphs whose activations are known."""

import numpy as np
import onnx
from onnx import TensorProto, helper


def graph(path, nodes, *, inputs, outputs, weights=()):
    """Write a model; inputs by name with their ranks, all float."""

    def value(name, rank=None):
        shape = None if rank is None else ["n", *(f"{name}{axis}" for axis in range(1, rank))]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    made = helper.make_graph(
        nodes,
        "graph",
        [value(name, rank) for name, rank in inputs.items()],
        [value(name) for name in outputs],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path


def scaled(path, factors=(1.0,)):
    """x (N, D) times each of the factors, one after another: y0, y1, …"""
    nodes, last = [], "x"
    for place in range(len(factors)):
        nodes.append(helper.make_node("Mul", [last, f"c{place}"], [f"y{place}"]))
        last = f"y{place}"
    weights = [(f"c{place}", np.float32(factor)) for place, factor in enumerate(factors)]
    return graph(path, nodes, inputs={"x": 2}, outputs=[last], weights=weights)
