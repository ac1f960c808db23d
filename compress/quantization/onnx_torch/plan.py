"""A graph as a list of steps, each with the values that can be freed after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from onnx import AttributeProto, helper, numpy_helper

from compress.errors import StageError
from compress.quantization.onnx_torch.fake_quantization import FAKE_QUANTIZE
from compress.quantization.onnx_torch.table import operator
from compress.quantization.onnx_torch.training import DOMAIN

if TYPE_CHECKING:
    import onnx

    from compress.onnx_graph.graph import Graph

_LEAST_OPSET = 13
_ONNX_DOMAINS = ("", "ai.onnx", DOMAIN)


@dataclass(frozen=True)
class PlanStep:
    """One node of a graph.

    Attributes
    ----------
    kind : name of the operator.
    inputs, outputs : names of values; "" for an input that is left out.
    attributes : plain values.
    forget : values that no later step needs.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    forget: tuple[str, ...] = ()


def make_plan(graph: Graph) -> tuple[PlanStep, ...]:
    """The steps of a graph in its order.

    Raises
    ------
    StageError : an operator or the opset can't be run here.
    """
    for entry in graph.model.opset_import:
        if not entry.domain and entry.version < _LEAST_OPSET:
            raise StageError(f"the graph's opset must be {_LEAST_OPSET} or newer: {entry.version}.")
    steps = [_step(node) for node in graph.nodes if node.op_type != "Constant"]
    kept = set(graph.outputs)
    return forgetting(_fused(steps, kept), kept)


def _step(node: onnx.NodeProto) -> PlanStep:
    kind = node.op_type if node.domain in _ONNX_DOMAINS else f"{node.domain}.{node.op_type}"
    operator(kind, node=node.name)
    return PlanStep(
        kind,
        node.name,
        tuple(node.input),
        tuple(node.output),
        {attribute.name: _plain(attribute) for attribute in node.attribute},
    )


def _plain(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    if attribute.type == AttributeProto.STRING:
        return value.decode()
    if attribute.type == AttributeProto.TENSOR:
        return torch.from_numpy(numpy_helper.to_array(value).copy())
    return value


def _fused(steps: Sequence[PlanStep], kept: set[str]) -> list[PlanStep]:
    """Each QuantizeLinear with its DequantizeLinear as one step, which is faster to train."""
    makers = {step.outputs[0]: step for step in steps if step.kind == "QuantizeLinear"}
    fused: list[PlanStep] = []
    for step in steps:
        maker = makers.get(step.inputs[0]) if step.kind == "DequantizeLinear" else None
        same = maker is not None and maker.inputs[1:] == step.inputs[1:]
        if maker is not None and same and len(step.inputs) == 3:
            inputs = (maker.inputs[0], *step.inputs[1:])
            fused.append(replace(step, kind=FAKE_QUANTIZE, inputs=inputs))
        else:
            fused.append(step)
    used = {name for step in fused for name in step.inputs} | kept
    return [step for step in fused if step.kind != "QuantizeLinear" or step.outputs[0] in used]


def forgetting(steps: Sequence[PlanStep], kept: set[str]) -> tuple[PlanStep, ...]:
    """The steps, each with the values that no later step uses."""
    uses = Counter(name for step in steps for name in set(step.inputs) if name)
    done: list[PlanStep] = []
    for step in steps:
        uses.subtract({name for name in step.inputs if name})
        unused = (name for name in (*step.inputs, *step.outputs) if name and not uses[name])
        done.append(replace(step, forget=tuple(dict.fromkeys(n for n in unused if n not in kept))))
    return tuple(done)
