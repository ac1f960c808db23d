"""Finds what is wrong with a given ONNX file, from its header alone. No onnx here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from compress.core.files.confined import inside
from compress.core.files.paths import file_problem
from compress.errors import InputError, ModelError, clipped, few
from compress.models.onnx_file.matching import (
    match_inputs,
    match_outputs,
    require_numbers,
    wanted_outputs,
)
from compress.onnx_graph.header import Header, domains, read_header
from compress.tasks.contract import Task as OwnTask
from compress.tasks.task import TASKS, KnownTask

GIVEN = {
    "text": (("input_ids", "attention_mask", "token_type_ids"), ("input_ids", "attention_mask")),
    "image": (("pixel_values",),),
}
"""Names of what tasks give to a model, by the kind of their samples; a tokenizer decides which."""
OLDEST_OPSET = 7
_IMAGE_AXES, _CHANNELS = 4, (1, 3)
RUN = frozenset({"", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "ai.onnx.preview"})
"""Domains whose operators ONNX Runtime has."""
QUANTIZED = frozenset(
    {
        *("ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "DynamicQuantizeMatMul"),
        *("MatMulInteger", "MatMulIntegerToFloat", "MatMulNBits", "QLinearConv", "QLinearMatMul"),
    }
)
"""Operators that only quantized files have."""

WITH_WEIGHTS = frozenset(
    {"Conv", "ConvTranspose", "MatMul", "Gemm", "Gather", "Einsum", "LSTM", "GRU", "RNN"}
)
"""Operators that have weights to be quantized."""

Problem = tuple[str, str]
"""The key inside `model`, and the problem."""


def file_problems(
    path: Path, task_name: str, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> list[Problem]:
    """Return what is wrong with a recipe's `model.onnx`, without reading its weights.

    Parameters
    ----------
    task_name : the recipe's task; what it gives and reads isn't compared if it is unknown.
    inputs, outputs : the recipe's keys of these names.
    """
    try:
        header = read_header(path)
    except ModelError as error:
        return [("onnx", str(error))]
    said = clipped(repr(str(path)))
    found = [("onnx", f"{said}: {problem}") for problem in _by_itself(path, header)]
    task = TASKS.get(task_name)
    if task is None:
        return [*found, *(("onnx", f"{said}: {problem}") for problem in _no_numbers(header))]
    given = GIVEN.get(task.modality, ())
    return found + _unfit(said, header, task, given, inputs=inputs, outputs=outputs)


def own_task_problems(
    path: Path,
    task: OwnTask,
    given: Sequence[Sequence[str]],
    *,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
) -> list[Problem]:
    """Return what of a file doesn't fit a task on the open contract, by the names of both.

    Parameters
    ----------
    given : names of what the task may give to the model, one of them; empty: unknown.
    inputs, outputs : as in `file_problems`.
    """
    try:
        header = read_header(path)
    except ModelError:
        return []  # `file_problems` reports the reason
    return _unfit(clipped(repr(str(path))), header, task, given, inputs=inputs, outputs=outputs)


def is_quantized(header: Header) -> bool:
    """Return whether a file is in 8 or 4 bits already."""
    return any(one.kind in QUANTIZED for one in header.operators)


def nothing_to_quantize(path: Path) -> str | None:
    """Return why a file has no weights that could be quantized, if its operators say so."""
    try:
        kinds = dict.fromkeys(one.kind for one in read_header(path).operators)
    except ModelError:
        return None  # `file_problems` reports the reason
    if not kinds or not kinds.keys().isdisjoint(WITH_WEIGHTS):
        return None
    return (
        f"nothing in the ONNX file of 'model' can be quantized: its operators are "
        f"{few([clipped(kind) for kind in kinds], most=6)}, and none has weights as tensors. "
        "Leave 'quantize' out."
    )


def size_of_images(path: Path) -> tuple[int, int] | None:
    """Return the only height and width that a file's images may have; None if any, or unknown."""
    try:
        inputs = read_header(path).inputs
    except ModelError:
        return None  # `file_problems` reports the reason
    known = [one.shape for one in inputs if one.shape is not None]
    shapes = [shape for shape in known if len(shape) == _IMAGE_AXES]
    if len(shapes) != 1:
        return None
    shape = shapes[0]
    last = shape[3] in _CHANNELS and shape[1] not in _CHANNELS
    height, width = shape[1:3] if last else shape[2:]
    if isinstance(height, int) and isinstance(width, int) and min(height, width) > 0:
        return height, width
    return None


def _by_itself(path: Path, header: Header) -> Iterator[str]:
    for name in sorted(header.external):
        try:
            problem = file_problem(inside(path.parent, name))
        except InputError as error:
            yield f"its weights must lie beside it: {error}"
            continue
        if problem is not None:
            yield f"its weights are missing: there is no file {clipped(repr(name))}: {problem}."
    for domain, one in domains(header).items():
        if domain not in RUN:
            yield f"its {one} can't run: ONNX Runtime has no operators of that domain."
    if header.opsets.get("", OLDEST_OPSET) < OLDEST_OPSET:
        yield f"its opset must be {OLDEST_OPSET} or later. Got {header.opset}."


def _no_numbers(header: Header) -> Iterator[str]:
    """Yield the problems of inputs that no task can give anything for."""
    for one in header.inputs:
        try:
            require_numbers(one)
        except ModelError as error:
            yield str(error)


def _unfit(
    said: str,
    header: Header,
    task: KnownTask | OwnTask,
    named: Sequence[Sequence[str]],
    *,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
) -> list[Problem]:
    found = []
    wrong = None
    for given in named:
        try:
            match_inputs(header.inputs, given, inputs, target=task.target)
        except ModelError as error:
            wrong = wrong or str(error)
        else:
            wrong = None
            break
    if wrong is not None:
        found.append(("inputs" if inputs else "onnx", f"{said}: {wrong}"))
    try:
        match_outputs(header.outputs, wanted_outputs(task), outputs)
    except ModelError as error:
        found.append(("outputs" if outputs else "onnx", f"{said}: {error}"))
    return found
