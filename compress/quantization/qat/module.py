"""Quantization-aware training of exactly the graph that runs.

The file that the quantizer wrote becomes a module: its integers give way to float weights that are
put on the same grid in every step, its QuantizeLinear and DequantizeLinear stay where they are.
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
    """The module that answers as a QDQ file does, and can be trained.

    Weights and biases are float parameters, rounded onto the file's grid in every step: the
    weights' scales follow their absolute maxima, biases have the scale of the product that they
    are added to. Gradients pass through the rounding.

    Parameters
    ----------
    quantized : as `quantize_static` wrote it, in form "qdq".
    source : the float file that it was made of; None where there is none: the weights then begin
        on the grid.
    integers : that it was quantized to.
    learn_scales : train the activations' scales too (LSQ, Esser et al., ICLR 2020,
        arXiv:1902.08153); their zero points stay.

    Raises
    ------
    StageError : the file has no quantized weights, or an operator that can't be trained.
    """
    model = onnx.load(str(quantized))
    roles = find_roles(model)
    masters = _masters(model, roles, source)
    learned = set(learned_names(model)) | set(masters)
    if learn_scales:
        learned |= {name + _CHANGE for name in roles.scales}
    _rewrite(model, roles, masters=masters, integers=integers, learn_scales=learn_scales)
    return GraphModule(model, trained=learned)


def write_back(module: nn.Module, quantized: Path, *, path: Path) -> Path:
    """Write a QDQ file that holds what the module learned.

    Parameters
    ----------
    module : as `aware` made it, trained.
    quantized : the file that it was made of.
    path : the file to write.

    Raises
    ------
    StageError : the module isn't of this file.
    """
    if not isinstance(module, GraphModule):
        raise StageError(expected("module", "one that 'aware' made", type(module).__name__))
    model = onnx.load(str(quantized))
    roles = find_roles(model)
    changed = _learned_values(module, roles)
    for name in set(learned_names(model)) & set(module.keys):
        changed[name] = module.tensor(name).detach().cpu().numpy()
    for tensor in model.graph.initializer:
        if tensor.name in changed:
            before = numpy_helper.to_array(tensor)
            array = changed[tensor.name]
            # A zero point is one number here, and may be one for each channel there.
            array = np.full(before.shape, array) if array.size == 1 else array.reshape(before.shape)
            array = array.astype(before.dtype)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return write(model, path=path, source=quantized)


def _masters(
    model: onnx.ModelProto, roles: Roles, source: Path | None
) -> dict[str, NDArray[np.float32]]:
    """The float tensors that the integers were made of, or else what they stand for."""
    arrays = {tensor.name: tensor for tensor in model.graph.initializer}
    floats: Mapping[str, onnx.TensorProto] = {}
    if source is not None:
        floats = {tensor.name: tensor for tensor in onnx.load(str(source)).graph.initializer}
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
    model: onnx.ModelProto,
    roles: Roles,
    *,
    masters: Mapping[str, NDArray[np.float32]],
    integers: Integers,
    learn_scales: bool,
) -> None:
    """Put float tensors and the operators of training in the place of the stored integers."""
    graph = model.graph
    kept = {tensor.name: tensor for tensor in graph.initializer}
    for stored in roles.stored:
        del kept[stored.integers]
    for weight in roles.weights:
        kept[weight.zero] = numpy_helper.from_array(
            np.array(weight_zero(integers), dtype=integers.weights), weight.zero
        )
    made: list[onnx.NodeProto] = []
    if learn_scales:
        for name in roles.scales:
            before = kept.pop(name)
            before.name = name + _BEFORE
            change = numpy_helper.from_array(np.zeros((), dtype=np.float32), name + _CHANGE)
            kept |= {before.name: before, change.name: change}
            made.append(_node(SCALE, (before.name, change.name), (name,)))
    made += _constants(roles, levels=weight_levels(integers))
    tensors = [*kept.values()]
    tensors += [numpy_helper.from_array(array, name) for name, array in masters.items()]
    outputs = {stored.output for stored in roles.stored}
    rest = [node for node in graph.node if node.output[0] not in outputs]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(tensors)
    graph.node.extend([*made, *rest])


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
