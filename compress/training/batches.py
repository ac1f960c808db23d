"""Batches on their way from the loader to the module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from torch import nn

from compress.core.artifact import Preprocessor
from compress.core.batch import model_inputs
from compress.core.context import Batch, Data
from compress.errors import StageError

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def sample_count(batch: Batch) -> int:
    """Number of samples in a batch, N."""
    return len(next(iter(batch.values())))


def smallest_batch(module: nn.Module) -> int:
    """2 if the module normalises over the batch (one sample has no variance), else 1."""
    return 2 if any(isinstance(part, _BATCH_NORMS) for part in module.modules()) else 1


def grouped(batches: Iterable[Batch], *, size: int) -> Iterator[list[Batch]]:
    """Consecutive groups of `size` batches. The last group may be smaller."""
    remaining = iter(batches)
    while group := list(islice(remaining, size)):
        yield group


def first_inputs(data: Data, preprocessor: Preprocessor | None, *, samples: int = 2) -> Batch:
    """Inputs of the first validation samples, on the CPU. Texts are padded to their full length.

    Raises
    ------
    StageError : there is no preprocessor, or the split is empty.
    """
    if preprocessor is None:
        raise StageError("training needs a preprocessor. The artifact has none.")
    loader = data.loader(
        "validation", preprocessor, batch_size=samples, limit=samples, fixed_length=True
    )
    for batch in loader:
        return model_inputs(batch)
    raise StageError("the validation split is empty.")
