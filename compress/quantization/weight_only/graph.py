"""Rewrites a graph so that its weights are quantized in blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper

from compress.onnx_graph.graph import Graph
from compress.onnx_graph.nodes import attribute, attributes
from compress.quantization.weight_only.blocks import Bits, Floats, pack, quantize_blocks

BlockSize = Literal[16, 32, 64, 128, 256]
DOMAIN = "com.microsoft"
WEIGHT_INPUT = {"MatMul": 1, "Gemm": 1, "Gather": 0}


@dataclass(frozen=True)
class WeightOnly:
    """Options of weights that are quantized in blocks.

    Attributes
    ----------
    bits : number of bits of a weight.
    block_size : number of weights of a row that share a scale.
    symmetric : store no zero points; see `blocks.quantize_blocks`.
    accuracy_level : the attribute of MatMulNBits. With 4, activations are rounded to int8, block
        by block, in the matmul, which is much faster; with 1 they stay in fp32.
    """

    bits: Bits = 4
    block_size: BlockSize = 32
    symmetric: bool = False
    accuracy_level: Literal[1, 4] = 4


class _Stored(NamedTuple):
    """Names of the tensors that hold a weight; `zeros` is empty if it is symmetric."""

    levels: str
    scales: str
    zeros: str


class Rewriting:
    """Replaces nodes of a graph, and stores each weight once."""

    def __init__(self, model: onnx.ModelProto, options: WeightOnly) -> None:
        self.graph, self.options = Graph(model), options
        self.left: list[str] = []
        self._weights = {
            name: tensor
            for name, tensor in self.graph.initializers.items()
            if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2
        }
        # A large tied head is exported as a Transpose of the embedding.
        self._turned = {
            node.output[0]: node.input[0]
            for node in self.graph.nodes
            if node.op_type == "Transpose" and node.input[0] in self._weights
        }
        self._matmuls: dict[Any, _Stored] = {}
        self._embeddings: dict[Any, _Stored] = {}
        self._sums = np.zeros(2)

    def candidates(self) -> Iterator[onnx.NodeProto]:
        """Nodes with a weight that can be quantized."""
        for node in self.graph.nodes:
            if self.weight_of(node) is None:
                continue
            given = attributes(node)
            if node.op_type == "Gemm" and (given.get("transA") or _scaled(given)):
                self.left.append(f"{node.name} (a Gemm with transA, alpha or beta)")
            elif node.op_type == "Gather" and given.get("axis", 0):
                self.left.append(f"{node.name} (a Gather along axis {given['axis']})")
            elif node.op_type == "Gather" and self._has_odd_rows(node.input[0]):
                self.left.append(f"{node.name} (an embedding of an odd width)")
            else:
                yield node

    def weight_of(self, node: onnx.NodeProto) -> str | None:
        """The name of a node's constant weight; None if it has none."""
        index = WEIGHT_INPUT.get(node.op_type)
        if index is None:
            return None
        name = node.input[index]
        name = self._turned.get(name, name) if node.op_type == "MatMul" else name
        return name if name in self._weights else None

    def _has_odd_rows(self, name: str) -> bool:
        return self.options.bits == 4 and self._weights[name].dims[1] % 2 == 1

    def rewrite(self, outputs: set[str]) -> None:
        """Replace the nodes with these outputs, and remove weights that are no longer used."""
        # Matmuls come first, so that a tied embedding can read the weight of its matmul.
        made = {
            id(node): self._replaced(node)
            for node in sorted(self.graph.nodes, key=lambda node: node.op_type == "Gather")
            if node.output[0] in outputs
        }
        replaced = [new for node in self.graph.nodes for new in made.get(id(node), [node])]
        self.graph.set_nodes(replaced)
        self.graph.remove_unused()
        opsets = self.graph.model.opset_import
        if all(entry.domain != DOMAIN for entry in opsets):
            opsets.append(onnx.helper.make_opsetid(DOMAIN, 1))

    def error(self) -> float:
        """Root mean square of the rounding errors, relative to that of the weights."""
        return float(np.sqrt(self._sums[0] / max(self._sums[1], np.finfo(float).tiny)))

    def _replaced(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        name = str(self.weight_of(node))
        array = numpy_helper.to_array(self._weights[name])
        if node.op_type == "Gather":
            return self._embedding(node, name, array)
        has_rows = attribute(node, "transB", 0) or node.input[1] in self._turned
        return self._matmul(node, name, array if has_rows else np.ascontiguousarray(array.T))

    def _matmul(self, node: onnx.NodeProto, name: str, rows: Floats) -> list[onnx.NodeProto]:
        """MatMulNBits with a Gemm's bias, or with an Add after it if the bias isn't a vector."""
        key = _digest(rows)
        stored = self._matmuls.get(key)
        if stored is None:
            stored = self._matmuls[key] = self._store(name, rows, whole_blocks=True)
        bias = node.input[2] if len(node.input) > 2 else ""
        is_vector = bias in self.graph.initializers and self.graph.shape(bias) == (len(rows),)
        inputs = [node.input[0], *stored, "", bias if is_vector else ""]
        while not inputs[-1]:
            inputs.pop()
        apart = bool(bias) and not is_vector
        output = f"{node.output[0]}_matmul" if apart else node.output[0]
        matmul = onnx.helper.make_node(
            "MatMulNBits",
            inputs,
            [output],
            name=node.name,
            domain=DOMAIN,
            K=rows.shape[1],
            N=rows.shape[0],
            bits=self.options.bits,
            block_size=self.options.block_size,
            accuracy_level=self.options.accuracy_level,
        )
        if not apart:
            return [matmul]
        return [matmul, onnx.helper.make_node("Add", [output, bias], list(node.output))]

    def _embedding(self, node: onnx.NodeProto, name: str, rows: Floats) -> list[onnx.NodeProto]:
        """GatherBlockQuantized, which reads the weight of a matmul if it is tied to one."""
        key, before = _digest(rows), []
        stored = self._embeddings.get(key)
        if stored is None:
            tied = self._matmuls.get(key)
            if tied is not None and rows.shape[1] % self.options.block_size == 0:
                stored = tied._replace(levels=f"{tied.levels}_rows")
                shape = self._add(f"{tied.levels}_rows_shape", np.array([len(rows), -1]))
                before = [onnx.helper.make_node("Reshape", [tied.levels, shape], [stored.levels])]
            else:
                stored = self._store(name, rows, whole_blocks=False)
            self._embeddings[key] = stored
        gather = onnx.helper.make_node(
            "GatherBlockQuantized",
            [stored.levels, node.input[1], *filter(None, stored[1:])],
            list(node.output),
            name=node.name,
            domain=DOMAIN,
            bits=self.options.bits,
            block_size=self.options.block_size,
            gather_axis=0,
            quantize_axis=1,
        )
        return [*before, gather]

    def _store(self, name: str, rows: Floats, *, whole_blocks: bool) -> _Stored:
        options = self.options
        blocks = quantize_blocks(
            rows, bits=options.bits, block_size=options.block_size, symmetric=options.symmetric
        )
        self._sums += [((blocks.weight() - rows) ** 2).sum(dtype=float), (rows**2).sum(dtype=float)]
        levels = pack(blocks.levels, blocks.bits) if whole_blocks else blocks.packed_rows()
        zeros = (
            ""
            if blocks.zeros is None
            else self._add(f"{name}_zero_points", pack(blocks.zeros, blocks.bits))
        )
        return _Stored(
            self._add(f"{name}_Q{options.bits}", levels),
            self._add(f"{name}_scales", blocks.scales),
            zeros,
        )

    def _add(self, name: str, array: np.ndarray[Any, Any]) -> str:
        # A Gather and a matmul can store one weight in different forms.
        while name in self.graph.initializers:
            name += "_"
        return self.graph.add_initializer(name, array)


def _scaled(attributes: dict[str, Any]) -> bool:
    return any(attributes.get(name, 1.0) != 1.0 for name in ("alpha", "beta"))


def _digest(rows: Floats) -> tuple[bytes, tuple[int, ...]]:
    content = np.ascontiguousarray(rows).tobytes()
    return hashlib.blake2b(content, digest_size=16).digest(), rows.shape
