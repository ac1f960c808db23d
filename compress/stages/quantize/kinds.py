"""The kinds of quantization that a stage tries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.measurement.runtimes.names import OPENVINO
from compress.quantization.cpu import integers_for
from compress.quantization.selection import DYNAMIC, convolution_share

if TYPE_CHECKING:
    from compress.core.context import Task
    from compress.measurement.cpu import TargetCpu
    from compress.onnx_graph.graph import Graph
    from compress.quantization.integers import Integers
    from compress.stages.quantize.candidates import Kind
    from compress.stages.quantize.options import QuantizeOptions


def kinds(
    stage: QuantizeOptions, graph: Graph, *, task: Task, cpu: TargetCpu
) -> list[tuple[Kind, Integers]]:
    """Return each kind with the 8-bit types that suit the CPU, the best first.

    Storage comes first: at equal speed it loses less than any kind that computes in 8 bits.
    """
    found: list[tuple[Kind, Integers]] = []
    for kind in _untyped(stage, graph, task=task):
        suitable = integers_for(cpu, method="static" if kind.startswith("static") else "dynamic")
        # NNCF's activations are unsigned and its weights signed, on every CPU.
        of_one_form = kind.startswith(("weight_only", "storage", "nncf"))
        found += [(kind, each) for each in suitable[: 1 if of_one_form else None]]
    return found


def last_kind(stage: QuantizeOptions, *, cpu: TargetCpu) -> tuple[Kind, Integers] | None:
    """Return the kind that loses next to nothing, for when no other is within the budget."""
    if stage.recovery is not None:
        return None
    return "storage-16", integers_for(cpu, method="dynamic")[0]


_BY_METHOD: dict[str, tuple[Kind, ...]] = {
    "dynamic": ("dynamic",),
    "static_scales": ("static_scales",),
    "static": ("static",),
    "nncf": ("nncf",),
}
_FOR_CONVOLUTIONS: tuple[Kind, ...] = ("storage-8", "static", "static-qoperator")
_FOR_MATMULS: tuple[Kind, ...] = ("storage-8", "dynamic", "static_scales", "static")
_FOR_GENERATION: tuple[Kind, ...] = (*_FOR_MATMULS, "weight_only-8", "weight_only-4")


_CONVOLUTIONS_IN_OPENVINO: tuple[Kind, ...] = ("storage-8", "nncf", "static")
_MATMULS_IN_OPENVINO: tuple[Kind, ...] = ("storage-8", "nncf", "static", "dynamic")


def _untyped(stage: QuantizeOptions, graph: Graph, *, task: Task) -> tuple[Kind, ...]:
    method = "static" if stage.recovery is not None else stage.method
    if method == "weight_only":
        return ("weight_only-8" if stage.bits == 8 else "weight_only-4",)
    if method == "storage":
        return ("storage-8" if stage.bits == 8 else "storage-16",)
    if method != "auto":
        return _BY_METHOD[method]
    only_static = not set(stage.operators or ()) <= set(DYNAMIC)
    of_convolutions = only_static or convolution_share(graph) > 0.5
    if stage.target_runtime == OPENVINO and stage.recovery is None:
        return _CONVOLUTIONS_IN_OPENVINO if of_convolutions else _MATMULS_IN_OPENVINO
    if of_convolutions:
        return _FOR_CONVOLUTIONS
    return _FOR_GENERATION if task.target == "next-token" else _FOR_MATMULS
