"""Lowers a torch module to ONNX: the one exporter that every stage and measured row uses."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.onnx.errors import OnnxExporterError

from compress.core.batch import model_inputs
from compress.errors import StageError
from compress.exporting.onnx_file import add_metadata, check_file, name_weights, save, strip_traces
from compress.exporting.silence import silence

if TYPE_CHECKING:
    import onnx
    from transformers import PreTrainedModel

    from compress.core.context import Batch, Task

BATCH, SEQUENCE = "batch", "sequence"


class _Positional(nn.Module):
    """The module as a function from the batch's tensors, in their order, to the task's output."""

    def __init__(self, module: nn.Module, task: Task, names: Sequence[str]) -> None:
        super().__init__()
        self.module = module
        self._task = task
        self._names = tuple(names)

    def forward(self, *tensors: Tensor) -> Tensor:
        return self._task.logits(self.module, dict(zip(self._names, tensors, strict=True)))


def lower(
    module: nn.Module,
    *,
    task: Task,
    example: Batch,
    path: Path,
    labels: Sequence[str],
    opset: int | None = None,
) -> Path:
    """Write `module` as an ONNX file in fp32; the module itself is left as it was.

    Parameters
    ----------
    module : in eval mode or not; a copy in eval mode is exported.
    task : gives the outputs' names, and calls the module.
    example : a real batch; its keys (without `labels`) become the inputs' names, in its order.
        Image inputs (N, C, H, W) get a dynamic batch, text inputs (N, S) also a dynamic sequence.
    path : the file to write; weights of 2 GB and more go to `<path>.data` beside it.
    labels : class names in the order of the logits; kept in the file's metadata with the task
        and, of a transformers model, the config.
    opset : ONNX opset; None for the default of torch's exporter.

    Returns
    -------
    `path`, of a file that `onnx.checker` accepts. The same module gives the same bytes.

    Raises
    ------
    StageError : the module can't be exported, or not with dynamic axes.
    """
    inputs = _widen(model_inputs(example))
    traced = _Positional(_deployable(module), task, tuple(inputs)).eval()
    model = _export(traced, inputs=inputs, task=task, opset=opset)
    _require_dynamic(model, inputs=inputs, task=task)
    strip_traces(model)
    name_weights(model, traced.module.state_dict())
    add_metadata(model, {"task": task.name, **_config(module)}, labels=labels)
    save(model, path)
    check_file(path)
    return path


def _deployable(module: nn.Module) -> nn.Module:
    """A copy to trace: on the CPU, fp32, without gradients, and with plain attention.

    onnxruntime runs the graph of eager attention 2-3 % faster than that of SDPA, whose masks bring
    IsNaN and Where after every softmax.
    """
    copied = copy.deepcopy(module).cpu().float().eval().requires_grad_(False)
    for part in copied.modules():
        config = getattr(part, "config", None)
        if getattr(config, "_attn_implementation", "eager") not in (None, "eager"):
            with silence():
                cast("PreTrainedModel", part).set_attn_implementation("eager")
    return copied


def _config(module: nn.Module) -> dict[str, str]:
    """A transformers model's config as JSON, without the folder that it was loaded from."""
    config: Any = getattr(module, "config", None)
    if not hasattr(config, "to_json_string"):
        return {}
    values = json.loads(config.to_json_string(use_diff=False))
    values.pop("_name_or_path", None)
    return {"config": json.dumps(values | {"dtype": "float32"}, sort_keys=True)}


def _widen(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """At least two samples: torch.export takes a size of 1 for a constant."""
    return {
        name: (torch.cat([x, x]) if x.shape[0] == 1 else x).cpu().contiguous()
        for name, x in inputs.items()
    }


def _axes(task: Task, inputs: Mapping[str, Tensor]) -> tuple[dict[int, str], ...]:
    text = {0: BATCH, 1: SEQUENCE}
    return tuple(text if task.modality == "text" else {0: BATCH} for _ in inputs)


def _export(
    traced: nn.Module, *, inputs: Mapping[str, Tensor], task: Task, opset: int | None
) -> onnx.ModelProto:
    try:
        with silence(), torch.no_grad():
            program = torch.onnx.export(
                traced,
                tuple(inputs.values()),
                dynamo=True,
                input_names=list(inputs),
                output_names=list(task.output_names),
                dynamic_shapes=(_axes(task, inputs),),
                opset_version=opset,
                verbose=False,
            )
    except OnnxExporterError as error:
        raise StageError(
            f"torch can't export {type(traced.module).__name__} to ONNX: {_reason(error)}"
        ) from error
    if program is None:
        raise StageError(f"torch exported nothing for {type(traced.module).__name__}.")
    return program.model_proto


def _reason(error: BaseException) -> str:
    """The innermost cause in one line; the exporter's own message is mostly instructions."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


def _require_dynamic(model: onnx.ModelProto, *, inputs: Mapping[str, Tensor], task: Task) -> None:
    given = {value.name: value.type.tensor_type.shape.dim for value in model.graph.input}
    missing = sorted(set(inputs) - set(given))
    if missing:
        raise StageError(f"the exported graph has no input {', '.join(missing)}.")
    for name, axes in zip(inputs, _axes(task, inputs), strict=True):
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
