"""The samples and inputs on which a quantize stage measures its candidates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.exporting.checked import answer_batch_size
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
        inputs={size: _inputs(size, artifact, context) for size in stage.evaluation.batch_sizes},
        options=stage.evaluation,
        budget=stage.budget,
        threads=context.threads,
        progress=context.progress,
        runtime=stage.target_runtime,
    )


def _inputs(size: int, artifact: Artifact, context: Context) -> dict[str, np.ndarray[Any, Any]]:
    """Return real samples, repeated where the split has fewer; texts are padded to full length."""
    import numpy as np

    batch = first_inputs(context.data, artifact.preprocessor, samples=size)
    return {name: np.resize(x.numpy(), (size, *x.shape[1:])) for name, x in batch.items()}
