"""What a run begins with: the model and the data, loaded and held against each other."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compress.core.artifact import Artifact, Format
from compress.core.batch import model_inputs
from compress.core.boundary import foreign
from compress.errors import InputError, ModelError, expected
from compress.models.source import PythonSource

if TYPE_CHECKING:
    from compress.core.context import Batch, Split
    from compress.data.dataset import Dataset
    from compress.recipe.schema import Recipe
    from compress.tasks.task import Task


@dataclass(frozen=True)
class Inputs:
    """The original model, the data, and what loading them had to choose."""

    original: Artifact
    data: Dataset
    task: Task


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and torch's global generators."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def resolve_device(device: str) -> str:
    """ "cpu" or "cuda", given one of them or "auto".

    Raises
    ------
    InputError : another name, or a device that isn't there.
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
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute on so many threads; as many as before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def load_inputs(recipe: Recipe) -> Inputs:
    """Load the recipe's model and data, and check that they fit each other.

    Raises
    ------
    ModelError, DataError : either can't be loaded, or they don't fit.
    """
    from compress.data.dataset import load_data
    from compress.data.preprocess import load_preprocessor
    from compress.measurement.metrics import metric_named
    from compress.models.load import load_model
    from compress.tasks.task import task as find_task

    task = find_task(recipe.task)
    seed_everything(recipe.seed)
    loaded = load_model(recipe.model, task=task, seed=recipe.seed)
    data = load_data(recipe.data, task=task, labels=loaded.labels, seed=recipe.seed)
    preprocessor = load_preprocessor(
        loaded.folder, task=task, spec=recipe.data, texts=data.texts("train")
    )
    data = data.bound(preprocessor)
    original = Artifact(
        format=Format.TORCH,
        module=loaded.module.eval(),
        source=loaded.source,
        preprocessor=preprocessor,
        labels=loaded.labels or data.labels,
        notes=(*loaded.notes, *getattr(preprocessor, "notes", ()), *data.notes),
    )
    metric = recipe.measure.metric or task.default_metric(labelled=data.labelled)
    metric_named(metric, target=task.target, labels=original.labels)
    _check_fit(original, data, task)
    return Inputs(original=original, data=data, task=task)


def _check_fit(original: Artifact, data: Dataset, task: Task) -> None:
    """One batch of each split goes through the model before anything long begins."""
    import torch

    splits: tuple[Split, ...] = ("train", "validation", "test", "calibration")
    module = original.require_module()
    _require_vocabulary(original)
    for split in splits:
        loader = data.loader(split, original.require_preprocessor(), batch_size=2, limit=2)
        batch = next(iter(loader))
        inputs = model_inputs(batch)
        try:
            with torch.no_grad(), foreign(_forward_of(original), error=ModelError):
                logits = task.logits(module, inputs)
        except ModelError as error:
            shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in inputs.items())
            raise ModelError(
                f"the model can't take the data's inputs ({shapes}): {error}"
            ) from error
        _require_outputs(tuple(logits.shape), batch, original=original, task=task)


def _forward_of(original: Artifact) -> str:
    """What is called when the model is, in words."""
    source = original.source
    made_by = f" of {source.factory!r}" if isinstance(source, PythonSource) else ""
    return f"{type(original.require_module()).__name__}.forward{made_by}"


def _require_vocabulary(original: Artifact) -> None:
    """The model knows as many tokens as its tokenizer."""
    tokenizer = getattr(original.require_preprocessor(), "tokenizer", None)
    if tokenizer is None:  # transformers' image models refuse the question about embeddings
        return
    embeddings = getattr(original.require_module(), "get_input_embeddings", None)
    known = getattr(embeddings(), "num_embeddings", None) if callable(embeddings) else None
    if known is not None and len(tokenizer) > known:
        raise ModelError(
            f"the tokenizer has {len(tokenizer)} tokens, but the model knows only {known}."
        )


def _require_outputs(
    shape: tuple[int, ...], batch: Batch, *, original: Artifact, task: Task
) -> None:
    first = next(iter(model_inputs(batch).values()))
    leading = tuple(first.shape[: 1 if task.target in ("class", "class-set") else 2])
    if shape[:-1] != leading:
        raise ModelError(
            f"the model gives answers of shape {shape} for {len(first)} samples. For "
            f"{task.name} it must be {leading} and one more axis."
        )
    counted = task.target in ("class", "class-set", "token-class") and original.labels
    if counted and shape[-1] != len(original.labels):
        raise ModelError(
            f"the model gives scores of shape {shape} for {len(first)} samples, "
            f"but there are {len(original.labels)} labels: {', '.join(original.labels[:10])}."
        )
