"""A model's graph, with an index of its tensors and nodes and methods that change it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from compress.onnx_graph.constants import Constant, constants
from compress.onnx_graph.inner import reads, tensors, with_inner
from compress.onnx_graph.nodes import constant_value
from compress.onnx_graph.order import in_order, needed
from compress.onnx_graph.types import Shape, TensorType, infer_types

Array = NDArray[Any]


class Graph:
    """The top-level graph of a model, indexed by the names of its tensors and nodes.

    Each part of the index is built when it is first used. The methods that change the graph discard
    the index. After a direct change of a node (its operator, its inputs) the old index stays in use
    until `forget` is called.

    Attributes
    ----------
    model : the model, which is changed in place.
    """

    def __init__(self, model: ModelProto) -> None:
        self.model = model

    def forget(self) -> None:
        """Discard the index; it is built again when it is next used."""
        model = self.model
        vars(self).clear()
        self.model = model

    @cached_property
    def nodes(self) -> list[NodeProto]:
        """The nodes in their order, each after those whose results it reads."""
        return list(self.model.graph.node)

    @cached_property
    def levels(self) -> list[GraphProto]:
        """The graph itself, and then all graphs inside its nodes."""
        return list(with_inner(self.model.graph))

    @cached_property
    def every_node(self) -> list[NodeProto]:
        """The nodes of all levels."""
        return [node for graph in self.levels for node in graph.node]

    @cached_property
    def initializers(self) -> dict[str, TensorProto]:
        """Initializers by name, in their order."""
        return {tensor.name: tensor for tensor in self.model.graph.initializer}

    @cached_property
    def constants(self) -> dict[str, Constant]:
        """Type and shape of initializers and `Constant` nodes, those of inner graphs included."""
        return constants(self.model.graph)

    @cached_property
    def inputs(self) -> dict[str, ValueInfoProto]:
        """Inputs that a caller gives, by name; initializers declared as inputs don't count."""
        given = self.model.graph.input
        return {value.name: value for value in given if value.name not in self.initializers}

    @cached_property
    def outputs(self) -> dict[str, ValueInfoProto]:
        """Outputs by name, in their order."""
        return {value.name: value for value in self.model.graph.output}

    @property
    def names(self) -> list[str]:
        """Names of the inputs of the top-level graph and of the outputs of its nodes."""
        made = (name for node in self.nodes for name in node.output if name)
        return list(dict.fromkeys([*self.inputs, *made]))

    @property
    def metadata(self) -> dict[str, str]:
        """The model's metadata, by key."""
        return {entry.key: entry.value for entry in self.model.metadata_props}

    @property
    def opset(self) -> int:
        """The version of ONNX's own operators; 0 if the model uses none."""
        versions = (o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx"))
        return int(next(versions, 0))

    def tensors(self) -> Iterator[TensorProto]:
        """All tensors that hold data: initializers, and those in attributes of nodes."""
        return tensors(self.model)

    def named(self, name: str) -> NodeProto | None:
        """The node of this name; None if there is none."""
        return self._by_name.get(name)

    def producer(self, tensor: str) -> NodeProto | None:
        """The node that makes a tensor, in an inner graph too; None for inputs and initializers."""
        return self._producers.get(tensor)

    def made_by(self, tensor: str, *kinds: str) -> NodeProto | None:
        """The node that makes a tensor, if it is one of these operators; otherwise None."""
        node = self.producer(tensor)
        return node if node is not None and node.op_type in kinds else None

    def readers(self, tensor: str) -> list[NodeProto]:
        """The nodes that read a tensor, each as often as it reads it.

        A node also reads what the graphs inside it read. Outputs of the graph don't count.
        """
        return self._readers.get(tensor, [])

    def only_reader(self, tensor: str) -> NodeProto | None:
        """The only reader of a tensor; None if there are others or it is an output of the graph."""
        readers = self.readers(tensor)
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None

    def value(self, tensor: str) -> Array | None:
        """The values of an initializer or of a `Constant` node; None for any other tensor."""
        if tensor in self.initializers:
            return numpy_helper.to_array(self.initializers[tensor])
        node = self.producer(tensor)
        return None if node is None else constant_value(node)

    def element_type(self, tensor: str) -> int:
        """The TensorProto.DataType of a tensor, declared or inferred; 0 if it is unknown."""
        if tensor in self.initializers:
            return self.initializers[tensor].data_type
        return self._types[tensor].element if tensor in self._types else 0

    def shape(self, tensor: str) -> Shape | None:
        """The shape of a tensor, declared or inferred; None if the number of dimensions is unknown.

        A dimension is a size, a symbol, or None if it is unknown.
        """
        if tensor in self.initializers:
            return tuple(self.initializers[tensor].dims)
        return self._types[tensor].shape if tensor in self._types else None

    @cached_property
    def _by_name(self) -> dict[str, NodeProto]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def _producers(self) -> dict[str, NodeProto]:
        inner = (node for graph in self.levels[1:] for node in graph.node)
        every = (*inner, *self.nodes)  # branches may use one name twice; that of the top graph wins
        return {name: node for node in every for name in node.output if name}

    @cached_property
    def _readers(self) -> dict[str, list[NodeProto]]:
        found: defaultdict[str, list[NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in reads(node):
                found[name].append(node)
        return dict(found)

    @cached_property
    def _types(self) -> dict[str, TensorType]:
        return infer_types(self.model)

    def unused_name(self, name: str) -> str:
        """`name`, with a number appended if it is taken."""
        taken = self._producers.keys() | self.initializers.keys() | self.inputs.keys()
        count, found = 0, name
        while found in taken:
            count += 1
            found = f"{name}_{count}"
        return found

    def add_initializer(self, name: str, values: Array) -> str:
        """Add a constant, and return its name."""
        held = self.model.graph.initializer
        held.append(numpy_helper.from_array(np.asarray(values), name))
        self.initializers[name] = held[-1]
        vars(self).pop("constants", None)
        return name

    def set_initializer(self, name: str, values: Array) -> None:
        """Replace the values of an initializer by others of any type and shape."""
        self.initializers[name].CopyFrom(numpy_helper.from_array(np.asarray(values), name))
        vars(self).pop("constants", None)

    def keep_initializers(self, wanted: Collection[str]) -> None:
        """Remove all initializers but these."""
        self.remove_initializers([x for x in self.initializers.values() if x.name not in wanted])

    def remove_initializers(self, given: Iterable[TensorProto]) -> None:
        """Remove initializers in place, as a copy of the others may be too large for a message."""
        gone = {id(tensor) for tensor in given}
        held = self.model.graph.initializer
        for place in reversed(range(len(held))):
            if id(held[place]) in gone:
                del held[place]
        self.forget()

    def set_nodes(self, nodes: Iterable[NodeProto]) -> None:
        """Replace all nodes by these, in this order."""
        copies = []
        for node in nodes:
            copy = NodeProto()
            copy.CopyFrom(node)
            copies.append(copy)
        del self.model.graph.node[:]
        self.model.graph.node.extend(copies)
        self.forget()

    def replace(self, *, remove: Iterable[NodeProto], add: Sequence[NodeProto]) -> None:
        """Remove nodes and add others; then sort the nodes, and remove what nothing reads."""
        gone = {id(node) for node in remove}
        kept = [*(node for node in self.nodes if id(node) not in gone), *add]
        self.set_nodes(in_order(needed(kept, self.outputs)))
        self.remove_unused()

    def redirect(self, renamed: Mapping[str, str]) -> None:
        """Rename the inputs of every node, also in inner graphs; the keys are the old names."""
        for node in self.every_node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
        for graph in self.levels:
            _remove_value_info(graph, {v.name for v in graph.value_info if v.name in renamed})
        self.forget()

    def forget_types(self, names: Collection[str]) -> None:
        """Remove the recorded types and shapes of tensors, for example after a change of shape."""
        _remove_value_info(self.model.graph, names)
        self.forget()

    def remove_unused(self) -> None:
        """Remove nodes and initializers that no output needs, and the types of removed tensors.

        An initializer that is also an input stays, as a caller would otherwise have to give it.
        """
        kept = needed(self.nodes, self.outputs)
        if len(kept) < len(self.nodes):
            self.set_nodes(kept)
        read = {name for node in self.nodes for name in reads(node)}
        declared = {value.name for value in self.model.graph.input}
        self.keep_initializers(read | self.outputs.keys() | declared)
        made = {name for node in self.nodes for name in node.output}
        known = made | declared | self.initializers.keys()
        noted = {value.name for value in self.model.graph.value_info}
        self.forget_types(noted - known)

    def add_outputs(self, names: Iterable[str]) -> None:
        """Make tensors outputs of the graph, if they aren't yet; the runtime infers their types."""
        missing = [name for name in dict.fromkeys(names) if name not in self.outputs]
        self.model.graph.output.extend(ValueInfoProto(name=name) for name in missing)
        self.forget()

    def ending_in(self, names: Collection[str]) -> ModelProto:
        """The part of the model that computes these tensors, with the tensors as its outputs.

        Only the nodes, initializers and inputs that they need are copied.
        """
        part = ModelProto(
            ir_version=self.model.ir_version,
            opset_import=self.model.opset_import,
            functions=self.model.functions,
        )
        graph = part.graph
        graph.name = self.model.graph.name
        graph.node.extend(needed(self.nodes, names))
        read = {name for node in graph.node for name in reads(node)} | set(names)
        made = {name for node in graph.node for name in node.output}
        source = self.model.graph
        graph.input.extend(value for value in source.input if value.name in read)
        graph.initializer.extend(tensor for tensor in source.initializer if tensor.name in read)
        graph.sparse_initializer.extend(
            sparse for sparse in source.sparse_initializer if sparse.values.name in read
        )
        graph.value_info.extend(value for value in source.value_info if value.name in made)
        graph.output.extend(
            self.outputs.get(name) or ValueInfoProto(name=name) for name in dict.fromkeys(names)
        )
        return part


def _remove_value_info(graph: GraphProto, names: Collection[str]) -> None:
    for place in reversed(range(len(graph.value_info))):
        if graph.value_info[place].name in names:
            del graph.value_info[place]
