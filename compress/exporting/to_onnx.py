"""Exports a torch module to ONNX: the one exporter that every stage and measured row uses."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import torch._dynamo.config
from torch import nn
from torch.onnx.errors import OnnxExporterError

from compress.core.batch import ATTENTION_MASK, model_inputs
from compress.errors import StageError, clipped
from compress.exporting.cache import AXIS_NAMES, cached_signature
from compress.exporting.einsums import einsums_as_matmuls
from compress.exporting.initializers import check_shapes
from compress.exporting.onnx_file import add_metadata, name_weights
from compress.exporting.recurrent import name_operators
from compress.exporting.signature import BATCH, HEIGHT, ExportSignature, plain_signature, widened
from compress.exporting.silence import silence
from compress.exporting.torch_tables import shared_tables
from compress.onnx_graph.files import check_file, save_model
from compress.onnx_graph.traces import rename_axes, strip_traces

if TYPE_CHECKING:
    import onnx
    from transformers import PreTrainedModel

    from compress.core.context import Batch, Task


_FIXED = re.compile(
    r"inferred a static shape of (\d+) for dimension inputs\['tensors'\]\[(\d+)\]\.shape\[(\d+)\]"
)
"""Torch's words for an axis that should be dynamic and isn't."""
_UNKNOWN = re.compile(r"Could not guard on data-dependent expression (.*?) \(unhinted")


def export_module(
    module: nn.Module,
    *,
    task: Task,
    example: Batch,
    path: Path,
    labels: Sequence[str],
    opset: int | None = None,
    dynamic_image_size: bool = False,
) -> Path:
    """Write `module` as an ONNX file in fp32; the module itself is left as it was.

    A transformers model that generates text gets inputs and outputs for its key-value cache (see
    `compress.exporting.cache`).

    Parameters
    ----------
    module : in any mode; a copy in eval mode is exported.
    task : gives the outputs' names, and calls the module.
    example : a real batch; its keys (without `labels`) become the inputs' names, in its order.
        Image inputs (N, C, H, W) get a dynamic batch, text inputs (N, S) also a dynamic sequence.
    path : the file to write; weights of 2 GB and more go to `<path>.data` beside it.
    labels : class names in the order of the logits. They are kept in the file's metadata, with the
        task and the config of a transformers model.
    opset : ONNX opset; None for the default of torch's exporter.
    dynamic_image_size : whether the file takes images of any height and width, for fully
        convolutional models.

    Returns
    -------
    `path`, of a file that `onnx.checker` accepts. The same module gives the same bytes.

    Raises
    ------
    StageError : the module can't be exported, an axis isn't dynamic, or a weight has another shape.
    """
    inputs = widened(model_inputs(example))
    plain = _deployable(module)
    signature = cached_signature(plain, task=task, inputs=inputs) or plain_signature(
        plain, task=task, inputs=inputs, dynamic_image_size=dynamic_image_size
    )
    model = _export(signature, name=type(module).__name__, opset=opset)
    _require_dynamic(model, signature)
    strip_traces(model)
    rename_axes(model, AXIS_NAMES)
    name_weights(model, plain.state_dict())
    einsums_as_matmuls(model)
    check_shapes(model, plain)
    add_metadata(model, {"task": task.name, **_config(module)}, labels=labels)
    save_model(model, path)
    check_file(path)
    return path


def _deployable(module: nn.Module) -> nn.Module:
    """Return a copy to trace: on the CPU, in fp32, without gradients, and with eager attention.

    onnxruntime runs the graph of eager attention 2-3 % faster than that of SDPA, whose masks add
    IsNaN and Where after every softmax.
    """
    copied = copy.deepcopy(module).cpu().float().eval().requires_grad_(False)
    for part in copied.modules():
        config = getattr(part, "config", None)
        if getattr(config, "_attn_implementation", "eager") not in (None, "eager"):
            with silence():
                cast("PreTrainedModel", part).set_attn_implementation("eager")
    name_operators(copied)
    if getattr(getattr(copied, "config", None), "model_type", None) == "xlnet":
        copied.register_forward_pre_hook(_float_mask, with_kwargs=True)
    return copied


def _float_mask(
    module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give XLNet its mask in float: it subtracts it from 1.0, which integers can't export."""
    return given, {k: v.float() if k == ATTENTION_MASK else v for k, v in named.items()}


