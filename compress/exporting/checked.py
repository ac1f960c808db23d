"""Exports an artifact to ONNX, and compares the file with its module on real data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.errors import StageError
from compress.exporting.parity.alone import alone
from compress.exporting.parity.compare import (
    TOLERANCE,
    Answers,
    Parity,
    check_parity,
    module_answers,
    onnx_answers,
)
from compress.exporting.parity.shape_sweep import shape_sweep
from compress.exporting.to_onnx import export_module
from compress.models.transformers.vocabulary import as_seen_by
from compress.onnx_graph.files import copy_model, load_graph, remove_model
from compress.tasks.contract import Task as OwnTask

if TYPE_CHECKING:
    from compress.core.artifact import Artifact, Preprocessor
    from compress.core.context import Batch, Context, Loader, Task

SAMPLES = 64
_BATCH_SIZE = 16
_EXAMPLE_SIZE = 2
_FLOAT_BYTES = 4
_DYNAMIC = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul"})
_ANSWER_BYTES = 2**28
"""Largest size of one batch's answers: a language model's are as wide as its vocabulary."""


def export_artifact(
    artifact: Artifact,
    context: Context,
    path: Path,
    *,
    opset: int | None = None,
    tolerance: float = TOLERANCE,
    samples: int = SAMPLES,
    dynamic_image_size: bool = False,
) -> Parity:
    """Write a torch artifact as an ONNX file; return the parity of its answers with the module's.

    A module that the run has exported already isn't exported again. Its file is copied, and
    compared like a new one.

    Parameters
    ----------
    path : the file to write.
    tolerance : see `check_parity`.
    samples : validation samples to compare on.
    dynamic_image_size : see `export_module`; images of another size are then compared too.

    Raises
    ------
    StageError : the module can't be exported.
    ParityError : the file's answers differ by more than the tolerance (the file is then removed),
        or a sample's answer depends on the other samples of its batch.
    """
    module = artifact.require_module()
    padded = next(iter(_padded(artifact, context, samples=samples)), None)
    if padded is not None:
        alone(
            module_answers(module, task=context.task),
            padded,
            target=context.task.target,
            name=type(module).__name__,
        )
    if artifact.exported is not None and opset is None and not dynamic_image_size:
        copy_model(artifact.exported, path)
    else:
        _export_module(artifact, context, path, opset=opset, dynamic_image_size=dynamic_image_size)
    try:
        found = check_parity(
            module,
            path,
            task=context.task,
            batches=_by_shape(artifact, context, samples=samples, other_size=dynamic_image_size),
            tolerance=tolerance,
        )
        return replace(found, remarks=alone_notes(artifact, context, path))
    except StageError:
        remove_model(path)
        raise


def _export_module(
    artifact: Artifact, context: Context, path: Path, *, opset: int | None, dynamic_image_size: bool
) -> None:
    example = next(real_batches(artifact, context, samples=_EXAMPLE_SIZE), None)
    if example is None:
        raise StageError("the validation split gave no batch to export with.")
    export_module(
        artifact.require_module(),
        task=context.task,
        example=example,
        path=path,
        labels=artifact.labels,
        opset=opset,
        dynamic_image_size=dynamic_image_size,
    )


def alone_notes(artifact: Artifact, context: Context, onnx: Path) -> tuple[str, ...]:
    """Return notes on answers of a file that depend on the rest of the batch: see `alone`."""
    batch = next(iter(_padded(artifact, context, samples=SAMPLES)), None)
    if batch is None:
        return ()
    notes = alone(
        onnx_answers(onnx), batch, target=context.task.target, name=onnx.name, refuses=False
    )
    operators = {node.op_type for node in load_graph(onnx).nodes}
    if not notes or not operators & _DYNAMIC:
        return notes
    return (*notes, "'dynamic' takes its scales from the whole batch, 'static' doesn't")


def reference_answers(artifact: Artifact, context: Context) -> Answers:
    """Return the reference as a function from the inputs of an artifact to its scores.

    Raises
    ------
    StageError : see `compress.models.transformers.vocabulary.as_seen_by`.
    """
    if context.reference.format.is_onnx:
        return onnx_answers(context.reference.require_onnx(), threads=context.threads)
    return module_answers(as_seen_by(artifact, context.reference), task=context.task)


def _padded(artifact: Artifact, context: Context, *, samples: int) -> Loader:
    """Return the first validation samples, with texts padded to the full length."""
    preprocessor = artifact.require_preprocessor()
    size = answer_batch_size(preprocessor, task=context.task, most=_BATCH_SIZE)
    return context.data.loader(
        "validation", preprocessor, batch_size=size, limit=min(size, samples), fixed_length=True
    )


def _by_shape(
    artifact: Artifact, context: Context, *, samples: int, other_size: bool
) -> Iterator[Batch]:
    """Yield `real_batches`, with the first one at several batch sizes and lengths."""
    return shape_sweep(
        _padded(artifact, context, samples=samples),
        real_batches(artifact, context, samples=samples),
        modality=context.task.modality,
        other_size=other_size,
    )


def real_batches(
    artifact: Artifact, context: Context, *, samples: int = SAMPLES
) -> Iterator[Batch]:
    """Yield the first validation samples, in batches of another size than the exported example."""
    preprocessor = artifact.require_preprocessor()
    size = answer_batch_size(preprocessor, task=context.task, most=_BATCH_SIZE)
    loader = context.data.loader("validation", preprocessor, batch_size=size, limit=samples)
    for number, batch in enumerate(loader):
        # Blocks of tokens all have one length, and the model must take other lengths too.
        if context.task.target == "next-token" and number % 2:
            yield {name: values[:, : -(-values.shape[1] // 2)] for name, values in batch.items()}
        else:
            yield batch


def answer_batch_size(preprocessor: Preprocessor, *, task: Task, most: int) -> int:
    """Return a batch size whose answers fit into memory; it is small for large vocabularies.

    Parameters
    ----------
    most : the largest batch size.
    """
    if task.target != "next-token" and not (isinstance(task, OwnTask) and task.scores_tokens):
        return most
    tokenizer, length = preprocessor.tokenizer, preprocessor.max_length or 1
    answer = length * (1 if tokenizer is None else len(tokenizer)) * _FLOAT_BYTES
    return max(1, min(most, _ANSWER_BYTES // answer))
