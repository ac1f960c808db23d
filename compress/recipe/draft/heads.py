"""Compares the classes of the data with those of the model's head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from compress.core.batch import IGNORED
from compress.core.context import Task
from compress.errors import InputError, clipped, few
from compress.models.folder.labels import labels_of
from compress.models.transformers.architectures import head_missing
from compress.models.transformers.heads import REGRESSION, SCORED, head_problem, outputs_of
from compress.recipe.draft.data import DraftData
from compress.recipe.draft.model import REQUIRED, DraftModel
from compress.recipe.draft.roles import Roles
from compress.tasks.contract import Task as OwnTask

_COUNTS = (
    *("num_classes", "classes", "n_classes", "num_labels", "n_labels", "labels", "num_outputs"),
    *("outputs", "out_features"),
)
"""Usual names of a factory's parameter for the number of classes."""
_CHANNELS = ("in_channels", "channels", "in_chans", "num_channels")
_FEATURES = ("in_features", "features", "input_size", "num_features", "n_features")


class Head(NamedTuple):
    """What a recipe has to say about the model's head.

    Attributes
    ----------
    arguments : keys for `model.arguments`.
    train : why the model must be trained first; None if it needn't.
    why : a sentence on the arguments; empty if there are none.
    """

    arguments: dict[str, Any]
    train: str | None
    why: str = ""


def classes_of(task: Task, data: DraftData, roles: Roles) -> tuple[str, ...]:
    """Return the classes of the data, as far as its first rows tell; empty if it has none."""
    if data.classes:
        return data.classes
    if roles.label is None or task.target not in (*SCORED, "own"):
        return ()
    if isinstance(task, OwnTask) and not (
        task.class_names and roles.label.kind == "class" and task.problem_type != REGRESSION
    ):
        return ()
    values, names = data.label_values(roles.label.name)
    return names or _found(values)


def _found(values: Sequence[Any]) -> tuple[str, ...]:
    found = set(_flat(values))
    texts = {value for value in found if isinstance(value, str)}
    if texts:
        return tuple(sorted(texts))
    return tuple(map(str, range(max((int(value) for value in found), default=-1) + 1)))


def _flat(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is not None and item != IGNORED:
                yield item


def choose_head(
    task: Task, model: DraftModel, data: DraftData, roles: Roles, classes: Sequence[str]
) -> Head:
    """Return the arguments of the model, and whether a new head must be trained.

    Raises
    ------
    InputError : there is a single class, and the task chooses among several.
    """
    if len(classes) == 1 and task.target in ("class", "token-class"):
        raise InputError(
            f"the labels of {data.word!r} are all {clipped(repr(classes[0]))}, and {task.name} "
            "chooses among two classes or more. Another column of labels is named by "
            "--set data.columns.label=NAME."
        )
    if model.is_python:
        return _of_factory(model, data, roles, classes)
    if model.is_onnx or not model.config:
        return Head({}, None)
    missing = head_missing(model.config, task)
    if isinstance(task, OwnTask) and task.problem_type == REGRESSION:
        return _of_regression(task, model, missing)
    if missing is not None and task.target != "none":
        classes_too = ", with the data's classes," if task.target in SCORED else ""
        return Head({}, _taught(missing, task.name + classes_too))
    if task.target not in SCORED or not classes or _fits(model, classes):
        return Head({}, None)
    return _for_other_classes(model, classes)


def _for_other_classes(model: DraftModel, classes: Sequence[str]) -> Head:
    """Return what a model needs whose head is for other classes."""
    given = model.keys.get("arguments", {})
    if "id2label" in given or "num_labels" in given:
        return Head({}, _NEW)
    if len(classes) == (outputs_of(model.config) or 2):
        return Head(
            {"id2label": {str(index): name for index, name in enumerate(classes)},
             "label2id": {name: index for index, name in enumerate(classes)}},
            "The head learns the data's classes. Leave this stage out if its scores are theirs.",
            "the model's head has other names for as many classes: these are the data's",
        )  # fmt: skip
    return Head(
        {"num_labels": len(classes)},
        _NEW,
        f"the model's head is for {outputs_of(model.config) or 2} classes "
        f"({few(list(labels_of(model.spec(), model.config)))}), the data has other ones: a new "
        "head, whose classes come from the data",
    )


def _taught(missing: str, what: str) -> str:
    return f"The weights are for {missing}: the head for {what} is new, and this stage teaches it."


def _of_regression(task: Task, model: DraftModel, missing: str | None) -> Head:
    """Return what a model of one number needs."""
    if missing is None and head_problem(model.config, task) is None:
        return Head({}, None)
    if {"num_labels", "problem_type"} & set(model.keys.get("arguments", {})):
        return Head({}, _NEW)
    why = "a head of one number; several have 'problem_type: regression' and their own count"
    train = _taught(missing, task.name) if missing else _NEW
    return Head({"num_labels": 1, "problem_type": REGRESSION}, train, why)


_NEW = "The head is new, for the data's classes: this stage teaches it."


def _fits(model: DraftModel, classes: Sequence[str]) -> bool:
    """Return whether the head knows all classes, by name or by number."""
    known = labels_of(model.spec(), model.config)
    if all(name.isdecimal() for name in classes):
        return len(classes) <= len(known)
    return set(classes) <= set(known)


def _of_factory(model: DraftModel, data: DraftData, roles: Roles, classes: Sequence[str]) -> Head:
    """Return the arguments of a factory that follow from the data."""
    wanted: dict[str, int] = {}
    for names, number in (
        (_COUNTS, len(classes) or None),
        (_CHANNELS, data.picture[2] if data.picture else None),
        (_FEATURES, _features(data, roles)),
    ):
        name = next((name for name in names if name in model.parameters), None)
        if name is not None and number is not None and model.parameters[name] != number:
            wanted[name] = number
    given: Mapping[str, Any] = model.keys.get("arguments", {})
    wanted = {name: value for name, value in wanted.items() if name not in given}
    why = "the function's parameters of these names, from the data" if wanted else ""
    return Head(dict(wanted), _OF_FACTORY, why)


_OF_FACTORY = (
    "What it makes is the reference. Leave this stage out if the function loads trained weights, "
    "or if 'model.weights' names them."
)


def _features(data: DraftData, roles: Roles) -> int | None:
    """Return the width of a table, if all of its inputs are one vector."""
    if data.samples == "table":
        return len(roles.inputs) or None
    shapes = [one.shape for one in roles.inputs]
    return shapes[0][0] if len(shapes) == 1 and len(shapes[0]) == 1 else None


def needed(model: DraftModel, arguments: Mapping[str, Any]) -> list[str]:
    """Return the parameters of a factory that have no default and no argument."""
    given = {**model.keys.get("arguments", {}), **arguments}
    return [
        name
        for name, default in model.parameters.items()
        if default is REQUIRED and name not in given
    ]
