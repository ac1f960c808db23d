"""Writes the final ONNX file: exported here or by an earlier stage, in fp32 or fp16."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.artifact import Format
from compress.exporting.checked import (
    SAMPLES,
    alone_notes,
    export_artifact,
    real_batches,
    reference_answers,
)
from compress.exporting.half import to_half
from compress.exporting.parity.compare import TOLERANCE, compare, onnx_answers
from compress.measurement.session import PAST
from compress.models.transformers.vocabulary import reads_alike
from compress.onnx_graph.files import check_file, copy_model, load_graph, remove_model

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context


@dataclass(frozen=True)
class ExportOptions:
    """Options of the final file.

    Attributes
    ----------
    opset, dynamic_image_size : of a model exported here; see
        `compress.exporting.to_onnx.export_module`.
    tolerance : see `compress.exporting.parity.compare.check_parity`.
    samples : number of validation samples to compare on.
    half : whether the file is in fp16 instead of fp32.
    """

    opset: int | None = None
    dynamic_image_size: bool = False
    tolerance: float = TOLERANCE
    samples: int = SAMPLES
    half: bool = False


def write_exported(
    artifact: Artifact, context: Context, path: Path, *, options: ExportOptions
) -> tuple[str, ...]:
    """Write an artifact as the final ONNX file; return notes on it.

    Raises
    ------
    ParityError : the file's answers differ from the module's, or the fp16 file's from the fp32's.
    StageError : it can't be exported with these options, or an earlier stage's file isn't valid.
    """
    if not options.half:
        return _write_float(artifact, context, path, options)
    if artifact.format is not Format.TORCH:
        source = artifact.require_onnx()
        halved = _halve(source, path, artifact, context, options)
        return (*_notes_on_made(artifact, source, context, options), halved)
    full = path.with_name("fp32.onnx")
    notes = _write_float(artifact, context, full, options)
    try:
        return (*notes, _halve(full, path, artifact, context, options))
    finally:
        remove_model(full)


def _write_float(
    artifact: Artifact, context: Context, path: Path, options: ExportOptions
) -> tuple[str, ...]:
    if artifact.format is not Format.TORCH:
        copy_model(artifact.require_onnx(), path)
        return _notes_on_made(artifact, path, context, options)
    parity = export_artifact(
        artifact,
        context,
        path,
        opset=options.opset,
        tolerance=options.tolerance,
        samples=options.samples,
        dynamic_image_size=options.dynamic_image_size,
    )
    return (f"ONNX opset {load_graph(path).opset}", f"against torch: {parity}", *_cache_note(path))


def _halve(
    source: Path, path: Path, artifact: Artifact, context: Context, options: ExportOptions
) -> str:
    batches = real_batches(artifact, context, samples=options.samples)
    found = to_half(source, path=path, batches=batches, target=context.task.target)
    return f"fp16, with float32 inputs and outputs; against fp32: {found}"


def _notes_on_made(
    artifact: Artifact, model: Path, context: Context, options: ExportOptions
) -> tuple[str, ...]:
    """Check that the file of an earlier stage runs; return notes on it."""
    check_file(model)
    opset = load_graph(model).opset
    compared = _against_reference(artifact, model, context, samples=options.samples)
    notes = [f"ONNX opset {opset}", compared, *_cache_note(model)]
    notes += alone_notes(artifact, context, model)
    before = "isn't used: the model was exported before"
    if options.opset is not None and options.opset != opset:
        notes.append(f"'opset: {options.opset}' {before}")
    if options.dynamic_image_size:
        notes.append(f"'dynamic_image_size' {before}, for images of one size")
    return tuple(notes)


def _against_reference(artifact: Artifact, model: Path, context: Context, *, samples: int) -> str:
    """Require finite answers; return a note on how far they are from the reference's.

    Embeddings of another width than the reference's have no angle to them. A model with a tokenizer
    of its own is compared with itself.
    """
    ours = onnx_answers(model, threads=context.threads)
    alike = reads_alike(artifact, context.reference)
    reference = reference_answers(artifact, context) if alike else ours
    first = next(real_batches(artifact, context, samples=samples))
    widths = [answer(first).shape[-1] for answer in (reference, ours)]
    comparable = context.task.target != "none" or widths[0] == widths[1]
    found = compare(
        reference if comparable else ours,
        ours,
        batches=real_batches(artifact, context, samples=samples),
        target=context.task.target,
    ).require_finite(model)
    if not alike:
        return "has other tokens than the reference: their rows compare the answers to whole texts"
    if comparable:
        return f"against the reference: {found.top1()}"
    return f"embeddings have {widths[1]} numbers each, and the reference's {widths[0]}"


def _cache_note(model: Path) -> tuple[str, ...]:
    layers = sum(name.startswith(PAST) for name in load_graph(model).inputs) // 2
    return (f"generates with a key-value cache of {layers} layers",) if layers else ()
