"""Heads that share their weight with an embedding: both read one 8-bit tensor.

A language model's head is often a matmul with the transpose of the embedding's table. onnxruntime's
quantizer leaves such a matmul in float, and the table that it reads is dequantized and transposed
in each call. So the head gets a weight of its own, which the quantizer takes, and afterwards both
read its integers. onnxruntime transposes them once, when it loads the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from compress.onnx_graph.files import load_model, save_model
from compress.onnx_graph.graph import Graph
from compress.onnx_graph.nodes import attributes
from compress.quantization.write import write

HEAD = "_head"
"""What is added to a table's name for its head's weight."""
_INTEGERS, _SCALE, _ZERO_POINT = "_quantized", "_scale", "_zero_point"
"""What onnxruntime's quantizer adds to a weight's name."""


@dataclass(frozen=True)
class TiedHead:
    """A table, and the nodes that read it.

    Attributes
    ----------
    table : name of the weight, of shape (tokens, width).
    transpose : the node between the table and the head's matmuls.
    matmuls, gathers : the nodes that read it, by name.
    """

    table: str
    transpose: NodeProto
    matmuls: tuple[str, ...]
    gathers: tuple[str, ...]


def tied_heads(graph: Graph) -> list[TiedHead]:
    """Return the heads of a float graph that share their weight with an embedding."""
    return [head for node in graph.nodes if (head := _head(graph, node)) is not None]


def _head(graph: Graph, node: NodeProto) -> TiedHead | None:
    table = graph.initializers.get(node.input[0]) if node.op_type == "Transpose" else None
    if table is None or table.data_type != TensorProto.FLOAT or len(table.dims) != 2:
        return None
    matmuls = graph.readers(node.output[0])
    gathers = [each for each in graph.readers(table.name) if each is not node]
    turned = list(attributes(node).get("perm", (1, 0))) == [1, 0]
    products = all(n.op_type == "MatMul" and n.input[1] == node.output[0] for n in matmuls)
    rows = all(n.op_type == "Gather" and not attributes(n).get("axis", 0) for n in gathers)
    if not (turned and matmuls and gathers and products and rows):
        return None
    names = (tuple(each.name for each in found) for found in (matmuls, gathers))
    return TiedHead(table.name, node, *names)


def untie(source: Path, path: Path) -> Path:
    """Write a float graph whose heads have weights of their own; return its path.

    Returns
    -------
    `source` itself if it has no tied heads.
    """
    model = load_model(source)
    graph = Graph(model)
    heads = tied_heads(graph)
    if not heads:
        return source
    for head in heads:
        table = numpy_helper.to_array(graph.initializers[head.table])
        name = graph.add_initializer(f"{head.table}{HEAD}", np.ascontiguousarray(table.T))
        for node in graph.readers(head.transpose.output[0]):
            node.input[1] = name
    graph.forget()
    graph.remove_unused()
    save_model(model, path)
    return path


def tied_embeddings(graph: Graph, nodes: Collection[str]) -> tuple[str, ...]:
    """Return the embeddings of a tied graph; none if one of them or a head isn't among `nodes`."""
    heads = tied_heads(graph)
    wanted = {name for head in heads for name in (*head.matmuls, *head.gathers)}
    if not wanted <= set(nodes):
        return ()
    return tuple(name for head in heads for name in head.gathers)


def tie(path: Path) -> None:
    """Let embeddings read the integers of their heads.

    Parameters
    ----------
    path : a file that was made from what `untie` wrote, with heads in 8 bits and their embeddings
        in float.
    """
    model = load_model(path)
    graph = Graph(model)
    ending = f"{HEAD}{_INTEGERS}"
    for name in [name for name in graph.initializers if name.endswith(ending)]:
        _tie(graph, name.removesuffix(ending))
    write(model, path=path, source=path)


def _tie(graph: Graph, table: str) -> None:
    head = f"{table}{HEAD}"
    stored = graph.initializers[f"{head}{_INTEGERS}"]
    integers = numpy_helper.to_array(stored)
    name = f"{table}{_INTEGERS}"
    gathers = graph.readers(table)
    graph.remove_initializers([stored])
    graph.add_initializer(name, np.ascontiguousarray(integers.T))
    added = [
        helper.make_node("Transpose", [name], [stored.name], name=f"{head}_transpose", perm=[1, 0])
    ]
    for gather in gathers:
        added += _rows(graph, head, name, gather)
    graph.replace(remove=gathers, add=added)


def _rows(graph: Graph, head: str, table: str, gather: NodeProto) -> Iterator[NodeProto]:
    """Yield the nodes that give an embedding's rows in float, by the scales of the head."""
    tokens, output = gather.input[1], gather.output[0]
    scale, zero_point = f"{head}{_SCALE}", f"{head}{_ZERO_POINT}"
    integers, wide, centred, scales = (
        f"{output}_of_{head}_{what}" for what in ("integers", "wide", "centred", "scales")
    )
    yield helper.make_node("Gather", [table, tokens], [integers], name=gather.name)
    if not graph.initializers[scale].dims:
        yield helper.make_node(
            "DequantizeLinear", [integers, scale, zero_point], [output], name=f"{gather.name}_rows"
        )
        return
    yield helper.make_node("Cast", [integers], [wide], to=TensorProto.FLOAT)
    [offset] = np.unique(numpy_helper.to_array(graph.initializers[zero_point]))  # of all channels
    if offset:
        name = graph.add_initializer(f"{wide}_offset", np.asarray(offset, np.float32))
        yield helper.make_node("Sub", [wide, name], [centred])
    last = graph.add_initializer(f"{scales}_axis", np.array([-1]))
    yield helper.make_node("Gather", [scale, tokens], [f"{scales}_flat"])
    yield helper.make_node("Unsqueeze", [f"{scales}_flat", last], [scales])
    yield helper.make_node(
        "Mul", [centred if offset else wide, scales], [output], name=f"{gather.name}_rows"
    )
