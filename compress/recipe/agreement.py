"""Checks that model, data and task go together, as far as config.json and the data's files tell.

Nothing is computed, and neither torch nor transformers is imported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from compress.core.context import Task
from compress.core.foreign.boundary import reading
from compress.data.spec import IMAGE_SOURCES, DataSpec, TrainedTokenizer
from compress.errors import ModelError, expected
from compress.models.folder.header import known_config, stored_config
from compress.models.folder.labels import labels_of
from compress.models.folder.sentence_transformers import sentence_folder
from compress.models.onnx_file.beside import preprocessing_of
from compress.models.onnx_file.problems import own_task_problems, size_of_images
from compress.models.spec import KINDS, ModelSpec, is_folder
from compress.models.transformers.architectures import head_missing, kind_problem, stored_class
from compress.models.transformers.heads import SCORED, head_problem, outputs_of, untrained_head
from compress.models.transformers.positions import image_size, longest_text, positions_allowed
from compress.tasks.contract import Task as OwnTask

Misfit = tuple[tuple[str, str], str]
"""The section, the dotted key in it, and the problem in words."""


def misfits(
    model: ModelSpec, data: DataSpec | None, task: Task, *, taught: bool
) -> Iterator[Misfit]:
    """Yield what doesn't go together.

    Parameters
    ----------
    taught : whether a `train` stage trains the model first, and with it a new head.
    """
    config = known_config(model)
    problem = _of_model(model, config, task, taught=taught)
    if problem is not None:
        yield ("model", next(kind for kind in KINDS if getattr(model, kind) is not None)), problem
        return
    if data is None:
        return
    yield from _of_fields(data, task)
    yield from _of_inputs(model, config, data, task)
    if model.onnx is not None and isinstance(task, OwnTask) and task.outputs:
        yield from _of_own_task(model, model.onnx, data, task)
    if data.source in IMAGE_SOURCES:
        if task.modality != "image":
            needed = "texts" if task.modality == "text" else task.modality
            yield ("data", data.source), f"it holds images, and {task.name} needs {needed}."
        return
    if data.files is None:
        return
    from compress.data.known import misfits_of  # numpy comes with it

    names = labels_of(model, config) if task.target in SCORED else ()
    outputs = outputs_of(config)
    if taught and "id2label" not in model.arguments and _is_new(model, config, task):
        names, outputs = (), outputs_of(model.arguments)  # the head takes the data's classes
    for key, sentence in misfits_of(
        data, task=task, labels=names, outputs=outputs, teachable=model.onnx is None
    ):
        yield ("data", key), sentence


def _of_own_task(model: ModelSpec, path: Path, data: DataSpec, task: OwnTask) -> Iterator[Misfit]:
    """Yield what an ONNX file lacks that a task on the open contract gives or reads."""
    from compress.data.known import given_by  # numpy comes with it

    found = own_task_problems(
        path,
        task,
        given_by(data, task),
        inputs=model.inputs or {},
        outputs=model.outputs or {},
    )
    for key, sentence in found:
        yield ("model", key), sentence


def _of_fields(data: DataSpec, task: Task) -> Iterator[Misfit]:
    """Yield keys that only tasks on the open contract read."""
    if task.target == "own":
        return
    if data.arrays is not None:
        yield ("data", "arrays"), f"it holds tensors, and {task.name} needs {task.modality}s."
    for key in ("inputs", "targets"):
        if getattr(data.columns, key) is not None:
            columns = "image" if task.modality == "image" else "text, text_pair or tokens"
            yield (
                ("data", f"columns.{key}"),
                f"'columns.{key}' is for tasks on tensors and of one's own. {task.name} reads "
                f"{columns}, and label.",
            )


def _is_new(model: ModelSpec, config: Mapping[str, Any], task: Task) -> bool:
    """Return whether the head for a task isn't among the stored weights of a local folder."""
    if model.transformers is None or not config:
        return False
    return head_missing(config, task) is not None or _resized(model, config)


def _of_model(
    model: ModelSpec, config: Mapping[str, Any], task: Task, *, taught: bool
) -> str | None:
    problem = kind_problem(config, task) or head_problem(config, task)
    if problem is not None or model.transformers is None or not config:
        return problem
    purpose = head_missing(config, task)
    if purpose is not None and not taught:
        return untrained_head(stored_class(config) or model.transformers, task, purpose=purpose)
    counted = task.target in SCORED or task.auto_class == "AutoModelForSequenceClassification"
    if counted and not taught and _resized(model, config):
        return untrained_head(model.transformers, task)
    if task.target == "none":
        try:
            sentence_folder(model.transformers)
        except ModelError as error:
            return str(error)
    return None


def _resized(model: ModelSpec, config: Mapping[str, Any]) -> bool:
    stored = stored_config(model) or {}
    return (outputs_of(config) or 2) != (outputs_of(stored) or 2)


def _of_inputs(
    model: ModelSpec, config: Mapping[str, Any], data: DataSpec, task: Task
) -> Iterator[Misfit]:
    most = longest_text(config)
    length = data.max_length
    if task.modality == "text" and length is not None and most is not None and length > most:
        yield ("data", "max_length"), expected("max_length", positions_allowed(most), length)
    if model.onnx is not None and isinstance(data.tokenizer, TrainedTokenizer):
        wrong = "a new tokenizer's tokens aren't those that the ONNX file of 'model' knows."
        yield ("data", "tokenizer"), wrong
    wanted = image_size(config) if model.onnx is None else size_of_images(model.onnx)
    if task.modality != "image" or wanted is None:
        return
    size = None if data.image is None else data.image.size
    folder = model.transformers or preprocessing_of(model)
    if data.image is None and folder is not None:
        size = _processor_size(folder)
    if size is not None and size != wanted:
        why = "the model has positions for" if model.onnx is None else "the ONNX file takes"
        allowed = f"{list(wanted)}, the only size that {why}"
        where = "image.size" if data.image is not None else "image"
        yield ("data", where), expected("image.size", allowed, list(size))


def _processor_size(name: str) -> tuple[int, int] | None:
    """Return the image size that a local folder's image processor makes; None if unknown."""
    path = Path(name).expanduser() / "preprocessor_config.json"
    if not is_folder(name) or not path.is_file():
        return None
    try:
        with reading(path, error=ModelError):
            values = json.loads(path.read_text(encoding="utf-8"))
    except ModelError:
        return None  # loading it says what is wrong
    cropped = isinstance(values, dict) and values.get("do_center_crop") is True
    resized = isinstance(values, dict) and values.get("do_resize", True) is True
    found = values.get("crop_size" if cropped else "size") if cropped or resized else None
    if not isinstance(found, dict) or not {"height", "width"} <= set(found):
        return None
    height, width = found["height"], found["width"]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None
