"""Chooses the task of a draft, from the class of the model's weights and from the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from compress.core.context import Task
from compress.errors import InputError
from compress.models.transformers.architectures import class_has_head, stored_class, tasks_of
from compress.models.transformers.heads import outputs_of
from compress.recipe.draft.columns import LABELS, WORDS, Column, preferred
from compress.recipe.draft.data import DraftData
from compress.recipe.draft.model import DraftModel
from compress.tasks.registry import outline, task_names
from compress.tasks.task import unknown_task

_IMAGES = ("image-classification", "multi-label-image-classification")
_REGRESSION = "text-regression"
_PRETRAINING = "fill-mask"
_QUESTIONS = frozenset({"question", "context", "answers"})


class Chosen(NamedTuple):
    """A task, and why it was chosen: a sentence, or empty if it was asked for."""

    task: Task
    why: str


def choose_task(
    asked: str | None, model: DraftModel, data: DraftData | None, columns: Mapping[str, Any]
) -> Chosen:
    """Return the task that was asked for, or else the one that model and data are for.

    Parameters
    ----------
    columns : the recipe's `data.columns`, as far as they are given.

    Raises
    ------
    InputError : there is no such task, or neither model nor data tell; the message has the options.
    """
    if asked is not None:
        if asked not in task_names():
            raise InputError(unknown_task(asked, task_names()))
        return Chosen(outline(asked), "")
    named = stored_class(model.config)
    label = None if data is None else likely_label(data, columns)
    heads = [name for name in task_names() if named and class_has_head(named, outline(name))]
    if heads == [_PRETRAINING] and label is not None:
        heads = []  # labels are for another head
    if heads:
        name = _among(heads, model, label)
        return Chosen(outline(name), f"the weights were saved from {named}")
    if model.sentence:
        return Chosen(outline("sentence-similarity"), "the folder is one of sentence-transformers")
    able = tasks_of(str(model.config["model_type"])) if model.config else tuple(task_names())
    found = (
        [] if data is None else [name for name in _by_data(model, data, columns) if name in able]
    )
    if len(found) == 1:
        said = f"of the data's {_what(data)}"
        return Chosen(outline(found[0]), said if data is not None else "")
    raise InputError(_unclear(model, data, found or able))


def _what(data: DraftData | None) -> str:
    if data is None or data.samples == "unknown":
        return "kind"
    return "images" if data.samples == "images" else f"columns {', '.join(data.columns)}"


def _unclear(model: DraftModel, data: DraftData | None, options: Sequence[str]) -> str:
    of = "the model" if data is None else f"{model.word} and {data.word}"
    return (
        f"the task isn't clear from {of}: say it with --task, one of {', '.join(options)}. "
        "('compress tasks' says what each is for.)"
    )


def _among(heads: Sequence[str], model: DraftModel, label: Column | None) -> str:
    """Return the one of several tasks with such a head that config and labels are for."""
    sets = model.config.get("problem_type") == "multi_label_classification" or (
        label is not None and label.kind in ("words", "tags", "numbers")
    )
    numbers = model.config.get("problem_type") == "regression" or (
        label is not None and (label.kind == "number" or outputs_of(model.config) == 1)
    )
    for name in heads:
        if name.startswith("multi-label") == sets and (name == _REGRESSION) == numbers:
            return name
    return heads[0]


def likely_label(data: DraftData, columns: Mapping[str, Any]) -> Column | None:
    """Return the column of labels that is given, or has such a name, or alone holds classes."""
    if "label" in columns:
        return data.columns.get(str(columns["label"]))
    named = preferred(data.columns, LABELS)
    if named is not None:
        return named
    classes = [column for column in data.columns.values() if column.kind == "class"]
    return classes[0] if len(classes) == 1 else None


def _by_data(model: DraftModel, data: DraftData, columns: Mapping[str, Any]) -> Iterable[str]:
    """Yield the tasks whose samples the data can be."""
    label = likely_label(data, columns)
    kinds = {column.kind for column in data.columns.values() if column is not label}
    listed = label is not None and label.kind in ("words", "tags", "numbers")
    if set(data.columns) >= _QUESTIONS:
        yield "question-answering"
    elif data.samples == "images" or "image" in kinds:
        yield _IMAGES[1] if listed else _IMAGES[0]
    elif data.samples == "arrays" or (kinds and kinds <= {"number", "class"}):
        yield from _of_tensors(label)
    elif preferred(data.columns, WORDS) is not None and listed:
        yield "token-classification"
    elif "text" in kinds:
        yield from _of_texts(label, listed=listed, own=model.is_python)


def _of_tensors(label: Column | None) -> Iterable[str]:
    if label is None or label.kind in ("class", "tags", "words", "text"):
        yield "tensor-classification"
    if label is None or label.kind in ("number", "numbers"):
        yield "tensor-regression"


def _of_texts(label: Column | None, *, listed: bool, own: bool) -> Iterable[str]:
    if label is None:
        yield from () if own else ("feature-extraction", "text-generation")
    elif label.kind == "number":
        yield _REGRESSION
    else:
        yield "multi-label-text-classification" if listed else "text-classification"
