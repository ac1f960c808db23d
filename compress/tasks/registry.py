"""Finds tasks: the built-in ones, those that packages register, and classes that a recipe names."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from compress.core.foreign.boundary import foreign
from compress.core.foreign.entries import call_entry, import_entry
from compress.errors import InputError, expected
from compress.tasks.contract import Output, Task
from compress.tasks.outputs import ROLES
from compress.tasks.task import TASKS, KnownTask, unknown_task

if TYPE_CHECKING:
    from compress.core.context import Modality

GROUP = "compress.tasks"


class _Unseen(Task):
    """What is known of a task before its code is imported: that it is one of its own."""

    def __init__(self, name: str, modality: Modality = "tensors") -> None:
        self.name, self.modality = name, modality


@cache
def _entry_points() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value or entry.name in TASKS:
            first = "compress" if entry.name in TASKS else other.value
            raise InputError(
                f"two installed packages name a task {entry.name!r}: {first} and {entry.value}. "
                "Uninstall one of them."
            )
    return found


def task_names() -> tuple[str, ...]:
    """Return the names of all installed tasks: the built-in ones, then the others, sorted."""
    return (*TASKS, *sorted(_entry_points()))


def built_in() -> tuple[KnownTask | Task, ...]:
    """Return the tasks that are part of compress, as they are without arguments."""
    ours = (name for name, entry in _entry_points().items() if entry.value.startswith("compress."))
    return (*TASKS.values(), *map(outline, sorted(ours)))


def find_task(name: str, arguments: Mapping[str, Any] | None = None) -> KnownTask | Task:
    """Return a task.

    Parameters
    ----------
    name : a registered name, or "package.module:Class".
    arguments : arguments of its class, for tasks that take any.

    Raises
    ------
    InputError : there is no such task, its class can't be imported or doesn't take the arguments,
        or it isn't what the contract asks for.
    """
    given = dict(arguments or {})
    if name in TASKS:
        if given:
            raise InputError(f"the task {name} takes no arguments. Got {', '.join(given)}.")
        return TASKS[name]
    return _made(_target(name), name, given)


def outline(name: str, arguments: Mapping[str, Any] | None = None) -> KnownTask | Task:
    """Return what is known of a task, without the code of a `python:` entry.

    Parameters
    ----------
    name, arguments : see `find_task`.

    Raises
    ------
    InputError : there is no such task, or a package's task can't be imported.
    """
    if ":" in name:
        return _Unseen(name)
    if arguments is None and name not in TASKS:
        kind = _class_at(_target(name), name)
        if not _needs_no_arguments(kind):
            return _Unseen(name, kind.modality)
    return find_task(name, arguments)


def task_class(name: str) -> type[Task]:
    """Return the class of a registered task that isn't one of the first eight.

    Raises
    ------
    InputError : there is no such task, or its class can't be imported or isn't a task's.
    """
    return _class_at(_target(name), name)


def source_module(task: object) -> str | None:
    """Return the module of a task's class, if it isn't part of `compress`."""
    module = type(task).__module__
    return None if module.partition(".")[0] == "compress" else module


def _target(name: str) -> str:
    if ":" in name:
        return name
    entry = _entry_points().get(name)
    if entry is None:
        raise InputError(unknown_task(name, task_names()))
    return entry.value


def _made(target: str, name: str, arguments: Mapping[str, Any]) -> Task:
    _class_at(target, name)
    made: Task = call_entry(target, arguments)
    _require_contract(made, target)
    if made.name == "":
        made.name = name
    return made


def _class_at(target: str, name: str) -> type[Task]:
    kind = import_entry(target)
    if not (isinstance(kind, type) and issubclass(kind, Task)):
        raise InputError(f"task {name!r}: {expected(target, 'a subclass of compress.Task', kind)}")
    return kind


def _needs_no_arguments(kind: type[Task]) -> bool:
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return all(one.default is not one.empty or one.kind in optional for one in parameters)


def _require_contract(task: Task, target: str) -> None:
    """Require what every part of a run reads of a task."""
    with foreign(repr(target)):
        if not task.outputs:
            raise InputError(f"{target}: 'outputs' must name the model's outputs. Got none.")
        for output in task.outputs:
            if output.role not in ROLES:
                raise InputError(
                    f"{target}: the role of output {output.name!r} must be one of "
                    f"{', '.join(ROLES)}. Got {output.role!r}."
                )
            _require_delta(output, f"{target}: 'huber_delta' of output {output.name!r}")
            _require_axis(output, f"{target}: 'class_axis' of output {output.name!r}")
        names = [output.name for output in task.outputs]
        if len(set(names)) < len(names):
            raise InputError(f"{target}: two outputs have one name: {', '.join(names)}.")
        if task.modality not in ("tensors", "text"):
            raise InputError(f"{target}: {expected('modality', 'tensors or text', task.modality)}")
        for metric in task.table_of_metrics():
            if (metric.rows is None) == (metric.of_all is None):
                raise InputError(
                    f"{target}: metric {metric.name!r} must have either 'rows' or 'of_all'."
                )
            if metric.of_rows and (metric.rows is None or metric.value or metric.joined):
                raise InputError(
                    f"{target}: metric {metric.name!r} must have 'rows' beside 'of_rows', and "
                    "neither 'value' nor 'joined'."
                )


def _require_delta(output: Output, what: str) -> None:
    delta = output.huber_delta
    if delta is None:
        return
    if output.role == "classes":
        raise InputError(f"{what} must be None: scores of classes have no such distance.")
    if type(delta) not in (int, float) or not 0 < delta < math.inf:
        raise InputError(f"{what} must be a finite number above 0. Got {delta!r}.")


def _require_axis(output: Output, what: str) -> None:
    axis = output.class_axis
    if axis == -1:
        return
    if output.role != "classes":
        raise InputError(f"{what} must be -1: it has no classes. Got {axis!r}.")
    if type(axis) is not int or axis < 1:
        raise InputError(f"{what} must be a whole number, -1 or at least 1. Got {axis!r}.")
