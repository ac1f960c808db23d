"""Writes einsums of an activation and a weight as matmuls.

The weight of a matmul can be stored in 8 bits. ONNX Runtime has no such operator for einsums.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compress.onnx_graph.graph import Graph
from compress.onnx_graph.nodes import attribute, is_standard


@dataclass(frozen=True)
class _Product:
    """An einsum that is a matmul of an activation (…, K) and a weight (K, N).

    Attributes
    ----------
    node : the einsum.
    values, weight : names of its operands.
    axes : dimensions of the weight in the order of K's, and then of N's.
    order : dimensions of the activation in the order of those that stay, and then of K's.
    kept : number of dimensions that stay.
    contracted, made : sizes of K's and of N's dimensions.
    back : dimensions of the product in the order of the answer's.
    """

    node: NodeProto
    values: str
    weight: str
    axes: tuple[int, ...]
    order: tuple[int, ...]
    kept: int
    contracted: tuple[int, ...]
    made: tuple[int, ...]
    back: tuple[int, ...]


def einsums_as_matmuls(model: ModelProto) -> None:
    """Write the einsums of one activation and one weight as matmuls, in place.

    Weights that something else reads, or that einsums read in different orders, stay as they are:
    they would be stored twice. So do einsums that multiply element by element.
    """
    graph = Graph(model)
    by_weight = defaultdict(list)
    for node in graph.nodes:
        product = _product(node, graph)
        if product is not None:
            by_weight[product.weight].append(product)
    removed: list[NodeProto] = []
    added: list[NodeProto] = []
    for weight, products in by_weight.items():
        if len(products) < len(graph.readers(weight)) or len({p.axes for p in products}) > 1:
            continue
        first, values = products[0], numpy_helper.to_array(graph.initializers[weight])
        matrix = values.transpose(first.axes).reshape(prod(first.contracted), prod(first.made))
        name = graph.add_initializer(graph.unused_name(f"{weight}.matrix"), matrix)
        for product in products:
            removed.append(product.node)
            added += _nodes(product, name, graph)
    if added:
        graph.replace(remove=removed, add=added)


def _product(node: NodeProto, graph: Graph) -> _Product | None:
    """An einsum as a matmul; None for other nodes and einsums."""
    if not is_standard(node, "Einsum") or len(node.input) != 2:
        return None
    weights = [name in graph.initializers for name in node.input]
    if sum(weights) != 1:
        return None
    given, _, answer = attribute(node, "equation", b"").decode().replace(" ", "").partition("->")
    place = weights.index(True)
    terms = given.split(",")
    values, weight = terms[1 - place], terms[place]
    tensor = graph.initializers[node.input[place]]
    contracted = [axis for axis in values if axis in weight]
    kept = [axis for axis in values if axis not in weight]
    made = [axis for axis in answer if axis in weight]
    plain = all(len(set(term)) == len(term) for term in (values, weight, answer))
    whole = set(answer) == {*kept, *made} and set(weight) == {*contracted, *made}
    if not (plain and whole and kept and contracted and made) or set(contracted) & set(made):
        return None
    if not (given + answer).replace(",", "").isalpha() or tensor.data_type != TensorProto.FLOAT:
        return None  # an ellipsis stands for any number of axes
    sizes = dict(zip(weight, tensor.dims, strict=True))
    return _Product(
        node,
        node.input[1 - place],
        node.input[place],
        tuple(weight.index(axis) for axis in [*contracted, *made]),
        tuple(values.index(axis) for axis in [*kept, *contracted]),
        len(kept),
        tuple(sizes[axis] for axis in contracted),
        tuple(sizes[axis] for axis in made),
        tuple([*kept, *made].index(axis) for axis in answer),
    )


def _nodes(product: _Product, matrix: str, graph: Graph) -> Iterator[NodeProto]:
    """Yield the nodes that compute an einsum's answer; a step that changes nothing is left out."""
    name, left = product.node.name or product.node.output[0], [0] * product.kept
    whole = [*left, prod(product.contracted)]
    apart = [*left, *product.made]
    steps: list[tuple[str, list[int] | str]] = [
        *([("Transpose", list(product.order))] if _moves(product.order) else []),
        *([("Reshape", whole)] if len(product.contracted) > 1 else []),
        ("MatMul", matrix),
        *([("Reshape", apart)] if len(product.made) > 1 else []),
        *([("Transpose", list(product.back))] if _moves(product.back) else []),
    ]
    read = product.values
    for number, (kind, what) in enumerate(steps):
        last = number == len(steps) - 1
        made = product.node.output[0] if last else f"{name}_step_{number}"
        called = name if kind == "MatMul" else f"{name}_{kind}_{number}"
        if kind == "Transpose":
            yield helper.make_node(kind, [read], [made], name=called, perm=what)
        else:
            if isinstance(what, list):
                shape = np.array(what, dtype=np.int64)
                what = graph.add_initializer(graph.unused_name(f"{called}_shape"), shape)
            yield helper.make_node(kind, [read, what], [made], name=called)
        read = made


def _moves(order: tuple[int, ...]) -> bool:
    return order != tuple(range(len(order)))
