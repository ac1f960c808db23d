"""Quantization-aware training (QAT) of exactly the graph that runs.

The file that the quantizer wrote becomes a module. Its integers are replaced by float weights that
are rounded to the same grid in every step; its QuantizeLinear and DequantizeLinear nodes stay.
After the training the integers are written back into the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import nn

from compress.errors import StageError, expected
from compress.onnx_graph.files import load_model
from compress.onnx_graph.graph import Graph
from compress.quantization.grid import weight_levels, weight_zero
from compress.quantization.integers import Integers
from compress.quantization.onnx_torch.fake_quantization import FAKE_QUANTIZE, along
from compress.quantization.onnx_torch.module import GraphModule, learned_names
from compress.quantization.onnx_torch.training import BIAS, DOMAIN, SCALE, WEIGHT
from compress.quantization.qat.roles import Roles, find_roles
from compress.quantization.write import write

_BEFORE, _CHANGE = ":before", ":change"


def aware(
    quantized: Path,
    *,
    source: Path | None,
    integers: Integers,
    learn_scales: bool = True,
) -> GraphModule:
    """A trainable module that computes what a QDQ file computes.

    Weights and biases are float parameters that are rounded to the file's grid in every step. The
    scale of a weight follows its absolute maximum, and a bias has the scale of the matmul that it
    is added to. Gradients pass through the rounding.

    Parameters
    ----------
    quantized : a file that `quantize_static` wrote in the format "qdq".
    source : the float file that it was made from. If None, the weights start on the grid.
    integers : the 8-bit types of the file.
    learn_scales : train the activations' scales too (LSQ, Esser et al., ICLR 2020,
        arXiv:1902.08153); their zero points stay.

    Raises
    ------
    StageError : the file has no quantized weights, or an operator that can't be trained.
    """
    graph = Graph(load_model(quantized))
    roles = find_roles(graph)
    masters = _masters(graph, roles, source)
    learned = set(learned_names(graph)) | set(masters)
    if learn_scales:
        learned |= {name + _CHANGE for name in roles.scales}
    _rewrite(graph, roles, masters=masters, integers=integers, learn_scales=learn_scales)
    return GraphModule(graph, trained=learned)


def write_back(module: nn.Module, quantized: Path, *, path: Path) -> Path:
    """Write a QDQ file that holds what the module learned.

    Parameters
    ----------
    module : a module that `aware` made, after training.
    quantized : the file that it was made from.
    path : the file to write.

    Raises
    ------
    StageError : the module wasn't made from this file.
    """
    if not isinstance(module, GraphModule):
        raise StageError(expected("module", "one that 'aware' made", type(module).__name__))
    graph = Graph(load_model(quantized))
    roles = find_roles(graph)
    changed = _learned_values(module, roles)
    for name in set(learned_names(graph)) & set(module.keys):
        changed[name] = module.tensor(name).detach().cpu().numpy()
    for name, array in changed.items():
        if name in graph.initializers:
            before = numpy_helper.to_array(graph.initializers[name])
            # A module has one number as a zero point, and a file may have one for each channel.
            array = np.full(before.shape, array) if array.size == 1 else array.reshape(before.shape)
            graph.set_initializer(name, array.astype(before.dtype))
    return write(graph.model, path=path, source=quantized)


def _masters(graph: Graph, roles: Roles, source: Path | None) -> dict[str, NDArray[np.float32]]:
    """The float tensors that the integers were made from, or else the dequantized integers."""
    arrays = graph.initializers
    floats = {} if source is None else Graph(load_model(source)).initializers
    found = {}
    for stored in roles.stored:
        whole = numpy_helper.to_array(arrays[stored.integers])
        given = numpy_helper.to_array(floats[stored.name]) if stored.name in floats else None
        if given is not None and given.shape != whole.shape:
            raise StageError(
                f"{stored.name!r} must have the shape {whole.shape} in the float model, as in the "
                f"quantized one. Got {given.shape}."
            )
        if given is None:
            zero = numpy_helper.to_array(arrays[stored.zero]) if stored.zero else np.zeros((), "i4")
            axis, rank = stored.axis or 0, whole.ndim
            scale = torch.from_numpy(numpy_helper.to_array(arrays[stored.scale]).copy())
            offset = along(torch.from_numpy(zero.astype(np.float32)), axis=axis, rank=rank).numpy()
            given = (whole - offset) * along(scale, axis=axis, rank=rank).numpy()
        found[stored.name] = given.astype(np.float32)
    return found


def _rewrite(
    graph: Graph,
    roles: Roles,
    *,
    masters: Mapping[str, NDArray[np.float32]],
    integers: Integers,
    learn_scales: bool,
) -> None:
    """Put float tensors and the operators of training in the place of the stored integers."""
    for weight in roles.weights:
        zero = np.array(weight_zero(integers), dtype=integers.weights)
        graph.set_initializer(weight.zero, zero)
    made: list[onnx.NodeProto] = []
    gone = [graph.initializers[stored.integers] for stored in roles.stored]
    for name in roles.scales if learn_scales else ():
        gone.append(graph.initializers[name])
        before = graph.add_initializer(name + _BEFORE, numpy_helper.to_array(gone[-1]))
        change = graph.add_initializer(name + _CHANGE, np.zeros((), dtype=np.float32))
        made.append(_node(SCALE, (before, change), (name,)))
    graph.remove_initializers(gone)
    made += _constants(roles, levels=weight_levels(integers))
    for name, array in masters.items():
        graph.add_initializer(name, array)
    outputs = {stored.output for stored in roles.stored}
    graph.set_nodes([*made, *(node for node in graph.nodes if node.output[0] not in outputs)])


def _constants(roles: Roles, *, levels: int) -> Iterable[onnx.NodeProto]:
    for weight in roles.weights:
        added = [bias for bias in roles.biases if bias.weight == weight]
        room = [name for bias in added for name in (bias.stored.name, bias.input_scale)]
        axis = {} if weight.axis is None else {"axis": weight.axis}
        yield _node(
            WEIGHT,
            (weight.name, weight.zero, *room),
            (weight.output, weight.scale),
            levels=levels,
            **axis,
        )
    for bias in roles.biases:
        inputs = (bias.stored.name, bias.input_scale, bias.weight.scale)
        yield _node(BIAS, inputs, (bias.stored.output,))
    for other in roles.others:
        yield _node(
            FAKE_QUANTIZE,
            (other.name, other.scale, other.zero),
            (other.output,),
            axis=other.axis or 0,
        )


def _node(
    kind: str, inputs: Iterable[str], outputs: Iterable[str], **attributes: Any
) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), list(outputs), domain=DOMAIN, **attributes)


def _learned_values(module: GraphModule, roles: Roles) -> dict[str, NDArray[np.generic]]:
    """The integers and scales that stand for the module's weights, biases and activations."""
    learns = bool(roles.scales) and roles.scales[0] + _CHANGE in module.keys
    made = {name for step in module.steps if step.kind == WEIGHT for name in step.outputs}
    if not {weight.output for weight in roles.weights} <= made:
        raise StageError("the module wasn't made of this file: it lacks some of its weights.")
    names = [stored.output for stored in roles.stored]
    names += [weight.scale for weight in roles.weights] + (list(roles.scales) if learns else [])
    device = module.tensor(roles.weights[0].name).device
    with torch.no_grad():
        # What doesn't depend on the inputs comes first in the module's graph.
        nothing = [torch.zeros((), device=device) for _ in module.inputs]
        values = {name: value.cpu() for name, value in module.values(nothing, names).items()}
    changed: dict[str, NDArray[np.generic]] = {}
    for name in {*roles.scales} - {*values}:
        values[name] = module.tensor(name).cpu()
    for bias in roles.biases:
        values[bias.stored.scale] = values[bias.input_scale] * values[bias.weight.scale]
    for stored in roles.stored:
        if stored.scale not in values:
            values[stored.scale] = module.tensor(stored.scale).cpu()
        value, axis = values[stored.output].double(), stored.axis or 0
        whole = value / along(values[stored.scale].double(), axis=axis, rank=value.ndim)
        zero = module.tensor(stored.zero).cpu() if stored.zero else torch.zeros(())
        whole = whole.round() + along(zero.double(), axis=axis, rank=value.ndim)
        changed[stored.integers] = whole.numpy()
        changed[stored.scale] = values[stored.scale].numpy()
    for weight in roles.weights:
        changed[weight.zero] = module.tensor(weight.zero).cpu().numpy()
    changed |= {name: values[name].numpy() for name in roles.scales}
    return changed
