"""Finds the nodes that are needed, and an order in which they can run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from onnx import NodeProto

from compress.onnx_graph.inner import reads


def needed(nodes: Sequence[NodeProto], names: Iterable[str]) -> list[NodeProto]:
    """The nodes that are needed to compute these tensors, in the order given."""
    makers = {name: node for node in nodes for name in node.output if name}
    wanted: set[int] = set()
    open_names = list(names)
    while open_names:
        node = makers.get(open_names.pop())
        if node is not None and id(node) not in wanted:
            wanted.add(id(node))
            open_names.extend(reads(node))
    return [node for node in nodes if id(node) in wanted]


def in_order(nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """The nodes in topological order, which is otherwise the order given."""
    makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    done: set[int] = set()
    order: list[NodeProto] = []
    for start in range(len(nodes)):
        stack = [start]
        while stack:
            index = stack[-1]
            before = {makers[name] for name in reads(nodes[index]) if name in makers} - done
            if index in done or not before:
                stack.pop()
                if index not in done:
                    done.add(index)
                    order.append(nodes[index])
            else:
                stack.extend(sorted(before, reverse=True))
    return order
