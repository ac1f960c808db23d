"""What the headers of numpy's files say, and the first values of small arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.data.sources.array_files import open_arrays
from compress.data.spec import DataSpec
from compress.recipe.draft.columns import Column, column_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FIRST = 1000


def array_columns(path: Path) -> tuple[dict[str, Column], int]:
    """Return the arrays of the train split by name, and the number of its samples.

    Parameters
    ----------
    path : a .npz file, or a folder of .npz or .npy files.

    Raises
    ------
    DataError : there is no train split, or a file can't be read.
    """
    rows = open_arrays(path, DataSpec(arrays=path)).splits["train"]
    fetched = rows.fetch(np.arange(min(_FIRST, len(rows)), dtype=np.int64))
    return {name: _column(name, np.asarray(values)) for name, values in fetched.items()}, len(rows)


def _column(name: str, values: NDArray[Any]) -> Column:
    if values.ndim == 1:
        return column_of(name, values.tolist())
    kind = "tags" if values.dtype.kind in "iub" else "numbers"
    if values.dtype.kind in "US":
        kind = "words"
    return Column(name, kind, (), values.shape[1:])  # type: ignore[arg-type]