def _config(module: nn.Module) -> dict[str, str]:
    """Return a transformers model's config as JSON, without the folder that it was loaded from."""
    config: Any = getattr(module, "config", None)
    if not hasattr(config, "to_json_string"):
        return {}
    values = json.loads(config.to_json_string(use_diff=False))
    values.pop("_name_or_path", None)
    return {"config": json.dumps(values | {"dtype": "float32"}, sort_keys=True)}


def _export(signature: ExportSignature, *, name: str, opset: int | None) -> onnx.ModelProto:
    _forget_recurrent_kernels()
    try:
        with silence(), torch.no_grad(), _without_reuse_of_shapes(), shared_tables():
            program = torch.onnx.export(
                signature.traced,
                tuple(signature.inputs.values()),
                dynamo=True,
                input_names=list(signature.inputs),
                output_names=list(signature.outputs),
                dynamic_shapes=(signature.axes,),
                opset_version=opset,
                verbose=False,
            )
    except OnnxExporterError as error:
        sizes = (
            " for images of any size" if any(HEIGHT in x.values() for x in signature.axes) else ""
        )
        why = _reason(error, signature)
        raise StageError(f"torch can't export {name}{sizes} to ONNX: {why}") from error
    if program is None:
        raise StageError(f"torch exported nothing for {name}.")
    return program.model_proto


def _without_reuse_of_shapes() -> AbstractContextManager[None]:
    """Let torch work out each operator's output shape anew.

    With dynamic axes, its cache of output shapes costs more than it saves. The file is the same.
    """
    patch = torch._dynamo.config.patch(fake_tensor_cache_enabled=False)
    return cast("AbstractContextManager[None]", patch)


def _forget_recurrent_kernels() -> None:
    """Let torch.export choose anew how it decomposes recurrent layers.

    Torch keeps the choice for the process. A choice made outside of an export, or for an earlier
    one, fixes the length of the sequence in the next export.
    """
    aten = torch.ops.aten
    for layer in (aten.lstm, aten.gru, aten.rnn_tanh, aten.rnn_relu):
        for overload in (layer.input, layer.data):
            overload._dispatch_cache.clear()


def _reason(error: BaseException, signature: ExportSignature) -> str:
    """Return the innermost cause in one line; the exporter's own message is mostly instructions."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, StageError):
        return str(error)
    fixed = _FIXED.search(str(error))
    if fixed is not None:
        size, number, axis = fixed.groups()
        name = list(signature.inputs)[int(number)]
        return (
            f"its forward computes with axis {axis} of {name!r} as with a number of Python, which "
            f"gives it a static shape of {size}."
        )
    unknown = _UNKNOWN.search(str(error))
    if unknown is not None:
        return f"its forward decides by values that only a run knows ({unknown.group(1)})."
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip(" -")]
    return f"{type(error).__name__}: {clipped(lines[0]) if lines else 'no message'}"


def _require_dynamic(model: onnx.ModelProto, signature: ExportSignature) -> None:
    given = {value.name: value.type.tensor_type.shape.dim for value in model.graph.input}
    missing = sorted(set(signature.inputs) - set(given))
    if missing:
        raise StageError(f"the exported graph has no input {', '.join(missing)}.")
    for name, axes in zip(signature.inputs, signature.axes, strict=True):
        _require_symbolic(name, given[name], axes)
    for value in model.graph.output:
        _require_symbolic(value.name, value.type.tensor_type.shape.dim, {0: BATCH})


def _require_symbolic(name: str, dims: Any, axes: Mapping[int, str]) -> None:
    for axis, label in axes.items():
        if not dims[axis].dim_param:
            raise StageError(
                f"the exported graph fixes the {label} axis of {name!r} at {dims[axis].dim_value}: "
                "the module's forward reads that size as a constant."
            )
