"""Loads what a recipe names, tries a few rows of every split, and goes through its stages."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from compress.core.batch import ATTENTION_MASK, IGNORED, labels_in, model_inputs
from compress.core.context import Context, Split
from compress.core.files.storage import storing
from compress.core.foreign.boundary import foreign_within
from compress.errors import InputError, StageError
from compress.measurement.params import count_params
from compress.runner.dry_run import rehearsed
from compress.runner.fit import tried_outputs
from compress.runner.folder.workdir import Workdir
from compress.runner.inputs import Inputs, available_cpus, load_inputs
from compress.runner.keys import code_files
from compress.tasks.contract import Task as OwnTask

if TYPE_CHECKING:
    from torch import Tensor

    from compress.core.artifact import Artifact
    from compress.core.context import Batch
    from compress.recipe.schema import Recipe

SPLITS: tuple[Split, ...] = ("train", "validation", "test", "calibration")
ROWS = 8
"""Rows of each split that go through the model."""
_TEXTS = 64
"""Texts of each split whose tokens are counted."""
_CLASSES = 20
"""Classes of a split's first rows that are named."""


@dataclass(frozen=True)
class Lengths:
    """Tokens of a split's first texts.

    Attributes
    ----------
    texts : number of texts looked at.
    least, middle, most : tokens of the shortest, the median and the longest of them.
    full : number of texts of full length, most of which are cut there.
    limit : the full length.
    """

    texts: int
    least: int
    middle: int
    most: int
    full: int
    limit: int


@dataclass(frozen=True)
class SplitSeen:
    """The first rows of a split, and the model's answers to them.

    Attributes
    ----------
    split : the split's name.
    size : number of its samples.
    inputs, outputs : type and shape by name, such as "int64 (8, 32)".
    labels : what the rows are labelled with, in words, by the output's name; empty: nothing.
    lengths : tokens of its texts; None if it has none, or if they are cut into blocks.
    """

    split: Split
    size: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    labels: Mapping[str, str]
    lengths: Lengths | None


@dataclass(frozen=True)
class Preview:
    """What a recipe's model, data and stages look like.

    Attributes
    ----------
    model : name of the model's class, or of its ONNX file.
    params : number of its parameters.
    classes : class names; empty if there are none.
    splits : first rows of each split.
    stages : number of parameters after each stage, by its name, as far as that can be predicted.
    notes : what loading the model and the data decided.
    """

    model: str
    params: int
    classes: tuple[str, ...]
    splits: tuple[SplitSeen, ...]
    stages: Mapping[str, int]
    notes: tuple[str, ...]


def look(recipe: Recipe, *, output: Path | None = None) -> Preview:
    """Load a recipe's model and data, and try a few rows and all stages, without training.

    Parameters
    ----------
    output : the folder of the results, which isn't touched; None for exports/<name>.

    Raises
    ------
    InputError : the model or the data can't be loaded, they don't fit each other, a stage can't do
        its work, or the folder isn't a run's.
    """
    Workdir(recipe.output_folder(output)).require_usable()
    inputs = load_inputs(recipe)
    with foreign_within(code_files(recipe)):
        return Preview(
            model=_named(inputs.original),
            params=_params(inputs.original),
            classes=inputs.original.labels,
            splits=tuple(_seen(inputs, split) for split in SPLITS),
            stages=_structures(recipe, inputs),
            notes=inputs.original.notes,
        )


def _structures(recipe: Recipe, inputs: Inputs) -> dict[str, int]:
    with storing(), tempfile.TemporaryDirectory(prefix="compress-") as folder:
        context = Context(
            reference=replace(inputs.original, notes=()),
            task=inputs.task,
            data=inputs.data,
            directory=Path(folder),
            seed=recipe.seed,
            threads=available_cpus(),
        )
        made = rehearsed(recipe.build_stages(), artifact=inputs.original, context=context)
        try:
            return {name: _params(artifact) for name, artifact in made}
        except StageError as error:
            raise InputError(str(error)) from error


def _named(artifact: Artifact) -> str:
    return type(artifact.require_module()).__name__ if artifact.onnx is None else artifact.onnx.name


def _params(artifact: Artifact) -> int:
    if artifact.onnx is not None:
        return count_params(artifact.onnx)
    return sum(one.numel() for one in artifact.require_module().parameters())


def _seen(inputs: Inputs, split: Split) -> SplitSeen:
    original, task, data = inputs.original, inputs.task, inputs.data
    loader = data.loader(
        split, original.require_preprocessor(), batch_size=ROWS, limit=max(ROWS, _TEXTS)
    )
    batches = iter(loader)
    first = next(batches)
    given = model_inputs(first)
    outputs = tried_outputs(original, given, task)
    classes = original.labels if not isinstance(task, OwnTask) or len(task.outputs) == 1 else ()
    counted = ATTENTION_MASK in given and task.target != "next-token"
    return SplitSeen(
        split=split,
        size=data.size(split),
        inputs={name: _shape(value) for name, value in given.items()},
        outputs={name: _shape(value) for name, value in outputs.items()},
        labels={
            name: _sets(value, classes) if task.target == "class-set" else _labels(value, classes)
            for name, value in labels_in(first).items()
        }
        if data.labelled and task.target != "next-token"
        else {},
        lengths=_lengths(first, batches, original.require_preprocessor().max_length)
        if counted
        else None,
    )


def _shape(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


def _labels(value: Tensor, classes: tuple[str, ...]) -> str:
    """Return the classes of some rows with their counts, or the range of their numbers."""
    array = value.numpy()
    if array.dtype.kind == "f":
        known = array[np.isfinite(array)]
        span = f", {known.min():.4g} to {known.max():.4g}" if known.size else ""
        return f"{_shape(value)}{span}"
    found, counts = np.unique(array[array != IGNORED], return_counts=True)
    named = [classes[index] if index < len(classes) else str(index) for index in found.tolist()]
    shown = [f"{name}: {count}" for name, count in zip(named, counts.tolist(), strict=True)]
    more = f" and {len(shown) - _CLASSES:,} more" if len(shown) > _CLASSES else ""
    return (", ".join(shown[:_CLASSES]) or "none") + more


def _sets(value: Tensor, classes: tuple[str, ...]) -> str:
    """Return the number of rows in which each class holds."""
    counts = (value > 0).sum(0).tolist()
    named = [f"{name}: {count}" for name, count in zip(classes, counts, strict=True) if count]
    return ", ".join(named) or "none"


def _lengths(first: Batch, others: Iterator[Batch], limit: int | None) -> Lengths | None:
    counts = [
        int(count) for batch in (first, *others) for count in batch[ATTENTION_MASK].sum(1).tolist()
    ]
    if limit is None:
        return None
    return Lengths(
        texts=len(counts),
        least=min(counts),
        middle=round(median(counts)),
        most=max(counts),
        full=sum(count >= limit for count in counts),
        limit=limit,
    )
