"""Chooses which columns of the data are a task's inputs, and which its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compress.core.batch import LABELS, labels_key
from compress.data.spec import Columns
from compress.errors import DataError, unknown

if TYPE_CHECKING:
    from compress.data.rows import Values
    from compress.tasks.contract import Task

Named = str | list[str]
"""A column, or several whose numbers become one vector."""


@dataclass(frozen=True)
class Fields:
    """The fields of a sample, and the columns that they come from.

    Attributes
    ----------
    inputs : columns by the name of the input.
    labels : columns by the batch's key of the labels; empty: the data has none.
    single : inputs that are lists, of which a row of the data has one member; see `Task.listed`.
    """

    inputs: Mapping[str, Named]
    labels: Mapping[str, Named]
    single: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns that are read, each once."""
        named = (*self.inputs.values(), *self.labels.values())
        return tuple(dict.fromkeys(column for each in named for column in _listed(each)))

    def samples(self, fetched: Mapping[str, Values]) -> list[dict[str, Any]]:
        """The samples of some rows, from their values by column."""
        wanted = {**self.inputs, **self.labels}
        count = len(next(iter(fetched.values())))
        return [
            {
                field: fetched[named][row]
                if isinstance(named, str)
                else [fetched[column][row] for column in named]
                for field, named in wanted.items()
            }
            for row in range(count)
        ]


def choose_fields(task: Task, columns: Columns, available: Sequence[str], split: str) -> Fields:
    """The fields of a task's samples in data with these columns.

    Inputs are those that `columns.inputs` names, else the task's own fields, else all columns that
    aren't labels. A field that is a list is the column of a single member where that one is named,
    or where the data has it and no column of lists. Labels are those of `columns.targets`, else the
    column `columns.label`.

    Parameters
    ----------
    split : our name of the split, for messages.

    Raises
    ------
    DataError : a column is missing, or an output with this name doesn't exist.
    """
    if task.label_column != "label" and "label" not in columns.model_fields_set:
        columns = columns.model_copy(update={"label": task.label_column})
    labels = _labels(task, columns)
    inputs = _inputs(task, columns, available, labels)
    if not inputs:
        raise DataError(f"split '{split}' has no column of inputs. It has: {_said(available)}.")
    single = _single(task, columns, available)
    found = Fields({**inputs, **single}, labels, tuple(single))
    for column in found.columns:
        if column not in available:
            raise DataError(
                f"split '{split}': {unknown('column', column, list(available))} Say which column "
                "is which with 'columns', such as {inputs: {x: [a, b]}, label: y}."
            )
    return found


def _labels(task: Task, columns: Columns) -> dict[str, Named]:
    names = task.output_names
    if columns.targets is not None:
        for name in columns.targets:
            if name not in names:
                raise DataError(f"columns.targets: {unknown('output', name, names)}")
        return {labels_key(name): column for name, column in columns.targets.items()}
    return {} if columns.label is None or task.label_column is None else {LABELS: columns.label}


def _inputs(
    task: Task, columns: Columns, available: Sequence[str], labels: Mapping[str, Named]
) -> dict[str, Named]:
    own = task.columns or tuple(one.name for one in task.inputs)
    if own:
        given = dict(columns.inputs or {})
        known = (*own, *task.also, *task.listed.values())
        for name in given:
            if name not in known:
                raise DataError(f"columns.inputs: {unknown(f'field of {task.name}', name, known)}")
        also = [
            name
            for name in task.also
            if name in given or (name == "text_pair" and columns.text_pair is not None)
        ]
        return {name: given.get(name, _text_column(name, columns)) for name in (*own, *also)}
    if columns.inputs is not None:
        return dict(columns.inputs)
    used = {column for each in labels.values() for column in _listed(each)}
    return {name: name for name in available if name not in used}


def _single(task: Task, columns: Columns, available: Sequence[str]) -> dict[str, Named]:
    """The columns of single members by the name of the field that lists them."""
    given = columns.inputs or {}
    found: dict[str, Named] = {}
    for name, member in task.listed.items():
        if name in given and member in given:
            raise DataError(
                f"columns.inputs must name {name} (lists) or {member} (a row for each). Got both."
            )
        if member in given or (name not in given and name not in available and member in available):
            found[name] = given.get(member, member)
    return found


def _text_column(name: str, columns: Columns) -> str:
    if name == "text":
        return columns.text
    return (columns.text_pair or name) if name == "text_pair" else name


def _listed(named: Named) -> list[str]:
    return [named] if isinstance(named, str) else named


def _said(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
