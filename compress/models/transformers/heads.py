"""Compares the meaning of a model's head with what a task reads in it. No torch here.

The softmax of a single score is 1 for every input, and a regression's number isn't a score of a
class. A task that read them in this way would measure nothing, and no error would show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from compress.core.context import Task
from compress.errors import clipped
from compress.models.spec import ModelSpec
from compress.tasks.contract import Task as OwnTask
from compress.tasks.registry import task_names
from compress.tasks.task import TASKS

HEAD_KEYS = ("id2label", "label2id", "num_labels", "problem_type")
"""Keys of a config that tell the meaning of its head."""
SCORED = ("class", "class-set", "token-class")
"""Targets for which a model's head gives a score for each class."""
REGRESSION = "regression"
_SPANS = "AutoModelForQuestionAnswering"
_MOST_NAMED = 20
_SINGLE, _MULTI = "single_label_classification", "multi_label_classification"
_RERANKER_KEYS = ("sentence_transformers", "sbert_ce_default_activation_function")


def outputs_of(config: Mapping[str, Any]) -> int | None:
    """Number of scores that a config's head gives; None if the config doesn't say."""
    names, count = config.get("id2label"), config.get("num_labels")
    if isinstance(names, Mapping | list):
        return len(names)
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def head_problem(config: Mapping[str, Any], task: Task) -> str | None:
    """Reason why a head hasn't the meaning that a task needs, in a few sentences; else None.

    Parameters
    ----------
    config : a transformers model's config as plain values; it needn't be complete.
    """
    kind, outputs = config.get("problem_type"), outputs_of(config)
    if isinstance(task, OwnTask):
        return _of_own(kind, outputs, task)
    if task.target not in SCORED:
        return None
    if kind == REGRESSION:
        again = "" if outputs == 1 else f" {_overridden(task)}"
        return (
            f"its head gives a number (problem_type: regression), and {task.name} reads scores of "
            f"classes. {_for_numbers(task)}{again}"
        )
    if outputs == 1 and _ranks(config):
        return (
            f"its head ranks pairs of texts by one number (a reranker), and {task.name} reads "
            f"scores of classes. {_for_numbers(task)}"
        )
    if outputs == 1 and task.target != "class-set":
        return one_output(task)
    return _chooses_otherwise(kind, task)


def _of_own(kind: object, outputs: int | None, task: OwnTask) -> str | None:
    """Reason why a head isn't what a task on the contract reads; None if it is, or isn't known."""
    if task.problem_type == REGRESSION:
        return _no_regression(kind, outputs, task)
    if task.auto_class == _SPANS and outputs not in (None, 2):
        return (
            f"its head gives {outputs} scores for each token, and {task.name} reads two: of the "
            "answer's start and of its end. A new head has 'num_labels: 2' in 'model.arguments' "
            "(or 'model.config')."
        )
    return None


def _no_regression(kind: object, outputs: int | None, task: Task) -> str | None:
    """Reason why a head doesn't give the numbers that a task reads; None if it does."""
    if kind in (_SINGLE, _MULTI):
        other = "text-classification" if kind == _SINGLE else "multi-label-text-classification"
        return (
            f"its head gives scores of classes (problem_type: {kind}), and {task.name} reads "
            f"numbers. The task for such a head is {other}. {_said_regression(task)}"
        )
    if kind is None and outputs is not None and outputs > 1:
        return (
            f"its head gives {outputs} scores and doesn't say that they are numbers to be "
            f"predicted, as {task.name} reads them. {_said_regression(task)} One number has "
            "'num_labels: 1'."
        )
    return None


def _said_regression(task: Task) -> str:
    return (
        f"If it was trained for {task.name}, or is to be, say so: 'problem_type: {REGRESSION}' in "
        "'model.arguments' (or 'model.config')."
    )


def _for_numbers(task: Task) -> str:
    """The task that reads numbers of the same samples, if there is one."""
    if task.auto_class == "AutoModelForSequenceClassification":
        return "The task for it is text-regression."
    return f"No task is for a number of such samples; the tasks are {', '.join(task_names())}."


