"""ONNX files as other exporters write them, made of parts: a classifier of scikit-learn's digits.

A random convolution and ridge regression tell the digits apart well enough for quality to matter.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

Array = NDArray[Any]
CHANNELS, SIZE, CLASSES = 8, 8, 10
FEATURES = CHANNELS * SIZE * SIZE


@cache
def weights() -> dict[str, Array]:
    """Return the weights by name."""
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(CHANNELS, 1, 3, 3)).astype(np.float32)
    bias = generator.normal(size=CHANNELS).astype(np.float32)
    images, labels = load_digits(return_X_y=True)
    pixels = np.round(images.reshape(-1, SIZE, SIZE) * 255 / 16).astype(np.float32) / 255
    padded = np.pad(pixels, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    found = np.einsum("nhwij,cij->nchw", windows, kernel[:, 0]) + bias[:, None, None]
    features = np.maximum(found, 0).reshape(len(labels), -1).astype(np.float64)
    mean = features.mean(0)
    centred, wanted = features - mean, np.eye(CLASSES)[labels] * 12 - 1.2
    solved = np.linalg.solve(
        centred.T @ centred + 30 * np.eye(FEATURES), centred.T @ (wanted - wanted.mean(0))
    )
    return {
        "kernel": kernel,
        "bias": bias,
        "dense": solved.astype(np.float32),
        "shift": (wanted.mean(0) - mean @ solved).astype(np.float32),
    }


def digits(  # noqa: PLR0913 (each is read by name)
    *,
    opset: int = 18,
    name: str = "images",
    batch: int | str | None = "N",
    shape: Sequence[int | str | None] | None = (1, SIZE, SIZE),
    ending: Sequence[NodeProto] = (),
    outputs: Sequence[onnx.ValueInfoProto] | None = None,
    reshape: bool = False,
    named: bool = True,
    constants: bool = False,
    domains: Sequence[tuple[str, int]] = (),
    initializers: Sequence[TensorProto] = (),
) -> ModelProto:
    """Return the classifier; its scores are the tensor `scores`.

    Parameters
    ----------
    batch, shape : axes of the input; no shape at all if `shape` is None.
    ending : nodes behind the scores.
    outputs : the graph's outputs; None: the scores.
    reshape : whether a Reshape with the batch's size as a constant stands in place of Flatten.
    named : whether nodes have names.
    constants : whether weights are in `Constant` nodes.
    """
    held = [numpy_helper.from_array(array, key) for key, array in weights().items()]
    nodes = []
    if constants:
        nodes = [helper.make_node("Constant", [], [one.name], value=one) for one in held]
        held = []
    flatten = helper.make_node("Flatten", ["relu"], ["flat"], axis=1)
    if reshape:
        held.append(numpy_helper.from_array(np.array([batch, FEATURES], np.int64), "flat_shape"))
        flatten = helper.make_node("Reshape", ["relu", "flat_shape"], ["flat"])
    nodes += [
        helper.make_node("Conv", [name, "kernel", "bias"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        flatten,
        helper.make_node("Gemm", ["flat", "dense", "shift"], ["scores"]),
        *ending,
    ]
    for place, node in enumerate(nodes):
        node.name = f"net/{node.op_type}_{place}" if named else ""
    axes = None if shape is None else [batch, *shape]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, axes)],
        outputs or [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, CLASSES])],
        [*held, *initializers],
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(key, at) for key, at in (("", opset), *domains)],
        ir_version=8,
        producer_name="another",
        producer_version="1.0",
    )


def linear() -> ModelProto:
    """Return a classifier of three numbers that has its parameters in a node.

    As of xgboost's converter, there is no opset of ONNX's own.
    """
    node = helper.make_node(
        "LinearClassifier",
        ["x"],
        ["label", "p"],
        domain="ai.onnx.ml",
        coefficients=[1.0, 2, -3, -1, -2, 3],
        intercepts=[0.5, -0.5],
        classlabels_ints=[0, 1],
        post_transform="SOFTMAX",
    )
    value = helper.make_tensor_value_info
    outputs = [value("label", TensorProto.INT64, ["N"]), value("p", TensorProto.FLOAT, ["N", 2])]
    inputs = [value("x", TensorProto.FLOAT, ["N", 3])]
    graph = helper.make_graph([node], "linear", inputs, outputs)
    opsets = [helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def save(model: ModelProto, path: Path, **options: Any) -> Path:
    """Write a model, and return its path."""
    onnx.save_model(model, path, **options)
    return path


WORDS = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "is", "and", "plain"),
    *("red", "green", "blue", "car", "house", "sky", "bird", "boat", "tree"),
)
WIDTH = 256


def texts(
    *,
    opset: int = 18,
    element: int = TensorProto.INT64,
    names: Sequence[str] = ("input_ids", "attention_mask"),
    length: int | str = "S",
    batch: int | str = "N",
    flat: bool = False,
    inside: str = "",
) -> ModelProto:
    """Return a classifier of texts, by the sum of their words' vectors: whether one is red.

    Parameters
    ----------
    element : the type of the inputs.
    names : names of the inputs, tokens first.
    flat : whether tokens are flattened by a Reshape with the batch and the length as constants.
    inside : "If" or "Loop" puts the last layer into the graphs of such a node.
    """
    generator = np.random.default_rng(0)
    table = generator.normal(size=(len(WORDS), WIDTH)).astype(np.float32) / 10
    table[:, 0] = [float(word == "red") for word in WORDS]
    dense = generator.normal(size=(WIDTH, 2)).astype(np.float32) / 100
    dense[0] = [-6, 6]
    ids, mask = names
    held = {"table": table, "dense": dense, "shift": np.array([3, -3], np.float32)}
    held |= {"last": np.array([2], np.int64), "tokens": np.array([1], np.int64)}
    nodes = [
        helper.make_node("Gather", ["table", ids], ["words"]),
        helper.make_node("Cast", [mask], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["real", "last"], ["column"]),
        helper.make_node("Mul", ["words", "column"], ["masked"]),
    ]
    if flat:
        held["rows"] = np.array([batch * length, WIDTH], np.int64)
        held["back"] = np.array([batch, length, WIDTH], np.int64)
        nodes.append(helper.make_node("Reshape", ["masked", "rows"], ["listed"]))
        nodes.append(helper.make_node("Relu", ["listed"], ["positive"]))
        nodes.append(helper.make_node("Reshape", ["positive", "back"], ["summed"]))
    else:
        nodes.append(helper.make_node("Relu", ["masked"], ["summed"]))
    nodes.append(helper.make_node("ReduceSum", ["summed", "tokens"], ["pooled"], keepdims=0))
    nodes += _last_layer(inside, held)
    for place, node in enumerate(nodes):
        node.name = f"text/{node.op_type}_{place}"
    graph = helper.make_graph(
        nodes,
        "texts",
        [helper.make_tensor_value_info(name, element, [batch, length]) for name in names],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 2])],
        [numpy_helper.from_array(array, key) for key, array in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _last_layer(inside: str, held: dict[str, Array]) -> list[NodeProto]:
    dense = helper.make_node("MatMul", ["pooled", "dense"], ["product"], name="inner/MatMul")
    shift = helper.make_node("Add", ["product", "shift"], ["scored"], name="inner/Add")
    scored = helper.make_tensor_value_info("scored", TensorProto.FLOAT, None)
    if inside == "If":
        held["zero"] = np.array(0, np.float32)
        then = helper.make_graph([dense, shift], "then", [], [scored])
        other = helper.make_graph(
            [helper.make_node("Neg", ["pooled"], ["scored"])], "otherwise", [], [scored]
        )
        return [
            helper.make_node("ReduceSum", ["real"], ["count"], keepdims=0),
            helper.make_node("Greater", ["count", "zero"], ["any"]),
            helper.make_node("If", ["any"], ["logits"], then_branch=then, else_branch=other),
        ]
    if inside == "Loop":
        held |= {"times": np.array(2, np.int64), "go": np.array(True)}
        flags = [helper.make_tensor_value_info(n, TensorProto.BOOL, []) for n in ("on", "still")]
        number = helper.make_tensor_value_info("number", TensorProto.INT64, [])
        carried = helper.make_tensor_value_info("carried", TensorProto.FLOAT, None)
        keep = helper.make_node("Identity", ["on"], ["still"])
        halved = helper.make_node("Mul", ["carried", "one"], ["scored"], name="inner/Mul")
        held["one"] = np.array(1, np.float32)
        body = helper.make_graph(
            [keep, halved], "body", [number, flags[0], carried], [flags[1], scored]
        )
        shift.output[0] = "before"
        return [
            dense,
            shift,
            helper.make_node("Loop", ["times", "go", "before"], ["logits"], body=body),
        ]
    shift.output[0] = "logits"
    return [dense, shift]


def tokenizer(folder: Path) -> Path:
    """Write a tokenizer of the words, and return its folder."""
    from transformers import BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=16).save_pretrained(folder)
    return folder


def two_and_two() -> ModelProto:
    """Return a model of a table (N, 3) and a column (N, 1), to a class and to a box of numbers.

    Weights are random.
    """
    generator = np.random.default_rng(2)
    held = {
        "wide": generator.normal(size=(4, 256)).astype(np.float32),
        "a": generator.normal(size=(256, 3)).astype(np.float32) / 9,
        "b": generator.normal(size=(256, 2)).astype(np.float32) / 9,
    }
    nodes = [
        helper.make_node("Concat", ["table", "age"], ["all"], axis=1),
        helper.make_node("MatMul", ["all", "wide"], ["hidden"]),
        helper.make_node("Tanh", ["hidden"], ["bent"]),
        helper.make_node("MatMul", ["bent", "a"], ["scored"]),
        helper.make_node("Softmax", ["scored"], ["probability"], axis=1),
        helper.make_node("MatMul", ["bent", "b"], ["box"]),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width])
        for name, width in (("table", 3), ("age", 1), ("box", 2), ("probability", 3))
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        values[:2],
        values[2:],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
