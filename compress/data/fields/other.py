"""The inputs of another source, under the names of a task's fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from compress.data.dataset import open_source
from compress.data.fields.choose import Fields, Named, choose_fields
from compress.data.fields.grouped import grouped
from compress.data.rows import Indices, Rows, Values
from compress.errors import DataError, unknown

if TYPE_CHECKING:
    from compress.data.sources.source import Source
    from compress.data.spec import Columns, DataSpec
    from compress.tasks.contract import Task


@dataclass(frozen=True)
class InputRows:
    """The inputs of one split's rows, by field; implements `Rows`.

    Attributes
    ----------
    rows : the rows, whatever their columns are called.
    inputs : columns by the name of the input.
    """

    rows: Rows
    inputs: Mapping[str, Named]

    @property
    def split(self) -> str:
        """See `Rows`."""
        return self.rows.split

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """See `Rows`; there are no labels."""
        return None

    def __len__(self) -> int:
        """See `Rows`."""
        return len(self.rows)

    def fetch(self, indices: Indices) -> dict[str, Values]:
        """See `Rows`."""
        samples = Fields(self.inputs, {}).samples(self.rows.fetch(indices))
        return {name: [sample[name] for sample in samples] for name in self.inputs}

    def labels(self) -> Iterator[Values]:
        """See `Rows`; there are no labels."""
        return iter(())


def open_inputs(spec: DataSpec, *, task: Task, inputs: Mapping[str, Named]) -> Source:
    """The splits of another source, as rows of the same inputs; its labels aren't read.

    Parameters
    ----------
    inputs : the recipe's columns by the name of the input.

    Raises
    ------
    DataError : the source can't be read, lacks a column, or gives other inputs.
    """
    columns = spec.columns.model_copy(update={"label": None, "targets": None})
    source = open_source(spec.model_copy(update={"columns": columns}), task)
    source = grouped(source, columns, task)
    splits: dict[str, Rows] = {
        split: InputRows(rows, _same_inputs(rows, columns, split, task=task, inputs=inputs))
        for split, rows in source.splits.items()
        if len(rows)
    }
    return replace(source, splits=splits)


def _same_inputs(
    rows: Rows, columns: Columns, split: str, *, task: Task, inputs: Mapping[str, Named]
) -> Mapping[str, Named]:
    available = tuple(rows.fetch(np.zeros(1, np.int64)))
    by_data = not (task.columns or task.inputs) and columns.inputs is None
    found = Fields(inputs, {}) if by_data else choose_fields(task, columns, available, split)
    for column in found.columns:
        if column not in available:
            raise DataError(
                f"the other source, split '{split}': {unknown('column', column, list(available))}"
            )
    if set(found.inputs) != set(inputs):
        raise DataError(
            f"the other source must give {', '.join(sorted(inputs))}, as the recipe's data does. "
            f"Got {', '.join(sorted(found.inputs))}."
        )
    return found.inputs
