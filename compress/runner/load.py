"""Loads a model and its data without a recipe, to apply single stages."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.context import Context
from compress.errors import InputError
from compress.recipe.load import head_of
from compress.report.progress import on_stderr

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.progress import Progress
    from compress.data.spec import DataSpec
    from compress.models.spec import ModelSpec
    from compress.tasks.spec import TaskSpec


def load(
    model: ModelSpec | Mapping[str, Any],
    task: str | TaskSpec | Mapping[str, Any],
    data: DataSpec | Mapping[str, Any],
    *,
    directory: str | os.PathLike[str] | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> tuple[Artifact, Context]:
    """Return a model as an artifact, and the context in which stages are applied to it.

    Parameters
    ----------
    model, data : as in a recipe: a spec, or its keys.
    task : such as "text-classification"; or a mapping with `name` or `python` and `arguments`.
    directory : an empty folder for the files of one stage; it is made if it is missing. The
        default is a new temporary folder. Each stage needs a folder of its own.
    seed : of all randomness.
    device : "auto", "cpu" or "cuda".
    threads : torch threads; as many as the process may use by default.
    progress : shows how far the work is; as in `run`.

    Returns
    -------
    The artifact, and a context with this artifact as its reference (the teacher of every
    distillation).

    Raises
    ------
    RecipeError : every problem that a recipe check would find.
    InputError : the folder isn't empty. As `ModelError` or `DataError`: the model or the data
        can't be loaded, or they don't fit each other.

    Examples
    --------
    >>> import compress
    >>> artifact, context = compress.load(
    ...     model={
    ...         "python": "compress.models.resnet:resnet",
    ...         "arguments": {"blocks": [1, 1], "in_channels": 1, "num_classes": 10},
    ...     },
    ...     task="image-classification",
    ...     data={"sklearn": "digits"},
    ... )
    >>> smaller = compress.Prune(target={"macs": 0.5}, recovery=None).apply(artifact, context)
    >>> smaller.module is artifact.module
    False

    Another stage gets another folder:

    >>> from dataclasses import replace
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> context = replace(context, directory=Path(mkdtemp()))
    >>> int8 = compress.Quantize(method="static").apply(smaller, context)
    >>> int8.onnx.name
    'model.onnx'
    """
    from compress.onnx_graph.files import copy_model
    from compress.runner.inputs import available_cpus, load_inputs, resolve_device

    given = {"version": 1, "name": "loaded", "seed": seed, "model": model, "task": task}
    head = head_of({**given, "data": data})
    folder = None if directory is None else Path(directory)
    if folder is not None and folder.exists() and not _is_empty_folder(folder):
        raise InputError(f"'directory' must be an empty folder. Got {folder}.")
    inputs = load_inputs(head)
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="compress-"))
    folder.mkdir(parents=True, exist_ok=True)
    original = inputs.original
    if original.onnx is not None:  # the inputs' own copy goes with them
        kept = Path(tempfile.mkdtemp(prefix="compress-")) / original.onnx.name
        copy_model(original.onnx, kept)
        original = replace(original, onnx=kept)
        inputs.close()
    context = Context(
        reference=replace(original, notes=()),
        task=inputs.task,
        data=inputs.data,
        directory=folder,
        seed=seed,
        device=resolve_device(device),
        threads=threads or available_cpus(),
        progress=progress or on_stderr(),
    )
    return original, context


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and next(path.iterdir(), None) is None
