"""Lines on the installed tasks: the output of `compress tasks`."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from compress.errors import InputError
from compress.recipe.consistency import can_work
from compress.stages.registry import stage_class, stage_names
from compress.tasks.contract import Task
from compress.tasks.registry import outline, task_class, task_names
from compress.tasks.task import KnownTask, unknown_task

_WIDTH = 100
_LABELS = {
    "class": "column label: a class, its name or its number from 0",
    "class-set": "column label: a list of classes, or 0 or 1 for each class",
    "token-class": "column label: a list of classes, one for each word (-100: none)",
    "next-token": "none: the next token is the text's own",
    "none": "none are read",
}
_ROLES = {
    "classes": "a class, its name or its number from 0",
    "values": "numbers of the output's shape",
    "features": "numbers of the output's shape",
}
_PARAMETER = re.compile(r"(?P<names>[\w, ]+) : (?P<text>.*)")


def task_catalog(name: str | None = None) -> list[str]:
    """Return lines on installed tasks: samples, labels, outputs, metrics and stages of each.

    Parameters
    ----------
    name : the only task that is shown; None shows all.

    Raises
    ------
    InputError : there is no such task, or a task's package can't be imported.
    """
    if name is not None and name not in task_names():
        raise InputError(unknown_task(name, task_names()))
    lines: list[str] = []
    for each in task_names() if name is None else (name,):
        lines += [*_task(each), ""]
    return lines[:-1]


def summary_of(name: str) -> str:
    """Return a line on what a task is for; empty if its author wrote none."""
    task = outline(name)
    if isinstance(task, KnownTask):
        return task.summary
    return " ".join((inspect.getdoc(task_class(name)) or "").split("\n\n")[0].split())


def _task(name: str) -> Iterator[str]:
    task = outline(name)
    yield f"{name}: {summary_of(name)}"
    known = isinstance(task, KnownTask)
    described = _of_known(task) if isinstance(task, KnownTask) else _of_own(task)
    rows = {
        **described,
        "metrics": ", ".join(task.metrics) or "as its arguments say",
        "transformers": task.auto_class or "none: a module of your own",
        "stages": ", ".join(use for use in stage_names() if can_work(stage_class(use), task)),
    }
    for key, value in rows.items():
        yield from _wrapped(f"{key:<12}  {value}", indent=2, further=16)
    if not known:
        yield from _arguments(task_class(name))


def _of_known(task: KnownTask) -> dict[str, str]:
    if task.modality == "image":
        samples = "images: column image"
    elif task.target == "token-class":
        samples = "lists of words: column tokens"
    else:
        samples = "texts: column text, and text_pair for pairs"
    return {
        "samples": samples,
        "labels": _LABELS[task.target],
        "outputs": ", ".join((*task.output_names, *task.beside)),
    }


def _of_own(task: Task) -> dict[str, str]:
    fields = task.columns or tuple(one.name for one in task.inputs)
    kind = "arrays by name" if task.modality == "tensors" else "texts"
    also = f", and maybe {', '.join(task.also)}" if task.also else ""
    single = ", ".join(task.listed.get(name, name) for name in fields)
    rows = f" (or a row for each of a list: {single})" if task.listed else ""
    read = f"columns {', '.join(fields)}{rows}{also}" if fields else "every column but the labels"
    outputs = [f"{one.name} ({one.role})" for one in task.outputs]
    return {
        "samples": f"{kind}: {read}",
        "labels": _labels_of(task),
        "outputs": ", ".join(outputs) or "as its arguments say",
    }


def _labels_of(task: Task) -> str:
    if task.label_column is None:
        return "none: the task makes them of the samples"
    if task.label_words:
        return f"column {task.label_column}: {task.label_words}"
    several = len(task.outputs) > 1
    if several and task.label_column != "label":
        return f"column {task.label_column}"
    labels = [
        f"{one.name if several else f'column {task.label_column}'}: {_ROLES[one.role]}"
        for one in task.outputs
    ]
    return "; ".join(labels) or "as its arguments say"


def _arguments(kind: type[Task]) -> Iterator[str]:
    """Yield lines on the arguments of a task's class, as its docstring describes them."""
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    described = _described(kind)
    for one in parameters:
        if one.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue
        default = "(required)" if one.default is one.empty else f"(default {_said(one.default)})"
        yield f"  arguments.{one.name} {default}"
        text = described.get(one.name)
        if text:
            yield from _wrapped(text, indent=6, further=6)


def _described(kind: type[Task]) -> Mapping[str, str]:
    """Return the descriptions in the section "Parameters" of a class's docstring, or its base's."""
    for one in kind.__mro__:
        _, found, section = inspect.cleandoc(one.__doc__ or "").partition("Parameters\n---")
        if found:
            return dict(_parameters(section.splitlines()[1:]))
    return {}


def _parameters(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    names: list[str] = []
    words: list[str] = []
    for line in [*lines, "end : "]:
        match = _PARAMETER.fullmatch(line)
        if match is None and line.startswith(" "):
            words.append(line.strip())
            continue
        yield from ((name, " ".join(words)) for name in names)
        if match is None:
            return  # the next section
        names = [name.strip() for name in match["names"].split(",")]
        words = [match["text"]]


def _said(value: object) -> str:
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def _wrapped(text: str, *, indent: int, further: int) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * further,
        break_on_hyphens=False,
    )
