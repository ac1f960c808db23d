"""The samples and inputs on which a quantize stage measures its candidates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.errors import DataError, StageError
from compress.exporting.checked import answer_batch_size
from compress.measurement.generation.decoder import OnnxDecoder
from compress.measurement.generation.spec import GenerationSpec
from compress.measurement.generation.speed import Passage, can_generate, passage_of
from compress.measurement.runtimes.names import ONNXRUNTIME, WORDS
from compress.quantization.evaluation import Evaluator
from compress.training.batches import first_inputs

if TYPE_CHECKING:
    import numpy as np

    from compress.core.artifact import Artifact
    from compress.core.context import Context
    from compress.stages.quantize.options import QuantizeOptions

_QUALITY_BATCH = 32


def make_evaluator(
    stage: QuantizeOptions, artifact: Artifact, context: Context, *, source: Path
) -> Evaluator:
    """Return an evaluator on validation samples, with the task's own metric.

    Parameters
    ----------
    source : the float model that candidates are compared with.
    """
    preprocessor = artifact.require_preprocessor()
    inputs = {size: _inputs(size, artifact, context) for size in stage.evaluation.batch_sizes}
    return Evaluator(
        source=source,
        loader=context.data.loader(
            "validation",
            preprocessor,
            batch_size=answer_batch_size(preprocessor, task=context.task, most=_QUALITY_BATCH),
            limit=stage.evaluation.samples,
        ),
        metric=context.task.default_metric(labelled=context.data.labelled),
        task=context.task,
        labels=artifact.labels,
        inputs=inputs,
        options=stage.evaluation,
        budget=stage.budget,
        text=_text(stage, context, inputs, source=source),
        threads=context.threads,
        progress=context.progress,
        runtime=stage.target_runtime,
    )


def _inputs(size: int, artifact: Artifact, context: Context) -> dict[str, np.ndarray[Any, Any]]:
    """Return real samples, repeated where the split has fewer; texts are padded to full length."""
    import numpy as np

    batch = first_inputs(context.data, artifact.preprocessor, samples=size)
    return {name: np.resize(x.numpy(), (size, *x.shape[1:])) for name, x in batch.items()}


def not_generating(stage: QuantizeOptions) -> str:
    """Return why models for text generation were timed on whole texts in batches."""
    if stage.target_runtime != ONNXRUNTIME:
        return f"timed on whole texts: generation isn't timed in {WORDS[stage.target_runtime]}"
    return "timed on whole texts: the float model can't be run on a prompt"


def _text(
    stage: QuantizeOptions,
    context: Context,
    inputs: Mapping[int, Mapping[str, np.ndarray[Any, Any]]],
    *,
    source: Path,
) -> Passage | None:
    """Return the text with which a model is timed; None if the float model doesn't generate."""
    if context.task.target != "next-token" or stage.target_runtime != ONNXRUNTIME:
        return None
    spec = stage.evaluation.generation or GenerationSpec()
    text = passage_of(next(iter(inputs.values())), spec)
    try:
        can_generate(OnnxDecoder(source, threads=context.threads), text)
    except (DataError, StageError):
        return None
    return text