def _chooses_otherwise(kind: object, task: Task) -> str | None:
    """Reason why a single-label head isn't for a multi-label task, or the reverse; else None."""
    if kind == _MULTI and task.target != "class-set":
        return (
            f"its head decides each class by itself (problem_type: {_MULTI}), and {task.name} "
            f"chooses one of them. {_other(task, of_sets=True)}{_overridden(task)}"
        )
    if kind == _SINGLE and task.target == "class-set":
        return (
            f"its head chooses one class (problem_type: {_SINGLE}), and {task.name} decides each "
            f"by itself. {_other(task, of_sets=False)}{_overridden(task)}"
        )
    return None


def with_classes(model: ModelSpec, classes: Sequence[str]) -> ModelSpec | None:
    """A transformers model whose new head is for some classes.

    Returns
    -------
    None if the recipe names other classes or another number of them, or no transformers model.
    """
    given = model.config if model.config is not None else model.arguments
    named = "id2label" in given or given.get("num_labels", len(classes)) != len(classes)
    if named or (model.transformers is None and model.config is None):
        return None
    labels = {
        "id2label": dict(enumerate(classes)),
        "label2id": {name: index for index, name in enumerate(classes)},
    }
    kept = {key: value for key, value in given.items() if key != "num_labels"} | labels
    return model.model_copy(update={"arguments" if model.config is None else "config": kept})


def new_head_line(classes: Sequence[str], outputs: int | None) -> str:
    """The sentence on how a model gets a head for the data's classes.

    Parameters
    ----------
    outputs : number of scores that the model gives now; None if unknown.
    """
    count = len(classes)
    if count == outputs:
        names = named_classes(classes) if count <= _MOST_NAMED else "{id2label: …, label2id: …}"
        return (
            "If the model's scores are those of the data's classes, name these in 'model': "
            f"'arguments: {names}'; otherwise begin the stages with 'train', too."
        )
    return (
        f"To teach the model the data's {count} classes, give it a new head: "
        f"'arguments: {{num_labels: {count}}}' in 'model', with 'train' as the first stage; the "
        "classes' names come from the data."
    )


def named_classes(classes: Sequence[str]) -> str:
    """The keys of a config that name classes, as YAML in one line.

    >>> named_classes(["neg", "pos"])
    '{id2label: {"0": "neg", "1": "pos"}, label2id: {"neg": 0, "pos": 1}}'
    """
    by_number = json.dumps({str(index): name for index, name in enumerate(classes)})
    by_name = json.dumps({name: index for index, name in enumerate(classes)})
    return f"{{id2label: {by_number}, label2id: {by_name}}}"


def one_output(task: Task) -> str:
    """Reason why a head with one score isn't for a task that chooses among classes."""
    return (
        f"its head gives one score, and {task.name} chooses among two classes or more: whatever "
        f"the input, it would choose that one. {_other(task, of_sets=True, what='a yes or no')}"
        f"For a number (a regression, a reranker): {_for_numbers(task)}"
    )


def untrained_head(model: str, task: Task, *, purpose: str | None = None) -> str:
    """Reason why a model without a trained head for a task can't begin a recipe without `train`.

    Parameters
    ----------
    model : its folder, its hub id or the class of its weights.
    purpose : the purpose of that class; None if unknown.
    """
    whose = (
        f"{clipped(model, 80)} is for {purpose}: its" if purpose else f"{clipped(model, 80)!r}: the"
    )
    return (
        f"{whose} weights hold no head for {task.name}, and a new one is random. Begin the stages "
        "with 'train', which teaches it, or name a model that was trained for the task. The tasks "
        f"are {', '.join(task_names())}."
    )


def _ranks(config: Mapping[str, Any]) -> bool:
    """Return whether a model is a cross-encoder whose score isn't said to be a probability."""
    found = [config[key] for key in _RERANKER_KEYS if key in config]
    return bool(found) and "sigmoid" not in clipped(repr(found), 2000).lower()


def _other(task: Task, *, of_sets: bool, what: str = "such a head") -> str:
    """The task of the same samples that reads the other kind of head, if there is one."""
    name = task.name.removeprefix("multi-label-")
    name = f"multi-label-{name}" if of_sets else name
    return f"The task for {what} is {name}. " if name in TASKS else ""


def _overridden(task: Task) -> str:
    kind = _MULTI if task.target == "class-set" else _SINGLE
    return f"If it was trained for {task.name} all the same, say so: 'problem_type: {kind}' in " + (
        "'model.arguments'."
    )
