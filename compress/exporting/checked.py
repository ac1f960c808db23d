"""Lowers an artifact and holds the file against its module on real data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from compress.errors import StageError
from compress.exporting.lower import lower
from compress.exporting.parity import TOLERANCE, Parity, check_parity

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Batch, Context

SAMPLES = 64
_BATCH_SIZE = 16
_EXAMPLE_SIZE = 2


def lower_artifact(
    artifact: Artifact,
    context: Context,
    path: Path,
    *,
    opset: int | None = None,
    tolerance: float = TOLERANCE,
    samples: int = SAMPLES,
) -> Parity:
    """Write a torch artifact as an ONNX file; returns how near its answers are to the module's.

    Parameters
    ----------
    path : the file to write.
    tolerance : see `check_parity`.
    samples : validation samples to compare on.

    Raises
    ------
    StageError : the module can't be exported.
    ParityError : the file's answers differ by more than the tolerance; the file is removed.
    """
    module = artifact.require_module()
    example = next(real_batches(artifact, context, samples=_EXAMPLE_SIZE), None)
    if example is None:
        raise StageError("the validation split gave no batch to export with.")
    lower(
        module,
        task=context.task,
        example=example,
        path=path,
        labels=artifact.labels,
        opset=opset,
    )
    try:
        return check_parity(
            module,
            path,
            task=context.task,
            batches=real_batches(artifact, context, samples=samples),
            tolerance=tolerance,
        )
    except StageError:
        path.unlink()
        raise


def real_batches(
    artifact: Artifact, context: Context, *, samples: int = SAMPLES
) -> Iterator[Batch]:
    """The first validation samples, in batches of another size than the exported example."""
    yield from context.data.loader(
        "validation", artifact.require_preprocessor(), batch_size=_BATCH_SIZE, limit=samples
    )
