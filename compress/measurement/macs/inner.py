"""Lets the shapes inside inner graphs (of If, Loop and Scan) be seen from outside, run by run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from onnx import GraphProto, NodeProto, TensorProto, helper

from compress.measurement.macs.formulas import Shape
from compress.measurement.macs.operators import operator_of
from compress.onnx_graph.graph import Graph

if TYPE_CHECKING:
    import numpy as np

_BODIES = {"If": ("then_branch", "else_branch"), "Loop": ("body",), "Scan": ("body",)}


@dataclass(frozen=True)
class Probe:
    """The tensors that hold the shapes of an inner node's operands.

    Attributes
    ----------
    node : the node, which multiplies.
    names : for each operand the name of a tensor int64 (…, dimensions), with one row for every run
        of the node.
    """

    node: NodeProto
    names: tuple[str, ...]

    def runs(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Iterator[list[Shape]]:
        """The operands' shapes in every run."""
        seen = [arrays[name] for name in self.names]
        rows = [array.reshape(-1, array.shape[-1]) for array in seen if array.size]
        for shapes in zip(*rows, strict=True):
            yield [tuple(map(int, shape)) for shape in shapes]


def add_probes(graph: Graph) -> list[Probe]:
    """Make the shapes of all that inner graphs multiply outputs of the nodes that hold them.

    A Loop and a Scan stack them; the branch of an If that isn't taken gives none.
    """
    used = (f"macs.{number}" for number in count())
    return [probe for node in graph.nodes for probe in _of_node(node, used)]


def _of_node(node: NodeProto, used: Iterator[str]) -> list[Probe]:
    """Probes of all matmuls inside a node, by names in the graph where it stands."""
    bodies = {a.name: a.g for a in node.attribute if a.name in _BODIES.get(node.op_type, ())}
    return [
        Probe(probe.node, tuple(_lifted(name, node, body, bodies, used) for name in probe.names))
        for body in bodies.values()
        for probe in _of_graph(body, used)
    ]


def _of_graph(graph: GraphProto, used: Iterator[str]) -> list[Probe]:
    found = []
    for node in list(graph.node):
        found += _of_node(node, used)
        operator = operator_of(node)
        if operator is not None:
            operands = operator.names(node)
            names = tuple(next(used) for _ in operands)
            pairs = zip(operands, names, strict=True)
            graph.node.extend(helper.make_node("Shape", [x], [name]) for x, name in pairs)
            found.append(Probe(node, names))
    return found


def _lifted(
    name: str,
    node: NodeProto,
    body: GraphProto,
    bodies: Mapping[str, GraphProto],
    used: Iterator[str],
) -> str:
    """The name, outside, of what a body's tensor becomes as the node's last output."""
    for other in bodies.values():
        made = name
        if other is not body:  # the branch that isn't taken
            made = next(used)
            empty = helper.make_tensor(made, TensorProto.INT64, [0], [])
            other.node.append(helper.make_node("Constant", [], [made], value=empty))
        other.output.append(helper.make_tensor_value_info(made, TensorProto.INT64, None))
    for attribute in node.attribute:
        if attribute.name in ("scan_output_axes", "scan_output_directions"):
            attribute.ints.append(0)
    outside = next(used)
    node.output.append(outside)
    return outside
