"""Tiny ONNX files with the inputs that one asks for."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def write(path, inputs, *, nodes=None, tensors=(), outputs=("y",)):
    """A file whose output is its first input, unless nodes are given.

    `inputs` are (name, type, axes); an axis is a number, a name, or None.
    """
    first = inputs[0][0]
    graph = helper.make_graph(
        nodes or [helper.make_node("Identity", [first], ["y"])],
        "tiny",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in tensors],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def text_model(path, *, words=50, width=4, repeats=1):
    """(input_ids, attention_mask) to sums of embeddings, looked up by a cast of the ids."""
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["cast"], to=TensorProto.INT32),
        helper.make_node("Gather", ["table", "cast"], ["looked"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["looked", "wide"], ["h0"]),
    ]
    nodes += [
        helper.make_node("MatMul", [f"h{n}", "square"], [f"h{n + 1}"]) for n in range(repeats)
    ]
    nodes.append(helper.make_node("ReduceSum", [f"h{repeats}", "one"], ["y"], keepdims=0))
    generator = np.random.default_rng(0)
    return write(
        path,
        [
            ("input_ids", INT, ["batch", "sequence"]),
            ("attention_mask", INT, ["batch", "sequence"]),
        ],
        nodes=nodes,
        tensors=[
            ("table", generator.normal(size=(words, width)).astype(np.float32)),
            ("square", np.eye(width, dtype=np.float32)),
            ("last", np.array([-1], np.int64)),
            ("one", np.array([1], np.int64)),
        ],
    )


def generating_model(path, *, heads=2):
    """Tokens, a mask over all tokens and a cache, as Optimum names them."""
    past = ["batch_size", heads, "past_sequence_length", 4]
    nodes = [
        helper.make_node("Concat", ["past_key_values.0.key", "new"], ["present.0.key"], axis=2),
        helper.make_node("Identity", ["attention_mask"], ["all"]),
        helper.make_node("Identity", ["input_ids"], ["y"]),
        helper.make_node("Cast", ["input_ids"], ["f"], to=FLOAT),
        helper.make_node("Unsqueeze", ["f", "axes"], ["f4"]),
        helper.make_node("Tile", ["f4", "times"], ["new"]),
    ]
    return write(
        path,
        [
            ("input_ids", INT, ["batch_size", "sequence_length"]),
            ("attention_mask", INT, ["batch_size", "past_sequence_length + 1"]),
            ("past_key_values.0.key", FLOAT, past),
        ],
        nodes=[*nodes[3:], *nodes[:3]],
        tensors=[
            ("axes", np.array([1, 3], np.int64)),
            ("times", np.array([1, heads, 1, 4], np.int64)),
        ],
        outputs=("y", "present.0.key", "all"),
    )
