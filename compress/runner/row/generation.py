"""Times a row's model as it generates text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.errors import DataError, StageError
from compress.measurement.generation.decoder import NO_CACHE, Decoder, OnnxDecoder
from compress.measurement.generation.module import ModuleDecoder
from compress.measurement.generation.spec import DECODING, PREFILL, GenerationSpec
from compress.measurement.generation.speed import generation, passage_of, time_generation
from compress.runner.row.speed import THIS, in_turn, speedup_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import numpy as np

    from compress.core.context import Context
    from compress.measurement.results import Generation
    from compress.measurement.spec import MeasureSpec
    from compress.runner.row.models import ComparedModel, MeasuredModel


def measure_generation(
    measured: MeasuredModel,
    inputs: Mapping[int, dict[str, np.ndarray[Any, Any]]],
    *,
    context: Context,
    spec: MeasureSpec,
    original: ComparedModel | None,
    previous: ComparedModel | None,
) -> tuple[Generation | None, list[str]]:
    """Return the speed of generating text, if that is the task, and notes."""
    if context.task.target != "next-token":
        return None, []
    text = passage_of(next(iter(inputs.values())), spec.generation or GenerationSpec())
    models = in_turn(measured, original, previous)
    try:
        decoders: dict[str, Decoder] = {
            name: ModuleDecoder(of.artifact.require_module(), task=context.task)
            if measured.onnx is None or of.onnx is None
            else OnnxDecoder(of.onnx, threads=spec.threads)
            for name, of in models.items()
        }
        times = time_generation(
            decoders,
            text,
            seconds=spec.seconds,
            threads=spec.threads,
            progress=context.progress,
        )
    except (DataError, StageError) as error:
        return None, [f"generation isn't timed: {error}"]
    speedups = {
        part: speedup_of(times, part, models, original=original, previous=previous)
        for part in (PREFILL, DECODING)
    }
    cached = decoders[THIS].has_cache
    notes = [] if cached else [NO_CACHE]
    return generation(times, text, cached=cached, speedups=speedups, model=THIS), notes
