"""Loads the inputs of a run, its model and data, and checks that they fit each other."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from compress.core.artifact import Artifact, Format
from compress.data.dataset import load_data
from compress.data.preprocess import load_preprocessor
from compress.errors import DataError, InputError, expected, few
from compress.measurement.metrics.registry import metric_of
from compress.models.load import load_model
from compress.models.onnx_file.given import GivenModel
from compress.models.transformers.heads import SCORED, new_head_line, outputs_of, with_classes
from compress.models.transformers.padding import told_padding
from compress.models.transformers.positions import longest_text_of
from compress.runner.fit import check_fit, require_trained_head
from compress.tasks.registry import find_task
from compress.tasks.task import KnownTask

if TYPE_CHECKING:
    from compress.core.context import Pooling, Task
    from compress.data.dataset import Dataset
    from compress.data.fields.dataset import TaskData
    from compress.models.folder.sentence_transformers import SentenceModel
    from compress.models.loaded import LoadedModel
    from compress.models.spec import ModelSpec
    from compress.recipe.schema import Head


_VECTORS: Mapping[Pooling, str] = {
    "mean": "the mean of its tokens'",
    "cls": "its first token's",
    "max": "the largest value of each dimension among its tokens'",
}
_DEFAULT_CLASSES = 2
"""Classes of a config that names none, in transformers."""


@dataclass(frozen=True)
class Inputs:
    """The original model, the data, and the task as the model takes it.

    Attributes
    ----------
    scratch : holds the original's file, if the recipe begins with one, until a run has copied it.
    """

    original: Artifact
    data: Dataset | TaskData
    task: Task
    scratch: TemporaryDirectory[str] | None = None

    def close(self) -> None:
        """Remove what was written aside for the run."""
        if self.scratch is not None:
            self.scratch.cleanup()


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and torch's global generators."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def resolve_device(device: str) -> str:
    """Return "cpu" or "cuda", given one of them or "auto".

    Raises
    ------
    InputError : the name is another one, or the device isn't there.
    """
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise InputError(expected("device", "one of auto, cpu, cuda", device))
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda' was asked for, but torch sees no CUDA device.")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def available_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads inside the context, and the former number afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def load_inputs(recipe: Head) -> Inputs:
    """Load the recipe's model and data, and check that they fit each other.

    Raises
    ------
    ModelError, DataError : the model or the data can't be loaded, or they don't fit each other.
    """
    task: Task = find_task(recipe.task_name, recipe.task_arguments)
    seed_everything(recipe.seed)
    if recipe.model.onnx is not None:
        return _given(recipe, recipe.model.onnx, task)
    loaded = load_model(recipe.model, task=task, seed=recipe.seed)
    require_trained_head(loaded, recipe, task)
    task = _as_the_model_pools(task, loaded.sentence)
    loaded, data = _with_data(loaded, recipe, task)
    preprocessor = load_preprocessor(
        loaded.folder,
        task=task,
        spec=recipe.data,
        texts=data.texts("train"),
        positions=longest_text_of(loaded.module) if task.modality == "text" else None,
        usual_length=loaded.sentence.max_length if loaded.sentence else None,
    )
    data = data.bound(preprocessor)
    if preprocessor.tokenizer is not None and task.target in ("class", "class-set"):
        loaded = told_padding(loaded, int(preprocessor.tokenizer.pad_token_id))
    original = Artifact(
        format=Format.TORCH,
        module=loaded.module.eval(),
        source=loaded.source,
        preprocessor=preprocessor,
        labels=loaded.labels or data.labels,
        notes=(
            *loaded.notes,
            *([] if loaded.sentence is None else [_pooled(task)]),
            *preprocessor.notes,
            *data.notes,
        ),
    )
    _require_fit(recipe, original, data, task)
    return Inputs(original=original, data=data, task=task)


def _given(recipe: Head, path: Path, task: Task) -> Inputs:
    """Return the inputs of a run that begins with an ONNX file."""
    given = GivenModel(recipe.model, path)
    pools = given.sentence if task.target == "none" else None
    task = _as_the_model_pools(task, pools)
    labels = given.labels(task)
    data = load_data(recipe.data, task=task, labels=labels, seed=recipe.seed)
    preprocessor = load_preprocessor(
        given.preprocessing,
        task=task,
        spec=recipe.data,
        texts=data.texts("train"),
        positions=given.longest_text(task),
        usual_length=pools.max_length if pools else None,
    )
    data = data.bound(preprocessor)
    scratch = TemporaryDirectory(prefix="compress-")
    labels = labels or data.labels
    file, notes = given.taken(
        data, preprocessor, task=task, labels=labels, folder=Path(scratch.name)
    )
    original = Artifact(
        format=given.format,
        onnx=file,
        preprocessor=preprocessor,
        labels=labels,
        notes=(
            *notes,
            *([] if pools is None else [_pooled(task)]),
            *preprocessor.notes,
            *data.notes,
        ),
    )
    _require_fit(recipe, original, data, task)
    return Inputs(original=original, data=data, task=task, scratch=scratch)


def _require_fit(recipe: Head, original: Artifact, data: Dataset | TaskData, task: Task) -> None:
    metric_of(recipe.measure.metric, task=task, labels=original.labels, labelled=data.labelled)
    check_fit(original, data, task)


def _with_data(
    loaded: LoadedModel, recipe: Head, task: Task
) -> tuple[LoadedModel, Dataset | TaskData]:
    """Return model and data; a new head has the data's classes unless the recipe names some.

    Raises
    ------
    DataError : as `load_data`; labels that a trained head doesn't know come with the line to write.
    """
    try:
        data = load_data(recipe.data, task=task, labels=loaded.labels, seed=recipe.seed)
    except DataError as error:
        if not loaded.labels or task.target not in SCORED:
            raise
        data = load_data(recipe.data, task=task, labels=(), seed=recipe.seed)
        spec = with_classes(recipe.model, data.labels)
        if not loaded.untrained_head or spec is None:
            line = new_head_line(data.labels, len(loaded.labels))
            raise DataError(f"{error} {line}") from error
        return _with_head_for(data.labels, spec, recipe, task), data
    outputs = outputs_of(recipe.model.config or {"num_labels": 0})
    if task.target in SCORED and outputs is None and len(data.labels) != _DEFAULT_CLASSES:
        spec = with_classes(recipe.model, data.labels)
        if spec is not None:
            return _with_head_for(data.labels, spec, recipe, task), data
    return loaded, data


def _with_head_for(
    classes: tuple[str, ...], spec: ModelSpec, recipe: Head, task: Task
) -> LoadedModel:
    loaded = load_model(spec, task=task, seed=recipe.seed)
    note = f"the new head is for the data's {len(classes)} classes: {few(list(classes), most=10)}."
    return replace(loaded, notes=(*loaded.notes, note))


def _as_the_model_pools(task: Task, sentence: SentenceModel | None) -> Task:
    if sentence is None or not isinstance(task, KnownTask):
        return task
    return replace(task, pooling=sentence.pooling, normalize=sentence.normalize)


def _pooled(task: Task) -> str:
    vector = _VECTORS[task.pooling]
    length = "of length 1" if task.normalize else "not normalised"
    return f"a text's vector is {vector}, {length}, as the model's modules.json says."
