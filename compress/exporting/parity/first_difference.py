"""Finds the first node at which a graph computes something else than its origin.

A module is compared with its graph where the two can be matched: at nodes that read the weights of
a submodule, whose names the export keeps. The node's result is compared with the submodule's. Two
graphs are compared at every float tensor whose name they share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from onnx import NodeProto
from torch import Tensor, nn

from compress.core.batch import ATTENTION_MASK, model_inputs
from compress.exporting.cache import positions, takes_positions
from compress.measurement.session import POSITIONS, run, unoptimized_session
from compress.onnx_graph.files import load_graph
from compress.onnx_graph.graph import Graph

if TYPE_CHECKING:
    from compress.core.context import Batch, Task

TOLERANCE = 1e-3
"""Tolerance relative to a tensor's largest value, well above rounding of sums in another order."""
_AT_ONCE = 64
_MASKED = -3e4
_TRANSPOSED = ".transposed"


@dataclass(frozen=True)
class Difference:
    """The first difference between two computations.

    Attributes
    ----------
    node : the first node whose result differs.
    operator : its operator.
    part : the submodule, or the tensor, that was compared.
    error : largest absolute difference; infinite if a value isn't finite.
    scale : largest absolute value that the result should have.
    before : the last node, in the graph's order, whose result was still the same.
    """

    node: str
    operator: str
    part: str
    error: float
    scale: float
    before: str | None

    def __str__(self) -> str:
        after = "" if self.before is None else f"; {self.before} before it is still right"
        return (
            f"The first node that differs: {self.operator} {self.node} ({self.part}), by "
            f"{self.error:.1e} where values reach {self.scale:.1e}{after}."
        )


def first_difference(
    module: nn.Module, onnx: Path, *, task: Task, batch: Batch, tolerance: float = TOLERANCE
) -> Difference | str:
    """Return the first node whose result differs from its submodule's, or a sentence if none does.

    Parameters
    ----------
    onnx : a float file that `export_module` made from the module.
    batch : inputs on which the answers differ.
    tolerance : allowed error, relative to the largest value of each tensor.
    """
    anchors = list(_anchors(load_graph(onnx)))
    opened = _inputs_with_positions(module, batch, task=task)
    returned = _returned(module, task=task, batch=opened)
    before: str | None = None
    for node, part, values in _computed(onnx, anchors, opened):
        # A graph may hold tokens in rows (N * S, H), where the module has (N, S, H).
        fitting = [
            (name, x.reshape(values.shape))
            for name, x in returned
            if x.size == values.size and x.shape[-1:] == values.shape[-1:]
        ]
        if not fitting:
            continue
        errors = [_error(x, values) for _, x in fitting]
        scales = [float(np.abs(x).max(initial=0)) for _, x in fitting]
        # A convolution includes its folded batch normalisation, so either submodule may match.
        if any(e <= tolerance * max(s, 1e-6) for e, s in zip(errors, scales, strict=True)):
            before = node.name
            continue
        own = [i for i, (name, _) in enumerate(fitting) if name == part]
        best = min(own or range(len(fitting)), key=lambda i: errors[i])
        return Difference(node.name, node.op_type, part, errors[best], scales[best], before)
    return "No node that reads weights differs by itself; the graph differs after the last of them."


def first_difference_of_files(
    wanted: Path, got: Path, *, batch: Batch, tolerance: float = 0.1
) -> Difference | None:
    """Return the first shared tensor of two files, in the first one's order, that differs.

    Parameters
    ----------
    wanted : the float file.
    got : a file made from it, such as in INT8 or fp16, which keeps most tensors' names.
    tolerance : allowed root mean square error, relative to that of the tensor's values.

    Returns
    -------
    The difference, or None if all shared tensors are alike.
    """
    other = load_graph(got)
    nodes = [n for n in load_graph(wanted).nodes if other.producer(n.output[0]) is not None]
    before: str | None = None
    right = _computed(got, [(node, node.output[0]) for node in nodes], batch)
    left = _computed(wanted, [(node, node.output[0]) for node in nodes], batch)
    for (node, name, x), (_, _, y) in zip(left, right, strict=True):
        if x.dtype.kind != "f" or x.shape != y.shape or not x.size:
            continue
        # A mask may hold minus infinity, float32's least number or -30,000, with the same effect.
        x, y = np.maximum(x, _MASKED), np.maximum(y, _MASKED)
        difference = x.astype(np.float64) - y
        noise, signal = (
            float(np.sqrt(np.mean(v.astype(np.float64) ** 2))) for v in (difference, x)
        )
        if not noise <= tolerance * max(signal, 1e-12):
            error, scale = _error(x, y), float(np.abs(x).max())
            return Difference(node.name, node.op_type, name, error, scale, before)
        before = node.name
    return None


def _error(wanted: np.ndarray, got: np.ndarray) -> float:
    largest = float(np.abs(wanted.astype(np.float64) - got).max(initial=0))
    return largest if np.isfinite(largest) else float("inf")


def _anchors(graph: Graph) -> Iterator[tuple[NodeProto, str]]:
    """Yield the nodes that read weights, and of consecutive ones (matmul, then bias) the last."""
    weights = {name for name in graph.initializers if "." in name}
    nodes = graph.nodes
    parts = [_part(node, weights) for node in nodes]
    for place, (node, part) in enumerate(zip(nodes, parts, strict=True)):
        if part is None:
            continue
        goes_on = any(
            other == part and node.output[0] in later.input
            for later, other in zip(nodes[place + 1 :], parts[place + 1 :], strict=True)
        )
        if not goes_on:
            yield node, part


def _part(node: NodeProto, weights: set[str]) -> str | None:
    """Return the submodule whose weights a node reads."""
    for name in node.input:
        if name in weights:
            return str(name).removesuffix(_TRANSPOSED).rpartition(".")[0]
    return None


def _inputs_with_positions(module: nn.Module, batch: Batch, *, task: Task) -> dict[str, Tensor]:
    inputs = model_inputs(batch)
    if task.target == "next-token" and ATTENTION_MASK in inputs and takes_positions(module):
        inputs.setdefault(POSITIONS, positions(inputs[ATTENTION_MASK]))
    return inputs


def _returned(module: nn.Module, *, task: Task, batch: Batch) -> list[tuple[str, np.ndarray]]:
    """Return each submodule's output with its path, once for each call."""
    found: list[tuple[str, np.ndarray]] = []

    def keep(name: str, output: object) -> None:
        if isinstance(output, Tensor):
            found.append((name, output.detach().float().cpu().numpy().copy()))

    was_training = module.training
    module.eval()
    handles = [
        part.register_forward_hook(lambda _m, _i, output, name=name: keep(name, output))
        for name, part in module.named_modules()
    ]
    try:
        with torch.no_grad():
            task.logits(module, batch)
    finally:
        for handle in handles:
            handle.remove()
        module.train(was_training)
    return found


def _computed(
    path: Path, anchors: Iterable[tuple[NodeProto, str]], batch: Mapping[str, Tensor]
) -> Iterator[tuple[NodeProto, str, np.ndarray]]:
    """Yield each node with its first output's values; few tensors are in memory at once."""
    wanted = list(anchors)
    for start in range(0, len(wanted), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE]
        graph = load_graph(path)
        graph.add_outputs(node.output[0] for node, _ in part)
        outputs = run(unoptimized_session(graph.model, path=path), batch)
        for node, name in part:
            yield node, name, outputs[node.output[0]]
