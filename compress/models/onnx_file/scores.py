"""Turns a given graph's answer into raw scores, which every task's metrics and bundle expect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compress.errors import ModelError
from compress.models.onnx_file.matching import Activation
from compress.onnx_graph.ends import put_after
from compress.onnx_graph.files import load_model
from compress.onnx_graph.graph import Graph
from compress.onnx_graph.nodes import attribute, is_standard

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


_ZIPMAP = "ZipMap"
_LEAST = 1e-30
_CLOSE = 1e-3
Array = NDArray[Any]


def before_zipmap(model: ModelProto, output: str) -> str:
    """Return the tensor of probabilities that a ZipMap turns into dictionaries.

    Raises
    ------
    ModelError : the output is a sequence that no ZipMap makes.
    """
    node = Graph(model).producer(output)
    if node is None or node.op_type != _ZIPMAP:
        made = "an input" if node is None else f"node {node.name!r} ({node.op_type})"
        raise ModelError(f"its output {output!r} is a sequence, made by {made}, not by a ZipMap.")
    return str(node.input[0])


def names_of_zipmap(path: Path) -> tuple[str, ...]:
    """Return the class names that a file's ZipMap has; empty if there is none, or it has numbers.

    Raises
    ------
    LoadError : the file can't be read.
    """
    for node in Graph(load_model(path, weights=False)).nodes:
        if node.op_type == _ZIPMAP:
            none: list[bytes] = []
            names = attribute(node, "classlabels_strings", none)
            return tuple(name.decode("utf-8", errors="replace") for name in names)
    return ()


def before_activation(
    graph: Graph, output: str, activation: Activation | None, *, class_axis: int = -1
) -> str | None:
    """Return the scores of which a graph's last node takes a softmax or sigmoid.

    None: it doesn't end so.

    Parameters
    ----------
    activation : the one that a bundle applies to the scores; None if it applies none.
    class_axis : axis of the scores' classes.
    """
    node = graph.producer(output)
    while node is not None and is_standard(node, "Identity"):
        node = graph.producer(node.input[0])
    if node is None or activation is None or not is_standard(node, activation.capitalize()):
        return None
    scores = str(node.input[0])
    if graph.producer(scores) is None:
        return None  # an input or a constant is no answer
    if activation == "softmax" and not _is_over(class_axis, node, graph, scores):
        return None
    return scores


def _is_over(class_axis: int, node: NodeProto, graph: Graph, scores: str) -> bool:
    axis = attribute(node, "axis", -1 if graph.opset >= 13 else 1)
    shape = graph.shape(scores)
    return axis == class_axis or (shape is not None and (axis - class_axis) % len(shape) == 0)


def probabilities(answers: Array, activation: Activation | None, *, class_axis: int = -1) -> bool:
    """Return whether answers are probabilities rather than the scores that they should be."""
    if activation is None or not answers.size:
        return False
    if answers.min() < 0 or answers.max() > 1 + _CLOSE:
        return False
    return activation == "sigmoid" or bool(np.allclose(answers.sum(class_axis), 1, atol=_CLOSE))


def as_scores(model: ModelProto, output: str, activation: Activation) -> None:
    """Put a logarithm (of the odds, for sets of classes) behind an answer of probabilities."""
    graph = Graph(model)
    least = graph.add_initializer(f"{output}.least", np.array(_LEAST, np.float32))
    if activation == "softmax":
        put_after(model, output, [("Max", [least]), ("Log", [])])
        return
    # log(p / (1 - p)) = -log(1 / p - 1)
    most = graph.add_initializer(f"{output}.most", np.array(1 - 1e-7, np.float32))
    one = graph.add_initializer(f"{output}.one", np.array(1, np.float32))
    nodes = [("Max", [least]), ("Min", [most]), ("Reciprocal", []), ("Sub", [one])]
    nodes += [("Log", []), ("Neg", [])]
    put_after(model, output, nodes)


def applied(activation: Activation | None, scores: Array, *, class_axis: int = -1) -> Array:
    """Return what an activation makes of scores; they themselves if there is none."""
    scores = scores.astype(np.float64)
    if activation == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-scores)))
    if activation == "softmax":
        powers = np.exp(scores - scores.max(class_axis, keepdims=True))
        return np.asarray(powers / powers.sum(class_axis, keepdims=True))
    return scores
