"""Facts about local data for a recipe check: columns, emptiness, and labels the model lacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.context import Split, Target, Task
from compress.data.fields.choose import choose_fields
from compress.data.labels.encode import encode_labels
from compress.data.peek import Peek, peek
from compress.data.rows import Indices, Values, input_columns, label_column
from compress.data.sources.array_files import names_of_arrays
from compress.data.spec import FILE_FORMATS
from compress.errors import DataError, unknown
from compress.models.transformers.heads import new_head_line
from compress.tasks.contract import Task as OwnTask

if TYPE_CHECKING:
    from compress.data.spec import DataSpec

Problem = tuple[str, str]


@dataclass(frozen=True)
class _PeekedRows:
    """The labels at the beginning of a file; see `compress.data.rows.Rows`."""

    split: str
    values: Sequence[Any]
    label_names: tuple[str, ...] | None

    def __len__(self) -> int:
        return len(self.values)

    def fetch(self, indices: Indices) -> dict[str, Values]:
        return {}

    def labels(self) -> Iterator[Values]:
        yield self.values


def misfits_of(
    spec: DataSpec,
    *,
    task: Task,
    labels: Sequence[str],
    outputs: int | None,
    teachable: bool = True,
) -> list[Problem]:
    """(dotted key inside `data`, problem) pairs that show in the beginnings of local files.

    Parameters
    ----------
    labels : the model's class names in the order of its scores; empty if unknown or none.
    outputs : number of scores that the model gives; None if unknown.
    teachable : whether the model may get a new head, so that problems say how.
    """
    if spec.huggingface not in FILE_FORMATS or spec.files is None:
        return []
    if isinstance(task, OwnTask):
        return list(_own(spec, task))
    found: list[Problem] = []
    for split in spec.files:
        for path in spec.paths(split):
            seen = _peek(path, spec, task)
            if seen is not None:
                found += _file(seen, split, path, spec, task)
    return found or _labels(spec, task, labels=tuple(labels), outputs=outputs, teachable=teachable)


def _own(spec: DataSpec, task: OwnTask) -> Iterator[Problem]:
    """Fields of a task's own that a file lacks; none of a task that isn't imported for a check."""
    for split in spec.files or {}:
        for path in spec.paths(split) if task.outputs else ():
            seen = peek(path, form=str(spec.huggingface), column=None)
            if seen is not None and seen.rows == 0:
                yield f"files.{split}", f"there are no rows in '{path}'."
            elif seen is not None:
                try:
                    choose_fields(task, spec.columns, seen.columns, split)
                except DataError as error:
                    yield f"files.{split}", str(error)


def given_by(spec: DataSpec, task: OwnTask) -> list[tuple[str, ...]]:
    """Names of what a task may give to a model, in any of these ways; empty if it can't be known.

    They are the task's inputs, or the columns and arrays of local data that aren't labels.
    """
    if task.inputs:
        return [tuple(one.name for one in task.inputs)]
    if task.modality != "tensors" or type(task).collate is not OwnTask.collate:
        return []
    available = _arrays_in(spec) if spec.arrays is not None else _columns_in(spec)
    if not available:
        return []
    try:
        return [tuple(choose_fields(task, spec.columns, available, "train").inputs)]
    except DataError:
        return []  # it is reported where the data are looked at


def _columns_in(spec: DataSpec) -> tuple[str, ...]:
    if spec.huggingface not in FILE_FORMATS or not spec.paths("train"):
        return ()
    seen = peek(spec.paths("train")[0], form=str(spec.huggingface), column=None)
    return () if seen is None else tuple(seen.columns)


def _arrays_in(spec: DataSpec) -> tuple[str, ...]:
    """Names of the arrays of the train split, without their values."""
    if spec.arrays is None:
        return ()
    try:
        return names_of_arrays(spec.arrays, spec)
    except DataError:
        return ()  # loading it says what is wrong


def rows_of(spec: DataSpec, split: Split) -> int | None:
    """Number of rows in the files of a split; None if they would have to be read in full."""
    if spec.huggingface not in FILE_FORMATS or not spec.paths(split):
        return None
    form = str(spec.huggingface)
    counts = [
        None if seen is None else seen.rows
        for seen in (peek(path, form=form, column=None) for path in spec.paths(split))
    ]
    return None if None in counts else sum(count for count in counts if count is not None)


def _peek(path: Path, spec: DataSpec, task: Task) -> Peek | None:
    return peek(path, form=str(spec.huggingface), column=label_column(spec.columns, task))


def _file(seen: Peek, split: Split, path: Path, spec: DataSpec, task: Task) -> Iterator[Problem]:
    if seen.rows == 0:
        yield f"files.{split}", f"there are no rows in '{path}'."
        return
    columns, label = input_columns(spec.columns, task), label_column(spec.columns, task)
    for name, column in {**columns, **({} if label is None else {"label": label})}.items():
        if column not in seen.columns:
            given = name in spec.columns.model_fields_set
            sentence = unknown("column", column, seen.columns)
            none = " Data without labels says 'label: null' there." if name == "label" else ""
            yield (
                f"columns.{name}" if given else f"files.{split}",
                f"'{path}': {sentence} Say which column is which with 'data.columns'.{none}",
            )


def _labels(
    spec: DataSpec,
    task: Task,
    *,
    labels: tuple[str, ...],
    outputs: int | None,
    teachable: bool,
) -> list[Problem]:
    """Problems of labels that the model lacks; none if files name their integers differently."""
    if label_column(spec.columns, task) is None:
        return []
    target = "class" if task.target == "token-class" else task.target
    rows = []
    for split in spec.files or {}:
        for path in spec.paths(split):
            seen = _peek(path, spec, task)
            if seen is None:
                return []
            values = _flat(seen.values) if task.target == "token-class" else seen.values
            rows.append(_PeekedRows(split, values, seen.names))
    for each in rows:
        try:
            encode_labels([each], labels, target=target)
        except DataError as error:
            more = f" {_line(rows, target, len(labels))}" if labels and teachable else ""
            return [(f"files.{each.split}", f"{error}{more}")]
    if labels or outputs is None:
        return []
    known = encode_labels(rows, (), target=target).labels
    if len(known) <= outputs:
        return []
    some = ", ".join(known[:10])
    said = f"the model gives {outputs} scores, and the labels are {some} …"
    more = f" {new_head_line(known, outputs)}" if teachable else ""
    return [("files.train", said + more)]


def _line(rows: Sequence[_PeekedRows], target: Target, outputs: int) -> str:
    """Return the line that teaches a model the labels, or else nothing."""
    try:
        return new_head_line(encode_labels(rows, (), target=target).labels, outputs)
    except DataError:
        return ""  # labels that no model could have


def _flat(values: Sequence[Any]) -> list[Any]:
    """All tags of all words, without -100."""
    listed = [tags for tags in values if isinstance(tags, list)]
    return [tag for tags in listed for tag in tags if tag != -100]
