"""A model and its data without a recipe, for whoever applies single stages."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.context import Context
from compress.core.progress import Progress, Silent
from compress.errors import InputError
from compress.recipe.load import head_of

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.data.spec import DataSpec
    from compress.models.spec import ModelSpec


def load(
    model: ModelSpec | Mapping[str, Any],
    task: str,
    data: DataSpec | Mapping[str, Any],
    *,
    directory: Path | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> tuple[Artifact, Context]:
    """A model as an artifact, and the context in which a stage is applied to it.

    Parameters
    ----------
    model, data : as in a recipe: a spec, or its keys.
    task : such as "text-classification".
    directory : an empty folder for the files of the stage, made where it isn't there; a new
        temporary one by default. Each stage wants one of its own.
    seed : of all randomness.
    device : "auto", "cpu" or "cuda".
    threads : torch threads; as many as the process may use by default.
    progress : where to show how far the work is; nowhere by default.

    Returns
    -------
    The artifact, and a context whose reference (the teacher of every distillation) it is.

    Raises
    ------
    RecipeError : every problem that a recipe check would find.
    InputError : the folder isn't empty; a model or data that can't be loaded, or don't fit each
        other (`ModelError`, `DataError`).

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

    Another stage gets a folder of its own, and after `train` another reference:

    >>> from dataclasses import replace
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> context = replace(context, directory=Path(mkdtemp()))
    >>> int8 = compress.Quantize(method="static").apply(smaller, context)
    >>> int8.onnx.name
    'model.onnx'
    """
    from compress.runner.inputs import available_cpus, load_inputs, resolve_device

    given = {"version": 1, "name": "loaded", "seed": seed, "model": model, "task": task}
    head = head_of({**given, "data": data})
    if directory is not None and directory.exists() and not _is_empty_folder(directory):
        raise InputError(f"'directory' must be an empty folder. Got {directory}.")
    inputs = load_inputs(head)
    if directory is None:
        directory = Path(tempfile.mkdtemp(prefix="compress-"))
    directory.mkdir(parents=True, exist_ok=True)
    context = Context(
        reference=replace(inputs.original, notes=()),
        task=inputs.task,
        data=inputs.data,
        directory=directory,
        seed=seed,
        device=resolve_device(device),
        threads=threads or available_cpus(),
        progress=progress or Silent(),
    )
    return inputs.original, context


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and next(path.iterdir(), None) is None
