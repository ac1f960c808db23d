"""An ONNX graph as rewrites see it: who makes a tensor, who reads it, what shape it has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from onnx import numpy_helper

Dim = int | str | None
Shape = tuple[Dim, ...]

_LARGE = 1024  # elements; the values of larger constants say nothing about shapes


class Graph:
    """An index of a model's top graph. It describes one state: make a new one after a change.

    Attributes
    ----------
    model : the model; rewrites change it in place.
    producer : by tensor, the node that makes it.
    consumers : by tensor, the nodes that read it, each as often as it does.
    constants : initialisers by name.
    shapes : known shapes; a dimension is a size, a symbol, or None where unknown.
    outputs : names of the graph's outputs.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        graph = model.graph
        self.nodes = list(graph.node)
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.producer = {name: node for node in self.nodes for name in node.output if name}
        self.consumers: defaultdict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in reads(node):
                self.consumers[name].append(node)
        self.outputs = {value.name for value in graph.output}
        self.shapes = _shapes(model)

    def value(self, name: str) -> np.ndarray | None:
        """A constant's values, or None."""
        if name in self.constants:
            return numpy_helper.to_array(self.constants[name])
        node = self.producer.get(name)
        if node is not None and is_standard(node, "Constant") and node.attribute[0].name == "value":
            return numpy_helper.to_array(node.attribute[0].t)
        return None

    def only_reader(self, name: str) -> onnx.NodeProto | None:
        """The node that alone reads a tensor which isn't an output, or None."""
        readers = self.consumers[name]
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def fresh(self, name: str) -> str:
        """`name`, or that with a number where it is taken."""
        taken = {*self.producer, *self.constants, *(value.name for value in self.model.graph.input)}
        count, found = 0, name
        while found in taken:
            count += 1
            found = f"{name}_{count}"
        return found


def is_standard(node: onnx.NodeProto, *kinds: str) -> bool:
    """Whether it is one of ONNX's own operators of these names."""
    return node.domain in ("", "ai.onnx") and node.op_type in kinds


def reads(node: onnx.NodeProto) -> list[str]:
    """Names that a node and the graphs inside it read; those of inner tensors do no harm."""
    names = list(node.input)
    for each in node.attribute:
        for graph in (*each.graphs, *([each.g] if each.HasField("g") else [])):
            for child in graph.node:
                names.extend(reads(child))
            names.extend(value.name for value in graph.output)
    return names


def attribute(node: onnx.NodeProto, name: str, default: object) -> object:
    """An attribute's value, or the default."""
    for each in node.attribute:
        if each.name == name:
            return onnx.helper.get_attribute_value(each)
    return default


def replace_nodes(
    model: onnx.ModelProto, *, remove: Iterable[onnx.NodeProto], add: Sequence[onnx.NodeProto]
) -> None:
    """Take nodes out and put others in; the graph is sorted, and what nobody reads goes."""
    gone = {id(node) for node in remove}
    kept = [*(node for node in model.graph.node if id(node) not in gone), *add]
    _store(model, _sorted(model, _alive(model, kept)))


def _alive(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    producer = {name: node for node in nodes for name in node.output if name}
    wanted: set[int] = set()
    open_names = [value.name for value in model.graph.output]
    while open_names:
        node = producer.get(open_names.pop())
        if node is not None and id(node) not in wanted:
            wanted.add(id(node))
            open_names.extend(reads(node))
    return [node for node in nodes if id(node) in wanted]


def _sorted(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """In an order in which each node follows what it reads, and else as they stood."""
    producer = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    done: set[int] = set()
    order: list[onnx.NodeProto] = []
    for start in range(len(nodes)):
        stack = [start]
        while stack:
            index = stack[-1]
            names = reads(nodes[index])
            before = {producer[name] for name in names if name in producer} - done
            if index in done or not before:
                stack.pop()
                if index not in done:
                    done.add(index)
                    order.append(nodes[index])
            else:
                stack.extend(sorted(before, reverse=True))
    return order


def _store(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> None:
    graph = model.graph
    copies = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    used = {name for node in copies for name in reads(node)}
    made = {name for node in copies for name in node.output}
    outputs = {value.name for value in graph.output}
    unread = [t for t in graph.initializer if t.name not in used | outputs]
    for tensor in unread:
        graph.initializer.remove(tensor)
    stale = [value for value in graph.value_info if value.name not in made]
    for value in stale:
        graph.value_info.remove(value)
    del graph.node[:]
    graph.node.extend(copies)


def _shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Inferred on a copy without large constants: a model of over 2 GB can't be serialised."""
    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph, source = light.graph, model.graph
    graph.name = source.name
    graph.node.extend(source.node)
    graph.input.extend(source.input)
    graph.output.extend(source.output)
    graph.value_info.extend(source.value_info)
    for tensor in source.initializer:
        if np.prod(tensor.dims) <= _LARGE:
            graph.initializer.append(tensor)
        else:
            graph.initializer.add(
                name=tensor.name, data_type=tensor.data_type, dims=list(tensor.dims)
            )
    inferred = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    shapes: dict[str, Shape] = {t.name: tuple(t.dims) for t in source.initializer}
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        if value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            shapes[value.name] = tuple(
                dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None)
                for dim in dims
            )
    return shapes
